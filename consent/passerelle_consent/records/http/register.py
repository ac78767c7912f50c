"""The public register of agreements and flows: no sign-in, nothing about anybody (GDPR Art. 30, and Art. 13 and 14).

It is read as plain JSON or, by `Accept: application/ld+json`, as JSON-LD with the Data Privacy Vocabulary's terms. What
is shown follows from the policy in force: its digest, and that of an agreement in the lock, make the entity tags.
"""

import hashlib
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query
from pydantic import StringConstraints

from passerelle_consent.policy.agreements import Agreement, Basis, Purpose
from passerelle_consent.policy.days import midnight_ms
from passerelle_consent.policy.lock import digest_of
from passerelle_consent.receipts.register import register, registered
from passerelle_consent.records import problems
from passerelle_consent.records.http.access import GuardedRoute
from passerelle_consent.records.http.answers import refuses
from passerelle_consent.records.http.bodies import DepartmentId
from passerelle_consent.records.http.calls import AgreementPath, records_of
from passerelle_consent.records.http.forms import CONDITIONAL, FORMS, Read, Reader
from passerelle_consent.records.http.pages import Page, paged
from passerelle_consent.records.http.registered import (
    AgreementOut,
    FlowOut,
    FlowsOut,
    NoticeTextOut,
    RegisteredOut,
    RegisterOut,
    described,
    fields_of,
)
from passerelle_consent.records.problems import Problem
from passerelle_consent.records.service import Records
from passerelle_schemas.catalogue import Text

router = APIRouter(route_class=GuardedRoute)

Version = Annotated[int, Path(ge=1, le=999_999)]
PurposeQuery = Annotated[
    str | None,
    StringConstraints(min_length=2, max_length=80),
    Query(description="A DPV code, with or without `dpv:`, or words of the purpose."),
]
Search = Annotated[str | None, StringConstraints(min_length=2, max_length=80), Query(description="Words to look for.")]


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """What is looked for; what is None is not asked."""

    search: str | None
    purpose: str | None
    department: str | None
    source: str | None
    recipient: str | None
    basis: Basis | None
    in_force_on: date | None

    def has(self, agreement: Agreement) -> bool:
        """Whether an agreement is one of those."""
        return (
            self.source in (None, agreement.source)
            and self.recipient in (None, agreement.recipient)
            and self.department in (None, agreement.source, agreement.recipient)
            and self.basis in (None, agreement.basis)
            and (self.in_force_on is None or _in_force(agreement, self.in_force_on))
            and (self.purpose is None or _is_for(agreement.purpose, self.purpose.casefold()))
            and (self.search is None or self.search.casefold() in _words(agreement))
        )


async def wanted(
    *,
    search: Search = None,
    purpose: PurposeQuery = None,
    department: Annotated[DepartmentId | None, Query(description="As the source or the recipient.")] = None,
    source: Annotated[DepartmentId | None, Query()] = None,
    recipient: Annotated[DepartmentId | None, Query()] = None,
    basis: Basis | None = None,
    in_force_on: date | None = None,
) -> Wanted:
    """Gather what is looked for: a dependency."""
    return Wanted(
        search=search,
        purpose=purpose,
        department=department,
        source=source,
        recipient=recipient,
        basis=basis,
        in_force_on=in_force_on,
    )


@router.get("/v1/agreements", response_model=RegisterOut, responses=FORMS)
async def agreements(
    read: Read, page: Annotated[Page, Depends(paged)], looked_for: Annotated[Wanted, Depends(wanted)]
) -> Any:
    """Search the agreements."""
    records = records_of(read.request)
    after = page.after(str, int) or ("", 0)
    found = [a for a in records.book.all() if (a.id, a.version) > after and looked_for.has(a)]
    shown = page.cut(found[: page.rows], lambda a: (a.id, a.version))
    return read.shown(
        records.policy.hex(),
        lambda: RegisterOut(agreements=[RegisteredOut.of(a, records.catalogue) for a in shown]),
        lambda: register([(a, _flows_under(records, a)) for a in shown], read.issue, language=read.language),
    )


