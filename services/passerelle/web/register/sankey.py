"""Who sends to whom, as bands between two columns: a Sankey diagram. Pure: counts in, shapes out, the same each time.

A band is as wide as its count says, on one scale for the whole drawing. What is too few to be published has no width
that would tell it: a hairline, the same for all. Bars are as high as their bands together and stand in slots that do
not overlap; a slot is never lower than a line of text, so that names do not either.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

ROUNDS = 4
"""Of pulling each bar towards the middle of those it is joined with; after a few nothing moves any more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Link:
    """What one department sent another on one lawful basis."""

    source: str
    recipient: str
    basis: str
    count: int | None
    """None: too few to be published, or none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Canvas:
    """How large it is drawn, in the units of its view box."""

    width: float
    bar_width: float
    label_room: float
    """On either side, for names; 0 puts them over the bands."""
    slot: float
    """The least height for a bar and its name."""
    gap: float
    """Between slots."""
    scale: float
    """How high all counts together are."""
    hairline: float = 1.5


WIDE = Canvas(width=1180, bar_width=14, label_room=235, slot=24, gap=10, scale=320)
PHONE = Canvas(width=340, bar_width=9, label_room=0, slot=22, gap=12, scale=320)


@dataclass(frozen=True, kw_only=True, slots=True)
class Bar:
    """A department on one side."""

    name: str
    x: float
    y: float
    height: float
    count: int
    """Of what is published."""
    sends: bool

    @property
    def middle(self) -> float:
        """Where its name is."""
        return self.y + self.height / 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Band:
    """A link, from bar to bar."""

    link: Link
    width: float
    path: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawing:
    """All shapes, and the drawing's size."""

    canvas: Canvas
    height: float
    bars: Sequence[Bar]
    bands: Sequence[Band]


def sankey(links: Sequence[Link], canvas: Canvas) -> Drawing:
    """Lay the links out. The order in which they are given does not matter."""
    return _Layout(links=sorted(links, key=lambda a: (a.source, a.recipient, a.basis)), canvas=canvas).drawing


@dataclass(frozen=True)
class _Layout:
    links: Sequence[Link]
    canvas: Canvas

    @cached_property
    def drawing(self) -> Drawing:
        left, right = self._orders
        columns = [self._heights(left, sends=True), self._heights(right, sends=False)]
        height = max((self._extent(heights) for heights in columns), default=0.0)
        sides = [
            self._bars(heights, height, sends=sends) for heights, sends in zip(columns, (True, False), strict=True)
        ]
        return Drawing(
            canvas=self.canvas, height=height, bars=[*sides[0].values(), *sides[1].values()], bands=self._bands(*sides)
        )

    def width(self, link: Link) -> float:
        total = sum(each.count or 0 for each in self.links)
        if not link.count:
            return self.canvas.hairline
        return link.count * self.canvas.scale / total

    def _of(self, name: str, *, sends: bool) -> list[Link]:
        return [link for link in self.links if (link.source if sends else link.recipient) == name]

    @cached_property
    def _orders(self) -> tuple[list[str], list[str]]:
        """Names from top to bottom, so that few bands cross: each pulled to the middle of its others, a few times."""
        left = sorted({link.source for link in self.links})
        right = sorted({link.recipient for link in self.links})
        for _ in range(ROUNDS):
            right = self._pulled(right, left, sends=False)
            left = self._pulled(left, right, sends=True)
        return left, right

    def _pulled(self, names: Sequence[str], others: Sequence[str], *, sends: bool) -> list[str]:
        place = {name: i for i, name in enumerate(others)}

        def middle(name: str) -> float:
            own = self._of(name, sends=sends)
            weight = sum(self.width(link) for link in own)
            return sum(place[link.recipient if sends else link.source] * self.width(link) for link in own) / weight

        return sorted(names, key=lambda name: (middle(name), name))

    def _heights(self, names: Sequence[str], *, sends: bool) -> dict[str, float]:
        return {name: sum(self.width(link) for link in self._of(name, sends=sends)) for name in names}

    def _extent(self, heights: Mapping[str, float]) -> float:
        return sum(max(h, self.canvas.slot) for h in heights.values()) + self.canvas.gap * max(0, len(heights) - 1)

    def _bars(self, heights: Mapping[str, float], height: float, *, sends: bool) -> dict[str, Bar]:
        """A column from top to bottom, in the middle of the height; each bar in the middle of its slot."""
        canvas = self.canvas
        x = canvas.label_room if sends else canvas.width - canvas.label_room - canvas.bar_width
        top = (height - self._extent(heights)) / 2
        bars = {}
        for name, tall in heights.items():
            slot = max(tall, canvas.slot)
            count = sum(link.count or 0 for link in self._of(name, sends=sends))
            bars[name] = Bar(name=name, x=x, y=top + (slot - tall) / 2, height=tall, count=count, sends=sends)
            top += slot + canvas.gap
        return bars

    def _bands(self, left: Mapping[str, Bar], right: Mapping[str, Bar]) -> list[Band]:
        """Bands leave and reach each bar in the order of the bars at their other ends."""
        leaves = self._ends(left, right, sends=True)
        reaches = self._ends(right, left, sends=False)
        start = self.canvas.label_room + self.canvas.bar_width
        end = self.canvas.width - start
        half = self.canvas.width / 2
        return [
            Band(
                link=link,
                width=self.width(link),
                path=f"M{start:.0f} {a:.1f}C{half:.0f} {a:.1f} {half:.0f} {b:.1f} {end:.0f} {b:.1f}",
            )
            for i, link in enumerate(self.links)
            for a, b in ((leaves[i], reaches[i]),)
        ]

    def _ends(self, bars: Mapping[str, Bar], others: Mapping[str, Bar], *, sends: bool) -> dict[int, float]:
        """Each link by its place → the middle of its end at these bars."""
        at: dict[int, float] = {}
        for name, bar in bars.items():
            own = [i for i, link in enumerate(self.links) if (link.source if sends else link.recipient) == name]
            own.sort(key=lambda i: (others[self.links[i].recipient if sends else self.links[i].source].y, i))
            y = bar.y
            for i in own:
                width = self.width(self.links[i])
                at[i] = y + width / 2
                y += width
        return at
