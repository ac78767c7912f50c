"""What the world does to a city's agents, done to them on purpose, in memory. Each attack is repeated by its seed.

An attack compares what was decided last for each person and flow with an undisturbed run of the same events: people,
departments and delivery may repeat, delay and garble; what a recipient ends up knowing must not change by it. The
events are the contracts' examples, so a city's own agents can be attacked without a line written for it.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from functools import cached_property
from typing import Any, NamedTuple

from passerelle.agents.aggregate import Aggregate
from passerelle.agents.declared import Declarations
from passerelle.agents.join import Join
from passerelle.agents.logged import Logged
from passerelle.testkit.memory import MemoryCity
from passerelle.testkit.outcomes import Outcome
from passerelle.testkit.scenario import plain
from passerelle_consent.policy.agreements import Agreement, Basis, SubjectClass
from passerelle_consent.policy.bundle import PolicyBundle
from passerelle_consent.policy.decide import Verdict
from passerelle_consent.records.transitions import Action

PEOPLE = ("anna", "ben", "chloe", "dario", "emma")
GARBAGE = (None, b"", b"\0", b"\0\0\0\0\1", b"\x7f" * 40, b"\0\xff\xff\xff\xff" + b"a" * 20)
"""Values that are no event of any contract."""


HOURS_BEFORE = timedelta(hours=3)
AN_AGE_BEFORE = timedelta(days=400)
"""More than any window and grace: neither is longer than what a rule may hold."""


class Attack(StrEnum):
    """What is done, and what must not come of it."""

    REPLAY = "replay"
    """The worker dies again and again: nothing is decided twice, nothing is missing."""
    DUPLICATES = "duplicates"
    """Departments publish each event twice: the second changes nothing. (An aggregate counts both.)"""
    POISON = "poison"
    """Garbage between the events: each is one dead letter, and the rest goes on."""
    LATE = "late"
    """Old events arrive after new ones: a join keeps the newest, and what is over stays as it was said."""
    WITHDRAWAL = "withdrawal"
    """A consent is withdrawn between the two sides of a join: nothing goes out under it."""
    LINEAGE = "lineage"
    """Fields that no agreement covers for a flow change: nothing that the flow says may change with them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Broken:
    """An attack that the agents did not withstand."""

    attack: Attack
    seed: int
    what: str


class _Event(NamedTuple):
    type: str
    who: str
    at: str
    value: Mapping[str, Any]


Last = Mapping[tuple[str, str], tuple[Verdict, Mapping[str, Any]]]
"""Person and flow → what was decided last, and what the recipient read."""


