"""How the log grows: from 10,000 to 10 million entries, appended rate, proof length and time at each size, on SQLite.

Entries are made up (the same decision under other ids), since what grows is the tree and the database. `UNTIL=` sets
where it ends (default 1,000,000: a gigabyte and two minutes; 10,000,000 takes ten of both), `FOLDER=` where the
database is. The peer of a proof is the same proof from a tree that keeps leaf hashes alone and computes the rest.
"""

import json
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from passerelle_consent.ledger.database.store import Store
from passerelle_consent.ledger.log import tree
from passerelle_consent.ledger.log.tiles import RightEdge, source_of
from passerelle_consent.ledger.sealing.vault import SealedEntry

FIRST, AT_ONCE, PROOFS = 10_000, 10_000, 300
PLAIN_MAX = 100_000
"""Leaves of the peer: beyond that one proof of it takes seconds."""
BAR_MS = 2.0
BODY = b'{"agreements":["band@1","household@2"],"body_commit":"%s","decision":"%s","v":1,"verdict":"permit"}'


def entries(start: int) -> list[SealedEntry]:
    made = []
    for number in range(start, start + AT_ONCE):
        ident = number.to_bytes(16)
        body = BODY % (os.urandom(160).hex().encode(), ident.hex().encode())
        made.append(SealedEntry(ident=ident, body=body, sealed=bytes(200), handle=os.urandom(16)))
    return made


def append(store: Store, edge: RightEdge, until: int) -> float:
    """Append up to ``until``; return entries a second, without the time in which they were made up."""
    took, begun = 0.0, edge.size
    while edge.size < until:
        fresh = entries(edge.size)
        started = time.perf_counter()
        with store.writing() as db:
            db.add_entries(edge.size, fresh)
            db.put_tiles(edge.append([tree.leaf_hash(entry.body) for entry in fresh]))
        took += time.perf_counter() - started
    return (edge.size - begun) / took


def proofs(store: Store, edge: RightEdge, rng: random.Random) -> tuple[float, float, int]:
    """(p50, p99) in ms of an inclusion proof from the stored tiles, checked, and its most hashes."""
    took, most, root = [], 0, edge.root()
    with store.reading() as db:
        for _ in range(PROOFS):
            index = rng.randrange(edge.size)
            started = time.perf_counter()
            proof = tree.inclusion_proof(index, edge.size, source_of(db.tile))
            took.append((time.perf_counter() - started) * 1e3)
            leaf = tree.leaf_hash(db.bodies(index, index + 1)[0])
            tree.verify_inclusion(index=index, size=edge.size, leaf=leaf, proof=proof, root_hash=root)
            most = max(most, len(proof))
    took.sort()
    return statistics.median(took), took[int(PROOFS * 0.99)], most


def plain_ms(size: int) -> float:
    """The peer's: one proof, from leaf hashes alone."""
    leaves = [tree.leaf_hash(number.to_bytes(16)) for number in range(size)]
    started = time.perf_counter()
    tree.inclusion_proof(size // 3, size, tree.source_of(leaves))
    return (time.perf_counter() - started) * 1e3


def main() -> int:
    until, rng = int(os.environ.get("UNTIL", "1000000")), random.Random(1)
    folder = Path(tempfile.mkdtemp(dir=os.environ.get("FOLDER")))
    store, edge, rates, size = Store(f"sqlite:///{folder / 'ledger.sqlite'}"), RightEdge(), [], FIRST
    print(f"{'entries':>10} {'appended/s':>11} {'proof p50 ms':>13} {'p99 ms':>8} {'hashes':>7} {'plain ms':>9}")
    try:
        while size <= until:
            rates.append(append(store, edge, size))
            p50, p99, most = proofs(store, edge, rng)
            plain = plain_ms(min(size, PLAIN_MAX))
            row = f"{size:>10} {rates[-1]:>11.0f} {p50:>13.3f} {p99:>8.3f} {most:>7}"
            print(f"{row} {plain:>9.1f}{'' if size <= PLAIN_MAX else f' (at {PLAIN_MAX})'}", flush=True)
            size *= 10
    finally:
        store.close()
        shutil.rmtree(folder)
    report = {
        "bench": "ledger-growth",
        "value": round(p50, 3),
        "unit": f"ms, median of an inclusion proof at {edge.size} entries ({most} hashes)",
        "against": f"a proof from {min(edge.size, PLAIN_MAX)} leaf hashes alone",
        "ratio": round(plain / p50, 1),
        "spread": round((max(rates) - min(rates)) / statistics.median(rates), 3),
        "bar": BAR_MS,
        "p99": round(p99, 3),
        "ok": p50 <= BAR_MS and most <= edge.size.bit_length(),
    }
    print(json.dumps(report))
    return 0 if report["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
