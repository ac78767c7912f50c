"""What rules with a state have in common: a log of their own, hops that feed it, and a fold of it. Pure.

The state is a fold of the rule's log, deterministic in its order (DESIGN §5a, rule 5): folding it again after a crash
gives the same state and the same proposals, under the same identity.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, Protocol

from passerelle.agents import entry as entries
from passerelle.agents.entry import BadEntry, Entry, Shape
from passerelle.agents.lineage import Outbox, Recipe, Sources, View
from passerelle.agents.proposing import Answer, Choice, Out, proposal
from passerelle.agents.reading import Heard, Record
from passerelle.envelope import rfc3339
from passerelle_consent.policy.flows import Flow
from passerelle_consent.wire import Origin
from passerelle_schemas.catalogue import Catalogue

STATE_BYTES_MAX = 65_536
"""Of what is held of one subject, packed: some thousand entries. Every record of a subject reads and writes all of it,
so this bounds time as well."""


class Late(Exception):
    """An event whose window is over for its subject: it changes nothing."""


class StateTooLarge(Exception):
    """A subject's state would grow beyond its bound. It stays as it was."""


class TooSlow(Exception):
    """A rule did not come back from this record before, or from one that it is to be put together with."""


PASSED_OVER = b"too-slow"
"""In place of the shape of an entry that the author's functions did not come back from: nothing else is kept of it."""

NOT_TAKEN = (BadEntry, Late, StateTooLarge)
"""What a fold raises for a record that it does not take; the state is then as it was."""


class Held(Protocol):
    """The state of one partition of a rule's log: entries by subject ref."""

    def get(self, subject: bytes) -> list[Entry]:
        """Entries of a subject, none when unknown."""

    def put(self, subject: bytes, held: list[Entry]) -> None:
        """Replace a subject's entries."""


class Folded(NamedTuple):
    """What one record of the log led to: the entry that it holds, and all that is now held of its subject."""

    trigger: Entry
    held: list[Entry]


