"""Where entries stand in the log, by what they say: the reading side of the index."""

import heapq
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from passerelle_consent.ledger.log import tree
from passerelle_consent.ledger.query import index_sql as sql
from passerelle_consent.ledger.query.counts import By, Count, Every, counted
from passerelle_consent.ledger.query.index_sql import LAYOUT
from passerelle_consent.ledger.query.select import EVERYTHING, Selection, Shape

CHUNK, CHUNK_MAX = 8, 256
"""Places read of one shape at a time. A page has few of each shape when many are asked for, and all of one when not."""

IN_MAX = 500
"""Shapes of one statement."""

_PLACES = (
    sa.select(sql.places.c.idx)
    .where(
        sql.places.c.shape == sa.bindparam("shape"),
        sql.places.c.idx >= sa.bindparam("start"),
        sql.places.c.idx < sa.bindparam("end"),
        sql.places.c.time_ms >= sa.bindparam("since_ms"),
        sql.places.c.time_ms < sa.bindparam("until_ms"),
    )
    .order_by(sql.places.c.idx.desc())
    .limit(sa.bindparam("count"))
)
_NUMBER_BYTES = 4
_REACHED = sa.select(sql.reached).where(sql.reached.c.layout == LAYOUT)
_SHAPES = sa.select(sql.shapes.c.id, sql.shapes.c.said, sql.shapes.c.first_idx, sql.shapes.c.last_idx)
_FIRST_MS, _LAST_MS = (sa.select(f(sql.hours.c.start_ms)) for f in (sa.func.min, sa.func.max))
# Added up by the database: of a year of days, a row for each of eighty shapes would take ten times as long.
_TALLIES = (
    sa.select(
        sql.tallies.c.start_ms,
        sa.func.substr(
            sa.bindparam("like", type_=sa.LargeBinary),
            1 + _NUMBER_BYTES * sql.tallies.c.shape,
            _NUMBER_BYTES,
            type_=sa.LargeBinary,
        ).label("told"),
        sa.func.sum(sql.tallies.c.count),
    )
    .where(
        sql.tallies.c.every == sa.bindparam("every"),
        sql.tallies.c.start_ms >= sa.bindparam("since_ms"),
        sql.tallies.c.start_ms < sa.bindparam("until_ms"),
    )
    .group_by(sql.tallies.c.start_ms, sa.text("told"))
)
_PREFIX_BYTES = 8
_NO_SHAPE = 2**32 - 1
_FOREVER = 2**63 - 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Reached:
    """How far the index is: the log of this size, which had this root."""

    size: int
    root: bytes


class _Known(NamedTuple):
    """A shape with the places of its first and its last entry. Made for all of them at each look-up: a plain tuple."""

    id: int
    shape: Shape
    first: int
    last: int


