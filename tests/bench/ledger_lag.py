"""How late the checkpoint is: from a decision's commit on `decisions` to a published checkpoint that covers it.

`A_SECOND=` decisions (default 2,000) a second for `SECONDS=` (default 20), in a transaction every 50 ms, on SQLite.
"""

import json
import os
import random
import sys
import tempfile
import threading
import time
from pathlib import Path

import structlog

sys.path.insert(0, str(Path(__file__).parents[1]))

from passerelle_consent.ledger.integrator.publish import FolderPublisher
from passerelle_consent.ledger.integrator.sealing_process import SealingProcess
from unit.ledger.fakes import SIGNER, LedgerTown

BAR_S = 1.5
EVERY_S = 0.05
READY_S_MAX = 30


class Timed:
    """A publisher that notes when each size was public."""

    def __init__(self, publisher):
        self.publisher, self.public = publisher, []

    def publish(self, source, head):
        self.publisher.publish(source, head)
        self.public.append((head.checkpoint.size, time.perf_counter()))


def lags(committed, public):
    """(size, when) of commits and of publications, both in order → the lag of each commit, in seconds."""
    later = iter(public)
    size, when = next(later)
    for wanted, at in committed:
        while size < wanted:
            size, when = next(later)
        yield when - at


def main() -> int:
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    a_second, seconds = int(os.environ.get("A_SECOND", "2000")), float(os.environ.get("SECONDS", "20"))
    per_commit, rng, committed = int(a_second * EVERY_S), random.Random(1), []
    with tempfile.TemporaryDirectory() as folder:
        town = LedgerTown(Path(folder), partitions=4)
        town.random = random.SystemRandom()
        timed = Timed(FolderPublisher(town.folder, SIGNER.verifier))
        sealing, stop, ready = SealingProcess(), threading.Event(), threading.Event()
        integrator = town.integrator(publisher=timed, sealing=sealing)
        running = threading.Thread(target=integrator.run, args=(stop, ready.set))
        running.start()
        ready.wait(READY_S_MAX)
        begun = time.perf_counter()
        for number in range(int(seconds / EVERY_S)):
            records = [town.decision(subject=rng.randrange(20_000).to_bytes(16)) for _ in range(per_commit)]
            time.sleep(max(0.0, begun + number * EVERY_S - time.perf_counter()))
            town.commit(number % 4, records)
            committed.append(((number + 1) * per_commit, time.perf_counter()))
        while timed.public[-1][0] < committed[-1][0] and running.is_alive():
            time.sleep(EVERY_S)
        stop.set()
        running.join()
        sealing.close()
        town.store.close()
    late = sorted(lags(committed, timed.public))
    p50, p99 = late[len(late) // 2], late[int(len(late) * 0.99)]
    print(f"{'decisions/s':>12} {'p50 s':>8} {'p99 s':>8} {'most s':>8}")
    print(f"{a_second:>12} {p50:>8.3f} {p99:>8.3f} {late[-1]:>8.3f}")
    report = {
        "bench": "ledger-lag",
        "value": round(p99, 3),
        "unit": f"s, p99 at {a_second} decisions/s",
        "against": "the bar",
        "ratio": round(p99 / BAR_S, 2),
        "spread": round(late[-1] - p50, 3),
        "bar": BAR_S,
        "ok": p99 <= BAR_S,
    }
    print(json.dumps(report))
    return 0 if report["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
