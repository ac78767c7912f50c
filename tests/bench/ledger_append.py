"""Entries integrated a second, end to end but for the broker: records of `decisions` in memory → signed, published log.

Wire decoding, commitments, sealing, hashing, SQLite with synchronous=FULL, tiles and bundles with fsync, checkpoint:
all real. `ENTRIES=` sets how many (default 100,000), `SUBJECTS=` about how many persons (default 20,000).
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

import structlog

sys.path.insert(0, str(Path(__file__).parents[1]))

from passerelle_consent.ledger.folder import LogFolder
from passerelle_consent.ledger.verify import Outcome, verify
from unit.ledger.fakes import SIGNER, LedgerTown

BAR = 8_000
"""Entries a second on SQLite."""
PER_RECORD = 200
ROUNDS = 3


@dataclass(frozen=True, kw_only=True)
class Round:
    """Seconds by the clock and of CPU: on a machine that does other things as well, they differ."""

    integrate_s: float
    integrate_cpu_s: float
    verify_s: float


def once(entries: int, subjects: int) -> Round:
    with tempfile.TemporaryDirectory() as folder:
        town = LedgerTown(Path(folder), partitions=4)
        rng = random.Random(1)
        refs = [rng.randbytes(16) for _ in range(subjects)]
        for number in range(entries // PER_RECORD):
            town.commit(number % 4, [town.decision(subject=rng.choice(refs)) for _ in range(PER_RECORD)])
        town.random = random.SystemRandom()
        integrator = town.started()
        started, cpu = time.perf_counter(), time.process_time()
        while integrator.step().full:
            pass
        integrated, cpu = time.perf_counter(), time.process_time() - cpu
        result = verify(LogFolder(town.folder), SIGNER.verifier)
        verified = time.perf_counter()
        town.store.close()
    assert (result.outcome, result.size) == (Outcome.VALID, entries)
    return Round(integrate_s=integrated - started, integrate_cpu_s=cpu, verify_s=verified - integrated)


def main() -> int:
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    entries, subjects = int(os.environ.get("ENTRIES", "100000")), int(os.environ.get("SUBJECTS", "20000"))
    rates = []
    print(f"{'entries':>9} {'integrated/s':>13} {'by CPU time':>12} {'verified/s':>11}")
    for _ in range(ROUNDS):
        done = once(entries, subjects)
        rates.append(entries / done.integrate_s)
        by_cpu, verified = entries / done.integrate_cpu_s, entries / done.verify_s
        print(f"{entries:>9} {rates[-1]:>13.0f} {by_cpu:>12.0f} {verified:>11.0f}", flush=True)
    value = statistics.median(rates)
    report = {
        "bench": "ledger-append",
        "value": round(value),
        "unit": "entries/s",
        "against": "the bar, on SQLite",
        "ratio": round(value / BAR, 2),
        "spread": round((max(rates) - min(rates)) / value, 3),
        "bar": BAR,
        "ok": value >= BAR,
    }
    print(json.dumps(report))
    return 0 if report["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
