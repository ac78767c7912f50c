"""What is said about one agreement: by the citizen or a guardian, by the city that asks, by its officers, by time."""

from collections.abc import Mapping
from dataclasses import replace

import sqlalchemy as sa

from passerelle_consent.policy.agreements import Agreement
from passerelle_consent.policy.standing import Stance, Standing, State
from passerelle_consent.policy.standings import CONSENTED
from passerelle_consent.policy.voice import Voice, terms_of
from passerelle_consent.records import approvals, guardians, objections, standings
from passerelle_consent.records.changes import Asked, Change, record
from passerelle_consent.records.sayable import state_after, state_of
from passerelle_consent.records.transitions import Action
from passerelle_consent.wire import JournalEntry, JournalType

JOURNAL_TYPE: Mapping[State, JournalType] = {
    State.REQUESTED: JournalType.REQUESTED,
    State.DEFERRED: JournalType.REQUESTED,
    State.GIVEN: JournalType.GIVEN,
    State.RENEWED: JournalType.GIVEN,
    State.REFUSED: JournalType.REFUSED,
    State.WITHDRAWN: JournalType.WITHDRAWN,
    State.REVOKED: JournalType.REVOKED,
    State.INVALIDATED: JournalType.REVOKED,
    State.EXPIRED: JournalType.EXPIRED,
    State.OBJECTED: JournalType.OBJECTED,
    State.RESUMED: JournalType.ANSWERED,
}
"""What the ledger calls a change that led to a state."""


def say(conn: sa.Connection, asked: Asked, agreement: Agreement, action: Action, *, notice: int | None) -> Change:
    """Do what an action says about an agreement. Raises `Problem`."""
    before = standings.load(conn, asked.ref, asked.at_ms)
    together = _together(conn, asked, agreement, before, action)
    after = state_after(before, agreement, action, asked.at_ms)
    if together and not approvals.completed(conn, asked, agreement.id, notice):
        return _held(conn, asked, agreement, before, action, notice=notice)
    if action is not Action.REQUEST:
        approvals.forget(conn, asked, agreement.id)
    if action is Action.OBJECT:
        objections.open_(conn, asked, agreement)
    until_ms = terms_of(agreement).until_ms(asked.at_ms) if after in CONSENTED else None
    stance = _stance(asked, agreement, before, after, notice=notice, until_ms=until_ms)
    return stand(conn, asked, agreement, before, stance=stance, action=action)


def stand(
    conn: sa.Connection, asked: Asked, agreement: Agreement, before: Standing, *, stance: Stance, action: Action
) -> Change:
    """Write a stance, and tell of it."""
    standings.save_stance(conn, asked.ref, before, stance)
    entry = JournalEntry(
        id=asked.id,
        type=JOURNAL_TYPE[stance.state],
        at_ms=asked.at_ms,
        subject=asked.ref,
        agreements=(agreement.ref,),
        recipient=agreement.recipient,
        department=asked.department,
    )
    after = replace(before, revision=before.revision + 1, stances={**before.stances, stance.agreement: stance})
    recorded = {"kind": action.value, "agreement": agreement.ref, "state": stance.state.value}
    said = {**recorded, "recipient": agreement.recipient, "notice": stance.notice, "by": asked.by.value}
    return record(conn, asked, after, entry, fenced=action.takes_away, said=said)


def _together(conn: sa.Connection, asked: Asked, agreement: Agreement, before: Standing, action: Action) -> bool:
    """Whether it counts only with the other guardian's word. Raises `Problem` when whoever asks is not heard."""
    if action.by_an_office:
        return False
    return guardians.voice(conn, asked, agreement, before, gives=action.gives) is Voice.TOGETHER


def _held(
    conn: sa.Connection, asked: Asked, agreement: Agreement, before: Standing, action: Action, *, notice: int | None
) -> Change:
    """The first guardian's consent. What stood stands; where nothing did, the other one is now asked."""
    held = before.stances.get(agreement.id)
    stands = state_of(before, agreement.id, asked.at_ms) in CONSENTED
    stance = held if held and stands else _stance(asked, agreement, before, State.REQUESTED, notice=notice)
    return stand(conn, asked, agreement, before, stance=stance, action=action)


def _stance(
    asked: Asked,
    agreement: Agreement,
    before: Standing,
    state: State,
    *,
    notice: int | None,
    until_ms: int | None = None,
) -> Stance:
    held = before.stances.get(agreement.id)
    if notice is None and held is not None:
        notice = held.notice
    return Stance(agreement=agreement.id, state=state, notice=notice, at_ms=asked.at_ms, until_ms=until_ms, by=asked.by)
