"""What a city's developer declares: outboxes, routes and joins, checked against contracts and flows at import.

Pure: no Faust, no Kafka. `app.AgentApp` makes Faust agents of it; `passerelle.testkit` runs it in memory.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from passerelle.agents.aggregate import Aggregate
from passerelle.agents.join import Join
from passerelle.agents.lineage import Field, Folding, Outbox, RuleFault, Sources
from passerelle.agents.logged import Hop, Logged
from passerelle.agents.proposing import Answer
from passerelle.agents.reading import Reader
from passerelle.agents.route import Route
from passerelle.agents.rules import Rule
from passerelle.agents.windowed import WindowedJoin
from passerelle.pseudonyms import Keyring
from passerelle_consent.policy.flows import Flow
from passerelle_schemas import topics
from passerelle_schemas.catalogue import Catalogue

HOLD = timedelta(days=23)
"""What a join keeps of a subject. With `MARGIN` it is the most that lets an erasure be complete in a month (DECISIONS
5): the bus brings events together and is no register, so a department announces anew what is older and still counts."""

MARGIN = timedelta(days=3)
"""A join's log outlives what is held by this: clocks differ, and folding anew must find all that is held."""

Choose = Callable[..., Answer]


@dataclass(frozen=True, kw_only=True, slots=True)
class AgentsPlan:
    """What an app of agents needs on the broker; `city` makes topics and LITERAL ACLs of it.

    Read on outboxes; read and write on join logs; write on `exchange` and the dead letter; read on the group
    ``app_id``.
    """

    app_id: str
    """Faust's id: consumer group and principal, ``agents.<app>``."""
    outboxes: tuple[str, ...]
    join_logs: tuple[str, ...]
    dead_letter: str
    retention_ms: Mapping[str, int] = field(default_factory=dict)
    """Join log → how long it must keep records at least, so that folding it anew gives the same state."""


