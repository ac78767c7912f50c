"""Rules at work on one record: outputs, or the dead letter that says why there are none.

Pure; workers and the test kit share it.
"""

from asyncio import CancelledError
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import NoReturn

from passerelle.agents.entry import BadEntry
from passerelle.agents.logged import Hop, Late, Logged, StateTooLarge, TooSlow
from passerelle.agents.proposing import NoRecipient, Out, TooLarge
from passerelle.agents.reading import Heard, Record, Refusal, Refused
from passerelle.agents.route import Route
from passerelle_consent.wire import DeadLetter
from passerelle_schemas import topics

Rule = Route | Hop | Logged

Attempt = Callable[[], Sequence[Out]]
Run = Callable[[str, str, Record, Attempt, Callable[[], object]], Sequence[Out]]
"""How a rule is run on one record: (component, rule, record, attempt, what is done instead of an attempt that did not
come back before)."""


_REFUSALS: Mapping[type[Exception], Refusal] = {
    NoRecipient: Refusal.NO_RECIPIENT,
    TooSlow: Refusal.TOO_SLOW,
    BadEntry: Refusal.BAD_ENTRY,
    Late: Refusal.LATE,
    StateTooLarge: Refusal.STATE_TOO_LARGE,
    TooLarge: Refusal.TOO_LARGE,
}


_AUTHORS = (Exception, SystemExit, GeneratorExit, CancelledError)
"""What an author's function can raise. The last three would end the worker, on the same record at each start."""


def guarded(component: str, rule: str, record: Record, attempt: Attempt) -> Sequence[Out]:
    """Run a rule on one record. Whatever it raises becomes a dead letter: where and what kind, never what (rule 4)."""
    try:
        return attempt()
    except tuple(_REFUSALS) as exc:
        reason = next(reason for kind, reason in _REFUSALS.items() if isinstance(exc, kind))
        return (_dead(component, record, reason, rule),)
    except _AUTHORS as exc:  # code of a rule's author: any error is that one event's
        return (_dead(component, record, Refusal.RULE_ERROR, rule, type(exc).__name__),)


def unwatched(
    component: str, rule: str, record: Record, attempt: Attempt, _instead: Callable[[], object]
) -> Sequence[Out]:
    """As `guarded`: where nobody waits for it."""
    return guarded(component, rule, record, attempt)


def too_slow(component: str, rule: str, record: Record, instead: Callable[[], object]) -> Sequence[Out]:
    """Pass over a record that the rule did not come back from, but for what is done ``instead``."""

    def attempt() -> NoReturn:
        instead()
        raise TooSlow

    return guarded(component, rule, record, attempt)


def applied(
    component: str, rule: Route | Hop, outcomes: Iterable[Heard | Refused], *, reports: bool, run: Run = unwatched
) -> list[Out]:
    """What a stateless rule makes of what was read of its outbox.

    One of the topic's rules ``reports`` the records that none of them will see.
    """
    outs: list[Out] = []
    for outcome in outcomes:
        if isinstance(outcome, Heard):
            outs += run(component, rule.name, outcome.record, partial(rule.apply, outcome), lambda: None)
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
