"""Make a large town by bulk means: the same rows, entries, tiles and checkpoint as the services write, faster.

Entries are sealed by the integrator's own code, put on its own tree and into its own tables by COPY, in two processes;
what waits for the disk at each step there is left out, and indexes are built afterwards.
"""

import hmac
import json
import random
import sqlite3
import sys
import time
from array import array
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import psycopg
import sqlalchemy as sa

from bench.large.folder import Place, Size, about, ref_of
from passerelle_consent.ledger.database.reader import Head
from passerelle_consent.ledger.database.store import Store
from passerelle_consent.ledger.integrator.publish import FolderPublisher
from passerelle_consent.ledger.log import tree
from passerelle_consent.ledger.log.checkpoint import Checkpoint
from passerelle_consent.ledger.log.commitments import SubjectKey
from passerelle_consent.ledger.log.tiles import TILE_WIDTH, RightEdge, Tile, hash_tiles, pack
from passerelle_consent.ledger.query.counts import Every
from passerelle_consent.ledger.query.index import Batch, Index
from passerelle_consent.ledger.query.places import Reached, prefix_of
from passerelle_consent.ledger.sealing.decided import seal_decisions
from passerelle_consent.ledger.sealing.vault import Vault, WrappedKey
from passerelle_consent.policy.decide import Reason, Verdict
from passerelle_consent.records import migrations as of_consent
from passerelle_consent.wire import DecisionRows, FlowUse, Kind, Source
from postgresql import Server
from unit.ledger.fakes import MASTERS, ORIGIN, SIGNER
from unit.web.town import lutece

CHUNK = 64 * TILE_WIDTH
"""Entries of one transaction."""
MONTHS_MS = 395 * 86_400_000
"""How far back the log goes: thirteen months, so that the register's year is full."""
ROWS_AT_ONCE = 50_000
DENIED = (Reason.CONSENT_WITHDRAWN, Reason.CONSENT_NOT_GIVEN, Reason.OBJECTED, Reason.CONSENT_EXPIRED)


class Keys(Vault):
    """Subject keys that any process works out for itself: in production they are drawn, and stored."""

    def key_of(self, subject: bytes | None, *, proven: bool) -> SubjectKey | None:  # noqa: ARG002
        """Return the subject's key."""
        assert subject is not None
        key = self.keys.get(subject)
        if key is None:
            key = self.keys[subject] = SubjectKey.of(secret_of(subject))
        return key


def secret_of(subject: bytes) -> bytes:
    return hmac.digest(b"a seeded key", subject, "sha256")


@dataclass(kw_only=True)
class Sealer:
    """One process's part."""

    store: Store
    folder: Path
    size: Size
    ends_ms: int
    keys: Keys
    policy: bytes
    flows: tuple[FlowUse, ...]
    optional: list[tuple[str, ...]]
    refs: list[bytes]

    def decided(self, start: int) -> DecisionRows:
        draw = random.Random(start)
        sources = [Source(use.flow, "outbox.town.event", 0) for use in self.flows]
        kinds: dict[Kind, int] = {}
        rows = []
        for index in range(start, start + CHUNK):
            flow = draw.randrange(len(self.flows))
            luck = draw.random()
            kind = Kind(flow, Verdict.PERMIT, Reason.VALID_BASIS)
            if luck < 0.12:
                kind = Kind(flow, Verdict.DENY, DENIED[int(luck * 100) % len(DENIED)])
            elif luck < 0.2 and self.optional[flow]:
                kind = Kind(flow, Verdict.REDACT, Reason.VALID_BASIS, self.optional[flow][:1])
            ident, at_ms = draw.randbytes(16), time_of(index, self.size, self.ends_ms)
            subject = self.refs[about(index, self.size, draw)]
            rows.append((ident, at_ms, kinds.setdefault(kind, len(kinds)), subject, flow, index, 0))
        return DecisionRows(policy=self.policy, flows=self.flows, kinds=list(kinds), sources=sources, rows=rows)

    def seal(self, start: int) -> "Sealed":
        """Write a chunk."""
        read = self.decided(start)
        entries = list(seal_decisions(read, self.keys))
        hashes = tree.leaf_hashes(e.body for e in entries)
        tiles, roots = {}, []
        for at in range(0, CHUNK, TILE_WIDTH):
            number = (start + at) // TILE_WIDTH
            own = hashes[at : at + TILE_WIDTH]
            tiles[0, number] = b"".join(own)
            roots.append(tree.subtree_root(own))
            write(self.folder, Tile(level=0, index=number), tiles[0, number])
            write(self.folder, Tile(level=None, index=number), pack(e.body for e in entries[at : at + TILE_WIDTH]))
        with self.store.writing() as db:
            db.add_entries(start, entries)
            db.put_tiles(tiles)
        said = [read.kinds[kind][:3] for _, _, kind, *_ in read.rows]
        kinds = {kind: entry.body for kind, entry in zip(said, entries, strict=True)}
        numbers = {kind: n for n, kind in enumerate(kinds)}
        return Sealed(
            roots=roots,
            examples=list(kinds.values()),
            kinds=array("B", (numbers[kind] for kind in said)),
            prefixes=array("q", (prefix_of(entry.ident) for entry in entries)),
        )


