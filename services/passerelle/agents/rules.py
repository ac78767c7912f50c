"""Pure rules: an event in, outputs out. No Faust, no Kafka, no clock; workers and the test kit share them.

A *route* makes at most one proposal of one event. A *join* keeps the newest event of each of its inputs for each
subject, and proposes when one of them changes and all are known; its *hops* carry its inputs to the join's log.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple, Protocol

from passerelle.agents import entry as entries
from passerelle.agents.entry import BadEntry, Entry, Shape
from passerelle.agents.lineage import Outbox, Recipe, RuleFault, Sources, View
from passerelle.agents.reading import Heard, Record, Refusal, Refused
from passerelle.envelope import Event, Headers, proposal_headers, proposal_id, rfc3339, source_of
from passerelle_consent.policy.flows import Flow
from passerelle_consent.wire import DeadLetter, Origin
from passerelle_schemas import topics
from passerelle_schemas.catalogue import Catalogue, Contract

PROPOSAL_BYTES_MAX = 900_000
"""Below the broker's default message.max.bytes of 1 MiB, with room for headers: a larger one is refused here, since the
broker's refusal would leave a gap in the producer's sequence."""

Answer = str | bool | None
"""What a rule's function returns: the flow's id (True, where there is one only), or None or False for nothing."""


class NoRecipient(Exception):
    """Raised by a rule's function: this event belongs to nobody here. It goes to the dead letters as `no-recipient`."""


class WrongAnswer(Exception):
    """A rule's function returned neither a declared flow nor nothing."""


class TooLarge(Exception):
    """A proposal would not fit a record."""


class Out(NamedTuple):
    """One record to send. ``key`` decides the partition; None: partition 0 (dead letters)."""

    topic: str
    key: bytes | None
    value: bytes
    headers: Headers


class Held(Protocol):
    """The state of one partition of a join's log: the newest entry of each side, by subject ref."""

    def get(self, subject: bytes) -> list[Entry]:
        """Entries of a subject, none when unknown."""

    def put(self, subject: bytes, held: list[Entry]) -> None:
        """Replace a subject's entries."""


class _Choice:
    """The flows that a rule may propose for, and the author's function that picks."""

    def __init__(self, rule: str, flows: Sequence[Flow], choose: Callable[..., Answer], catalogue: Catalogue) -> None:
        events = {f.event for f in flows}
        if len(events) != 1:
            raise RuleFault(f"its flows carry {len(events)} event types, one wanted", where=rule)
        self.flows: Mapping[str, Flow] = {f.id: f for f in flows}
        self.contract: Contract = catalogue.by_type(events.pop())
        self._choose = choose

    def check(self, rule: str, outbox: Outbox, reads: frozenset[str]) -> None:
        """A function may read only what the proposed event is made of: that one comes at all tells something, too."""
        covered = {source for sources in self.contract.sources.values() for source in sources}
        for name in sorted(reads):
            if f"{outbox.contract.type}#{name}" not in covered:
                raise RuleFault(
                    f"reads {name} of {outbox.contract.type}, which is no source of {self.contract.type}",
                    where=rule,
                    hint='name it in the contract\'s "passerelle.from", so that an agreement must cover it',
                )

    def pick(self, *views: View) -> Flow | None:
        """Raises `WrongAnswer`, and whatever the author's function raises."""
        answer = self._choose(*views)
        if answer is None or answer is False:
            return None
        if answer is True and len(self.flows) == 1:
            return next(iter(self.flows.values()))
        if isinstance(answer, str) and answer in self.flows:
            return self.flows[answer]
        raise WrongAnswer


def _proposal(flow: Flow, origin: Origin, *, department: str, time: str, subject: bytes, value: bytes) -> Out:
    if len(value) > PROPOSAL_BYTES_MAX:
        raise TooLarge
    event = Event(id=proposal_id(origin, flow.id), source=source_of(department), type=flow.event, time=time)
    return Out(topics.EXCHANGE, subject, value, proposal_headers(event, flow=flow.id, origin=origin))


class Route:
    """Stateless: one event of one outbox → at most one proposal."""

    kind = "route"

    def __init__(
        self,
        *,
        name: str,
        outbox: Outbox,
        flows: Sequence[Flow],
        choose: Callable[..., Answer],
        reads: frozenset[str],
        fields: Sources | None,
        catalogue: Catalogue,
    ) -> None:
        self.name = name
        self.outboxes = (outbox,)
        self._choice = _Choice(name, flows, choose, catalogue)
        self._choice.check(name, outbox, reads)
        self._reads = reads
        self._recipe = self._made(fields)

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
        return self._recipe.lineage if self._recipe else dict(self.outboxes[0].contract.sources)

    def apply(self, heard: Heard) -> Sequence[Out]:
        """Raises what the author's functions raise."""
        if heard.contract is not self.outboxes[0].contract:
            return ()  # another version of the event: its own rules take it
        flow = self._choice.pick(View(heard.value, self._reads))
        if flow is None:
            return ()
        value = self._recipe.make([heard.value]) if self._recipe else heard.framed
        at = heard.record
        origin = Origin(rule=self.name, topic=at.topic, partition=at.partition, offset=at.offset)
        return (
            _proposal(
                flow,
                origin,
                department=heard.contract.department,
                time=heard.event.time,
                subject=heard.subject,
                value=value,
            ),
        )

    def _made(self, fields: Sources | None) -> Recipe | None:
        """None: the flow carries the outbox's own event, which passes as it is, bytes untouched."""
        passes = self._choice.contract is self.outboxes[0].contract
        if passes == (fields is None):
            return None if fields is None else Recipe(self.name, self._choice.contract, fields, self.outboxes)
        if passes:
            raise RuleFault(f"{self.event} passes unchanged: it takes no fields", where=self.name)
        raise RuleFault(f"{self.event} is derived: say how each field is made (fields=…)", where=self.name)


