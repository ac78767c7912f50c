"""How long pages take and what they weigh, in a large town: `make bench ONLY=pages`.

The town has `CITIZENS=` (1,000,000) and `ENTRIES=` (10,000,000) ledger entries of thirteen months. PostgreSQL, the
consent service, the pages and whoever asks for them are each a process of this machine (`large.serve` says what of it
is real). It is made by bulk means (`large.seed`); `FOLDER=` keeps it for the next run, else it is made anew.

`RATE=` (50) requests a second come when they are due, whether or not earlier ones were answered: a page's time is from
then to its last byte, so that a queue counts. They are drawn from the mix below, by two hundred citizens and three of
the city's staff: of ten requests two or so are for the register and the consultations, six for a citizen's own pages,
one for staff's. Between them comes a bare FastAPI page at the same rate, which is the peer. Then Chromium, with its
processor slowed down four times and nothing in its cache, says when the largest thing was painted, and what came over
the wire: HTML, style sheets, scripts and fonts.
"""

import asyncio
import contextlib
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import aiohttp

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS))

from bench.large.folder import Place, Size, kept  # noqa: E402 - the path comes first

P95_MS_MAX = 100.0
LCP_MS_MAX = 1_000.0
WEIGHT_MAX = 150_000
RATE = float(os.environ.get("RATE", "50"))
ROUNDS = 4
SECONDS = int(os.environ.get("SECONDS", "120")) / ROUNDS
"""Of a round."""
PEER_SECONDS = 5
WARM_UP_SECONDS = 8
PATIENCE_S = 30
NEVER_MS = 60_000.0
"""The time of what was not answered, or with an error: it is in the tail, and counted."""
OK = 200
CPU_SLOWED = 4
REST_MS = 1_000
"""Until a browser has made its new window, which takes it both cores."""
CHUNK = 16_384
"""Entries are made in whole chunks of so many."""


class Asked(NamedTuple):
    """A page of the mix."""

    weight: int
    """Of so many requests in a hundred or so."""
    who: str
    """Whose session: `nobody`, `citizen`, or of the staff."""
    path: str


MIX = (
    Asked(9, "nobody", "/"),
    Asked(9, "nobody", "/registre"),
    Asked(5, "nobody", "/registre/meal-tariff-income/1"),
    Asked(3, "nobody", "/registre?q=cantine"),
    Asked(4, "nobody", "/consultations"),
    Asked(4, "citizen", "/consultations/meal-tariff-2027"),
    Asked(2, "nobody", "/aide"),
    Asked(2, "nobody", "/connexion"),
    Asked(18, "citizen", "/mes-partages"),
    Asked(12, "citizen", "/mes-partages/accord/meal-tariff-income"),
    Asked(10, "citizen", "/historique"),
    Asked(4, "citizen", "/historique?resultat=deny"),
    Asked(3, "citizen", "/historique/lecteurs"),
    Asked(4, "citizen", "/compte"),
    Asked(2, "citizen", "/compte/copie"),
    Asked(2, "auditor", "/audit"),
    Asked(2, "auditor", "/audit?resultat=deny&vers=schools"),
    Asked(2, "auditor", "/audit/alertes"),
    Asked(2, "officer", "/agents"),
    Asked(2, "operator", "/controle"),
)


@dataclass(frozen=True, kw_only=True)
class Served:
    """Where things are."""

    pages: str
    bare: str
    cookies: Mapping[str, Sequence[str]]


@contextlib.contextmanager
def served(place: Place) -> Iterator[Served]:
    """All processes, while the block lasts."""
    from browser.conftest import a_free_port

    with contextlib.ExitStack() as stack:
        ports = [a_free_port() for _ in range(3)]
        urls = [f"http://127.0.0.1:{port}" for port in ports]
        stack.enter_context(running(place, "consent", str(ports[0])))
        cookies = stack.enter_context(running(place, "web", str(ports[1]), urls[0]))
        stack.enter_context(running(place, "bare", str(ports[2])))
        yield Served(pages=urls[1], bare=urls[2], cookies=cookies)


