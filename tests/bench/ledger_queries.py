"""Auditors' queries on a log of a million entries: how fast it is indexed, and how long an answer takes.

The log is real: a signed folder of tiles and bundles, of thirty flows with some four hundred kinds of entries, of which
ten in all are `rare`. An answer is what the consent service's adapter gives: places from the index, entries from the
folder, without HTTP. `ENTRIES=` sets how many (default 1,000,000), `INDEX=` another database than SQLite.
"""

import json
import os
import random
import sys
import tempfile
import time
from pathlib import Path

import structlog

sys.path.insert(0, str(Path(__file__).parents[1]))

from passerelle.audited import FolderLog
from passerelle_consent.ledger.audit.folder import LogFolder
from passerelle_consent.ledger.log.checkpoint import Checkpoint
from passerelle_consent.ledger.log.entries import Entry, EntryType
from passerelle_consent.ledger.log.tiles import TILE_WIDTH, RightEdge, Tile, hash_tiles, pack
from passerelle_consent.ledger.log.tree import HASH_BYTES, leaf_hash
from passerelle_consent.ledger.query.follow import Follower
from passerelle_consent.ledger.query.index import Index
from passerelle_consent.policy.decide import Reason, Verdict
from passerelle_consent.records.log import LogFilter
from unit.ledger.fakes import ORIGIN, SIGNER, START_MS

BAR_MS = 50
"""A page of an auditor's, at the 95th percentile."""
RARE = 10
FLOWS = 30
ASKED = 200
PAGE = 51
APART_MS = 200
"""Between two entries: a million of them are some two days."""


def drawn(draw, index, entries):
    flow = draw.randrange(FLOWS)
    outcomes = [(Verdict.PERMIT, Reason.VALID_BASIS)] * 10 + [(Verdict.DENY, reason) for reason in list(Reason)[1:]]
    verdict, reason = draw.choice(outcomes)
    rare = index % (entries // RARE) == 77
    return Entry(
        type=EntryType.DECISION,
        time_ms=START_MS + index * APART_MS,
        decision=draw.randbytes(16),
        verdict=verdict,
        reason=reason,
        flow="rare.flow" if rare else f"flow-{flow}.x",
        recipient="rare" if rare else f"department-{flow % 12}",
        purpose="dpv:PublicBenefit",
        agreements=(f"a-{flow}@1", f"b-{flow}@2"),
        policy=bytes(32),
        subject_commit=draw.randbytes(32),
        body_commit=draw.randbytes(32),
    )


def publish(folder, entries):
    """Write a signed log, as the integrator would have."""
    draw, edge, tiles = random.Random(1), RightEdge(), {}
    for start in range(0, entries, TILE_WIDTH):
        raw = [drawn(draw, n, entries).encode() for n in range(start, min(entries, start + TILE_WIDTH))]
        write(folder, Tile(level=None, index=start // TILE_WIDTH, width=len(raw)), pack(raw))
        tiles.update(edge.append([leaf_hash(body) for body in raw]))
    for tile in hash_tiles(entries):
        write(folder, tile, tiles[tile.level, tile.index][: tile.width * HASH_BYTES])
    (folder / "checkpoint").write_bytes(Checkpoint(origin=ORIGIN, size=entries, root=edge.root()).sign(SIGNER))
    folder.with_name(f"{folder.name}.vkey").write_text(SIGNER.verifier.encode())


def write(folder, tile, data):
    path = folder / tile.path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def timed(ask):
    spent = []
    for _ in range(ASKED):
        started = time.perf_counter()
        found = ask()
        spent.append((time.perf_counter() - started) * 1000)
    spent.sort()
    return found, spent[ASKED // 2], spent[ASKED * 95 // 100]


def asked(log, middle_ms, ident):
    def page(wanted):
        return lambda: len(log.entries(wanted, before=None, limit=PAGE)[0])

    return {
        "ten hits in all": page(LogFilter(recipient="rare")),
        "no hit": page(LogFilter(recipient="nobody")),
        "one reason of one flow": page(LogFilter(flow="flow-3.x", reason=Reason.OBJECTED)),
        "every third entry": page(LogFilter(verdict=Verdict.DENY)),
        "all": page(LogFilter()),
        "ten seconds of denials": page(
            LogFilter(since_ms=middle_ms, until_ms=middle_ms + 10_000, verdict=Verdict.DENY)
        ),
        "one id": page(LogFilter(ident=ident)),
        "verdicts by day": lambda: len(log.counts(LogFilter(), by="verdict", every="day")[0].counts),
        "reasons by hour": lambda: len(log.counts(LogFilter(), by="reason", every="hour")[0].counts),
    }


def main() -> int:
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    entries = int(os.environ.get("ENTRIES", "1000000"))
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "ledger"
        publish(folder, entries)
        url = os.environ.get("INDEX", f"sqlite:///{place}/index.sqlite")
        index, started = Index(url), time.perf_counter()
        Follower(LogFolder(folder), lambda: SIGNER.verifier, index).catch_up()
        rate = entries / (time.perf_counter() - started)
        index.close()
        print(f"{entries} entries indexed, {rate:.0f} a second")
        log = FolderLog(folder, url, folder / "none")
        last = log.entries(LogFilter(), before=entries // 2, limit=1)[0][0].entry
        print(f"{'asked for':<24} {'answers':>8} {'p50 ms':>8} {'p95 ms':>8}")
        halves, tails = {}, {}
        for name, ask in asked(log, START_MS + entries * APART_MS // 2, bytes.fromhex(last["decision"])).items():
            found, halves[name], tails[name] = timed(ask)
            print(f"{name:<24} {found:>8} {halves[name]:>8.1f} {tails[name]:>8.1f}", flush=True)
    value = tails["ten hits in all"]
    report = {
        "bench": "ledger-queries",
        "value": round(value, 1),
        "unit": "ms at p95, ten hits",
        "against": "the bar",
        "ratio": round(BAR_MS / value, 2),
        "spread": round((value - halves["ten hits in all"]) / value, 3),
        "bar": BAR_MS,
        "ok": value <= BAR_MS,
    }
    print(json.dumps(report))
    return 0 if report["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
