"""What is said about one agreement: give, refuse, withdraw, object."""

from dataclasses import replace

import sqlalchemy as sa

from passerelle_consent.policy.agreements import Agreement
from passerelle_consent.policy.standing import Actor, Stance, Standing, State
from passerelle_consent.records import guardians, problems, standings
from passerelle_consent.records.changes import Asked, Change, record, repeat_of
from passerelle_consent.records.problems import Problem
from passerelle_consent.records.transitions import Action, IllegalTransition, follow
from passerelle_consent.wire import JournalEntry, JournalType

_JOURNAL_TYPE = {
    Action.GIVE: JournalType.GIVEN,
    Action.REFUSE: JournalType.REFUSED,
    Action.WITHDRAW: JournalType.WITHDRAWN,
    Action.OBJECT: JournalType.OBJECTED,
}


def say(
    conn: sa.Connection,
    asked: Asked,
    agreement: Agreement,
    action: Action,
    *,
    notice: int | None,
) -> Change:
    """Give, refuse, withdraw or object. Raises `Problem`; a repeat returns the change that it repeats."""
    repeated = repeat_of(conn, asked)
    if repeated is not None:
        return repeated
    if asked.guardian is not None:
        guardians.check(conn, guardian=asked.guardian, ward=asked.ref, at_ms=asked.at_ms)
    before = standings.load(conn, asked.ref, asked.at_ms)
    stance = _stance_after(before, agreement, action, notice=notice, by=asked.by, at_ms=asked.at_ms)
    standings.save_stance(conn, asked.ref, before, stance)
    entry = JournalEntry(
        id=asked.id,
        type=_JOURNAL_TYPE[action],
        at_ms=asked.at_ms,
        subject=asked.ref,
        agreements=(agreement.ref,),
        recipient=agreement.recipient,
        department=asked.department,
    )
    after = replace(before, revision=before.revision + 1, stances={**before.stances, stance.agreement: stance})
    recorded = {"kind": action.value, "agreement": agreement.ref, "state": stance.state.value}
    return record(
        conn,
        asked,
        after,
        entry,
        fenced=action.takes_away,
        said={**recorded, "recipient": agreement.recipient, "notice": stance.notice, "by": asked.by.value},
    )


def _stance_after(
    before: Standing, agreement: Agreement, action: Action, *, notice: int | None, by: Actor, at_ms: int
) -> Stance:
    held = before.stances.get(agreement.id)
    state = held.state if held else State.UNKNOWN
    try:
        after = follow(state, action, agreement.basis)
    except IllegalTransition as illegal:
        raise Problem(
            problems.ILLEGAL_TRANSITION, state=illegal.state.value, legal=[a.value for a in illegal.legal]
        ) from None
    if notice is None and held is not None:
        notice = held.notice
    return Stance(agreement=agreement.id, state=after, notice=notice, at_ms=at_ms, by=by)
