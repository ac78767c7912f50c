"""A dead letter is replayed or discarded: the ledger is told before, the letter is settled after.

A crash in between leaves a letter that waits, and can be settled again. By the command line and the control room alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from passerelle.city.manifest import Manifest
from passerelle.config import Settings
from passerelle.dead_letters import Done, Waiting, find, resolution, waiting
from passerelle.issuer import Bearing
from passerelle.letters import read, tell, write
from passerelle.replaying import Asked, Desk, Outcome
from passerelle_consent.wire import Cause, DeadLetter
from passerelle_schemas.faults import Fault


@dataclass(frozen=True, kw_only=True, slots=True)
class Settled:
    """What became of a letter."""

    outcome: Outcome
    entry: str
    """The ledger's."""


def owners(manifest: Manifest) -> Sequence[str]:
    """Whose dead letters there may be."""
    return (*manifest.department_ids, *_of_the_bus(manifest))


def desk(
    here: Settings, manifest: Manifest, owner: str, asked: Asked | None = None, *, teller: Bearing | None = None
) -> Desk:
    """A department sees to its own; those of the bus itself take the administrator's key. Raises `Fault`.

    ``teller``: as whom the ledger is told; otherwise as the owner, or an operator of the bus.
    """
    if owner in manifest.department_ids:
        access, bearing = here.access(owner), Bearing(scopes=["department"], department=owner)
    elif owner in _of_the_bus(manifest):
        access, bearing = here.access("admin"), Bearing(scopes=["operator"])
    else:
        raise Fault(f"nobody is called {owner}", hint="a department, gate, or agents.<app>")
    return Desk(
        here=here, manifest=manifest, access=access, bearing=bearing, teller=teller or bearing, asked=asked or Asked()
    )


def letters_of(desk: Desk, owner: str) -> list[Waiting]:
    """What waits of an owner. Raises `Fault`."""
    return waiting(read(desk.access, owner), owner)


def replay(desk: Desk, owner: str, reference: str, cause: Cause, *, again: bool = False) -> Settled:
    """Try a record again, the way that it went. Raises `Fault`; before the ledger is told, nothing was done."""
    one = find(letters_of(desk, owner), reference)
    one.may_be_replayed(again=again)
    act = desk.ready(one)
    entry = _tell(desk, one, Done.REPLAYED, cause)
    outcome = act()
    _settle(desk, one, Done.REPLAYED, outcome.letters)
    return Settled(outcome=outcome, entry=entry)


def discard(desk: Desk, owner: str, reference: str, cause: Cause) -> Settled:
    """Give a record up: a refused row is deleted, a record stays until its retention ends. Raises `Fault`."""
    one = find(letters_of(desk, owner), reference)
    database = desk.asked.database
    row = one.letter.component == "relay"
    if row and database is None:
        raise Fault("this one is a row of the department's outbox", hint="say where: --database postgresql://…")
    entry = _tell(desk, one, Done.DISCARDED, cause)
    said = _discarded_row(database, one.letter.offset) if row and database else "discarded"
    _settle(desk, one, Done.DISCARDED, [])
    return Settled(outcome=Outcome(said=said), entry=entry)


def _of_the_bus(manifest: Manifest) -> Sequence[str]:
    return ("gate", *(agents.principal for agents in manifest.agents))


def _discarded_row(database: str, row: int) -> str:
    from passerelle.publish.outbox_table import OutboxTable

    with OutboxTable(database, alone=False) as table:
        return "discarded" if table.discard(row) else "no such row is refused any more: only the letter is settled"


def _tell(desk: Desk, one: Waiting, done: Done, cause: Cause) -> str:
    teller = replace(desk, bearing=desk.teller or desk.bearing)
    return tell(desk.asked.consent_url, teller.auth(), done, cause, component=one.component, digest=one.digest)


def _settle(desk: Desk, one: Waiting, done: Done, came_back: list[DeadLetter]) -> None:
    write(desk.access, one.owner, [resolution(one.letter, done), *came_back])
