"""What a route knows of its caller, and what every change is asked with."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated

from fastapi import Header, Path, Request, Response
from pydantic import BaseModel

from passerelle_consent.policy.standing import Actor, Standing
from passerelle_consent.records import problems
from passerelle_consent.records.changes import Asked, Change
from passerelle_consent.records.http.access import insufficient
from passerelle_consent.records.http.answers import refuses
from passerelle_consent.records.http.bodies import AtTheCounter, ChangeOut
from passerelle_consent.records.http.conditional import ENTITY_TAG
from passerelle_consent.records.ports import Principal, Pseudonym, Role, SubjectRef
from passerelle_consent.records.problems import Problem
from passerelle_consent.records.reading import Reading
from passerelle_consent.records.service import Records
from passerelle_consent.records.words import What

ME = "me"
ANY = "*"

PseudonymPath = Annotated[str, Path(pattern=rf"^({ME}|[0-9a-f]{{32}})$")]
AgreementPath = Annotated[str, Path(pattern=r"^[a-z][a-z0-9-]{0,99}$")]
IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=128,
        pattern=r"^[\x21-\x7e]+$",
        description="Your own key for this request: for 24 hours a repeat under it is done once.",
    ),
]
IfMatch = Annotated[
    str | None,
    Header(
        max_length=1_000,
        pattern=rf"^(\*|{ENTITY_TAG}( *, *{ENTITY_TAG})*)$",
        description="Change only the standing of this `ETag`.",
    ),
]

Mandate = Annotated[
    str | None,
    Header(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,63}$", description="An auditor's: the reference of its mandate."),
]


def records_of(request: Request) -> Records:
    """The service behind this application."""
    records: Records = request.app.state.records
    return records


def principal_of(request: Request) -> Principal:
    """Who calls; `access` saw to it that somebody does."""
    principal: Principal = request.state.principal
    return principal


def department_of(request: Request) -> str:
    """The caller's department. Every rule of a route that asks for it lets in only roles that have one."""
    department = principal_of(request).department
    assert department is not None  # noqa: S101 - `tokens` refuses such roles without a department
    return department


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """Whom a request is about, and as whom the caller speaks of them."""

    ref: SubjectRef
    by: Actor
    guardian: SubjectRef | None = None
    """The caller, who says to be the subject's guardian: the script checks that this is on record."""


def subject_of(request: Request) -> Subject:
    """Resolve the path's `{pseudonym}` for this caller. Raises `Problem`.

    A citizen is `me`, or their own pseudonym; with the scope `guardian`, somebody else's guardian. An office speaks of
    whoever is behind the pseudonym of its own department: some ref always comes out, known or not.
    """
    principal, pseudonym = principal_of(request), request.path_params["pseudonym"]
    if not principal.personal:
        if pseudonym == ME:
            raise Problem(problems.NOT_A_CITIZEN)
        if principal.department is None:
            raise Problem(problems.DEPARTMENT_NEEDED)
        by = Actor.OFFICER if Role.OFFICER in principal.roles else Actor.SUBJECT
        return Subject(ref=_ref(request, bytes.fromhex(pseudonym)), by=by)
    own = _ref(request, principal.pseudonym or b"")
    if pseudonym == ME or bytes.fromhex(pseudonym) == principal.pseudonym:
        if Role.CITIZEN not in principal.roles:
            raise insufficient(frozenset({Role.CITIZEN}))
        return Subject(ref=own, by=Actor.SUBJECT)
    if Role.GUARDIAN not in principal.roles:
        raise Problem(problems.NOT_YOURS)
    return Subject(ref=_ref(request, bytes.fromhex(pseudonym)), by=Actor.GUARDIAN, guardian=own)


