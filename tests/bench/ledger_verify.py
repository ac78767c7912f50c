"""Entries checked a second by `fsck`, on one core: hashing, the strict parse of bundles, and every tile compared.

Beside it how fast entries are read, which `verify` does as well. `ENTRIES=` sets how many (default 1,000,000): 4,096
different ones, repeated.
"""

import json
import os
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from passerelle_consent.ledger.audit.folder import LogFolder
from passerelle_consent.ledger.audit.verify import Outcome, fsck
from passerelle_consent.ledger.log import tiles, tree
from passerelle_consent.ledger.log.checkpoint import Checkpoint
from passerelle_consent.ledger.log.entries import Entry, EntryType
from passerelle_consent.policy.decide import Reason, Verdict
from unit.ledger.fakes import POLICY, SIGNER, START_MS, TARIFF

BAR = 200_000
"""Entries a second by `fsck`."""
KINDS = 4_096
ROUNDS = 3


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


def main() -> int:
    size, rates = int(os.environ.get("ENTRIES", "1000000")), []
    with tempfile.TemporaryDirectory() as folder:
        publish(Path(folder), size)
        print(f"{'entries':>9} {'fsck/s':>10} {'by CPU time':>12}")
        for _ in range(ROUNDS):
            started, cpu = time.perf_counter(), time.process_time()
            result = fsck(LogFolder(Path(folder)), SIGNER.verifier)
            rates.append(size / (time.perf_counter() - started))
            assert (result.outcome, result.size) == (Outcome.VALID, size), result.findings
            print(f"{size:>9} {rates[-1]:>10.0f} {size / (time.process_time() - cpu):>12.0f}", flush=True)
        raw = entries(random.Random(2))
    started = time.perf_counter()
    for one in raw:
        Entry.parse(one)
    print(f"verify reads {KINDS / (time.perf_counter() - started):.0f} entries/s besides")
    value = statistics.median(rates)
    report = {
        "bench": "ledger-verify",
        "value": round(value),
        "unit": "entries/s",
        "against": "the bar, one core",
        "ratio": round(value / BAR, 2),
        "spread": round((max(rates) - min(rates)) / value, 3),
        "bar": BAR,
        "ok": value >= BAR,
    }
    print(json.dumps(report))
    return 0 if report["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