@router.get("/v1/agreements/{agreement}", response_model=AgreementOut, responses=FORMS)
@refuses(problems.UNKNOWN_AGREEMENT, problems.UNKNOWN_VERSION)
async def newest(read: Read, agreement: AgreementPath) -> Any:
    """Return the version in force, else the newest."""
    records = records_of(read.request)
    return _shown(read, records.book.agreement(agreement, records.now_ms()))


@router.get("/v1/agreements/{agreement}/versions/{version}", response_model=AgreementOut, responses=FORMS)
@refuses(problems.UNKNOWN_AGREEMENT, problems.UNKNOWN_VERSION)
async def version_(read: Read, agreement: AgreementPath, version: Version) -> Any:
    """Return one version."""
    return _shown(read, records_of(read.request).book.version(agreement, version))


@router.get("/v1/flows", response_model=FlowsOut, responses=CONDITIONAL)
async def flows(read: Read, page: Annotated[Page, Depends(paged)]) -> Any:
    """Return the flows in force."""
    records = records_of(read.request)
    (after,) = page.after(str) or ("",)
    found = sorted((f for f in records.flows if f.id > after), key=lambda f: f.id)
    shown = page.cut(found[: page.rows], lambda f: (f.id,))
    return read.shown(records.policy.hex(), lambda: FlowsOut(flows=[FlowOut.of(f, records.catalogue) for f in shown]))


@router.get("/v1/notices/{agreement}/{version}", response_model=NoticeTextOut, responses=CONDITIONAL)
@refuses(problems.UNKNOWN_AGREEMENT, problems.UNKNOWN_VERSION)
async def notice(read: Read, agreement: AgreementPath, version: Version) -> Any:
    """Return what citizens were told, by the notice's version: where a receipt leads."""
    told = [a for a in records_of(read.request).book.versions(agreement) if a.notice.version == version]
    if not told:
        raise Problem(problems.UNKNOWN_VERSION)
    words = told[-1].notice
    digests = {"sha256_fr": _sha256(words.fr), "sha256_en": _sha256(words.en)}
    return read.shown(
        _sha256("".join(digests.values())),
        lambda: NoticeTextOut(agreement=agreement, version=version, words=Text(fr=words.fr, en=words.en), **digests),
    )


def _shown(read: Reader, agreement: Agreement) -> Any:
    """One version. Its flows and its other versions are the policy's: both digests make the tag."""
    records = records_of(read.request)
    flows = _flows_under(records, agreement)
    return read.shown(
        f"{digest_of(agreement)}.{records.policy.hex()[:16]}",
        lambda: AgreementOut(
            agreement=agreement.ref,
            digest=digest_of(agreement),
            signed=agreement.model_dump(mode="json", by_alias=True, exclude_unset=True),
            flows=flows,
            versions=[a.version for a in records.book.versions(agreement.id)],
            described=described(fields_of(agreement), records.catalogue),
        ),
        lambda: registered(agreement, read.issue, flows, language=read.language),
    )


def _flows_under(records: Records, agreement: Agreement) -> list[str]:
    return sorted(f.id for f in records.flows if agreement.ref in f.agreements)


def _is_for(purpose: Purpose, said: str) -> bool:
    """Whether these are the purpose's code or some of its words."""
    code = purpose.code.casefold()
    return said in (code, code.removeprefix("dpv:")) or said in f"{purpose.fr}\n{purpose.en}".casefold()


def _in_force(agreement: Agreement, day: date) -> bool:
    first_ms, end_ms = agreement.span_ms()
    return first_ms <= midnight_ms(day) and (end_ms is None or midnight_ms(day) < end_ms)


def _words(agreement: Agreement) -> str:
    texts = (agreement.id, agreement.purpose.fr, agreement.purpose.en, agreement.notice.fr, agreement.notice.en)
    return "\n".join((*texts, agreement.law or "")).casefold()


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