def reading_of(request: Request, subject: Subject, what: What, *, mandate: str | None = None) -> Reading | None:
    """Return what the journal is to tell of a read; None when the subject reads. Raises `Problem` mandate-needed."""
    principal = principal_of(request)
    if principal.personal:
        reader = Role.GUARDIAN if subject.guardian is not None else None
    else:
        reader = next(role for role in _READERS if role in principal.roles)
    if reader is None:
        return None
    if reader is Role.AUDITOR and mandate is None:
        raise Problem(problems.MANDATE_NEEDED)
    return records_of(request).new_reading(
        subject.ref,
        reader=reader,
        department=principal.department,
        what=what,
        mandate=mandate if reader is Role.AUDITOR else None,
    )


def readings_of(request: Request, what: What) -> Callable[[SubjectRef], Reading]:
    """Return what the journal is to tell of an officer's read of a list, for each subject in it."""
    department = department_of(request)
    return partial(records_of(request).new_reading, reader=Role.OFFICER, department=department, what=what, mandate=None)


async def admitted(request: Request, what: What, mandate: str | None) -> SubjectRef:
    """Return whose data is read, once it is known that it may be, and by whom. Raises `Problem`."""
    subject = subject_of(request)
    await records_of(request).admit_reading(
        subject.ref, subject.guardian, reading_of(request, subject, what, mandate=mandate)
    )
    return subject.ref


_READERS = (Role.AUDITOR, Role.OFFICER, Role.DEPARTMENT, Role.OPERATOR)
"""As what an office reads that is several: the one that needs most."""


def _ref(request: Request, pseudonym: bytes) -> SubjectRef:
    return records_of(request).register.ref(department_of(request), Pseudonym(pseudonym))


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """What every change is asked with, besides its body."""

    request: Request
    response: Response
    subject: Subject
    idempotency_key: str | None
    if_match: frozenset[str] | None = None

    def asked(self, what: str, body: BaseModel) -> Asked:
        """Give it an id. ``what`` and the body tell a repeat from another use of the key. Raises `Problem`.

        The body says who stood at a counter; a citizen's own token says it itself.
        """
        principal = principal_of(self.request)
        subject = self._at_the_counter(body) if isinstance(body, AtTheCounter) else self.subject
        repeated = f"{what}\n{self.subject.ref.hex()}\n{body.model_dump_json()}".encode()
        return records_of(self.request).new_asked(
            self.subject.ref,
            department_of(self.request),
            principal.name,
            by=subject.by,
            guardian=subject.guardian,
            if_match=self.if_match,
            idempotency_key=self.idempotency_key,
            request=hashlib.sha256(repeated).digest(),
        )

    def _at_the_counter(self, body: AtTheCounter) -> Subject:
        if body.by is None and body.guardian is None:
            return self.subject
        if principal_of(self.request).personal:
            raise Problem(problems.SPEAKER)
        if (body.by == "guardian") is (body.guardian is None):
            raise Problem(problems.GUARDIAN_NEEDED)
        guardian = None if body.guardian is None else _ref(self.request, bytes.fromhex(body.guardian))
        return replace(self.subject, by=Actor(body.by or "subject"), guardian=guardian)

    def answer(self, change: Change, standing: Standing | None = None) -> ChangeOut:
        """Return the body: 200 when the change is in effect, else 202 and where to look (DESIGN §7)."""
        if not change.in_effect:
            self.response.status_code = 202
            self.response.headers["Location"] = f"/v1/acknowledgements/{change.id.hex()}"
        return ChangeOut.of(change, standing)


@refuses(problems.KEY_REUSED, problems.STALE_ETAG)
async def called(
    request: Request,
    response: Response,
    pseudonym: PseudonymPath,  # noqa: ARG001 - checked here, resolved by `subject_of`
    idempotency_key: IdempotencyKey = None,
    if_match: IfMatch = None,
) -> Call:
    """Gather a call: a dependency of every route that changes something."""
    return Call(
        request=request,
        response=response,
        subject=subject_of(request),
        idempotency_key=idempotency_key,
        if_match=None if if_match is None or if_match == ANY else _strong(if_match),
    )


def _strong(if_match: str) -> frozenset[str]:
    """Return the tags that can match: a weak one never does (RFC 9110 §13.1.1)."""
    return frozenset(tag[0] for tag in re.finditer(ENTITY_TAG, if_match) if tag[1] is None)