class Hop:
    """Stateless: an event of one input of a join → the join's log, keyed by subject, cut to the declared fields."""

    kind = "hop"
    flows: tuple[str, ...] = ()

    def __init__(self, join: "Join", side: int) -> None:
        self.join = join
        self.side = side
        self.outboxes = (join.outboxes[side],)
        self.name = f"{join.name}.{self.outboxes[0].contract.type}"

    def apply(self, heard: Heard) -> Sequence[Out]:
        """Raises nothing of its own: the value was decoded by the schema that the shape is cut from."""
        if heard.contract is not self.outboxes[0].contract:
            return ()
        at, shape = heard.record, self.join.shapes[self.side]
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
        return (Out(self.join.log, heard.subject, entries.encode(entry), []),)


class Join:
    """Latest ⋈ latest. The state is a fold of the join's own log, deterministic in its order (DESIGN §5a, rule 5).

    A replayed entry is never newer than the one held, so a second delivery by a hop changes and proposes nothing.
    """

    kind = "join"

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
        if len({o.contract.type for o in outboxes}) != len(outboxes) or len(outboxes) < 2:  # noqa: PLR2004 - a pair
            raise RuleFault("a join takes two or more different outboxes", where=name)
        self.name = name
        self.log = log
        self.outboxes = tuple(outboxes)
        self.hold_ms = hold_ms
        self._choice = _Choice(name, [flow], choose, catalogue)
        self._recipe = Recipe(name, self._choice.contract, fields, outboxes)
        for outbox, read in zip(outboxes, reads, strict=True):
            self._choice.check(name, outbox, read)
        self._reads = tuple(reads)
        self.shapes = tuple(Shape(o.contract, reads[i] | self._recipe.used(i)) for i, o in enumerate(outboxes))

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

    def fold(self, state: Held, record: Record) -> tuple[Entry, list[Entry]] | None:
        """Take a record of the log into the state.

        Returns the new entry and the newest of each side if all are now known, else None. Raises `BadEntry`; the state
        is then as it was.
        """
        new = entries.decode(record.value, record.timestamp)
        if record.key is None or not 0 <= new.side < len(self.shapes) or new.shape != self.shapes[new.side].fingerprint:
            raise BadEntry("of another declaration of this join")
        held = {e.side: e for e in state.get(record.key) if e.at_ms >= record.timestamp - self.hold_ms}
        if new.side in held and held[new.side].order >= new.order:
            return None
        held[new.side] = new
        state.put(record.key, list(held.values()))
        return (new, [held[side] for side in sorted(held)]) if len(held) == len(self.shapes) else None

    def step(self, state: Held, record: Record) -> Sequence[Out]:
        """Fold, and propose. The entry is held whatever the author's functions then raise."""
        found = self.fold(state, record)
        if found is None or record.key is None:
            return ()
        trigger, matched = found
        values = [shape.decode(e.body) for shape, e in zip(self.shapes, matched, strict=True)]
        flow = self._choice.pick(*(View(v, r) for v, r in zip(values, self._reads, strict=True)))
        if flow is None:
            return ()
        box = self.outboxes[trigger.side]
        origin = Origin(rule=self.name, topic=box.topic, partition=trigger.partition, offset=trigger.offset)
        time = rfc3339(datetime.fromtimestamp(trigger.occurred_ms / 1000, UTC))
        return (
            _proposal(
                flow,
                origin,
                department=box.contract.department,
                time=time,
                subject=record.key,
                value=self._recipe.make(values),
            ),
        )


Rule = Route | Hop | Join


def guarded(component: str, rule: str, record: Record, attempt: Callable[[], Sequence[Out]]) -> Sequence[Out]:
    """Run a rule on one record. Whatever it raises becomes a dead letter: where and what kind, never what (rule 4)."""
    try:
        return attempt()
    except NoRecipient:
        return (_dead(component, record, Refusal.NO_RECIPIENT, rule),)
    except BadEntry:
        return (_dead(component, record, Refusal.BAD_ENTRY, rule),)
    except TooLarge:
        return (_dead(component, record, Refusal.TOO_LARGE, rule),)
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
