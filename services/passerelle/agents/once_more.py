"""One record of a rule's log, once more: what an operator asks for when the rule was mended. Pure.

The state is folded as it was then, from the subject's own records, and the record proposes what it would have proposed.
What it held was not lost when it was refused: a later event has met it. So where each proposal replaces the one before
(the newest of a join, what a window has come to), a later event of the subject has said it since, and saying it again
would take the recipient back.
"""

from collections.abc import Sequence
from contextlib import suppress
from functools import partial

from passerelle.agents import entry as entries
from passerelle.agents.entry import Entry
from passerelle.agents.logged import NOT_TAKEN, Logged
from passerelle.agents.proposing import Out
from passerelle.agents.reading import Record
from passerelle.agents.rules import guarded
from passerelle.agents.state import Memory
from passerelle_schemas.topics import EXCHANGE


def once_more(component: str, rule: Logged, records: Sequence[Record], offset: int) -> list[Out] | None:
    """Return what the record at ``offset`` proposes, or its dead letter; None where a later event has said it since.

    ``records`` are all of its subject that the partition of the log holds.
    """
    state, outs, at = Memory(), list[Out](), None
    for record in records:
        if record.offset == offset:
            outs = list(guarded(component, rule.name, record, partial(rule.step, state, record)))
            at = _entry(record)
        elif (later := _folded(rule, state, record)) and at and _said(outs) and rule.supersedes(at, later):
            return None
    return outs


def _folded(rule: Logged, state: Memory, record: Record) -> Entry | None:
    with suppress(*NOT_TAKEN):
        folded = rule.fold(state, record)
        return folded and folded.trigger
    return None


def _entry(record: Record) -> Entry | None:
    with suppress(entries.BadEntry):
        return entries.decode(record.value, record.timestamp)
    return None


def _said(outs: Sequence[Out]) -> bool:
    return any(out.topic == EXCHANGE for out in outs)