@dataclass(kw_only=True)
class Sealed:
    """What the parent needs of a chunk: the roots of its tiles, and for the index one entry of each kind."""

    roots: list[bytes]
    examples: list[bytes]
    kinds: "array[int]"
    """Of each entry, the number of an example like it but for ids and time."""
    prefixes: "array[int]"


SEALERS: list[Sealer] = []
"""Of this process: one."""


def begin(place: Place, size: Size, ends_ms: int) -> None:
    _, bundle = lutece()
    flows = tuple(
        FlowUse(flow=f.id, recipient=f.recipient, purpose=f.purpose, agreements=f.agreements) for f in bundle.flows
    )
    SEALERS.append(
        Sealer(
            store=Store(place.database("ledger")),
            folder=place.ledger,
            size=size,
            ends_ms=ends_ms,
            keys=Keys(random=random.Random(ends_ms).randbytes),
            policy=bundle.digest,
            flows=flows,
            optional=[tuple(f.optional) for f in bundle.flows],
            refs=[ref_of(n) for n in range(size.citizens)],
        )
    )


def seal(start: int) -> Sealed:
    return SEALERS[0].seal(start)


def time_of(index: int, size: Size, ends_ms: int) -> int:
    return ends_ms - MONTHS_MS + index * MONTHS_MS // size.entries


def write(folder: Path, tile: Tile, data: bytes) -> None:
    path = folder / tile.path
    try:
        path.write_bytes(data)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


