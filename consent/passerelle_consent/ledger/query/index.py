"""The index: where in the published log the entries stand that are asked for, and how many there are (decision 0001).

It is made from the log alone (`follow`), and can be made anew from it at any time: a file or a schema of its own,
without a part in the integrator's transactions. Entries are told by their *shape* (`select.Shape`): a filter picks
among some hundred shapes in memory, and each shape's entries lie together.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import astuple, dataclass, field
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from passerelle_consent.ledger.faults import Invalid
from passerelle_consent.ledger.log import tree
from passerelle_consent.ledger.log.entries import EntryType, time_of
from passerelle_consent.ledger.query import index_sql as sql
from passerelle_consent.ledger.query.counts import Every
from passerelle_consent.ledger.query.index_sql import LAYOUT
from passerelle_consent.ledger.query.places import SHAPE_NAMES, Reached, Reader, prefix_of, shape_of
from passerelle_consent.ledger.query.select import Shape
from passerelle_consent.write_ahead import write_ahead
from passerelle_schemas.faults import Fault

VARIABLE = "PASSERELLE_LEDGER_INDEX"

BUSY_TIMEOUT_S = 5
"""How long SQLite waits for another process that makes the same index, or reads it."""

CACHE_KIB = 64 * 1024
"""Of SQLite's pages while it is made: ids come in no order, and their index must not be read from disk for each."""


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
        self.places.append({"shape": number, "idx": index, "time_ms": time_ms, "prefix": prefix_of(ident)})
        hour = Every.HOUR.start(time_ms)
        self.shapes[shape] = (self.shapes.get(shape, (index,))[0], index)
        self.hours[hour] = (self.hours.get(hour, (index,))[0], index)
        self.tallies[hour, number] += 1

    def _shape_of(self, read: Mapping[str, Any]) -> Shape:
        """Of millions of entries a few hundred differ in this: each is made once."""
        agreements = read.get("agreements")
        said = (*(read.get(name) for name in SHAPE_NAMES), None if agreements is None else tuple(agreements))
        if said not in self._made:
            EntryType(read["type"])
            self._made[said] = shape_of(said)
        return self._made[said]


class IndexAway(Fault):
    """The index's database cannot be used now. Whoever follows may be started again."""

    exit_code = 75


class Index:
    """The index's database. It can be lost: it is made anew from the log. Everything raises `IndexAway`."""

    def __init__(self, url: str, *, read_only: bool = False) -> None:
        """Raises `Fault` for what is no URL of a database that we know."""
        at = _url(url)
        lite = at.get_backend_name() == "sqlite"
        if lite and read_only:
            at = at.set(database=f"file:{quote(at.database or '')}", query={"mode": "ro", "uri": "true"})
        self._engine = sa.create_engine(at, connect_args={"timeout": BUSY_TIMEOUT_S} if lite else {})
        if lite:
            sa.event.listen(self._engine, "connect", _sqlite_connect_read_only if read_only else _sqlite_connect)
            sa.event.listen(self._engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
        if not read_only:
            self._make()

    @contextmanager
    def reading(self) -> Iterator[Reader]:
        """One state. On PostgreSQL under REPEATABLE READ; SQLite readers have a snapshot anyway."""
        level = {} if self._engine.dialect.name == "sqlite" else {"isolation_level": "REPEATABLE READ"}
        with _or_away(), self._engine.connect().execution_options(**level) as connection, connection.begin():
            yield Reader(connection)

    def extend(self, batch: Batch, *, before: Reached, after: Reached) -> bool:
        """Write a batch, in one transaction; False, and nothing written, when another has gone on from ``before``."""
        with _or_away(), self._engine.begin() as db:
            step = sa.update(sql.reached).where(sql.reached.c.size == before.size, sql.reached.c.root == before.root)
            if db.execute(step.values(size=after.size, root=after.root)).rowcount != 1:
                return False
            db.execute(sa.insert(sql.places), batch.places)
            shapes = [_shape_row(batch.known[s], s, first, last) for s, (first, last) in batch.shapes.items()]
            self._merge(db, sql.shapes, shapes)
            hours = [{"start_ms": h, "first_idx": first, "last_idx": last} for h, (first, last) in batch.hours.items()]
            self._merge(db, sql.hours, hours)
            self._merge(db, sql.tallies, list(_tally_rows(batch.tallies)))
        return True

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def _make(self) -> None:
        """Make the tables; anew when they are of another layout."""
        with _or_away(), self._engine.begin() as db:
            sql.metadata.create_all(db)
            row = db.execute(sa.select(sql.reached.c.layout)).first()
            if row is not None and row.layout == LAYOUT:
                return
            sql.metadata.drop_all(db)
            sql.metadata.create_all(db)
            db.execute(sa.insert(sql.reached), {"one": 1, "layout": LAYOUT, "size": 0, "root": tree.EMPTY_ROOT})

    def _merge(self, db: sa.Connection, table: sa.Table, rows: list[dict[str, Any]]) -> None:
        """Add rows, or let those that are there reach as far and count as much."""
        dialect: Any = postgresql if db.dialect.name == "postgresql" else sqlite
        insert = dialect.insert(table)
        # Batches come in the order of the log: what is there began earlier.
        more = insert.excluded
        changed = {"count": table.c.count + more.count} if table is sql.tallies else {"last_idx": more.last_idx}
        keys = [column.name for column in table.primary_key]
        db.execute(insert.on_conflict_do_update(index_elements=keys, set_=changed), rows)


def _url(url: str) -> sa.URL:
    try:
        at = sa.make_url(url)
    except sa.exc.ArgumentError:  # its words would quote the URL, and a password with it
        raise Fault("is not a database's URL", where=VARIABLE) from None
    if at.get_backend_name() not in ("sqlite", "postgresql"):
        raise Fault(f"is a {at.get_backend_name()} database, and neither sqlite nor postgresql", where=VARIABLE)
    return at


@contextmanager
def _or_away() -> Iterator[None]:
    try:
        yield
    except sa.exc.DBAPIError as exc:
        raise IndexAway(f"cannot be used ({type(exc.orig).__name__})", where="the index's database") from None


def _shape_row(number: int, shape: Shape, first: int, last: int) -> dict[str, Any]:
    return {"id": number, "said": json.dumps(astuple(shape)), "first_idx": first, "last_idx": last}


def _tally_rows(hours: Mapping[tuple[int, int], int]) -> Iterator[dict[str, Any]]:
    sums: Counter[tuple[Every, int, int]] = Counter()
    for (hour, shape), count in hours.items():
        for every in Every:
            sums[every, every.start(hour), shape] += count
    for (every, start_ms, shape), count in sums.items():
        yield {"every": every.value, "start_ms": start_ms, "shape": shape, "count": count}


def _sqlite_connect(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # SQLAlchemy says BEGIN, not the driver
    write_ahead(connection, BUSY_TIMEOUT_S)
    # What a crash takes is made again from the log.
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")


def _sqlite_connect_read_only(connection: Any, _record: object) -> None:
    connection.isolation_level = None