class Declarations:
    """The rules of one app, in the order of their declaration."""

    def __init__(self, name: str, *, catalogue: Catalogue, flows: Iterable[Flow]) -> None:
        self.name = name
        self.id = f"agents.{name}"
        self.catalogue = catalogue
        self.rules: dict[str, Rule] = {}
        self._flows = {f.id: f for f in flows}
        self._outboxes: dict[str, Outbox] = {}

    def outbox(self, type_: str) -> Outbox:
        """An original event of a department. Raises `UnknownContract`, `RuleFault`."""
        if type_ not in self._outboxes:
            self._outboxes[type_] = Outbox(self.catalogue.by_type(type_))
        return self._outboxes[type_]

    def route(
        self,
        outbox: Outbox,
        *,
        flow: str | None = None,
        to: Iterable[str] | None = None,
        reads: Iterable[Field] = (),
        fields: Sources | None = None,
    ) -> Callable[[Choose], Choose]:
        """Declare a route: to one flow, or to one of several.

        The function sees the fields that the route ``reads`` and returns the flow's id (or True where there is one flow
        only), None or False for nothing, or raises `NoRecipient`. A flow that carries the outbox's own event gets its
        bytes as they are; a derived one says in ``fields`` how each field is made.
        """
        ids = tuple(to) if to is not None else ()
        if (flow is None) == (not ids):
            raise RuleFault("a route goes to one flow (flow=…) or to some of several (to=…)", where=self.id)

        def declare(choose: Choose) -> Choose:
            name = self._rule_name(choose)
            rule = Route(
                name=name,
                outbox=outbox,
                flows=[self.flow(f, name) for f in (ids or (flow,))],
                choose=choose,
                reads=_reads(reads, outbox, name),
                fields=fields,
                catalogue=self.catalogue,
            )
            self._add(rule)
            return choose

        return declare

    def join(
        self,
        *outboxes: Outbox,
        flow: str,
        fields: Sources,
        reads: Iterable[Field] = (),
        window: timedelta | None = None,
        grace: timedelta = timedelta(0),
        hold: timedelta = HOLD,
    ) -> Callable[[Choose], Choose]:
        """Declare a join, by subject: of the newest event of each outbox, or of events that happened close together.

        Without ``window``: whenever one of them changes and all are known. With it: once for each group of one event of
        every outbox whose times lie within it. The function sees what the join ``reads`` of each, in order, and answers
        like a route's with one flow. An event older than its subject's newest by more than window and ``grace`` is a
        dead letter, `late`: ``grace`` covers how much later one department's events come than another's. ``hold``
        bounds how long an event is kept, whatever its window.
        """
        declared = tuple(reads)

        def declare(choose: Choose) -> Choose:
            name = self._rule_name(choose)
            for read in declared:
                if read.outbox not in outboxes:
                    raise RuleFault(f"{read.source} is not an input of this rule", where=name)
            by_box = [frozenset(f.name for f in declared if f.outbox is box) for box in outboxes]
            common = self._logged(choose, outboxes, flow, fields, hold) | {"reads": by_box}
            if window is None:
                self._fed(Join(**common))
            else:
                self._fed(WindowedJoin(window_ms=_ms(window), grace_ms=_ms(grace), **common))
            return choose

        return declare

    def aggregate(
        self,
        outbox: Outbox,
        *,
        flow: str,
        fields: Mapping[str, Folding],
        window: timedelta,
        grace: timedelta = timedelta(0),
        hold: timedelta = HOLD,
    ) -> Callable[[Choose], Choose]:
        """Declare an aggregate of each subject's events over tumbling windows (from 1970 on, UTC), by event time.

        With each event the function sees what the fields of its window have come to, each `folded` in the order of
        event time, and answers like a route's with one flow: it speaks on change, not when the window ends, since time
        passes for a subject only by events about them. What comes after the window's end and ``grace``, by the
        subject's newest event, is a dead letter, `late`. ``hold`` bounds how long an event is kept.
        """

        def declare(choose: Choose) -> Choose:
            common = self._logged(choose, (outbox,), flow, fields, hold) | {"reads": [frozenset()]}
            self._fed(Aggregate(window_ms=_ms(window), grace_ms=_ms(grace), **common))
            return choose

        return declare

    def _logged(
        self, choose: Choose, outboxes: Sequence[Outbox], flow: str, fields: Sources, hold: timedelta
    ) -> dict[str, Any]:
        """What every rule with a log of its own is made of."""
        name = self._rule_name(choose)
        return {
            "name": name,
            "log": topics.join_log(self.name, _hyphens(choose.__name__)),
            "outboxes": tuple(outboxes),
            "flow": self.flow(flow, name),
            "choose": choose,
            "fields": fields,
            "hold_ms": _ms(hold),
            "catalogue": self.catalogue,
        }

    def _fed(self, rule: Logged) -> None:
        """Add a rule, and before it what feeds its log."""
        for side in range(len(rule.outboxes)):
            self._add(Hop(rule, side))
        self._add(rule)

    def plan(self) -> AgentsPlan:
        """Every topic that the app reads or writes."""
        joins = [r for r in self.rules.values() if isinstance(r, Logged)]
        margin = int(MARGIN.total_seconds() * 1000)
        return AgentsPlan(
            app_id=self.id,
            outboxes=tuple(sorted(self.by_topic())),
            join_logs=tuple(sorted(j.log for j in joins)),
            dead_letter=topics.dead_letter(self.id),
            retention_ms={j.log: j.hold_ms + margin for j in joins},
        )

    def by_topic(self) -> Mapping[str, Sequence[Route | Hop]]:
        """The rules that hear each outbox topic. The first of them reports what no rule can read."""
        heard: dict[str, list[Route | Hop]] = {}
        for rule in self.rules.values():
            if not isinstance(rule, Logged):
                heard.setdefault(rule.outboxes[0].topic, []).append(rule)
        return heard

    def reader(self, topic: str, keyring: Keyring) -> Reader:
        """A reader of one outbox topic, for the contracts that the app's rules take from it."""
        contracts = [rule.outboxes[0].contract for rule in self.by_topic()[topic]]
        return Reader(contracts[0].department, contracts, self.catalogue, keyring)

    def _added(self, rule: Rule) -> None:
        """Called for each rule when it is declared."""

    def _add(self, rule: Rule) -> None:
        if rule.name in self.rules:
            raise RuleFault("declared twice: its name is its place in the gate's marks", where=rule.name)
        self.rules[rule.name] = rule
        self._added(rule)

    def flow(self, flow: str | None, rule: str | None = None) -> Flow:
        """One of the city's. Raises `RuleFault`."""
        if flow not in self._flows:
            raise RuleFault(f"no flow {flow}", where=rule, hint="see schemas/flows/")
        return self._flows[flow]

    def _rule_name(self, choose: Choose) -> str:
        """Unique in the city: the gate keeps its source marks by rule, so two apps must not share a name."""
        return f"{self.name}.{_hyphens(choose.__name__)}"


def _reads(fields: Iterable[Field], outbox: Outbox, rule: str) -> frozenset[str]:
    for declared in fields:
        if declared.outbox is not outbox:
            raise RuleFault(f"{declared.source} is not an input of this rule", where=rule)
    return frozenset(f.name for f in fields)


def _ms(span: timedelta) -> int:
    return int(span.total_seconds() * 1000)


def _hyphens(name: str) -> str:
    """Function names become rule and topic names: Kafka's metrics cannot tell `_` from `.`."""
    return name.replace("_", "-")