class Reader:
    """Reads within one transaction: one state of the index."""

    def __init__(self, connection: sa.Connection) -> None:
        self._db = connection

    def reached(self) -> Reached:
        """Return how far the index is; nowhere when it is of another layout."""
        row = self._db.execute(_REACHED).first()
        return Reached(size=0, root=tree.EMPTY_ROOT) if row is None else Reached(size=row.size, root=row.root)

    def newest(self, wanted: Selection, *, before: int | None, limit: int) -> list[int]:
        """Return the places of at most ``limit`` entries wanted below ``before``, the newest first.

        Where an id is asked for, an entry that begins with the same eight bytes may be among them.
        """
        start, end = self._span(wanted, before)
        if wanted == EVERYTHING:
            return list(range(min(end, self.reached().size) - 1, -1, -1)[:limit])
        known = [k for k in self._known() if wanted.fits(k.shape) and k.first < end and k.last >= start]
        if wanted.ident is not None:
            return self._by_ident(wanted.ident, [k.id for k in known], start, end)[:limit]
        if self._db.dialect.name == "postgresql":
            return self._nested([k.id for k in known], start, end, wanted, limit)
        return list(islice(self._merged(known, start, end, wanted), limit))

    def all(self, wanted: Selection, *, start: int = 0, end: int | None = None, limit: int) -> Sequence[int]:
        """Return the places in ``[start, end)`` of all entries wanted, ascending; no more than ``limit``, of any."""
        first, end = self._span(wanted, end)
        start = max(start, first)
        if wanted == EVERYTHING:
            return range(start, min(end, self.reached().size))[:limit]
        ids = [k.id for k in self._known() if wanted.fits(k.shape)]
        if wanted.ident is not None:
            return self._by_ident(wanted.ident, ids, start, end)[::-1][:limit]
        found: list[int] = []
        p = sql.places.c
        for some in _slices(ids):
            where = (p.idx >= start) & (p.idx < end) & p.shape.in_(some) & _in_time(wanted)
            found += self._db.scalars(sa.select(p.idx).where(where).order_by(p.idx).limit(limit - len(found)))
        return sorted(found) if len(ids) > IN_MAX else found

    def counts(self, wanted: Selection, by: By, every: Every) -> list[Count]:
        """Count entries, by time and value. ``wanted``'s times are those at which an ``every`` begins."""
        known = {k.id: k.shape for k in self._known()}
        shapes = {number: shape for number, shape in known.items() if wanted.fits(shape)}
        if not shapes:
            return []
        asked = {
            "like": _alike(shapes, by, upto=max(known)),
            "every": every.value,
            "since_ms": wanted.since_ms or 0,
            "until_ms": _FOREVER if wanted.until_ms is None else wanted.until_ms,
        }
        told = self._db.execute(_TALLIES, asked).all()
        rows = ((start_ms, int.from_bytes(n), int(count)) for start_ms, n, count in told)
        return list(counted(((s, shape, n) for s, shape, n in rows if shape in shapes), shapes, by))

    def first_ms(self) -> int | None:
        """Return when the first hour began that has an entry."""
        first: int | None = self._db.scalar(_FIRST_MS)
        return first

    def last_ms(self) -> int | None:
        """Return when the last hour began that has an entry."""
        last: int | None = self._db.scalar(_LAST_MS)
        return last

    def known(self) -> dict[Shape, int]:
        """Return the shapes with their numbers."""
        return {k.shape: k.id for k in self._known()}

    def _known(self) -> Iterator[_Known]:
        for number, said, first, last in self._db.execute(_SHAPES).all():
            yield _Known(number, _shape(said), first, last)

    def _span(self, wanted: Selection, before: int | None) -> tuple[int, int]:
        """Return between which places the entries of the time wanted stand: the log's order is nearly that of time."""
        end = _FOREVER if before is None else before
        if wanted.since_ms is None and wanted.until_ms is None:
            return 0, end
        h = sql.hours.c
        where = h.start_ms >= Every.HOUR.start(wanted.since_ms or 0)
        if wanted.until_ms is not None:
            where &= h.start_ms < wanted.until_ms
        row = self._db.execute(sa.select(sa.func.min(h.first_idx), sa.func.max(h.last_idx)).where(where)).one()
        return (0, 0) if row[0] is None else (row[0], min(end, row[1] + 1))

    def _by_ident(self, ident: bytes, shapes: list[int], start: int, end: int) -> list[int]:
        p = sql.places.c
        where = (p.prefix == prefix_of(ident)) & (p.idx >= start) & (p.idx < end)
        rows = self._db.execute(sa.select(p.idx, p.shape).where(where).order_by(p.idx.desc())).all()
        return [row.idx for row in rows if row.shape in set(shapes)]

    def _nested(self, shapes: list[int], start: int, end: int, wanted: Selection, limit: int) -> list[int]:
        """Return the highest places: of each shape its own, in one statement, since a server is a way off."""
        p, ids = sql.places.c, sa.func.unnest(sa.cast(shapes, ARRAY(sa.Integer)))
        asked = ids.table_valued("id", name="asked").render_derived()
        own = (
            sa.select(p.idx)
            .where(p.shape == asked.c.id, p.idx >= start, p.idx < end, _in_time(wanted))
            .order_by(p.idx.desc())
            .limit(limit)
            .lateral("own")
        )
        found = sa.select(own.c.idx).select_from(asked.join(own, sa.true())).order_by(own.c.idx.desc()).limit(limit)
        return list(self._db.scalars(found))

    def _merged(self, known: Iterable[_Known], start: int, end: int, wanted: Selection) -> Iterator[int]:
        """Yield places, the highest first; a shape is not looked at before its turn could come."""
        reach = ((min(k.last, end - 1), k) for k in known)
        turns: list[tuple[int, int, Iterator[int] | None]] = [(-bound, k.id, None) for bound, k in reach]
        heapq.heapify(turns)
        while turns:
            at, shape, places = heapq.heappop(turns)
            if places is None:
                places = self._of_shape(shape, start, 1 - at, wanted)
            else:
                yield -at
            following = next(places, None)
            if following is not None:
                heapq.heappush(turns, (-following, shape, places))

    def _of_shape(self, shape: int, start: int, end: int, wanted: Selection) -> Iterator[int]:
        times = {"since_ms": wanted.since_ms or 0, "until_ms": _FOREVER if wanted.until_ms is None else wanted.until_ms}
        count = CHUNK
        while start < end:
            asked = {"shape": shape, "start": start, "end": end, "count": count, **times}
            places = self._db.scalars(_PLACES, asked).all()
            yield from places
            end = places[-1] if len(places) == count else start
            count = min(CHUNK_MAX, 4 * count)


SHAPE_NAMES = tuple(name for name in Shape.__slots__ if name != "agreements")


@lru_cache(maxsize=10_000)
def _shape(said: str) -> Shape:
    return shape_of(json.loads(said))


def shape_of(values: Iterable[Any]) -> Shape:
    """Make a shape of its values, the agreements last."""
    *others, agreements = values
    named = None if agreements is None else tuple(agreements)
    return Shape(**dict(zip(SHAPE_NAMES, others, strict=True)), agreements=named)


def prefix_of(ident: bytes) -> int:
    """Return what of an id is indexed."""
    return int.from_bytes(ident[:_PREFIX_BYTES], signed=True)


def _alike(shapes: Mapping[int, Shape], by: By, *, upto: int) -> bytes:
    """Return, at the place of each shape's number, that of one which counts for the same values.

    At that of a shape which is not among these stands none. A database finds its place in such a string at once, and
    goes through the branches of a CASE one after the other.
    """
    first: dict[tuple[str | None, ...], int] = {}
    like = {number: first.setdefault(by.values(shape), number) for number, shape in shapes.items()}
    return b"".join(like.get(n, _NO_SHAPE).to_bytes(_NUMBER_BYTES) for n in range(upto + 1))


def _in_time(wanted: Selection) -> sa.ColumnElement[bool]:
    since_ms, until_ms = wanted.since_ms or 0, _FOREVER if wanted.until_ms is None else wanted.until_ms
    return (sql.places.c.time_ms >= since_ms) & (sql.places.c.time_ms < until_ms)


def _slices(values: list[int]) -> Iterator[list[int]]:
    for start in range(0, len(values), IN_MAX):
        yield values[start : start + IN_MAX]
