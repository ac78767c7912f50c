"""Guardians of record, and the end of a minority."""

from functools import partial
from typing import Annotated, Self

from fastapi import APIRouter, Depends, Path, Request
from pydantic import AwareDatetime, BaseModel, Field

from passerelle_consent.policy.voice import Relation
from passerelle_consent.records import approvals, guardians, problems
from passerelle_consent.records.approvals import Approval
from passerelle_consent.records.guardians import Appointment, Recorded, Ward
from passerelle_consent.records.http.access import GuardedRoute
from passerelle_consent.records.http.answers import refuses
from passerelle_consent.records.http.bodies import ChangeOut, Hex16, In, epoch_ms, example, maybe_rfc3339, rfc3339
from passerelle_consent.records.http.calls import (
    Call,
    PseudonymPath,
    called,
    department_of,
    reading_of,
    records_of,
    subject_of,
)
from passerelle_consent.records.ports import Pseudonym, SubjectRef
from passerelle_consent.records.problems import Problem
from passerelle_consent.records.words import What

router = APIRouter(route_class=GuardedRoute)

Evidence = Annotated[str, Field(pattern=r"^[A-Z0-9][A-Z0-9./-]{2,63}$", examples=["EC-2024/00731", "TJ-RG-24/01188"])]
"""The reference of a civil record or a judgment: never its words."""


class GuardianIn(
    In,
    **example(
        {
            "guardian": "5c0f3a9e7b1d4286a0e4c97f1b62d83a",
            "relation": "parent",
            "evidence": "EC-2015/114",
            "valid_from": "2015-06-01T00:00:00Z",
        }
    ),
):
    """A guardianship to record. `guardian` is a pseudonym of the caller's department."""

    guardian: Hex16
    relation: Relation
    evidence: Evidence
    valid_from: AwareDatetime
    until: AwareDatetime | None = None


class EvidenceIn(In, **example({"evidence": "TJ-RG-24/01188"})):
    """What proves it."""

    evidence: Evidence


class GuardianshipOut(BaseModel):
    """A guardianship of record. `guardian` is a pseudonym of the caller's department."""

    id: str
    guardian: str
    relation: str
    evidence: str
    valid_from: str
    until: str | None
    in_office: bool
    recorded_by: str

    @classmethod
    def of(cls, recorded: Recorded, guardian: Pseudonym, now_ms: int) -> Self:
        """Ids as hexadecimal, times as RFC 3339."""
        return cls(
            id=recorded.id.hex(),
            guardian=guardian.hex(),
            relation=recorded.relation.value,
            evidence=recorded.evidence,
            valid_from=rfc3339(recorded.first_ms),
            until=maybe_rfc3339(recorded.end_ms),
            in_office=recorded.in_office(now_ms),
            recorded_by=recorded.department,
        )


class GuardianshipsOut(BaseModel):
    """All that were ever recorded, the newest first."""

    guardians: list[GuardianshipOut]


class WardOut(BaseModel):
    """Somebody for whom the caller speaks. `pseudonym` is what stands in the path.

    `minor_until` is a minor's majority or emancipation, null of an adult; the office may end before: `until`.
    """

    pseudonym: str
    relation: str
    until: str | None
    minor_until: str | None

    @classmethod
    def of(cls, ward: Ward, pseudonym: Pseudonym) -> Self:
        """Ids as hexadecimal, times as RFC 3339."""
        return cls(
            pseudonym=pseudonym.hex(),
            relation=ward.recorded.relation.value,
            until=maybe_rfc3339(ward.recorded.end_ms),
            minor_until=maybe_rfc3339(ward.minor_until_ms),
        )


class WardsOut(BaseModel):
    """Those for whom the caller speaks now."""

    wards: list[WardOut]


@refuses(problems.NOT_A_REGISTRAR)
async def registering(request: Request) -> None:
    """Let in officers who may say who speaks for whom: a dependency. Raises `Problem`."""
    if department_of(request) not in records_of(request).registrars:
        raise Problem(problems.NOT_A_REGISTRAR)


_registrars = [Depends(registering)]


