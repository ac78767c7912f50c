"""The public register of agreements and flows: no sign-in, nothing about anybody (GDPR Art. 30, and Art. 13 and 14)."""

import hashlib
from datetime import date
from typing import Annotated, Any, Self

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import BaseModel, StringConstraints

from passerelle_consent.policy.agreements import Agreement, Basis
from passerelle_consent.policy.days import midnight_ms
from passerelle_consent.policy.flows import Flow
from passerelle_consent.records import problems
from passerelle_consent.records.http.access import GuardedRoute
from passerelle_consent.records.http.answers import refuses
from passerelle_consent.records.http.bodies import DepartmentId
from passerelle_consent.records.http.calls import AgreementPath, records_of
from passerelle_consent.records.http.pages import Page, paged
from passerelle_consent.records.problems import Problem
from passerelle_schemas.catalogue import Text

FRESH = "public, max-age=300"
"""The register changes with a release of the policy; five minutes late is early enough."""

router = APIRouter(route_class=GuardedRoute)

Version = Annotated[int, Path(ge=1, le=999_999)]
Search = Annotated[str | None, StringConstraints(min_length=2, max_length=80), Query(description="Words to look for.")]


class RegisteredOut(BaseModel):
    """One version of an agreement, in brief."""

    agreement: str
    id: str
    version: int
    source: str
    recipient: str
    purpose: Text
    basis: str
    law: str | None
    in_force_from: date
    in_force_until: date | None
    review: date

    @classmethod
    def of(cls, agreement: Agreement) -> Self:
        """What a list shows."""
        return cls(
            agreement=agreement.ref,
            id=agreement.id,
            version=agreement.version,
            source=agreement.source,
            recipient=agreement.recipient,
            purpose=Text(fr=agreement.purpose.fr, en=agreement.purpose.en),
            basis=agreement.basis.value,
            law=agreement.law,
            in_force_from=agreement.in_force.from_,
            in_force_until=agreement.in_force.until,
            review=agreement.review,
        )


class RegisterOut(BaseModel):
    """A page of the register, by id and version."""

    agreements: list[RegisteredOut]


class AgreementOut(BaseModel):
    """An agreement as it was signed, and the flows that run under it."""

    agreement: str
    signed: dict[str, Any]
    flows: list[str]
    versions: list[int]


class FlowOut(BaseModel):
    """What reaches whom, and under which agreements."""

    id: str
    event: str
    recipient: str
    purpose: str
    agreements: list[str]
    required: list[str]
    optional: list[str]
    description: Text

    @classmethod
    def of(cls, flow: Flow) -> Self:
        """As its file says."""
        return cls.model_validate(flow.model_dump(mode="json"))


class FlowsOut(BaseModel):
    """A page of flows, by id."""

    flows: list[FlowOut]


class NoticeTextOut(BaseModel):
    """What citizens are told under an agreement, and the SHA-256 of each text's UTF-8 bytes."""

    agreement: str
    version: int
    words: Text
    sha256_fr: str
    sha256_en: str


@router.get("/v1/agreements")
async def agreements(
    request: Request,
    response: Response,
    page: Annotated[Page, Depends(paged)],
    *,
    search: Search = None,
    source: Annotated[DepartmentId | None, Query()] = None,
    recipient: Annotated[DepartmentId | None, Query()] = None,
    basis: Basis | None = None,
    in_force_on: date | None = None,
) -> RegisterOut:
    """Search the agreements."""
    after = page.after(str, int) or ("", 0)
    found = [
        a
        for a in records_of(request).book.all()
        if (a.id, a.version) > after
        and (source is None or a.source == source)
        and (recipient is None or a.recipient == recipient)
        and (basis is None or a.basis is basis)
        and (in_force_on is None or _in_force(a, in_force_on))
        and (search is None or search.casefold() in _words(a))
    ]
    shown = page.cut(found[: page.rows], lambda a: (a.id, a.version))
    response.headers["Cache-Control"] = FRESH
    return RegisterOut(agreements=[RegisteredOut.of(a) for a in shown])


@router.get("/v1/agreements/{agreement}")
@refuses(problems.UNKNOWN_AGREEMENT, problems.UNKNOWN_VERSION)
async def newest(request: Request, response: Response, agreement: AgreementPath) -> AgreementOut:
    """Return the version in force, else the newest."""
    records = records_of(request)
    return _shown(request, response, records.book.agreement(agreement, records.now_ms()))


@router.get("/v1/agreements/{agreement}/versions/{version}")
@refuses(problems.UNKNOWN_AGREEMENT, problems.UNKNOWN_VERSION)
async def version_(request: Request, response: Response, agreement: AgreementPath, version: Version) -> AgreementOut:
    """Return one version."""
    return _shown(request, response, records_of(request).book.version(agreement, version))


@router.get("/v1/flows")
async def flows(request: Request, response: Response, page: Annotated[Page, Depends(paged)]) -> FlowsOut:
    """Return the flows in force."""
    (after,) = page.after(str) or ("",)
    found = sorted((f for f in records_of(request).flows if f.id > after), key=lambda f: f.id)
    response.headers["Cache-Control"] = FRESH
    return FlowsOut(flows=[FlowOut.of(f) for f in page.cut(found[: page.rows], lambda f: (f.id,))])


@router.get("/v1/notices/{agreement}/{version}")
@refuses(problems.UNKNOWN_AGREEMENT, problems.UNKNOWN_VERSION)
async def notice(request: Request, response: Response, agreement: AgreementPath, version: Version) -> NoticeTextOut:
    """Return what citizens were told, by the notice's version: where a receipt leads."""
    told = [a for a in records_of(request).book.versions(agreement) if a.notice.version == version]
    if not told:
        raise Problem(problems.UNKNOWN_VERSION)
    words = told[-1].notice
    response.headers["Cache-Control"] = FRESH
    return NoticeTextOut(
        agreement=agreement,
        version=version,
        words=Text(fr=words.fr, en=words.en),
        sha256_fr=_sha256(words.fr),
        sha256_en=_sha256(words.en),
    )


def _shown(request: Request, response: Response, agreement: Agreement) -> AgreementOut:
    records = records_of(request)
    response.headers["Cache-Control"] = FRESH
    return AgreementOut(
        agreement=agreement.ref,
        signed=agreement.model_dump(mode="json", by_alias=True, exclude_unset=True),
        flows=sorted(f.id for f in records.flows if agreement.ref in f.agreements),
        versions=[a.version for a in records.book.versions(agreement.id)],
    )


def _in_force(agreement: Agreement, day: date) -> bool:
    first_ms, end_ms = agreement.span_ms()
    return first_ms <= midnight_ms(day) and (end_ms is None or midnight_ms(day) < end_ms)


def _words(agreement: Agreement) -> str:
    texts = (agreement.id, agreement.purpose.fr, agreement.purpose.en, agreement.notice.fr, agreement.notice.en)
    return "\n".join((*texts, agreement.law or "")).casefold()


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
