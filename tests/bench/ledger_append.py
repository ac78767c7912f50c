"""Entries integrated a second, end to end but for the broker: records of `decisions` in memory → signed, published log.

Wire decoding, commitments, sealing, hashing, the database's commits (synchronous, as in production), tiles and bundles
with fsync, checkpoints: all real, on SQLite and on PostgreSQL where it is installed. The peer is the plain way, on the
same database: one transaction, one signed checkpoint and one publication for each decision. `ENTRIES=` sets how many
(default 100,000), `SUBJECTS=` about how many persons (default 20,000), `ROUNDS=` how often (default 3).
"""

import json
import os
import random
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import structlog

sys.path.insert(0, str(Path(__file__).parents[1]))

from passerelle_consent.ledger.audit.findings import Outcome
from passerelle_consent.ledger.audit.folder import LogFolder
from passerelle_consent.ledger.audit.verify import verify
from passerelle_consent.ledger.integrator.interpreter import settle
from passerelle_consent.ledger.integrator.sealing_process import SealingProcess
from postgresql import binaries, serving
from unit.ledger.fakes import SIGNER, LedgerTown

BARS = {"sqlite": 8_000, "postgresql": 30_000}
"""Entries a second."""
PER_RECORD = 200
PLAIN = 100
"""Decisions of the plain way: each waits for the disk several times."""


@dataclass(frozen=True, kw_only=True)
class Round:
    """Entries a second by the clock, and by this process's CPU: on a machine that does other things, they differ."""

    rate: float
    rate_by_cpu: float
    plain: float


def once(url, entries: int, subjects: int) -> Round:
    rng = random.Random(1)
    refs = [rng.randbytes(16) for _ in range(subjects)]
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        town = LedgerTown(Path(folder), partitions=4, store_url=url)
        stack.callback(town.store.close)
        town.random = random.SystemRandom()
        sealing = SealingProcess()
        stack.callback(sealing.close)
        integrator = town.started(sealing=sealing)
        started = time.perf_counter()
        for _ in range(PLAIN):
            town.decide(subject=rng.choice(refs))
            integrator.step()
        plain = PLAIN / (time.perf_counter() - started)
        for number in range(entries // PER_RECORD):
            town.commit(number % 4, [town.decision(subject=rng.choice(refs)) for _ in range(PER_RECORD)])
        started, cpu = time.perf_counter(), time.process_time()
        while integrator.step(ahead=True).full:
            pass
        integrator.resign()
        took, cpu = time.perf_counter() - started, time.process_time() - cpu
        result = verify(LogFolder(town.folder), SIGNER.verifier)
    assert (result.outcome, result.size) == (Outcome.VALID, entries + PLAIN)
    return Round(rate=entries / took, rate_by_cpu=entries / cpu, plain=plain)


def told(database: str, rounds: list[Round]) -> bool:
    """Print the bench's line."""
    value, bar = statistics.median(r.rate for r in rounds), BARS[database]
    report = {
        "bench": "ledger-append",
        "value": round(value),
        "unit": f"entries/s on {database}",
        "by_cpu": round(statistics.median(r.rate_by_cpu for r in rounds)),
        "against": "one transaction and checkpoint for each decision",
        "ratio": round(statistics.median(r.rate / r.plain for r in rounds), 1),
        "spread": round((max(r.rate for r in rounds) - min(r.rate for r in rounds)) / value, 3),
        "bar": bar,
        "ok": value >= bar,
    }
    print(json.dumps(report), flush=True)
    return value >= bar


def main() -> int:
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    settle()  # as the command does
    entries, subjects = int(os.environ.get("ENTRIES", "100000")), int(os.environ.get("SUBJECTS", "20000"))
    done: dict[str, list[Round]] = {"sqlite": []}
    print(f"{'database':>11} {'entries':>9} {'integrated/s':>13} {'by CPU time':>12} {'plain way/s':>12}")
    with ExitStack() as stack:
        found = binaries()
        server = stack.enter_context(serving(found, durable=True)) if found else None
        if server is not None:
            done["postgresql"] = []
        for _ in range(int(os.environ.get("ROUNDS", "3"))):
            for database, rounds in done.items():
                rounds.append(once(server.database() if database == "postgresql" else None, entries, subjects))
                last = rounds[-1]
                figures = f"{last.rate:>13.0f} {last.rate_by_cpu:>12.0f} {last.plain:>12.0f}"
                print(f"{database:>11} {entries:>9} {figures}", flush=True)
    good = [told(database, rounds) for database, rounds in done.items()]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
