"""Decisions a second on one core, memory of a city's standings, and records of `consent` loaded a second.

The demonstration city's policy over `CITIZENS=` (1,000,000). Most answered its consents as many others did, each at an
instant of their own; half let their consents end. The naive side reads the rules anew from a whole standing for each
decision, in turn with the table; neither side looks the standing up (a row of its own does). Seconds are of this
process on its core (`time.process_time`), so that a busy machine's waiting does not count; its cold caches do.
"""

import gc
import json
import os
import random
import statistics
import sys
import time
from pathlib import Path

from passerelle_consent.policy.agreements import Basis
from passerelle_consent.policy.bundle import PolicyBundle
from passerelle_consent.policy.standing import Stance, Standing, State
from passerelle_consent.policy.standings import Standings
from passerelle_consent.wire import decode_standing, encode_standing

ROOT = Path(__file__).parents[2]
DECISIONS_BAR, BYTES_BAR, LOAD_BAR = 1_000_000, 200_000_000, 300_000
ROUNDS = 5
DECISIONS = 300_000
NAIVE_DECISIONS = 20_000
CHUNK = 50_000
PROFILES = 500
NOW_MS = 1_795_435_200_000
YEAR_MS = 365 * 86_400_000
ANSWERS = (State.GIVEN, State.GIVEN, State.REFUSED, State.WITHDRAWN)


def citizen(rng: random.Random, consents: list[str]) -> Standing:
    """Four in ten were never asked. Nine in ten of the others answered like many, in one sitting; one chose freely."""
    if rng.random() < 0.4:
        return Standing(linked=True, revision=1)
    freely = rng.random() < 0.1
    chooser = rng if freely else random.Random(int(rng.paretovariate(0.7)) % PROFILES)
    names = sorted(chooser.sample(consents, chooser.randint(1, 6)))
    states = [chooser.choice(ANSWERS) for _ in names]
    at_ms = NOW_MS - rng.randrange(YEAR_MS)
    until_ms = at_ms + 2 * YEAR_MS if rng.random() < 0.5 else None
    stances = {
        name: Stance(agreement=name, state=state, notice=1, at_ms=at_ms, until_ms=until_ms)
        for name, state in zip(names, states, strict=True)
    }
    return Standing(linked=True, revision=1 + len(names), stances=stances)


def load(citizens: int, consents: list[str]) -> tuple[Standings, list[bytes], list[float], int]:
    """Load as a take-over does, chunk by chunk: standings, refs, records a second of each chunk, bytes kept."""
    rng = random.Random(1)
    kept, refs, rates = Standings(decode_standing), [], []
    before = resident()
    for _ in range(0, citizens, CHUNK):
        records = [(rng.randbytes(16), encode_standing(citizen(rng, consents))) for _ in range(CHUNK)]
        started = time.process_time()
        for ref, value in records:
            kept.put(ref, value)
        rates.append(CHUNK / (time.process_time() - started))
        refs += [ref for ref, _ in records]
        del records
    gc.collect()
    # The list of refs is the bench's own: 8 bytes for each; the refs themselves are the standings' keys.
    return kept, refs, rates, resident() - before - 8 * len(refs)


def resident() -> int:
    """Bytes of this process in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def main() -> int:
    bundle = PolicyBundle.load(ROOT / "schemas/contracts", ROOT / "schemas/flows", ROOT / "consent/agreements")
    table = bundle.table()
    consents = sorted(a.id for a in bundle.agreements if a.basis is Basis.CONSENT)
    citizens = int(os.environ.get("CITIZENS", "1000000"))
    kept, refs, loads, taken = load(citizens, consents)
    rng = random.Random(2)
    flows = [f.id for f in bundle.flows]
    asked = [(rng.choice(flows), rng.choice(refs)) for _ in range(DECISIONS)]
    whole = [(flow, citizen(rng, consents)) for flow, _ in asked[:NAIVE_DECISIONS]]
    forms = [(flow, kept.at(ref, NOW_MS)) for flow, ref in asked]
    for flow, form in forms:
        table.decide(flow, form, NOW_MS)
    rates, alone, naive = [], [], []
    for _ in range(ROUNDS):
        decide, at = table.decide, kept.at
        started = time.process_time()
        for flow, ref in asked:
            decide(flow, at(ref, NOW_MS), NOW_MS)
        rates.append(DECISIONS / (time.process_time() - started))
        started = time.process_time()
        for flow, form in forms:
            decide(flow, form, NOW_MS)
        alone.append(DECISIONS / (time.process_time() - started))
        started = time.process_time()
        for flow, standing in whole:
            its = table.flow(flow)
            its.outcome(tuple(term.validity(standing, NOW_MS) for term in its.terms))
        naive.append(NAIVE_DECISIONS / (time.process_time() - started))
    value, loaded = statistics.median(alone), statistics.median(loads)
    scale = 1_000_000 / citizens
    print(f"{'what':<58} {'median':>12} {'bar':>12}")
    print(f"{'decisions/s':<58} {value:>12,.0f} {DECISIONS_BAR:>12,}")
    print(f"{'decisions/s, finding the standing included':<58} {statistics.median(rates):>12,.0f} {'–':>12}")
    print(f"{'decisions/s, rules read anew each time':<58} {statistics.median(naive):>12,.0f} {'–':>12}")
    print(f"{'bytes of 1,000,000 standings, refs included':<58} {taken * scale:>12,.0f} {BYTES_BAR:>12,}")
    print(f"{'records of consent loaded/s':<58} {loaded:>12,.0f} {LOAD_BAR:>12,}")
    print(f"{citizens:,} citizens stand in {len(kept._forms):,} forms met by {DECISIONS:,} decisions")
    report = {
        "bench": "decide",
        "value": round(value),
        "unit": "decisions/s",
        "against": "naive re-evaluation of the rules",
        "ratio": round(value / statistics.median(naive), 1),
        "spread": round((max(alone) - min(alone)) / value, 3),
        "bar": DECISIONS_BAR,
        "ok": value >= DECISIONS_BAR and taken * scale <= BYTES_BAR and loaded >= LOAD_BAR,
        "standings_bytes": round(taken * scale),
        "load_records_per_s": round(loaded),
    }
    print(json.dumps(report))
    return 0 if report["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