class Logged(ABC):
    """A rule with a state, of one or several outboxes, and for one flow."""

    kind: str

    def __init__(
        self,
        *,
        name: str,
        log: str,
        outboxes: Sequence[Outbox],
        flow: Flow,
        choose: Callable[..., Answer],
        reads: Sequence[frozenset[str]],
        fields: Sources,
        hold_ms: int,
        catalogue: Catalogue,
    ) -> None:
        """Raises `RuleFault`."""
        self.name = name
        self.log = log
        self.outboxes = tuple(outboxes)
        self.hold_ms = hold_ms
        self._choice = Choice(name, [flow], choose, catalogue)
        self._recipe = Recipe(name, self._choice.contract, fields, outboxes, folds=self.kind == "aggregate")
        for outbox, read in zip(outboxes, reads, strict=True):
            self._choice.check(name, outbox, read)
        self._reads = tuple(reads)
        self.shapes = tuple(Shape(o.contract, reads[i] | self._recipe.used(i)) for i, o in enumerate(outboxes))
        sides = range(len(self.shapes))
        self._declared = {(i, shape) for i in sides for shape in (self.shapes[i].fingerprint, PASSED_OVER)}

    @property
    def flows(self) -> tuple[str, ...]:
        """Ids of the flows that this rule may propose for."""
        return tuple(self._choice.flows)

    @property
    def event(self) -> str:
        """The event type that it proposes."""
        return self._choice.contract.type

    @property
    def lineage(self) -> dict[str, tuple[str, ...]]:
        """Field → sources."""
        return self._recipe.lineage

    @abstractmethod
    def fold(self, state: Held, record: Record) -> Folded | None:
        """Take a record of the log into the state; None where it changes nothing. Raises one of `NOT_TAKEN`."""

    @abstractmethod
    def _found(self, folded: Folded) -> Iterable[Sequence[Entry]]:
        """The groups of entries that the trigger completes, in an order that depends on nothing but the entries."""

    def supersedes(self, _before: Entry, _later: Entry) -> bool:
        """Whether what a later event of the subject proposes stands in place of what one before it proposed."""
        return True

    def pass_over(self, state: Held, record: Record) -> None:
        """Fold a record that the author's functions did not come back from: it counts, and what it said does not.

        They would not come back from it together with another either, so what it meets from now on is `TooSlow`.
        """
        if record.key is None or (folded := self.fold(state, record)) is None:
            return
        blank = folded.trigger._replace(shape=PASSED_OVER, body=b"")
        state.put(record.key, [blank if e is folded.trigger else e for e in folded.held])

    def step(self, state: Held, record: Record) -> Sequence[Out]:
        """Fold, and propose. The entry is held whatever the author's functions then raise."""
        folded = self.fold(state, record)
        if folded is None or record.key is None:
            return ()
        at, outs = folded.trigger, list[Out]()
        box = self.outboxes[at.side]
        for n, found in enumerate(self._found(folded)):
            if any(e.shape == PASSED_OVER for e in found):
                raise TooSlow
            flow, value = self._made(found)
            if flow is None:
                continue
            origin = Origin(rule=self.name, topic=box.topic, partition=at.partition, offset=at.offset, n=n)
            time = rfc3339(datetime.fromtimestamp(self._occurred_ms(at, found) / 1000, UTC))
            department = box.contract.department
            outs.append(proposal(flow, origin, department=department, time=time, subject=record.key, value=value()))
        return outs

    def _made(self, found: Sequence[Entry]) -> tuple[Flow | None, Callable[[], bytes]]:
        """What the author's function picks for one entry of each side, and what makes the event if it picks a flow."""
        values = [shape.decode(e.body) for shape, e in zip(self.shapes, found, strict=True)]
        flow = self._choice.pick(*(View(v, r) for v, r in zip(values, self._reads, strict=True)))
        return flow, lambda: self._recipe.make(values)

    def _occurred_ms(self, trigger: Entry, _found: Sequence[Entry]) -> int:
        """When what is proposed happened."""
        return trigger.occurred_ms

    def _entry(self, record: Record) -> tuple[bytes, Entry]:
        """Subject and entry of a record of the log. Raises `BadEntry`."""
        new = entries.decode(record.value, record.timestamp)
        if record.key is None or not 0 <= new.side < len(self.shapes) or new.shape != self.shapes[new.side].fingerprint:
            raise BadEntry("of another declaration of this rule")
        return record.key, new

    def _held(self, state: Held, subject: bytes, record: Record) -> list[Entry]:
        """What is not yet held for too long when the record was appended, and is of this declaration.

        A checkpoint may be older than the rule: its fields would be read as others.
        """
        since_ms = record.timestamp - self.hold_ms
        return [e for e in state.get(subject) if e.at_ms >= since_ms and (e.side, e.shape) in self._declared]


class Hop:
    """Stateless: an event of one input of a rule → the rule's log, keyed by subject, cut to the declared fields."""

    kind = "hop"
    flows: tuple[str, ...] = ()

    def __init__(self, rule: Logged, side: int) -> None:
        self.rule = rule
        self.side = side
        self.outboxes = (rule.outboxes[side],)
        self.name = f"{rule.name}.{self.outboxes[0].contract.type}"

    def apply(self, heard: Heard) -> Sequence[Out]:
        """Raises nothing of its own: the value was decoded by the schema that the shape is cut from."""
        if heard.contract is not self.outboxes[0].contract:
            return ()
        at, shape = heard.record, self.rule.shapes[self.side]
        entry = Entry(
            self.side,
            at.partition,
            at.offset,
            heard.occurred_ms,
            at.timestamp,
            shape.fingerprint,
            shape.encode(heard.value),
            0,
        )
        return (Out(self.rule.log, heard.subject, entries.encode(entry), []),)


def seen(held: Iterable[Entry], new: Entry) -> bool:
    """Whether an entry came before.

    A subject's entries of one side stem from one outbox partition, and hops bring them in offset order with no first
    gap (DECISIONS 1): at or below the highest offset is a repetition.
    """
    return any(e.side == new.side and e.offset >= new.offset for e in held)


def pruned(held: Iterable[Entry], counts: Callable[[Entry], bool]) -> list[Entry]:
    """What still counts, and of each side the entry of the highest offset, by which repetitions are known.

    Raises `StateTooLarge`.
    """
    all_ = list(held)
    last: Mapping[int, Any] = {side: max(e.offset for e in all_ if e.side == side) for side in {e.side for e in all_}}
    kept = [e for e in all_ if counts(e) or e.offset == last[e.side]]
    if entries.packed_bytes(kept) > STATE_BYTES_MAX:
        raise StateTooLarge
    return kept
