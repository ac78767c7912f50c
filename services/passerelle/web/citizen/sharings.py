"""What is shared about me, one sharing, and what I say to it."""

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Path
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from passerelle.web.citizen import notices as told_by_the_city
from passerelle.web.citizen import speaking
from passerelle.web.citizen.effects import followed, since
from passerelle.web.citizen.purposes import by_purpose
from passerelle.web.citizen.sharing import standing_of
from passerelle.web.citizen.whose import OWN, WARDS, About, Whose
from passerelle.web.rendering import page
from passerelle.web.service import Answer, Refused, ServiceAway
from passerelle.web.visit import Form

NOTICES_SHOWN = 3
RECENT = 5
SAID_SHOWN = 20
SAID = frozenset({"give", "refuse", "withdraw", "object"})
STALE = frozenset({"stale-etag", "stale-notice", "illegal-transition"})
"""What was on the page is no longer so: it is shown anew, and the person says it again or not."""

Agreement = Annotated[str, Path(pattern=r"^[a-z][a-z0-9-]{0,99}$")]
Ident = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$")]

own, wards = APIRouter(prefix=OWN), APIRouter(prefix=WARDS)


@own.get("/accord/{agreement}")
@wards.get("/accord/{agreement}")
async def sharing(whose: About, agreement: Agreement) -> Response:
    """One sharing."""
    return await _sharing(whose, agreement)


@own.get("")
@wards.get("")
async def home(whose: About) -> Response:
    """What is shared about somebody."""
    visit, read = whose.visit, whose.visit.site.consent.read
    who, standing, recent, notices = await asyncio.gather(
        speaking.read(whose),
        read(visit.who, whose.api("standing")),
        _or_none(read(visit.who, whose.api("disclosures"), limit=RECENT)),
        _or_none(read(visit.who, whose.api("notices"), limit=NOTICES_SHOWN)),
    )
    held = standing_of(standing.body)
    found = visit.site.sharings[visit.language.value].all(held, visit.site.clock())
    sent = {d["flow"] for d in recent.body["disclosures"]} if recent else set()
    first = [s for s in found if who.concerns(s, held, sent)]
    return page(
        visit,
        "citizen/home.html",
        whose=whose,
        speaking=who,
        held=held,
        seen=standing,
        asked_anew=[(s, c) for s in found for c in s.controls if c.superseded],
        mine=by_purpose(first),
        others=[s for s in found if s not in first],
        recent=recent.body["disclosures"] if recent else None,
        notices=[n for n in _told(whose, notices) if n.read_at is None],
    )


async def _sharing(
    whose: Whose, agreement: str, *, trouble: str = "", status: int = 200, meanwhile: Sequence[Any] = ()
) -> Response:
    """``trouble``: why nothing was done, by the problem's name; ``meanwhile``: what was said since it was seen."""
    visit, read = whose.visit, whose.visit.site.consent.read
    who, standing, changes, deliveries = await asyncio.gather(
        speaking.read(whose),
        read(visit.who, whose.api("standing")),
        read(visit.who, whose.api("changes"), agreement=agreement, limit=SAID_SHOWN),
        _or_none(read(visit.who, whose.api("disclosures"), agreement=agreement, limit=RECENT)),
    )
    found = visit.site.sharings[visit.language.value].under(agreement, standing_of(standing.body), visit.site.clock())
    if not found:
        raise HTTPException(404)
    shown = found[0]
    (control,) = [c for c in shown.controls if c.agreement.id == agreement]
    return page(
        visit,
        "citizen/sharing.html",
        status=status,
        whose=whose,
        sharing=shown,
        control=control,
        speaking=who,
        held=standing_of(standing.body),
        seen=standing,
        trouble=trouble,
        meanwhile=meanwhile,
        titles=visit.site.sharings[visit.language.value].titles,
        changes=changes.body["changes"],
        deliveries=None if deliveries is None else deliveries.body["disclosures"],
    )


@own.post("/accord/{agreement}")
@wards.post("/accord/{agreement}")
async def say(whose: About, agreement: Agreement, form: Form) -> Response:
    """Say yes, no, or that one objects."""
    visit, word = whose.visit, str(form.get("dire", ""))
    notice = str(form.get("notice", ""))
    if word not in SAID or not notice.isdecimal():
        raise HTTPException(400)
    body = {"notice": int(notice)}
    key = str(form.get("form-key", ""))
    try:
        answer = await visit.site.consent.change(
            visit.who,
            "POST",
            whose.api(f"agreements/{agreement}/{word}"),
            body,
            # The page offers several buttons under one key: each word is a request of its own.
            key=f"{key}.{word}"[:128] if key else None,
            if_match=str(form.get("etag", "")) or None,
        )
    except Refused as refused:
        if refused.kind not in STALE and refused.status not in (403, 409):
            raise
        meanwhile = await _meanwhile(whose, str(form.get("vu", ""))) if refused.kind in STALE else ()
        return await _sharing(whose, agreement, trouble=refused.kind, status=409, meanwhile=meanwhile)
    where = f"{whose.at(agreement)}/accuse/{answer.body['acknowledgement']}"
    return RedirectResponse(visit.to(where), status_code=303)


@own.get("/accord/{agreement}/accuse/{change}")
@wards.get("/accord/{agreement}/accuse/{change}")
async def acknowledged(whose: About, agreement: Agreement, change: Ident) -> Response:
    """What was said, and since when it holds."""
    visit, read = whose.visit, whose.visit.site.consent.read
    who, said, standing = await asyncio.gather(
        speaking.read(whose),
        read(visit.who, f"/v1/acknowledgements/{change}"),
        read(visit.who, whose.api("standing")),
    )
    found = visit.site.sharings[visit.language.value].under(agreement, standing_of(standing.body), visit.site.clock())
    if not found or not _is_about(said.body["agreement"], agreement):
        raise HTTPException(404)
    (control,) = [c for c in found[0].controls if c.agreement.id == agreement]
    return page(
        visit,
        "citizen/receipt.html",
        whose=whose,
        speaking=who,
        said=said.body,
        followed=followed(said.body, control, found[0]),
        sharing=found[0],
        control=control,
    )


def _told(whose: Whose, notices: Answer | None) -> list[told_by_the_city.Told]:
    """The newest notices in words; the account says more of each."""
    visit = whose.visit
    return told_by_the_city.told(notices.body["notices"] if notices else (), (), visit.department, visit.say)


async def _meanwhile(whose: Whose, seen: str) -> Sequence[Any]:
    """What was said since the revision that the form was made with: in another tab, by a guardian, at a counter."""
    answer = await whose.visit.site.consent.read(whose.visit.who, whose.api("changes"), limit=RECENT)
    return since(answer.body["changes"], seen)


def _is_about(ref: str | None, agreement: str) -> bool:
    return (ref or "").partition("@")[0] == agreement


async def _or_none(asked: Any) -> Answer | None:
    """What comes from the ledger: the page says what it can without."""
    try:
        answer: Answer = await asked
    except ServiceAway:
        return None
    return answer
