"""Rules at work on one record: outputs, or the dead letter that says why there are none.

Pure; workers and the test kit share it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from passerelle.agents.entry import BadEntry
from passerelle.agents.logged import Hop, Late, Logged, StateTooLarge
from passerelle.agents.proposing import NoRecipient, Out, TooLarge
from passerelle.agents.reading import Heard, Record, Refusal, Refused
from passerelle.agents.route import Route
from passerelle_consent.wire import DeadLetter
from passerelle_schemas import topics

Rule = Route | Hop | Logged


_REFUSALS: Mapping[type[Exception], Refusal] = {
    NoRecipient: Refusal.NO_RECIPIENT,
    BadEntry: Refusal.BAD_ENTRY,
    Late: Refusal.LATE,
    StateTooLarge: Refusal.STATE_TOO_LARGE,
    TooLarge: Refusal.TOO_LARGE,
}


def guarded(component: str, rule: str, record: Record, attempt: Callable[[], Sequence[Out]]) -> Sequence[Out]:
    """Run a rule on one record. Whatever it raises becomes a dead letter: where and what kind, never what (rule 4)."""
    try:
        return attempt()
    except tuple(_REFUSALS) as exc:
        reason = next(reason for kind, reason in _REFUSALS.items() if isinstance(exc, kind))
        return (_dead(component, record, reason, rule),)
    except Exception as exc:  # noqa: BLE001 - code of a rule's author: any error is that one event's
        return (_dead(component, record, Refusal.RULE_ERROR, rule, type(exc).__name__),)


def applied(component: str, rule: Route | Hop, outcomes: Iterable[Heard | Refused], *, reports: bool) -> list[Out]:
    """What a stateless rule makes of what was read of its outbox.

    One of the topic's rules ``reports`` the records that none of them will see.
    """
    outs: list[Out] = []
    for outcome in outcomes:
        if isinstance(outcome, Heard):
            outs += guarded(component, rule.name, outcome.record, partial(rule.apply, outcome))
        elif reports:
            outs.append(_dead(component, outcome.record, outcome.reason, None, outcome.error))
    return outs


def _dead(component: str, at: Record, reason: Refusal, rule: str | None, error: str | None = None) -> Out:
    letter = DeadLetter(
        component=component,
        reason=reason.value,
        topic=at.topic,
        partition=at.partition,
        offset=at.offset,
        rule=rule,
        error=error,
    )
    return Out(topics.dead_letter(component), None, letter.encode(), [])
