"""Decisions a second on one core, memory of a city's standings, and records of `consent` loaded a second.

The demonstration city's policy over `CITIZENS=` (1,000,000), one in five a minor, twice: as citizens mostly are (four
in ten were never asked, most others answered in one sitting as many did), and as free as can be (each said something of
its own about most agreements, each at an instant of its own). Consents end as the agreements say.

A naive side reads the rules anew from a whole standing for each decision, in turn with the table; a third side finds
each standing first. Loading is all that the gate does with a record, without the Kafka client. Seconds are of this
process on its core (`time.process_time`), so that a busy machine's waiting does not count; its cold caches do.
"""

import gc
import json
import os
import random
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

from passerelle.gate.policy import PolicyInForce
from passerelle.gate.state import TaskState
from passerelle_consent.policy.agreements import Agreement, Basis
from passerelle_consent.policy.bundle import PolicyBundle
from passerelle_consent.policy.decide import DecisionTable
from passerelle_consent.policy.standing import Stance, Standing, State
from passerelle_consent.wire import encode_standing

ROOT = Path(__file__).parents[2]
DECISIONS_BAR, BYTES_BAR, LOAD_BAR = 1_000_000, 200_000_000, 300_000
ROUNDS = 5
DECISIONS = 300_000
NAIVE_DECISIONS = 20_000
CHUNK = 10_000
PROFILES = 500
NOW_MS = 1_795_435_200_000
YEAR_MS = 365 * 86_400_000
ANSWERS = (State.GIVEN, State.GIVEN, State.REFUSED, State.WITHDRAWN)
MINORS, NEVER_ASKED, FREE, OFTEN_SAID = 0.2, 0.4, 0.1, 0.7

Citizen = Callable[[random.Random, list[Agreement]], Standing]


def mostly(rng: random.Random, consents: list[Agreement]) -> Standing:
    """Nine in ten of those who were asked answered like many, in one sitting; one chose freely."""
    if rng.random() < NEVER_ASKED:
        return standing_of(rng, [])
    chooser = rng if rng.random() < FREE else random.Random(int(rng.paretovariate(0.7)) % PROFILES)
    at_ms = NOW_MS - rng.randrange(YEAR_MS)
    asked = chooser.sample(consents, chooser.randint(1, 6))
    return standing_of(rng, [stance_of(a, chooser.choice(ANSWERS), at_ms) for a in asked])


def freely(rng: random.Random, consents: list[Agreement]) -> Standing:
    """Nobody stands like another."""
    asked = [a for a in consents if rng.random() < OFTEN_SAID]
    return standing_of(rng, [stance_of(a, rng.choice(ANSWERS), NOW_MS - rng.randrange(YEAR_MS)) for a in asked])


def stance_of(agreement: Agreement, state: State, at_ms: int) -> Stance:
    until_ms = agreement.consent.until_ms(at_ms) if agreement.consent and state is State.GIVEN else None
    return Stance(agreement=agreement.id, state=state, notice=1, at_ms=at_ms, until_ms=until_ms)


def standing_of(rng: random.Random, stances: list[Stance]) -> Standing:
    said = {s.agreement: s for s in sorted(stances, key=lambda s: s.agreement)}
    minor_until_ms = NOW_MS + rng.randrange(18 * YEAR_MS) if rng.random() < MINORS else None
    return Standing(linked=True, revision=1 + len(said), stances=said, minor_until_ms=minor_until_ms)


class City(NamedTuple):
    """A task that has loaded its citizens."""

    task: TaskState
    refs: bytearray
    """16 bytes each."""
    loads: list[float]
    """Records a second, chunk by chunk."""
    taken: int
    """Bytes of memory."""


def load(citizens: int, consents: list[Agreement], citizen: Citizen) -> City:
    rng = random.Random(1)
    task, refs, rates = TaskState(0, _no_policy), bytearray(), []
    before = resident()
    for start in range(0, citizens, CHUNK):
        records = [(rng.randbytes(16), encode_standing(citizen(rng, consents))) for _ in range(CHUNK)]
        began = time.process_time()
        for offset, (ref, value) in enumerate(records, start):
            task.apply_consent(offset, ref, value)
        rates.append(CHUNK / (time.process_time() - began))
        refs += b"".join(ref for ref, _ in records)
        del records
    gc.collect()
    taken = resident() - before - len(refs)
    return City(task, refs, rates, taken)


def _no_policy(packed: bytes) -> PolicyInForce:
    raise AssertionError(packed)