@router.post("/v1/subjects/{pseudonym}/guardians", dependencies=_registrars)
@refuses(
    problems.OWN_GUARDIAN,
    problems.UNKNOWN_GUARDIAN,
    problems.WRONG_RELATION,
    problems.TOO_MANY_GUARDIANS,
    problems.ERASURE_UNDER_WAY,
)
async def appoint(call: Annotated[Call, Depends(called)], body: GuardianIn) -> ChangeOut:
    """Record a guardianship. Of an adult, protection follows: a curator's is assistance, a tutor's representation."""
    records = records_of(call.request)
    asked = call.asked("guardian", body)
    guardian = records.register.ref(department_of(call.request), Pseudonym(bytes.fromhex(body.guardian)))
    appointment = Appointment(
        guardian=guardian,
        relation=body.relation,
        evidence=body.evidence,
        first_ms=epoch_ms(body.valid_from),
        end_ms=None if body.until is None else epoch_ms(body.until),
    )
    script = partial(guardians.appoint, asked=asked, appointment=appointment)
    return call.answer(await records.change(asked, script))


@router.post("/v1/subjects/{pseudonym}/guardians/{guardianship}/end", dependencies=_registrars)
@refuses(problems.UNKNOWN_GUARDIANSHIP, problems.GUARDIANSHIP_OVER)
async def dismiss(
    call: Annotated[Call, Depends(called)], guardianship: Annotated[Hex16, Path()], body: EvidenceIn
) -> ChangeOut:
    """End a guardianship now."""
    asked = call.asked(f"end {guardianship}", body)
    script = partial(guardians.dismiss, asked=asked, guardianship=bytes.fromhex(guardianship))
    return call.answer(await records_of(call.request).change(asked, script))


@router.post("/v1/subjects/{pseudonym}/emancipation", dependencies=_registrars)
@refuses(problems.NO_MINOR)
async def emancipate(call: Annotated[Call, Depends(called)], body: EvidenceIn) -> ChangeOut:
    """End a minority before the eighteenth birthday."""
    asked = call.asked("emancipation", body)
    return call.answer(await records_of(call.request).change(asked, partial(guardians.emancipate, asked=asked)))


@router.get("/v1/subjects/{pseudonym}/guardians")
async def of_subject(
    request: Request,
    pseudonym: PseudonymPath,  # noqa: ARG001 - `subject_of` reads it
) -> GuardianshipsOut:
    """Return who speaks, or spoke, for a subject."""
    records, subject = records_of(request), subject_of(request)
    now_ms = records.now_ms()
    await records.admit_reading(subject.ref, subject.guardian, reading_of(request, subject, What.GUARDIANS))
    recorded = await records.read(partial(guardians.of_subject, ref=subject.ref))
    known = records.register.pseudonyms(department_of(request), [r.guardian for r in recorded])
    shown = [GuardianshipOut.of(r, p, now_ms) for r, p in zip(recorded, known, strict=True)]
    return GuardianshipsOut(guardians=shown)


@router.get("/v1/subjects/{pseudonym}/wards")
async def wards(
    request: Request,
    pseudonym: PseudonymPath,  # noqa: ARG001 - `subject_of` reads it
) -> WardsOut:
    """Return for whom a citizen speaks now."""
    records, subject = records_of(request), subject_of(request)
    await records.admit_reading(subject.ref, subject.guardian, reading_of(request, subject, What.WARDS))
    held = await records.read(partial(guardians.wards_of, guardian=subject.ref, now_ms=records.now_ms()))
    known = records.register.pseudonyms(department_of(request), [ward.recorded.ref for ward in held])
    return WardsOut(wards=[WardOut.of(ward, p) for ward, p in zip(held, known, strict=True)])


class ApprovalOut(BaseModel):
    """A guardian's consent that waits for another's. `mine`: the caller's own."""

    agreement: str
    notice: int | None
    until: str
    mine: bool

    @classmethod
    def of(cls, approval: Approval, caller: SubjectRef | None) -> Self:
        """Times as RFC 3339. Which of the others it was is not told."""
        return cls(
            agreement=approval.agreement,
            notice=approval.notice,
            until=rfc3339(approval.until_ms),
            mine=approval.guardian == caller,
        )


class ApprovalsOut(BaseModel):
    """What waits for another guardian's word, by agreement."""

    approvals: list[ApprovalOut]


@router.get("/v1/subjects/{pseudonym}/approvals")
async def waiting(
    request: Request,
    pseudonym: PseudonymPath,  # noqa: ARG001 - `subject_of` reads it
) -> ApprovalsOut:
    """Return to what one guardian has said yes, and the other not yet."""
    records, subject = records_of(request), subject_of(request)
    await records.admit_reading(subject.ref, subject.guardian, reading_of(request, subject, What.CHANGES))
    held = await records.read(partial(approvals.waiting, ref=subject.ref, now_ms=records.now_ms()))
    return ApprovalsOut(approvals=[ApprovalOut.of(approval, subject.guardian) for approval in held])
