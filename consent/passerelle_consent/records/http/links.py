"""Link identities to a department (DESIGN §4)."""

from fastapi import APIRouter, Request

from passerelle_consent.policy.days import majority_ms
from passerelle_consent.records import problems
from passerelle_consent.records.http.access import GuardedRoute
from passerelle_consent.records.http.answers import refuses
from passerelle_consent.records.http.bodies import LinkIn, LinksOut
from passerelle_consent.records.http.calls import department_of, records_of
from passerelle_consent.records.ports import BadIdentity
from passerelle_consent.records.problems import Problem

router = APIRouter(route_class=GuardedRoute)


@router.post("/v1/links")
@refuses(problems.ERASURE_UNDER_WAY)
async def link(request: Request, body: LinkIn) -> LinksOut:
    """Link identities to the caller's department. The status says whether the bus knows them yet."""
    records = records_of(request)
    department = department_of(request)
    try:
        identities = [i.identity() for i in body.identities]
        refs = records.register.refs(identities)
    except BadIdentity as bad:
        where = {"where": ["body", "identities", bad.index], "what": "cannot be normalised"}
        raise Problem(problems.MALFORMED, errors=[where]) from None
    of_age = {ref: majority_ms(who.birth_date) for ref, who in zip(refs, identities, strict=True)}
    minors = {ref: at_ms for ref, at_ms in of_age.items() if at_ms > records.now_ms()}
    told = await records.link(department, refs, minors)
    pseudonyms = [p.hex() for p in records.register.pseudonyms(department, refs)]
    return LinksOut(pseudonyms=pseudonyms, status="in-effect" if told else "taking-effect")
