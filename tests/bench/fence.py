"""How long a citizen waits for the acknowledgement of a withdrawal: `make bench ONLY=fence`.

Two gate workers at their default interval of 20 ms, the real consent service over its HTTP, and a broker, all on this
machine. Idle: nobody else does anything. Under load: proposals arrive at a steady rate. Measured in turn (idle, load,
idle, load, …) in one run; the time is the client's, from sending the request to the answer.
"""

import argparse
import json
import random
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import httpx

from faults.citizens import CONSENTS, Person, Portal
from faults.history import Head, Recorder
from faults.run import broker_and_city
from faults.scenario import AGENTS, Ground, link
from faults.traffic import Traffic
from passerelle.city.components import Component, Supervisor
from passerelle.city.node import free_port

PEOPLE = 200
WARM_UP = 30
ROUNDS = 3
GATES = ("gate-1", "gate-2")


@dataclass(frozen=True, kw_only=True)
class Times:
    """Milliseconds, sorted."""

    ms: list[float]

    def at(self, share: float) -> float:
        return self.ms[min(len(self.ms) - 1, int(len(self.ms) * share))]


@contextmanager
def city_without_agents() -> Iterator[tuple[Ground, Portal]]:
    """Consent service and two gate workers, with the project's own settings throughout."""
    port = free_port()
    with broker_and_city(environ={}) as ground, Supervisor(home=ground.home, environ=ground.environ()) as supervisor:
        supervisor.start(
            Component(name="consent", arguments=("consent", "serve", "--port", str(port))),
            *(Component(name=name, arguments=("gate", "run", "--worker", name)) for name in GATES),
        )
        yield ground, ground.portal(port)


@contextmanager
def traffic(ground: Ground, people: list[Person], rate: float, seed: int) -> Iterator[None]:
    """Proposals at a steady rate while the block runs."""
    bundle = ground.manifest.policy_bundle()
    with TemporaryDirectory() as folder:
        partitions = ground.manifest.partitions
        recorder = Recorder(Path(folder) / "unused.jsonl", Head(scenario="bench", seed=seed, partitions=partitions))
        running = Traffic(
            access=ground.access(AGENTS),
            catalogue=bundle.catalogue,
            flows={flow.id: flow.event for flow in bundle.flows},
            subjects=[p.ref for p in people],
            partitions=partitions,
            rate=rate,
            seed=seed,
            recorder=recorder,
        )
        running.start()
        try:
            yield
        finally:
            running.stop()
            recorder.close()


def withdraw(portal: Portal, people: list[Person], count: int, seed: int) -> Times:
    """Give and withdraw, one citizen after the other, with a pause that no rhythm of the gate can match."""
    choose = random.Random(seed)
    found, auth_of = [], portal.citizens()
    with httpx.Client(base_url=portal.url, timeout=60) as http:
        for _ in range(count):
            person, consent = choose.choice(people), choose.choice(CONSENTS)
            path = f"/v1/subjects/{person.pseudonym.hex()}/agreements/{consent.agreement}"
            body, auth = {"notice": 1}, auth_of(person.pseudonym)
            http.post(f"{path}/give", json=body, auth=auth).raise_for_status()
            time.sleep(choose.uniform(0, 0.05))
            began = time.perf_counter()
            answer = http.post(f"{path}/withdraw", json=body, auth=auth).raise_for_status()
            if answer.status_code == httpx.codes.OK:
                found.append((time.perf_counter() - began) * 1000)
            else:  # taking effect: it waits longer than the service's patience
                found.append(_later(http, answer.headers["location"], auth, began))
    return Times(ms=sorted(found))


def _later(http: httpx.Client, location: str, auth: httpx.Auth, began: float) -> float:
    while http.get(location, auth=auth).raise_for_status().json()["acknowledged_at"] is None:
        time.sleep(0.01)
    return (time.perf_counter() - began) * 1000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=2_000, help="proposals a second under load")
    parser.add_argument("--count", type=int, default=200, help="withdrawals a round")
    args = parser.parse_args()
    with city_without_agents() as (ground, portal):
        people = link(ground, portal, PEOPLE, seed=1)
        withdraw(portal, people, WARM_UP, seed=0)
        idle, load = [], []
        for n in range(1, ROUNDS + 1):
            idle.append(withdraw(portal, people, args.count, seed=n))
            with traffic(ground, people, args.rate, seed=n):
                withdraw(portal, people, WARM_UP, seed=n)
                load.append(withdraw(portal, people, args.count, seed=n))
    show(idle, load, args.rate)
    return 0


def show(idle: list[Times], load: list[Times], rate: float) -> None:
    together = {
        "idle": Times(ms=sorted(ms for t in idle for ms in t.ms)),
        f"{rate:,.0f} proposals/s": Times(ms=sorted(ms for t in load for ms in t.ms)),
    }
    print(f"{'':>20} {'n':>6} {'p50':>8} {'p95':>8} {'p99':>8} {'max':>8}   ms")
    for name, times in together.items():
        figures = " ".join(f"{times.at(q):>8.1f}" for q in (0.5, 0.95, 0.99, 1.0))
        print(f"{name:>20} {len(times.ms):>6} {figures}")
    print(json.dumps(report(*together.values(), sorted(t.at(0.99) for t in load))))


def report(calm: Times, busy: Times, rounds_p99: list[float]) -> dict[str, object]:
    return {
        "bench": "fence",
        "value": round(busy.at(0.99), 1),
        "unit": "ms",
        "against": "the same without load",
        "ratio": round(busy.at(0.99) / calm.at(0.99), 2),
        "spread": [round(rounds_p99[0], 1), round(rounds_p99[-1], 1)],
        "bar": None,
        "ok": True,
        "p50": round(busy.at(0.5), 1),
        "idle": {"p50": round(calm.at(0.5), 1), "p99": round(calm.at(0.99), 1)},
    }


if __name__ == "__main__":
    sys.exit(main())