@contextlib.contextmanager
def running(place: Place, *what: str) -> Iterator[Mapping[str, Sequence[str]]]:
    """One process, and what it said when it was ready."""
    command = [sys.executable, "-m", "bench.large.serve", what[0], str(place.folder), place.server, *what[1:]]
    with (
        (place.folder / f"{what[0]}.log").open("w") as log,  # as in a city, where a supervisor writes it
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, cwd=TESTS) as process,
    ):
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())
        finally:
            process.send_signal(signal.SIGTERM)


async def load(base: str, asked: Sequence[tuple[str, str]]) -> list[tuple[str, float]]:
    """Ask for (path, cookie) at `RATE`; return path and milliseconds of each."""
    took: list[tuple[str, float]] = []

    async def one(client: aiohttp.ClientSession, path: str, cookie: str, due: float) -> None:
        await asyncio.sleep(due - time.perf_counter())
        try:
            async with client.get(path, headers={"Cookie": f"session={cookie}"} if cookie else {}) as answer:
                await answer.read()
                answered = answer.status == OK
        except (aiohttp.ClientError, TimeoutError):
            answered = False
        took.append((path, (time.perf_counter() - due) * 1000 if answered else NEVER_MS))

    # Whoever asks is on the same two cores: HTTPX takes as long for a call as a bare page does.
    connector, timeout = aiohttp.TCPConnector(limit=0), aiohttp.ClientTimeout(total=PATIENCE_S)
    jar = aiohttp.DummyCookieJar()
    async with aiohttp.ClientSession(base, connector=connector, timeout=timeout, cookie_jar=jar) as client:
        begun = time.perf_counter() + 0.1
        await asyncio.gather(*(one(client, *each, begun + n / RATE) for n, each in enumerate(asked)))
    return took


def drawn(cookies: Mapping[str, Sequence[str]], count: int, draw: random.Random) -> list[tuple[str, str]]:
    """So many requests of the mix."""
    chosen = draw.choices(MIX, [one.weight for one in MIX], k=count)
    return [(one.path, draw.choice(cookies.get(one.who, [""]))) for one in chosen]


async def seen(base: str, cookies: Mapping[str, Sequence[str]]) -> dict[str, tuple[float, int]]:
    """Page → when its largest thing was painted (ms), and bytes over the wire, in a browser that knows nothing yet."""
    from playwright.async_api import async_playwright

    from browser.conftest import PHONE, SANDBOX_NEEDS_A_USER, chromium

    found = {}
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium(), args=SANDBOX_NEEDS_A_USER)
        for _, who, path in (MIX[0], *MIX):  # the first of all is the browser's own beginning
            context = await browser.new_context(viewport=PHONE, base_url=base)
            if who in cookies:
                await context.add_cookies([{"name": "session", "value": cookies[who][0], "url": base}])
            page = await context.new_page()
            wire = await context.new_cdp_session(page)
            weight = 0

            def came(event: dict[str, float]) -> None:
                nonlocal weight
                weight += int(event["encodedDataLength"])

            wire.on("Network.loadingFinished", came)
            await wire.send("Network.enable")
            await wire.send("Emulation.setCPUThrottlingRate", {"rate": CPU_SLOWED})
            await page.wait_for_timeout(REST_MS)
            await page.goto(path, wait_until="load")
            await page.wait_for_timeout(500)  # what a script still asks for; a stream of events never ends
            painted = await page.evaluate(
                "new Promise(done => new PerformanceObserver(list => done(list.getEntries().at(-1).startTime))"
                ".observe({type: 'largest-contentful-paint', buffered: true}))"
            )
            found[path] = float(painted), weight
            await context.close()
        await browser.close()
    return found


def at(share: float, took: Sequence[float]) -> float:
    return sorted(took)[min(len(took) - 1, int(len(took) * share))]


