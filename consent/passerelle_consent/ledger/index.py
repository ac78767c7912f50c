"""The index: where in the published log the entries stand that are asked for, and how many there are (decision 0001).

It is made from the log alone (`follow`), and can be made anew from it at any time: a file or a schema of its own,
without a part in the integrator's transactions. Entries are told by their *shape* (`select.Shape`): a filter picks
among some hundred shapes in memory, and each shape's entries lie together.
"""

import heapq
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import astuple, dataclass, field
from functools import lru_cache
from itertools import islice
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from passerelle_consent.ledger import tree
from passerelle_consent.ledger.counts import By, Count, Every, counted
from passerelle_consent.ledger.entries import EntryType, time_of
from passerelle_consent.ledger.faults import Invalid
from passerelle_consent.ledger.select import Selection, Shape

LAYOUT = 1
"""Of the tables below. An index of another layout is emptied, and made anew from the log."""

CHUNK, CHUNK_MAX = 8, 256
"""Places read of one shape at a time. A page has few of each shape when many are asked for, and all of one when not."""

IN_MAX = 500
"""Shapes of one statement."""

CACHE_KIB = 64 * 1024
"""Of SQLite's pages while it is made: ids come in no order, and their index must not be read from disk for each."""

_metadata = sa.MetaData()
_shapes = sa.Table(
    "index_shapes",
    _metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("said", sa.Text, nullable=False, unique=True),  # a JSON array, in the order of `Shape`'s fields
    sa.Column("first_idx", sa.BigInteger, nullable=False),
    sa.Column("last_idx", sa.BigInteger, nullable=False),
)
_places = sa.Table(
    "index_places",
    _metadata,
    sa.Column("shape", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("idx", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("time_ms", sa.BigInteger, nullable=False),
    # The first eight bytes of its id, as a number.
    sa.Column("prefix", sa.BigInteger, nullable=False, index=True),
    sqlite_with_rowid=False,
)
_tallies = sa.Table(
    "index_tallies",
    _metadata,
    sa.Column("every", sa.String(5), primary_key=True),
    sa.Column("start_ms", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("shape", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("count", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
_hours = sa.Table(
    "index_hours",
    _metadata,
    sa.Column("start_ms", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("first_idx", sa.BigInteger, nullable=False),
    sa.Column("last_idx", sa.BigInteger, nullable=False),
)
_reached = sa.Table(
    "index_reached",
    _metadata,
    sa.Column("one", sa.SmallInteger, primary_key=True, autoincrement=False),
    sa.Column("layout", sa.Integer, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("root", sa.LargeBinary(32), nullable=False),
)

_PLACES = (
    sa.select(_places.c.idx)
    .where(
        _places.c.shape == sa.bindparam("shape"),
        _places.c.idx >= sa.bindparam("start"),
        _places.c.idx < sa.bindparam("end"),
        _places.c.time_ms >= sa.bindparam("since_ms"),
        _places.c.time_ms < sa.bindparam("until_ms"),
    )
    .order_by(_places.c.idx.desc())
    .limit(sa.bindparam("count"))
)
_PREFIX_BYTES = 8
_FOREVER = 2**63 - 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Reached:
    """How far the index is: the log of this size, which had this root."""

    size: int
    root: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class _Known:
    """A shape with the places of its first and its last entry."""

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
        row = self._db.execute(sa.select(_reached).where(_reached.c.layout == LAYOUT)).first()
        return Reached(size=0, root=tree.EMPTY_ROOT) if row is None else Reached(size=row.size, root=row.root)

    def newest(self, wanted: Selection, *, before: int | None, limit: int) -> list[int]:
        """Return the places of at most ``limit`` entries wanted below ``before``, the newest first.

        Where an id is asked for, an entry that begins with the same eight bytes may be among them.
        """
        start, end = self._span(wanted, before)
        known = [k for k in self._known() if wanted.fits(k.shape)]
        if wanted.ident is not None:
            return self._by_ident(wanted.ident, [k.id for k in known], start, end)[:limit]
        return list(islice(self._merged(known, start, end, wanted), limit))

    def all(self, wanted: Selection, *, start: int = 0, end: int | None = None, limit: int) -> list[int]:
        """Return the places in ``[start, end)`` of all entries wanted, ascending; no more than ``limit``, of any."""
        first, end = self._span(wanted, end)
        start = max(start, first)
        ids = [k.id for k in self._known() if wanted.fits(k.shape)]
        if wanted.ident is not None:
            return self._by_ident(wanted.ident, ids, start, end)[::-1]
        found: list[int] = []
        for some in _slices(ids):
            where = (_places.c.idx >= start) & (_places.c.idx < end) & _places.c.shape.in_(some) & _in_time(wanted)
            found += self._db.scalars(sa.select(_places.c.idx).where(where).limit(limit - len(found)))
        return sorted(found)

    def counts(self, wanted: Selection, by: By, every: Every) -> list[Count]:
        """Count entries, by time and value. ``wanted``'s times are those at which an ``every`` begins."""
        shapes = {k.id: k.shape for k in self._known() if wanted.fits(k.shape)}
        t = _tallies.c
        where = (t.every == every.value) & (t.start_ms >= (wanted.since_ms or 0))
        if wanted.until_ms is not None:
            where &= t.start_ms < wanted.until_ms
        rows = self._db.execute(sa.select(t.start_ms, t.shape, t.count).where(where))
        return list(counted(((s, shape, n) for s, shape, n in rows if shape in shapes), shapes, by))

    def last_ms(self) -> int | None:
        """Return when the last hour began that has an entry."""
        last: int | None = self._db.scalar(sa.select(sa.func.max(_hours.c.start_ms)))
        return last

    def known(self) -> dict[Shape, int]:
        """Return the shapes with their numbers."""
        return {k.shape: k.id for k in self._known()}

    def _known(self) -> Iterator[_Known]:
        for row in self._db.execute(sa.select(_shapes)):
            yield _Known(id=row.id, shape=_shape(row.said), first=row.first_idx, last=row.last_idx)

    def _span(self, wanted: Selection, before: int | None) -> tuple[int, int]:
        """Return between which places the entries of the time wanted stand: the log's order is nearly that of time."""
        end = _FOREVER if before is None else before
        if wanted.since_ms is None and wanted.until_ms is None:
            return 0, end
        h = _hours.c
        where = h.start_ms >= Every.HOUR.start(wanted.since_ms or 0)
        if wanted.until_ms is not None:
            where &= h.start_ms < wanted.until_ms
        row = self._db.execute(sa.select(sa.func.min(h.first_idx), sa.func.max(h.last_idx)).where(where)).one()
        return (0, 0) if row[0] is None else (row[0], min(end, row[1] + 1))

    def _by_ident(self, ident: bytes, shapes: list[int], start: int, end: int) -> list[int]:
        p = _places.c
        where = (p.prefix == _prefix(ident)) & (p.idx >= start) & (p.idx < end)
        rows = self._db.execute(sa.select(p.idx, p.shape).where(where).order_by(p.idx.desc())).all()
        return [row.idx for row in rows if row.shape in set(shapes)]

    def _merged(self, known: Iterable[_Known], start: int, end: int, wanted: Selection) -> Iterator[int]:
        """Yield places, the highest first; a shape is not looked at before its turn could come."""
        reach = ((min(k.last, end - 1), k) for k in known if k.first < end and k.last >= start)
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
            places = list(self._db.scalars(_PLACES, asked))
            yield from places
            end = places[-1] if len(places) == count else start
            count = min(CHUNK_MAX, 4 * count)


@dataclass(kw_only=True, slots=True)
class Batch:
    """Entries to index together, and what of them is counted."""

    known: dict[Shape, int]
    """Of all shapes; new ones are numbered as they come."""
    places: list[dict[str, int]] = field(default_factory=list)
    shapes: dict[Shape, tuple[int, int]] = field(default_factory=dict)
    hours: dict[int, tuple[int, int]] = field(default_factory=dict)
    tallies: Counter[tuple[int, int]] = field(default_factory=Counter)
    """(hour, shape) → count."""
    _made: dict[tuple[object, ...], Shape] = field(default_factory=dict)

    def add(self, index: int, raw: bytes) -> None:
        """Take one entry. Raises `Invalid` for what is none."""
        try:
            read = json.loads(raw)
            shape = self._shape_of(read)
            time_ms, ident = time_of(read["time"]), bytes.fromhex(read.get("decision") or read["id"])
        except (Invalid, ValueError, KeyError, TypeError, AttributeError):
            raise Invalid(f"entry {index} cannot be read") from None
        number = self.known.setdefault(shape, len(self.known))
        self.places.append({"shape": number, "idx": index, "time_ms": time_ms, "prefix": _prefix(ident)})
        hour = Every.HOUR.start(time_ms)
        self.shapes[shape] = (self.shapes.get(shape, (index,))[0], index)
        self.hours[hour] = (self.hours.get(hour, (index,))[0], index)
        self.tallies[hour, number] += 1

    def _shape_of(self, read: Mapping[str, Any]) -> Shape:
        """Of millions of entries a few hundred differ in this: each is made once."""
        agreements = read.get("agreements")
        said = (*(read.get(name) for name in _SHAPE_NAMES), None if agreements is None else tuple(agreements))
        if said not in self._made:
            EntryType(read["type"])
            self._made[said] = _shape_of(said)
        return self._made[said]


class Index:
    """The index's database. It can be lost: it is made anew from the log."""

    def __init__(self, url: str, *, read_only: bool = False) -> None:
        at = sa.make_url(url)
        lite = at.get_backend_name() == "sqlite"
        if lite and read_only:
            at = at.set(database=f"file:{quote(at.database or '')}", query={"mode": "ro", "uri": "true"})
        self._engine = sa.create_engine(at)
        if lite:
            sa.event.listen(self._engine, "connect", _sqlite_connect_read_only if read_only else _sqlite_connect)
            sa.event.listen(self._engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
        if not read_only:
            self._make()

    @contextmanager
    def reading(self) -> Iterator[Reader]:
        """One state. On PostgreSQL under REPEATABLE READ; SQLite readers have a snapshot anyway."""
        level = {} if self._engine.dialect.name == "sqlite" else {"isolation_level": "REPEATABLE READ"}
        with self._engine.connect().execution_options(**level) as connection, connection.begin():
            yield Reader(connection)

    def extend(self, batch: Batch, *, before: Reached, after: Reached) -> bool:
        """Write a batch, in one transaction; False, and nothing written, when another has gone on from ``before``."""
        with self._engine.begin() as db:
            step = sa.update(_reached).where(_reached.c.size == before.size, _reached.c.root == before.root)
            if db.execute(step.values(size=after.size, root=after.root)).rowcount != 1:
                return False
            db.execute(sa.insert(_places), batch.places)
            shapes = [_shape_row(batch.known[s], s, first, last) for s, (first, last) in batch.shapes.items()]
            self._merge(db, _shapes, shapes)
            hours = [{"start_ms": h, "first_idx": first, "last_idx": last} for h, (first, last) in batch.hours.items()]
            self._merge(db, _hours, hours)
            self._merge(db, _tallies, list(_tally_rows(batch.tallies)))
        return True

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def _make(self) -> None:
        """Make the tables; anew when they are of another layout."""
        with self._engine.begin() as db:
            _metadata.create_all(db)
            row = db.execute(sa.select(_reached.c.layout)).first()
            if row is not None and row.layout == LAYOUT:
                return
            _metadata.drop_all(db)
            _metadata.create_all(db)
            db.execute(sa.insert(_reached), {"one": 1, "layout": LAYOUT, "size": 0, "root": tree.EMPTY_ROOT})

    def _merge(self, db: sa.Connection, table: sa.Table, rows: list[dict[str, Any]]) -> None:
        """Add rows, or let those that are there reach as far and count as much."""
        dialect: Any = postgresql if db.dialect.name == "postgresql" else sqlite
        insert = dialect.insert(table)
        # Batches come in the order of the log: what is there began earlier.
        more = insert.excluded
        changed = {"count": table.c.count + more.count} if table is _tallies else {"last_idx": more.last_idx}
        keys = [column.name for column in table.primary_key]
        db.execute(insert.on_conflict_do_update(index_elements=keys, set_=changed), rows)


_SHAPE_NAMES = tuple(name for name in Shape.__slots__ if name != "agreements")


def _shape_row(number: int, shape: Shape, first: int, last: int) -> dict[str, Any]:
    return {"id": number, "said": json.dumps(astuple(shape)), "first_idx": first, "last_idx": last}


@lru_cache(maxsize=10_000)
def _shape(said: str) -> Shape:
    return _shape_of(json.loads(said))


def _shape_of(values: Iterable[Any]) -> Shape:
    *others, agreements = values
    named = None if agreements is None else tuple(agreements)
    return Shape(**dict(zip(_SHAPE_NAMES, others, strict=True)), agreements=named)


def _tally_rows(hours: Mapping[tuple[int, int], int]) -> Iterator[dict[str, Any]]:
    sums: Counter[tuple[Every, int, int]] = Counter()
    for (hour, shape), count in hours.items():
        for every in Every:
            sums[every, every.start(hour), shape] += count
    for (every, start_ms, shape), count in sums.items():
        yield {"every": every.value, "start_ms": start_ms, "shape": shape, "count": count}


def _prefix(ident: bytes) -> int:
    return int.from_bytes(ident[:_PREFIX_BYTES], signed=True)


def _in_time(wanted: Selection) -> sa.ColumnElement[bool]:
    since_ms, until_ms = wanted.since_ms or 0, _FOREVER if wanted.until_ms is None else wanted.until_ms
    return (_places.c.time_ms >= since_ms) & (_places.c.time_ms < until_ms)


def _slices(values: list[int]) -> Iterator[list[int]]:
    for start in range(0, len(values), IN_MAX):
        yield values[start : start + IN_MAX]


def _sqlite_connect(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # SQLAlchemy says BEGIN, not the driver
    connection.execute("PRAGMA journal_mode = WAL")
    # What a crash takes is made again from the log.
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")


def _sqlite_connect_read_only(connection: Any, _record: object) -> None:
    connection.isolation_level = None