class Adversary:
    """Attacks one app of agents under one policy, with every consent given."""

    def __init__(self, app: Declarations, bundle: PolicyBundle) -> None:
        self._app = app
        self._bundle = bundle
        self._types = sorted({box.contract.type for rule in app.rules.values() for box in rule.outboxes})
        self._of_newest, self._counted, self._logged = (self._flows(k) for k in (Join, Aggregate, Logged))
        self._consents = sorted(
            {a.id for a in bundle.agreements if a.basis is Basis.CONSENT and SubjectClass.ADULT in a.subjects}
        )

    def attack(self, which: Attack, seed: int) -> Iterator[Broken]:
        """Yield what the agents did not withstand."""
        tried: Mapping[Attack, Callable[[random.Random], Iterator[str]]] = {
            Attack.REPLAY: self._replay,
            Attack.DUPLICATES: self._duplicates,
            Attack.POISON: self._poison,
            Attack.LATE: self._late,
            Attack.WITHDRAWAL: self._withdrawal,
            Attack.LINEAGE: self._lineage,
        }
        for what in tried[which](random.Random(f"{which} {seed}")):  # noqa: S311 - attacks are repeated by their seed
            yield Broken(attack=which, seed=seed, what=what)

    # -- the attacks ----------------------------------------------------------------------------------------------

    def _replay(self, rng: random.Random) -> Iterator[str]:
        city, decided = self._city(seed=rng.randrange(2**32)), list[Outcome]()
        for event in self._events(rng):
            self._publish(city, event)
            if rng.random() < 0.3:  # noqa: PLR2004 - often enough to meet half-done batches
                decided += city.outcomes()
                city.bus.restart()
        decided += city.outcomes()
        twice = [o for o, n in Counter(o.decision for o in decided).items() if n > 1]
        if twice:
            yield f"{len(twice)} decisions were made twice"
        yield from self._compared(last(decided), self._undisturbed)

    def _duplicates(self, rng: random.Random) -> Iterator[str]:
        city = self._city(seed=rng.randrange(2**32))
        for event in self._events(rng):
            self._publish(city, event)
            self._publish(city, event)
        found = {key: what for key, what in last(city.outcomes()).items() if key[1] not in self._counted}
        undisturbed = {key: what for key, what in self._undisturbed.items() if key[1] not in self._counted}
        yield from self._compared(found, undisturbed)

    def _poison(self, rng: random.Random) -> Iterator[str]:
        city, thrown = self._city(seed=rng.randrange(2**32)), 0
        for event in self._events(rng):
            topic = self._app.outbox(event.type).topic
            for _ in range(rng.randrange(3)):
                city.bus.append(topic, rng.choice([None, b"", rng.randbytes(16)]), rng.choice(GARBAGE))
                thrown += 1
            self._publish(city, event)
        found = last(city.outcomes())
        letters = len(city.bus.dead_letters())
        if letters != thrown:
            yield f"{thrown} records were no events, and {letters} dead letters tell of them"
        yield from self._compared(found, self._undisturbed)

    def _late(self, rng: random.Random) -> Iterator[str]:
        for before, flows in ((HOURS_BEFORE, self._of_newest), (AN_AGE_BEFORE, self._logged)):
            newer = self._events(rng)
            older = [e._replace(at=_earlier(e.at, before), value=self._other(rng, e.type)) for e in newer]
            city = self._city(seed=rng.randrange(2**32))
            for event in (*newer, *rng.sample(older, len(older))):
                self._publish(city, event)
            found = {key: what for key, what in last(city.outcomes()).items() if key[1] in flows}
            undisturbed = {key: what for key, what in self._undisturbed.items() if key[1] in flows}
            yield from self._compared(found, undisturbed)

    def _withdrawal(self, rng: random.Random) -> Iterator[str]:
        for flow in (f for f in self._bundle.flows if f.id in self._logged):
            for agreement in sorted(self._asked(flow.agreements), key=lambda a: a.ref):
                city = self._city()
                first, *others = rng.sample(sides := self._sides(flow.id), len(sides))
                self._publish(city, self._event(first, "anna"))
                city.say("anna", agreement.id, Action.WITHDRAW)
                city.outcomes()  # an aggregate speaks at the first event already
                for type_ in others or [first]:
                    self._publish(city, self._event(type_, "anna"))
                for outcome in city.outcomes():
                    if outcome.flow == flow.id and outcome.verdict is Verdict.PERMIT:
                        yield f"{flow.id} was delivered whole after {agreement.id} was withdrawn"

    def _lineage(self, rng: random.Random) -> Iterator[str]:
        before = self._said(self._city(), {})
        for type_ in self._types:
            example = self._example(type_)
            for name, value in example.items():
                changed = {**example, name: another(value, rng)}
                if changed == example or not self._fits(type_, changed):
                    continue
                after = self._said(self._city(), {type_: changed})
                for flow in sorted(before.keys() | after.keys()):
                    if not self._covered(flow, f"{type_}#{name}") and before.get(flow) != after.get(flow):
                        yield f"{flow} tells of {type_}#{name}, which is no source of its event"

    # -- what they are made of ------------------------------------------------------------------------------------

    def _city(self, *, seed: int | None = None) -> MemoryCity:
        city = MemoryCity(self._app, self._bundle, seed=seed)
        for who in PEOPLE:
            city.citizen(who)
            for agreement in self._consents:
                city.say(who, agreement, Action.GIVE)
        return city

    def _events(self, rng: random.Random) -> list[_Event]:
        """One event of each kind about each person, in any order."""
        events = [self._event(type_, who) for type_ in self._types for who in PEOPLE]
        return rng.sample(events, len(events))

    def _event(self, type_: str, who: str) -> _Event:
        return _Event(type_, who, datetime(2026, 12, 24, 12, tzinfo=UTC).isoformat(), self._example(type_))

    def _example(self, type_: str) -> dict[str, Any]:
        contract = self._app.outbox(type_).contract
        return contract.decode(contract.encode(contract.example))

    def _other(self, rng: random.Random, type_: str) -> Mapping[str, Any]:
        example = self._example(type_)
        changed = {name: another(value, rng) for name, value in example.items()}
        return changed if self._fits(type_, changed) else example

    def _fits(self, type_: str, value: Mapping[str, Any]) -> bool:
        contract = self._app.outbox(type_).contract
        try:
            return contract.decode(contract.encode(value)) == value
        except Exception:  # noqa: BLE001 - a value that the contract does not take is no attack
            return False

    @staticmethod
    def _publish(city: MemoryCity, event: _Event) -> None:
        city.publish(event.type, event.who, at=event.at, **event.value)

    @cached_property
    def _undisturbed(self) -> Last:
        city = self._city()
        for type_ in self._types:
            for who in PEOPLE:
                self._publish(city, self._event(type_, who))
        return last(city.outcomes())

    def _said(self, city: MemoryCity, changed: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Sequence[object]]:
        """Flow → all that was decided and delivered. Each is said twice: a rule may carry over what it heard."""
        for type_ in (*self._types, *self._types):
            event = self._event(type_, "anna")
            self._publish(city, event._replace(value=changed.get(type_, event.value)))
        said: dict[str, list[object]] = {}
        for outcome in city.outcomes():
            said.setdefault(outcome.flow, []).append((outcome.verdict, plain(outcome.value or {})))
        return said

    def _covered(self, flow: str, source: str) -> bool:
        """Whether the event that the flow carries is made of this field, among others."""
        event = next(f.event for f in self._bundle.flows if f.id == flow)
        sources = self._bundle.catalogue.by_type(event).sources
        return any(source in of for of in sources.values())

    def _sides(self, flow: str) -> list[str]:
        rule = next(r for r in self._app.rules.values() if isinstance(r, Logged) and flow in r.flows)
        return [box.contract.type for box in rule.outboxes]

    def _flows(self, kind: type[Logged]) -> set[str]:
        return {flow for rule in self._app.rules.values() if isinstance(rule, kind) for flow in rule.flows}

    def _asked(self, refs: Sequence[str]) -> list[Agreement]:
        return [a for a in self._bundle.agreements if a.ref in refs and a.id in self._consents]

    @staticmethod
    def _compared(found: Last, undisturbed: Last) -> Iterator[str]:
        for who, flow in sorted(undisturbed.keys() | found.keys()):
            if found.get((who, flow)) != undisturbed.get((who, flow)):
                yield f"{flow} for {who} ended otherwise than undisturbed"


def last(outcomes: Sequence[Outcome]) -> Last:
    """What each recipient knows in the end."""
    return {(o.who, o.flow): (o.verdict, plain(o.value or {})) for o in outcomes}


def another(value: Any, rng: random.Random) -> Any:
    """Return a different value of the same kind; the same where none is known."""
    if isinstance(value, bool):  # before int, which it is as well
        return not value
    for kind, change in _CHANGES.items():
        if isinstance(value, kind):
            return change(value, rng)
    return value


_CHANGES: Mapping[type, Callable[[Any, random.Random], Any]] = {
    int: lambda value, rng: value + rng.randint(1, 3),
    float: lambda value, _: value + 1.5,
    datetime: lambda value, _: value + timedelta(hours=1),  # before date, which it is as well
    date: lambda value, rng: value + timedelta(days=rng.randint(1, 400)),
    str: lambda value, rng: f"{value[::-1]} {rng.randint(2, 9)}",
    type(None): lambda _, __: "another",
}


def _earlier(at: str, by: timedelta) -> str:
    return (datetime.fromisoformat(at) - by).isoformat()