def measure(place: Place) -> tuple[dict[str, list[float]], list[float], dict[str, tuple[float, int]]]:
    """Milliseconds of each page, those of the peer, and what a browser saw."""
    seed = int(os.environ.get("SEED", "1"))
    draw, times, peer = random.Random(seed), {one.path: list[float]() for one in MIX}, list[float]()
    with served(place) as there:
        every = [(one.path, cookie) for one in MIX for cookie in there.cookies.get(one.who, [""])[:3]]
        wrong = sorted({path for path, took in asyncio.run(load(there.pages, every)) if took == NEVER_MS})
        assert not wrong, wrong
        asyncio.run(load(there.pages, drawn(there.cookies, int(RATE * WARM_UP_SECONDS), draw)))
        for _ in range(ROUNDS):
            for path, took in asyncio.run(load(there.pages, drawn(there.cookies, int(RATE * SECONDS), draw))):
                times[path].append(took)
            peer += [took for _, took in asyncio.run(load(there.bare, [("/", "")] * int(RATE * PEER_SECONDS)))]
        shown = {} if os.environ.get("UNSEEN") else asyncio.run(seen(there.pages, there.cookies))
    return times, peer, shown


def report(times: Mapping[str, list[float]], peer: list[float], shown: Mapping[str, tuple[float, int]]) -> bool:
    """Print a line for each page, and the bench's own; return whether all is within its bar."""
    print(f"{'page':<44} {'n':>5} {'p50 ms':>8} {'p95 ms':>8} {'painted ms':>11} {'bytes':>8}")
    tails = {path: at(0.95, took) for path, took in times.items() if took}
    for path, tail in tails.items():
        painted, weight = shown.get(path, (0.0, 0))
        fine = tail < P95_MS_MAX and painted < LCP_MS_MAX and weight <= WEIGHT_MAX
        figures = f"{statistics.median(times[path]):>8.1f} {tail:>8.1f} {painted:>11.0f} {weight:>8}"
        print(f"{path:<44} {len(times[path]):>5} {figures}{'' if fine else '  too much'}")
    every = [took for of_page in times.values() for took in of_page]
    print(f"{'all':<44} {len(every):>5} {statistics.median(every):>8.1f} {at(0.95, every):>8.1f}")
    print(f"{'a bare page':<44} {len(peer):>5} {statistics.median(peer):>8.1f} {at(0.95, peer):>8.1f}")
    failed = sum(took == NEVER_MS for took in every)
    print(f"{failed} were not answered")
    worst = max(tails.values())
    latest, heaviest = (max((each[n] for each in shown.values()), default=0) for n in (0, 1))
    ok = not failed and worst < P95_MS_MAX and latest < LCP_MS_MAX and heaviest <= WEIGHT_MAX
    said = {
        "bench": "pages",
        "value": round(worst, 1),
        "unit": f"ms, 95th percentile of the slowest page at {RATE:g} requests a second in all",
        "against": "a bare FastAPI page at the same rate: all pages' median against its",
        "ratio": round(statistics.median(every) / statistics.median(peer), 1),
        "spread": [round(min(tails.values()), 1), round(worst, 1)],
        "bar": P95_MS_MAX,
        "failed": failed,
        "painted_ms": round(latest),
        "painted_ms_bar": LCP_MS_MAX,
        "bytes": heaviest,
        "bytes_bar": WEIGHT_MAX,
        "ok": ok,
    }
    print(json.dumps(said))
    return ok


def main() -> int:
    entries = int(os.environ.get("ENTRIES", "10000000"))
    size = Size(citizens=int(os.environ.get("CITIZENS", "1000000")), entries=-(-entries // CHUNK) * CHUNK)
    with tempfile.TemporaryDirectory(prefix="town-") as temporary:
        folder = Path(os.environ.get("FOLDER") or temporary).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        if folder == Path(temporary):
            folder.chmod(0o755)  # PostgreSQL's own user comes by
        with kept(folder) as (place, server):
            if not place.holds(size):
                from bench.large import seed

                if place.made.exists() or place.ledger.exists():
                    print(f"{folder} holds another town, or half of one: choose another folder", file=sys.stderr)
                    return 2
                print(f"making a town of {size.citizens:,} citizens and {size.entries:,} entries", file=sys.stderr)
                seed.make(place, server, size)
                command = [sys.executable, "-m", "bench.large.serve", "say", str(folder), place.server, "0"]
                subprocess.run(command, check=True, cwd=TESTS)
                seed.finished(place, size)
            if os.environ.get("MAKE_ONLY"):
                return 0
            return 0 if report(*measure(place)) else 1


if __name__ == "__main__":
    sys.exit(main())
