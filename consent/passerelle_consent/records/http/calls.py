"""What a route knows of its caller, and what every change is asked with."""

import hashlib
from dataclasses import dataclass
from typing import Annotated

from fastapi import Header, Path, Request, Response
from pydantic import BaseModel

from passerelle_consent.policy.standing import Standing
from passerelle_consent.records.changes import Asked, Change
from passerelle_consent.records.http.access import own_department
from passerelle_consent.records.http.bodies import ChangeOut, Hex16
from passerelle_consent.records.ports import Principal, Pseudonym, SubjectRef
from passerelle_consent.records.service import Records

PseudonymPath = Annotated[Hex16, Path()]
AgreementPath = Annotated[str, Path(pattern=r"^[a-z][a-z0-9-]{0,99}$")]
IdempotencyKey = Annotated[str | None, Header(min_length=1, max_length=128, pattern=r"^[\x21-\x7e]+$")]


def records_of(request: Request) -> Records:
    """The service behind this application."""
    records: Records = request.app.state.records
    return records


def principal_of(request: Request) -> Principal:
    """Who calls; `access` saw to it that somebody does."""
    principal: Principal = request.state.principal
    return principal


def ref_of(request: Request, department: str, pseudonym: str) -> SubjectRef:
    """Return the subject behind one of the caller's own pseudonyms. Raises `Problem` wrong-department."""
    own_department(principal_of(request), department)
    return records_of(request).register.ref(department, Pseudonym(bytes.fromhex(pseudonym)))


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """What every change is asked with, besides its body."""

    request: Request
    response: Response
    pseudonym: str
    idempotency_key: str | None

    def asked(self, department: str, what: str, body: BaseModel) -> Asked:
        """Give it an id. ``what`` and the body tell a repeat from another use of the key. Raises `Problem`."""
        repeated = f"{what}\n{self.pseudonym}\n{body.model_dump_json()}".encode()
        return records_of(self.request).new_asked(
            ref_of(self.request, department, self.pseudonym),
            department,
            principal_of(self.request).name,
            idempotency_key=self.idempotency_key,
            request=hashlib.sha256(repeated).digest(),
        )

    def answer(self, change: Change, standing: Standing | None = None) -> ChangeOut:
        """Return the body: 200 when the change is in effect, else 202 and where to look (DESIGN §7)."""
        if not change.in_effect:
            self.response.status_code = 202
            self.response.headers["Location"] = f"/v1/acknowledgements/{change.id.hex()}"
        return ChangeOut.of(change, standing)


async def called(
    request: Request, response: Response, pseudonym: PseudonymPath, idempotency_key: IdempotencyKey = None
) -> Call:
    """Gather a call: a dependency of every route that changes something."""
    return Call(request=request, response=response, pseudonym=pseudonym, idempotency_key=idempotency_key)