def resident() -> int:
    """Bytes of this process in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


class Rates(NamedTuple):
    """Decisions a second, round by round."""

    at_hand: list[float]
    found: list[float]
    naive: list[float]


def decide(city: City, table: DecisionTable, flows: list[str], consents: list[Agreement], citizen: Citizen) -> Rates:
    rng = random.Random(2)
    count = len(city.refs) // 16
    asked = [
        (rng.choice(flows), bytes(city.refs[16 * n : 16 * n + 16])) for n in rng.choices(range(count), k=DECISIONS)
    ]
    whole = [(flow, citizen(rng, consents)) for flow, _ in asked[:NAIVE_DECISIONS]]
    find, decided, about = city.task.standings.at, table.decide, table.about
    forms = [(flow, find(ref, NOW_MS, about(flow))) for flow, ref in asked]
    for flow, form in forms:
        decided(flow, form, NOW_MS)
    rates = Rates([], [], [])
    for _ in range(ROUNDS):
        began = time.process_time()
        for flow, ref in asked:
            decided(flow, find(ref, NOW_MS, about(flow)), NOW_MS)
        rates.found.append(DECISIONS / (time.process_time() - began))
        began = time.process_time()
        for flow, form in forms:
            decided(flow, form, NOW_MS)
        rates.at_hand.append(DECISIONS / (time.process_time() - began))
        began = time.process_time()
        for flow, standing in whole:
            its = table.flow(flow)
            its.outcome(tuple(term.validity(standing, NOW_MS) for term in its.terms))
        rates.naive.append(NAIVE_DECISIONS / (time.process_time() - began))
    return rates


class Measured(NamedTuple):
    """Medians of one city, and how far the rounds of its decisions lie apart."""

    at_hand: float
    found: float
    naive: float
    taken: float
    loaded: float
    spread: float

    @property
    def ok(self) -> bool:
        return self.at_hand >= DECISIONS_BAR and self.taken <= BYTES_BAR and self.loaded >= LOAD_BAR


def measure(citizens: int, citizen: Citizen) -> Measured:
    bundle = PolicyBundle.load(ROOT / "schemas/contracts", ROOT / "schemas/flows", ROOT / "consent/agreements")
    consents = [a for a in bundle.agreements if a.basis is Basis.CONSENT]
    city = load(citizens, consents, citizen)
    rates = decide(city, bundle.table(), [f.id for f in bundle.flows], consents, citizen)
    at_hand, found, naive = (statistics.median(r) for r in rates)
    spread = (max(rates.at_hand) - min(rates.at_hand)) / at_hand
    return Measured(at_hand, found, naive, city.taken * 1e6 / citizens, statistics.median(city.loads), spread)


def show(how: str, measured: Measured) -> None:
    rows = (
        (f"citizens {how}: decisions/s, the standing at hand", measured.at_hand, f"{DECISIONS_BAR:,}"),
        ("    finding the standing included", measured.found, "–"),
        ("    rules read anew each time", measured.naive, "–"),
        ("    bytes of 1,000,000 standings, refs included", measured.taken, f"{BYTES_BAR:,}"),
        ("    records of consent loaded/s", measured.loaded, f"{LOAD_BAR:,}"),
    )
    for what, value, bar in rows:
        print(f"{what:<60} {value:>12,.0f} {bar:>12}", flush=True)


def measured(citizens: int, citizen: Citizen) -> Measured:
    """In a process of its own: memory that another city left behind would hide what this one takes."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
        return alone.submit(measure, citizens, citizen).result()


def main() -> int:
    citizens = int(os.environ.get("CITIZENS", "1000000"))
    print(f"{'what':<60} {'median':>12} {'bar':>12}")
    usual = measured(citizens, mostly)
    show("as they mostly are", usual)
    free = measured(citizens, freely)
    show("as free as can be", free)
    report = {
        "bench": "decide",
        "value": round(usual.at_hand),
        "unit": "decisions/s",
        "against": "naive re-evaluation of the rules",
        "ratio": round(usual.at_hand / usual.naive, 1),
        "spread": round(usual.spread, 3),
        "bar": DECISIONS_BAR,
        "ok": usual.ok and free.ok,
        "found_per_s": round(usual.found),
        "standings_bytes": round(usual.taken),
        "standings_bytes_bar": BYTES_BAR,
        "load_records_per_s": round(usual.loaded),
        "load_records_per_s_bar": LOAD_BAR,
        "free": {name: round(value) for name, value in free._asdict().items() if name != "spread"},
    }
    print(json.dumps(report))
    return 0 if report["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
