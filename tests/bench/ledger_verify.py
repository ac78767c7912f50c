"""Entries checked a second by `fsck`: hashing, the strict parse of bundles, and every tile compared.

With as many processes as it takes by itself, their start included; its peer is the same with one, in turns. Beside it
how fast entries are read, which `verify` does as well. `ENTRIES=` sets how many (default 1,000,000): 4,096
different ones, repeated.
"""

import json
import os
import random
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from passerelle_consent.ledger.audit import readers
from passerelle_consent.ledger.audit.findings import Outcome
from passerelle_consent.ledger.audit.folder import LogFolder
from passerelle_consent.ledger.audit.verify import fsck
from passerelle_consent.ledger.log import tiles, tree
from passerelle_consent.ledger.log.checkpoint import Checkpoint
from passerelle_consent.ledger.log.entries import Entry, EntryType
from passerelle_consent.policy.decide import Reason, Verdict
from unit.ledger.fakes import POLICY, SIGNER, START_MS, TARIFF

BAR = 200_000
"""Entries a second by `fsck`."""
KINDS = 4_096
ROUNDS = 3


@dataclass(frozen=True, kw_only=True)
class Round:
    """Entries a second by the clock, and by the CPU time of all processes together."""

    rate: float
    rate_by_cpu: float


def entries(rng: random.Random) -> list[bytes]:
    return [
        Entry(
            type=EntryType.DECISION,
            time_ms=START_MS + number,
            decision=rng.randbytes(16),
            verdict=Verdict.PERMIT,
            reason=Reason.VALID_BASIS,
            flow=TARIFF.flow,
            recipient=TARIFF.recipient,
            purpose=TARIFF.purpose,
            agreements=TARIFF.agreements,
            policy=POLICY,
            subject_commit=rng.randbytes(32),
            body_commit=rng.randbytes(32),
        ).encode()
        for number in range(KINDS)
    ]


def publish(folder: Path, size: int) -> None:
    """Write a log without fsync or database: how it came about is another bench's matter."""
    kinds, edge = entries(random.Random(1)), tiles.RightEdge()
    for bundle in tiles.bundles(size):
        mine = [kinds[i % KINDS] for i in range(bundle.start, bundle.start + bundle.width)]
        kept = {bundle.path: tiles.pack(mine)}
        for (level, index), hashes in edge.append([tree.leaf_hash(e) for e in mine]).items():
            kept[tiles.Tile(level=level, index=index, width=len(hashes) // tree.HASH_BYTES).path] = hashes
        for name, data in kept.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
    head = Checkpoint(origin=SIGNER.name, size=size, root=edge.root())
    (folder / "checkpoint").write_bytes(head.sign(SIGNER))


def checked(folder: Path, size: int, processes: int | None) -> Round:
    started, before = time.perf_counter(), os.times()
    result = fsck(LogFolder(folder), SIGNER.verifier, processes=processes)
    took, after = time.perf_counter() - started, os.times()
    assert (result.outcome, result.size) == (Outcome.VALID, size), result.findings
    return Round(rate=size / took, rate_by_cpu=size / (sum(after[:4]) - sum(before[:4])))


def main() -> int:
    size = int(os.environ.get("ENTRIES", "1000000"))
    many, one = list[Round](), list[Round]()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        publish(folder, size)
        processes = readers.how_many(LogFolder(folder), size, parses=False)
        print(f"{'entries':>9} {'processes':>9} {'fsck/s':>10} {'by CPU time':>12}")
        for _ in range(ROUNDS):
            for asked, rounds in ((None, many), (1, one)):
                rounds.append(checked(folder, size, asked))
                last = rounds[-1]
                figures = f"{asked or processes:>9} {last.rate:>10.0f} {last.rate_by_cpu:>12.0f}"
                print(f"{size:>9} {figures}", flush=True)
    raw = entries(random.Random(2))
    started = time.perf_counter()
    for entry in raw:
        Entry.parse(entry)
    print(f"verify reads {KINDS / (time.perf_counter() - started):.0f} entries/s besides, by each process")
    rates = [r.rate for r in many]
    value, alone = statistics.median(rates), statistics.median(r.rate for r in one)
    report = {
        "bench": "ledger-verify",
        "value": round(value),
        "unit": f"entries/s, {processes} processes",
        "by_cpu": round(statistics.median(r.rate_by_cpu for r in many)),
        "against": "one process",
        "ratio": round(value / alone, 2),
        "spread": round((max(rates) - min(rates)) / value, 3),
        "bar": BAR,
        "ok": value >= BAR,
    }
    print(json.dumps(report))
    return 0 if report["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
