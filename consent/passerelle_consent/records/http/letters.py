"""What is done about dead letters, told to the ledger before it is done.

A dead letter names nobody, and neither does its entry: whose it was, a digest of its reference, a cause of a closed
set, and the department that settled it; none for an operator of the bus.
"""

from typing import Annotated, Literal, Self

from fastapi import APIRouter, Request
from pydantic import BaseModel, StringConstraints

from passerelle_consent.records import problems
from passerelle_consent.records.http.access import GuardedRoute
from passerelle_consent.records.http.answers import refuses
from passerelle_consent.records.http.bodies import In, example, rfc3339
from passerelle_consent.records.http.calls import principal_of, records_of
from passerelle_consent.records.ports import Role
from passerelle_consent.records.problems import Problem
from passerelle_consent.wire import Cause, JournalEntry, JournalType

router = APIRouter(route_class=GuardedRoute)

_SAID = {"done": "replayed", "component": "webhook.schools", "cause": "receiver-mended", "letter": "0" * 64}


class SettleIn(In, **example(_SAID)):
    """A dead letter, and what is about to be done with it."""

    done: Literal["replayed", "discarded"]
    component: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,63}(\.[a-z][a-z0-9-]{0,63})?$")]
    """Whose letter: `gate`, `agents.<app>`, or `<component>.<department>`."""
    cause: Cause
    letter: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    """SHA-256 of its reference, `topic[partition]@offset`; or of what a re-run of history says of itself."""


class SettledOut(BaseModel):
    """The entry of the ledger that tells of it."""

    entry: str
    at: str

    @classmethod
    def of(cls, entry: JournalEntry) -> Self:
        """Id as hexadecimal, time as RFC 3339."""
        return cls(entry=entry.id.hex(), at=rfc3339(entry.at_ms))


@router.post("/v1/operations/dead-letters", status_code=201)
@refuses(problems.NOT_ITS_LETTER)
async def settle(request: Request, body: SettleIn) -> SettledOut:
    """Have the ledger tell that a dead letter is replayed or discarded. A department sees to its own alone."""
    records, principal = records_of(request), principal_of(request)
    way, _, owner = body.component.partition(".")
    # `agents.<app>` is the bus's own, also where an app is called as a department is.
    own = way != "agents" and owner == principal.department
    if not own and Role.OPERATOR not in principal.roles:
        raise Problem(problems.NOT_ITS_LETTER)
    entry = JournalEntry(
        id=records.new_id(),
        type=JournalType(body.done),
        at_ms=records.now_ms(),
        department=principal.department,
        component=body.component,
        cause=body.cause,
        digest=bytes.fromhex(body.letter),
    )
    await records.tell(entry)
    return SettledOut.of(entry)
