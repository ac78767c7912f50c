"""The overview's figures, ready to be shown. Pure but for what it is given."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from passerelle.dead_letters import Waiting
from passerelle.web.control.flow_map import FlowMap, Node, flow_map
from passerelle.web.control.room import LATE_RECORDS, Room, Snapshot
from passerelle.web.visit import Visit

CHECKPOINT_LATE_S = 10.0
"""One is signed every second while anything is decided, and every few seconds otherwise."""
CHART_HEIGHT = 42


@dataclass(frozen=True, kw_only=True, slots=True)
class Component:
    """One part of the city, and how it is: `ok`, `warn`, `bad` or `wait`."""

    name: str
    state: str
    said: str


@dataclass(frozen=True, kw_only=True, slots=True)
class FlowRow:
    """One flow of the last minute."""

    name: str
    per_minute: int
    redacted: float
    denied: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Board:
    """All that the overview shows."""

    snapshot: Snapshot
    at: datetime | None
    denied: float
    gate_lag: int | None
    letters: int | None
    attention: Mapping[str, int] | None
    overdue: int
    late: Sequence[str]
    map: FlowMap
    flows: Sequence[FlowRow]
    components: Sequence[Component]
    chart: str
    """Points of the line of decisions a second, over 100 by 42."""
    busiest: int


def board(
    visit: Visit,
    room: Room,
    *,
    attention: Mapping[str, int] | None,
    checkpoint: Mapping[str, Any] | None,
    consent_ready: bool,
    flows: Sequence[Mapping[str, Any]],
    letters: Sequence[Waiting] | None,
) -> Board:
    """Gather it. ``flows``: those in force, as the register has them; what is None is not known."""
    snapshot = room.snapshot()
    denied = sum(pace.denied * pace.per_minute for pace in snapshot.flows)
    names = {flow["id"]: visit.text(flow["description"]) for flow in flows}
    totals = [second.permit + second.redact + second.deny for second in snapshot.series]
    busiest = max(totals, default=0)
    return Board(
        snapshot=snapshot,
        at=datetime.fromtimestamp(snapshot.at, UTC) if snapshot.at else None,
        denied=denied / snapshot.per_minute if snapshot.per_minute else 0.0,
        gate_lag=snapshot.lag("gate"),
        letters=None if letters is None else len(letters),
        attention=attention,
        overdue=sum(count for name, count in (attention or {}).items() if name.endswith("_overdue")),
        late=[group for group, lag in (snapshot.look.lags if snapshot.look else {}).items() if lag > LATE_RECORDS],
        map=_map(visit, room, snapshot),
        flows=[
            FlowRow(
                name=names.get(pace.flow) or pace.flow or visit.say("Aucune règle"),
                per_minute=pace.per_minute,
                redacted=pace.redacted,
                denied=pace.denied,
            )
            for pace in snapshot.flows
        ],
        components=_components(visit, room, snapshot, checkpoint, consent_ready=consent_ready),
        chart=_chart(totals, busiest),
        busiest=busiest,
    )


def _map(visit: Visit, room: Room, snapshot: Snapshot) -> FlowMap:
    per_minute = visit.say("min")
    watched = room.watch.watched

    def node(ident: str, topics: Sequence[str], name: str, *, group: str | None = None) -> Node:
        rate = room.rate(topics)
        lag = snapshot.lag(group) if group else None
        said = f"{visit.formats.number(round(rate))} / {per_minute}"
        if lag:
            said += " · " + visit.say("retard %(lag)s", lag=visit.formats.number(lag))
        return Node(id=ident, name=name, said=said, per_minute=rate, late=lag is not None and lag > LATE_RECORDS)

    outboxes: dict[str, list[str]] = {}
    for topic in watched.topics:
        if topic.startswith("outbox."):
            outboxes.setdefault(topic.split(".")[1], []).append(topic)
    inboxes = {topic.split(".", 1)[1]: [topic] for topic in watched.topics if topic.startswith("inbox.")}
    left = [node(d, topics, visit.department(d)) for d, topics in sorted(outboxes.items())]
    right = [node(d, topics, visit.department(d)) for d, topics in sorted(inboxes.items())]
    agents = {group: topics for group, topics in watched.groups.items() if group.startswith("agents.")}
    apps = [node(group, topics, group, group=group) for group, topics in sorted(agents.items())]
    reads = {g: sorted({t.split(".")[1] for t in topics if t.startswith("outbox.")}) for g, topics in agents.items()}
    return flow_map(left, apps, [n for n in right if n.per_minute] or right[:6], reads)


def _components(
    visit: Visit,
    room: Room,
    snapshot: Snapshot,
    checkpoint: Mapping[str, Any] | None,
    *,
    consent_ready: bool,
) -> list[Component]:
    found = [
        Component(
            name=visit.say("Courtier Kafka"),
            state="ok" if snapshot.fresh else "bad",
            said=visit.say("répond") if snapshot.fresh else visit.say("ne répond pas"),
        ),
        Component(
            name=visit.say("Service de consentement"),
            state="ok" if consent_ready else "bad",
            said=visit.say("prêt") if consent_ready else visit.say("pas prêt : rien de nouveau n’est décidé sans lui"),
        ),
        _ledger(visit, checkpoint),
    ]
    for name, (alive, restarts) in room.components().items():
        again = visit.say("relancé %(times)s fois", times=restarts) if restarts else visit.say("en marche")
        state = "bad" if not alive else "warn" if restarts else "ok"
        found.append(Component(name=name, state=state, said=again if alive else visit.say("arrêté")))
    return found


def _ledger(visit: Visit, checkpoint: Mapping[str, Any] | None) -> Component:
    name = visit.say("Registre")
    if checkpoint is None:
        return Component(name=name, state="bad", said=visit.say("pas de point de contrôle"))
    size = visit.formats.number(checkpoint["size"])
    return Component(name=name, state="ok", said=visit.say("%(size)s lignes signées", size=size))


def _chart(totals: Sequence[int], busiest: int) -> str:
    top = max(busiest, 1)
    step = 100 / max(len(totals) - 1, 1)
    return " ".join(f"{i * step:.1f},{CHART_HEIGHT - n / top * (CHART_HEIGHT - 2):.1f}" for i, n in enumerate(totals))