@contextmanager
def told(what: str) -> Iterator[None]:
    """Say how long a step took."""
    began = time.perf_counter()
    yield
    print(f"  {what}: {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)


def make(place: Place, server: Server, size: Size) -> None:
    """Make all but what citizens say over the API (`say`)."""
    assert size.entries % CHUNK == 0
    for name in ("consent", "ledger"):
        server.sql(f"CREATE DATABASE {name}")
        server.sql(f"ALTER DATABASE {name} SET synchronous_commit TO off")
    ends_ms = time.time_ns() // 1_000_000
    with told(f"{size.citizens:,} citizens"):
        link(place, server, size, ends_ms)
    ledger = Store(place.database("ledger"))
    indexes = drop_indexes(server, "ledger")
    with told("their keys"):
        store_keys(ledger, size)
    with told(f"{size.entries:,} entries, and where they stand"):
        root = append(place, size, ends_ms, ledger, Indexing(place, size, ends_ms))
    head = Checkpoint(origin=ORIGIN, size=size.entries, root=root)
    note = head.sign(SIGNER)
    with ledger.writing() as db:
        db.add_checkpoint(Head(checkpoint=head, note=note), ends_ms)
    ledger.close()
    (place.ledger / "checkpoint").write_bytes(note)
    FolderPublisher(place.ledger, SIGNER.verifier).write_key()
    with told("the database's indexes"):
        build(server, "ledger", indexes)
    with told("what a database does in its own time"):
        for name in ("consent", "ledger"):
            server.sql("VACUUM ANALYZE", name)
            server.sql(f"ALTER DATABASE {name} RESET synchronous_commit")
        server.sql("CHECKPOINT")


def finished(place: Place, size: Size) -> None:
    place.made.write_text(json.dumps(asdict(size)))


def link(place: Place, server: Server, size: Size, now_ms: int) -> None:
    """Citizens whom the desk has linked; two of three have said yes to something."""
    engine = sa.create_engine(place.database("consent"))
    with engine.begin() as conn:
        of_consent.migrate(conn)
    engine.dispose()
    manifest, bundle = lutece()
    asked = [a for a in bundle.agreements if a.basis.value == "6-1-a"]
    refs = [ref_of(n) for n in range(size.citizens)]
    since_ms = now_ms - MONTHS_MS
    said = ((ref, asked[(n * 7 + k) % len(asked)], n) for n, ref in enumerate(refs) for k in range(n % 3))
    with psycopg.connect(server.conninfo("consent")) as conn, conn.cursor() as cursor:
        copy(
            cursor, "subjects (ref, linked_at_ms, revision)", ((ref, since_ms, 1 + n % 3) for n, ref in enumerate(refs))
        )
        copy(cursor, "links (ref, department, at_ms)", ((ref, manifest.desk, since_ms) for ref in refs))
        copy(
            cursor,
            "stances (ref, agreement, state, notice, at_ms, by)",
            ((ref, a.id, "given", a.notice.version, since_ms + n, "subject") for ref, a, n in said),
        )


def copy(cursor: psycopg.Cursor, table: str, rows: Iterator[tuple[object, ...]]) -> None:
    with cursor.copy(f"COPY {table} FROM STDIN") as copying:
        while some := list(islice(rows, ROWS_AT_ONCE)):
            copying.write("".join("\t".join(_text(v) for v in row) + "\n" for row in some))


def _text(value: object) -> str:
    return f"\\\\x{value.hex()}" if isinstance(value, bytes) else str(value)


def store_keys(ledger: Store, size: Size) -> None:
    master = MASTERS.current()
    draw = random.Random(size.citizens).randbytes
    refs = (ref_of(n) for n in range(size.citizens))
    with ledger.writing() as db:
        while some := list(islice(refs, ROWS_AT_ONCE)):
            db.add_keys({r: WrappedKey(master=master.id, wrapped=master.wrap(r, secret_of(r), draw)) for r in some})


def append(place: Place, size: Size, ends_ms: int, ledger: Store, index: "Indexing") -> bytes:
    """Seal, store and index all entries; return the root of their tree."""
    edge, above = RightEdge(), {}
    starts = range(0, size.entries, CHUNK)
    with ProcessPoolExecutor(2, initializer=begin, initargs=(place, size, ends_ms)) as pool:
        for start, sealed in zip(starts, pool.map(seal, starts), strict=True):
            above.update(edge.append_full(sealed.roots))
            index.add(start, sealed)
    with ledger.writing() as db:
        db.put_tiles(above)
    for tile in hash_tiles(size.entries):
        if tile.level:
            write(place.ledger, tile, above[tile.level, tile.index][: tile.width * tree.HASH_BYTES])
    index.finish(edge.root())
    return edge.root()


class Indexing:
    """Fills the log's index: places by the database's own driver, shapes and counts by `Index`."""

    def __init__(self, place: Place, size: Size, ends_ms: int) -> None:
        self._size, self._ends_ms = size, ends_ms
        self._index = Index(place.index)
        self._db = sqlite3.connect(place.index.removeprefix("sqlite:///"), isolation_level=None)
        self._db.execute("PRAGMA synchronous = OFF")
        named = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
        self._later = self._db.execute(named).fetchall()
        for name, _ in self._later:
            self._db.execute(f"DROP INDEX {name}")
        self._batch = Batch(known={})

    def add(self, start: int, sealed: Sealed) -> None:
        batch = self._batch
        shapes = []
        for example in sealed.examples:
            shapes.append(batch._shape_of(json.loads(example)))
            batch.known.setdefault(shapes[-1], len(batch.known))
        numbers = [batch.known[shape] for shape in shapes]
        times = [time_of(index, self._size, self._ends_ms) for index in range(start, start + CHUNK)]
        of_each = [numbers[kind] for kind in sealed.kinds]
        rows = zip(of_each, range(start, start + CHUNK), times, sealed.prefixes, strict=True)
        self._db.execute("BEGIN")
        self._db.executemany("INSERT INTO index_places (shape, idx, time_ms, prefix) VALUES (?, ?, ?, ?)", rows)
        self._db.execute("COMMIT")
        hours = [Every.HOUR.start(time_ms) for time_ms in times]
        batch.tallies.update(Counter(zip(hours, of_each, strict=True)))
        for index, (hour, kind) in enumerate(zip(hours, sealed.kinds, strict=True), start):
            batch.hours[hour] = (batch.hours.get(hour, (index,))[0], index)
            batch.shapes[shapes[kind]] = (batch.shapes.get(shapes[kind], (index,))[0], index)

    def finish(self, root: bytes) -> None:
        last = self._size.entries - 1
        found = self._db.execute(
            "SELECT shape, idx, time_ms, prefix FROM index_places WHERE idx = ?", (last,)
        ).fetchone()
        self._db.execute("DELETE FROM index_places WHERE shape = ? AND idx = ?", found[:2])
        self._batch.places = [dict(zip(("shape", "idx", "time_ms", "prefix"), found, strict=True))]
        before, after = Reached(size=0, root=tree.EMPTY_ROOT), Reached(size=self._size.entries, root=root)
        assert self._index.extend(self._batch, before=before, after=after)
        self._index.close()
        self._db.execute("PRAGMA cache_size = -1000000")
        for _, definition in self._later:
            self._db.execute(definition)
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._db.close()


def drop_indexes(server: Server, database: str) -> list[str]:
    """Drop what is no key's; return how to make it again."""
    found = server.sql(
        "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' AND indexdef LIKE 'CREATE INDEX%'",
        database,
    )
    for name, _ in found:
        server.sql(f"DROP INDEX {name}", database)
    return [definition for _, definition in found]


def build(server: Server, database: str, indexes: list[str]) -> None:
    for definition in indexes:
        server.sql(f"SET maintenance_work_mem TO '1GB'; {definition}", database)
