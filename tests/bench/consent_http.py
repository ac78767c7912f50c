"""What a change of mind costs over HTTP: `make bench ONLY=consent-http`.

The real consent service on SQLite and, beside it, on PostgreSQL, both waiting for the disk; two gate workers, a broker
and the clients, all on this machine. Each round measures one store after the other: alone, under a steady rate of
proposals, and with many clients at once. A withdrawal's time is the client's and includes the fence.

A city's broker runs for months, and this one's JVM compiles for its first minutes: what is measured begins after
`--warm-up` seconds of the same load.
"""

import argparse
import json
import multiprocessing
import os
import random
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from itertools import chain
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.fence import Times, traffic
from faults.citizens import CONSENTS, Portal
from faults.run import broker_and_city
from faults.scenario import Ground, link
from passerelle.city.components import Component, Supervisor
from passerelle.city.node import free_port
from passerelle.issuer import Bearing
from postgresql import binaries, serving

P99_MS_MAX = 250.0
"""The bar: a withdrawal is in effect, fence included, at 2,000 proposals a second."""
PEOPLE = 200
WARM_UP = 40
WARM_UP_S = 90
CROWD = 16
"""Clients at once where throughput is measured."""
PATIENCE_S = 30
TOKEN_MINUTES = 120


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a process of clients is to do: ``count`` changes of mind each, with a pause of up to ``pause_s``."""

    url: str
    people: list[tuple[str, str]]
    """Pseudonym and token."""
    clients: int
    count: int
    pause_s: float
    seed: int


@dataclass(frozen=True, kw_only=True)
class Done:
    """Milliseconds of each give and each withdrawal, how many were not in effect in time, and how long it took."""

    give: list[float] = field(default_factory=list)
    withdraw: list[float] = field(default_factory=list)
    late: int = 0
    seconds: float = 0.0

    def __add__(self, other: "Done") -> "Done":
        return Done(
            give=self.give + other.give,
            withdraw=self.withdraw + other.withdraw,
            late=self.late + other.late,
            seconds=self.seconds + other.seconds,
        )

    @property
    def a_second(self) -> float:
        return len(self.give + self.withdraw) / self.seconds


def drive(task: Task) -> Done:
    """Runs in a process of its own: whoever makes the proposals does not share its interpreter lock."""
    began = time.perf_counter()
    with ThreadPoolExecutor(task.clients) as threads:
        parts = list(threads.map(lambda n: _client(task, n), range(task.clients)))
    total = sum(parts, Done())
    return Done(give=total.give, withdraw=total.withdraw, late=total.late, seconds=time.perf_counter() - began)


def _client(task: Task, number: int) -> Done:
    """One keep-alive connection; of the standard library, since it costs the machine least."""
    choose = random.Random(f"{task.seed}/{number}")
    mine = task.people[number :: task.clients]
    host, port = task.url.removeprefix("http://").split(":")
    http = HTTPConnection(host, int(port), timeout=PATIENCE_S)
    give, withdraw, late = [], [], 0
    for _ in range(task.count):
        pseudonym, token = choose.choice(mine)
        at = f"/v1/subjects/{pseudonym}/agreements/{choose.choice(CONSENTS).agreement}"
        for action, times in (("give", give), ("withdraw", withdraw)):
            time.sleep(choose.uniform(0, task.pause_s))
            began = time.perf_counter()
            late += _post(http, f"{at}/{action}", token) != 200
            times.append((time.perf_counter() - began) * 1000)
    http.close()
    return Done(give=give, withdraw=withdraw, late=late)


def _post(http: HTTPConnection, path: str, token: str) -> int:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    http.request("POST", path, json.dumps({"notice": 1}), headers)
    answer = http.getresponse()
    answer.read()
    assert answer.status in (200, 202), answer.status
    return answer.status


@contextmanager
def services() -> Iterator[tuple[Ground, dict[str, Portal]]]:
    """A city with one consent service for each store; both are up throughout, and one of them is asked at a time."""
    with ExitStack() as stack:
        ground = stack.enter_context(broker_and_city(environ={}))
        urls = {"sqlite": f"sqlite:///{ground.home.store}/bench.db"}
        found = binaries()
        if found is None:
            print("PostgreSQL is not installed: SQLite alone", file=sys.stderr)
        else:
            urls["postgresql"] = stack.enter_context(serving(found, durable=True)).database()
        supervisor = stack.enter_context(Supervisor(home=ground.home, environ=ground.environ()))
        portals = {}
        for name, url in urls.items():
            port = free_port()
            os.environ["PASSERELLE_CONSENT_STORE"] = url
            supervisor.start(Component(name=f"consent-{name}", arguments=("consent", "serve", "--port", str(port))))
            portals[name] = ground.portal(port)
        gates = (Component(name=name, arguments=("gate", "run", "--worker", name)) for name in ("gate-1", "gate-2"))
        supervisor.start(*gates)
        yield ground, portals


def known(portal: Portal, pseudonym: bytes) -> tuple[str, str]:
    """A citizen's pseudonym and a token that lasts for the whole run."""
    bearing = Bearing(scopes=["citizen"], department=portal.department, pseudonym=pseudonym)
    return pseudonym.hex(), portal.issuer.mint(bearing, minutes=TOKEN_MINUTES)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=2_000, help="proposals a second under load")
    parser.add_argument("--count", type=int, default=40, help="withdrawals of a client in a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--warm-up", type=float, default=WARM_UP_S, help="seconds of the same load before the first round"
    )
    args = parser.parse_args()
    spawning = multiprocessing.get_context("spawn")
    found: dict[tuple[str, str], list[Done]] = {}
    with services() as (ground, portals), ProcessPoolExecutor(1, mp_context=spawning) as aside:
        people = {name: link(ground, portal, PEOPLE, seed=n) for n, (name, portal) in enumerate(portals.items())}
        callers = {name: [known(portals[name], p.pseudonym) for p in found] for name, found in people.items()}

        def measure(name: str, clients: int, count: int, pause_s: float, seed: int) -> Done:
            at = {"url": portals[name].url, "people": callers[name]}
            task = Task(**at, clients=clients, count=count, pause_s=pause_s, seed=seed)
            return aside.submit(drive, task).result()

        for name in portals:
            measure(name, CROWD, WARM_UP // 4, 0.0, 0)
        with traffic(ground, list(chain(*people.values())), args.rate, seed=0):
            warm = time.monotonic() + args.warm_up
            while time.monotonic() < warm:
                for name in portals:
                    measure(name, 4, WARM_UP // 4, 0.1, 0)
        for n in range(1, args.rounds + 1):
            for name in portals:
                found.setdefault((name, "alone"), []).append(measure(name, 4, args.count, 0.1, n))
            with traffic(ground, list(chain(*people.values())), args.rate, seed=n):
                for name in portals:
                    measure(name, 4, WARM_UP // 4, 0.1, -n)
                    found.setdefault((name, "load"), []).append(measure(name, 4, args.count, 0.1, n))
            for name in portals:
                found.setdefault((name, "crowd"), []).append(measure(name, CROWD, args.count, 0.0, n))
    show(found, args.rate)
    last = report(found)
    print(json.dumps(last))
    return 0 if last["ok"] else 1


NAMES = {
    "alone": "4 clients, quiet",
    "load": "4 clients, {rate:,.0f} proposals/s",
    "crowd": f"{CROWD} clients, no pause",
}


def show(found: dict[tuple[str, str], list[Done]], rate: float) -> None:
    columns = " ".join(f"{word:>8}" for word in ("p50", "p95", "p99", "max"))
    print(f"{'':>50} {'n':>5} {columns} ms   changes/s   late")
    for (store, phase), rounds in found.items():
        total = sum(rounds, Done())
        for action in ("give", "withdraw"):
            times = Times(ms=sorted(getattr(total, action)))
            figures = " ".join(f"{times.at(q):>8.1f}" for q in (0.5, 0.95, 0.99, 1.0))
            what = f"{store:>10}, {NAMES[phase].format(rate=rate)}, {action}"
            print(f"{what:>50} {len(times.ms):>5} {figures}      {total.a_second:>6.0f} {total.late:>6}")


def report(found: dict[tuple[str, str], list[Done]]) -> dict[str, object]:
    """``value``: the worse store's p99 under load; ``ratio``: PostgreSQL's median against SQLite's."""
    by_round = {
        store: sorted(Times(ms=sorted(done.withdraw)).at(0.99) for done in rounds)
        for (store, phase), rounds in found.items()
        if phase == "load"
    }
    together = {store: Times(ms=sorted(sum(found[store, "load"], Done()).withdraw)) for store in by_round}
    worst = max(together, key=lambda store: together[store].at(0.99))
    p99 = together[worst].at(0.99)
    return {
        "bench": "consent-http",
        "value": round(p99, 1),
        "unit": "ms",
        "against": f"{worst}; ratio: PostgreSQL's median against SQLite's",
        "ratio": round(together["postgresql"].at(0.5) / together["sqlite"].at(0.5), 2) if len(together) > 1 else None,
        "spread": [round(by_round[worst][0], 1), round(by_round[worst][-1], 1)],
        "bar": P99_MS_MAX,
        "ok": p99 < P99_MS_MAX,
        "changes_a_second": {s: round(sum(r, Done()).a_second) for (s, phase), r in found.items() if phase == "crowd"},
    }


if __name__ == "__main__":
    sys.exit(main())
