"""Rows a second from a department's PostgreSQL to its outbox, against a relay that takes one row after the other.

Both on a server that waits for its disk and on the real broker. `ROWS=` sets how many (default 100,000; the other
relay gets a fiftieth of them).
"""

import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import psycopg
import structlog

sys.path.insert(0, str(Path(__file__).parents[1]))

from conftest import RunningCity, start_broker
from faults.founded import MANIFEST
from passerelle.city.apply import City
from passerelle.city.manifest import Manifest
from passerelle.config import Home
from passerelle.publish.outbox_table import DDL, OutboxTable
from passerelle.publish.relay import Relay
from passerelle.publish.steady import SteadySender
from passerelle_schemas.topics import outbox_writer
from postgresql import binaries, serving

BAR = 10_000
ROUNDS = 3
FILL = """
INSERT INTO passerelle_outbox (type, pseudonym, value)
SELECT 'tax.income-assessed.v1', decode(md5((n %% 20000)::text), 'hex'),
       jsonb_build_object('income_year', 2025, 'reference_income_cents', n, 'parts_hundredths', 250,
                          'assessed_on', '2026-08-03')
  FROM generate_series(1, %s) AS n"""


class OneByOne(Relay):
    """Reads a batch, then sends and forgets each row by itself."""

    def _publish(self, table, rows, batches):
        for row in rows:
            super()._publish(table, [row], batches)


def rate(city: RunningCity, database: str, kind: type[Relay], rows: int) -> float:
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute(FILL, (rows,))
    with SteadySender(city.access("tax"), outbox_writer("tax")) as sender:
        relay = kind(lambda: OutboxTable(database), sender, "tax", city.manifest.policy_bundle().catalogue)
        started = time.perf_counter()
        relay.run(lambda: False, follow=False)
        elapsed = time.perf_counter() - started
    assert (relay.counts.published, relay.counts.refused) == (rows, 0)
    return rows / elapsed


def measured(rows: int) -> tuple[list[float], list[float]]:
    found = binaries()
    if found is None:
        sys.exit("PostgreSQL is not installed")
    ours, theirs = [], []
    with tempfile.TemporaryDirectory() as folder, serving(found, durable=True) as server:
        home = Home(root=Path(folder))
        city = RunningCity(home=home, broker=start_broker(home), manifest=Manifest.load(MANIFEST))
        try:
            City(manifest=city.manifest, home=home, admin=city.access("admin")).apply()
            database = server.database()
            with psycopg.connect(database.replace("+psycopg", ""), autocommit=True) as conn:
                conn.execute(DDL)
            for _ in range(ROUNDS):
                theirs.append(rate(city, database.replace("+psycopg", ""), OneByOne, rows // 50))
                ours.append(rate(city, database.replace("+psycopg", ""), Relay, rows))
                print(f"{rows:>9} {ours[-1]:>10.0f} {theirs[-1]:>13.0f}", flush=True)
        finally:
            city.broker.down()
    return ours, theirs


def main() -> int:
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    print(f"{'rows':>9} {'relayed/s':>10} {'one by one/s':>13}")
    ours, theirs = measured(int(os.environ.get("ROWS", "100000")))
    value = statistics.median(ours)
    report = {
        "bench": "outbox",
        "value": round(value),
        "unit": "rows/s",
        "against": "one row after the other",
        "ratio": round(value / statistics.median(theirs), 1),
        "spread": round((max(ours) - min(ours)) / value, 3),
        "bar": BAR,
        "ok": value >= BAR,
    }
    print(json.dumps(report))
    return 0 if report["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
