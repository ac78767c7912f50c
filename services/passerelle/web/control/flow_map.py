"""The live map: departments that publish, agents, the gate, departments that receive. Pure: figures in, shapes out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

BOX_HEIGHT = 60
BOX_GAP = 20
WIDTH_LEFT, WIDTH_AGENT, WIDTH_RIGHT = 210, 220, 210
LEFT, AGENT, GATE, RIGHT = 0, 340, 650, 880
GATE_WIDTH = 120
WIDTH = RIGHT + WIDTH_RIGHT
THIN, THICK = 2.0, 14.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """Somebody on the map."""

    id: str
    name: str
    said: str
    """A figure, as `606 / min`."""
    per_minute: float
    late: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Box:
    """A node with its place."""

    node: Node
    x: float
    y: float
    width: float

    @property
    def middle(self) -> float:
        """Where lines meet it."""
        return self.y + BOX_HEIGHT / 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """A way that records go."""

    path: str
    width: float
    kind: str
    """`flow`, `late` or `deny`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FlowMap:
    """All shapes, and the drawing's size."""

    left: Sequence[Box]
    agents: Sequence[Box]
    right: Sequence[Box]
    lines: Sequence[Line]
    height: float
    width: float = WIDTH

    @property
    def gate_middle(self) -> float:
        """The gate stands in the middle of the height."""
        return self.height / 2


def flow_map(
    left: Sequence[Node], agents: Sequence[Node], right: Sequence[Node], reads: Mapping[str, Sequence[str]]
) -> FlowMap:
    """Lay it out. ``reads``: agents' id → the departments whose outboxes they read."""
    rows = max(len(left), len(agents), len(right), 1)
    height = rows * BOX_HEIGHT + (rows - 1) * BOX_GAP
    columns = [
        _column(nodes, x, width, height)
        for nodes, x, width in ((left, LEFT, WIDTH_LEFT), (agents, AGENT, WIDTH_AGENT), (right, RIGHT, WIDTH_RIGHT))
    ]
    busiest = max((node.per_minute for node in (*left, *agents, *right)), default=0.0)
    middle = height / 2
    lines = [
        _line((WIDTH_LEFT, box.middle), (AGENT, agent.middle), box.node, busiest)
        for agent in columns[1]
        for box in columns[0]
        if box.node.id in reads.get(agent.node.id, ())
    ]
    lines += [_line((AGENT + WIDTH_AGENT, box.middle), (GATE, middle), box.node, busiest) for box in columns[1]]
    lines += [_line((GATE + GATE_WIDTH, middle), (RIGHT, box.middle), box.node, busiest) for box in columns[2]]
    return FlowMap(left=columns[0], agents=columns[1], right=columns[2], lines=lines, height=height)


def _column(nodes: Sequence[Node], x: float, width: float, height: float) -> list[Box]:
    """From top to bottom, the whole column in the middle of the height."""
    taken = len(nodes) * BOX_HEIGHT + max(0, len(nodes) - 1) * BOX_GAP
    top = (height - taken) / 2
    return [Box(node=n, x=x, y=top + i * (BOX_HEIGHT + BOX_GAP), width=width) for i, n in enumerate(nodes)]


def _line(start: tuple[float, float], end: tuple[float, float], node: Node, busiest: float) -> Line:
    (x0, y0), (x1, y1) = start, end
    half = (x0 + x1) / 2
    width = THIN + (THICK - THIN) * (node.per_minute / busiest if busiest else 0.0)
    path = f"M{x0:.0f} {y0:.1f}C{half:.1f} {y0:.1f} {half:.1f} {y1:.1f} {x1:.0f} {y1:.1f}"
    return Line(path=path, width=round(width, 1), kind="late" if node.late else "flow")
