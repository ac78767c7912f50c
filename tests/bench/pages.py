"""How long pages take and what they weigh: `make bench ONLY=pages`.

The site, the consent service and the ledger of one town share a process here, as they share a core in a small city; the
browsers are another. Each page is asked for at 50 requests a second by as many citizens as there are. Then Chromium,
with its processor slowed down four times, says when the largest thing was painted, and what came over the wire.
`CITIZENS=` (default 20,000) and `ENTRIES=` (default 100,000) say how large the town is.
"""

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

P95_MS_MAX = 100.0
LCP_MS_MAX = 1_000.0
WEIGHT_MAX = 150_000
RATE = 50
SECONDS = 6
VISITORS = 200
"""Citizens who look, of those that there are; each has decisions to read."""
LINKED_AT_ONCE = 1_000
DECIDED_AT_ONCE = 2_000
CPU_SLOWED = 4
PAGES = ("/", "/registre", "/consultations", "/mes-partages", "/mes-partages/accord/meal-tariff-income", "/historique")


async def serve(port: int, folder: Path) -> None:
    """Found the town, serve it, and say whose sessions there are."""
    import structlog

    from browser.conftest import serving
    from unit.web.town import town as a_town

    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    citizens, entries = (int(os.environ.get(name, many)) for name, many in (("CITIZENS", 20_000), ("ENTRIES", 100_000)))
    async with a_town(folder, public_url=f"http://127.0.0.1:{port}") as town:
        seen = [await town.citizen(f"Visiteur-{n}") for n in range(VISITORS)]
        for first in range(0, citizens - VISITORS, LINKED_AT_ONCE):
            await town.city.link(*(f"Habitant-{n}" for n in range(first, first + LINKED_AT_ONCE)))
        for n in range(0, entries, DECIDED_AT_ONCE):
            who = seen[n // DECIDED_AT_ONCE % VISITORS].pseudonym.hex()
            town.told.decide(who, flow=n // DECIDED_AT_ONCE % len(town.told.flows), count=DECIDED_AT_ONCE)
        town.told.index_all()
        async with serving(town.app, port):
            print(json.dumps([town.session(bearing) for bearing in seen]), flush=True)
            await asyncio.to_thread(sys.stdin.read)


async def load(base: str, path: str, cookies: list[str]) -> list[float]:
    """Milliseconds of each of `RATE` requests a second."""
    took: list[float] = []

    async def one(client: httpx.AsyncClient, n: int, due: float) -> None:
        await asyncio.sleep(due - time.perf_counter())
        answer = await client.get(path, headers={"Cookie": f"session={cookies[n % len(cookies)]}"})
        assert answer.status_code == 200, (path, answer.status_code)
        took.append((time.perf_counter() - due) * 1000)

    async with httpx.AsyncClient(base_url=base, timeout=30) as client:
        await client.get(path, headers={"Cookie": f"session={cookies[0]}"})
        begun = time.perf_counter() + 0.1
        await asyncio.gather(*(one(client, n, begun + n / RATE) for n in range(RATE * SECONDS)))
    return sorted(took)


async def seen(base: str, cookie: str) -> dict[str, tuple[float, int]]:
    """Page → when its largest thing was painted (ms), and bytes over the wire, in a browser that knows nothing yet."""
    from playwright.async_api import async_playwright

    from browser.conftest import PHONE, SANDBOX_NEEDS_A_USER, chromium

    found = {}
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium(), args=SANDBOX_NEEDS_A_USER)
        for path in PAGES:
            context = await browser.new_context(viewport=PHONE, base_url=base)
            await context.add_cookies([{"name": "session", "value": cookie, "url": base}])
            page = await context.new_page()
            wire = await context.new_cdp_session(page)
            weight = 0

            def came(event: dict[str, float]) -> None:
                nonlocal weight
                weight += int(event["encodedDataLength"])

            wire.on("Network.loadingFinished", came)
            await wire.send("Network.enable")
            await wire.send("Emulation.setCPUThrottlingRate", {"rate": CPU_SLOWED})
            await page.goto(path, wait_until="networkidle")
            painted = await page.evaluate(
                "new Promise(done => new PerformanceObserver(list => done(list.getEntries().at(-1).startTime))"
                ".observe({type: 'largest-contentful-paint', buffered: true}))"
            )
            found[path] = float(painted), weight
            await context.close()
        await browser.close()
    return found


def main() -> int:
    if sys.argv[1:2] == ["serve"]:
        asyncio.run(serve(int(sys.argv[2]), Path(sys.argv[3])))
        return 0
    from browser.conftest import a_free_port

    port = a_free_port()
    base = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "serve", str(port), folder]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            cookies = json.loads(process.stdout.readline())
            times = {path: asyncio.run(load(base, path, cookies)) for path in PAGES}
            shown = asyncio.run(seen(base, cookies[0]))
            process.stdin.close()
    print(f"{'page':<44} {'p50 ms':>8} {'p95 ms':>8} {'painted ms':>11} {'bytes':>8}")
    tails = {}
    for path, took in times.items():
        tails[path] = took[len(took) * 95 // 100]
        painted, weight = shown[path]
        print(f"{path:<44} {statistics.median(took):>8.1f} {tails[path]:>8.1f} {painted:>11.0f} {weight:>8}")
    worst = max(tails.values())
    latest, heaviest = max(p for p, _ in shown.values()), max(w for _, w in shown.values())
    report = {
        "bench": "pages",
        "value": round(worst, 1),
        "unit": f"ms, 95th percentile of the slowest page at {RATE} requests a second",
        "against": "the bar",
        "ratio": round(P95_MS_MAX / worst, 2),
        "spread": round((worst - min(tails.values())) / worst, 3),
        "bar": P95_MS_MAX,
        "painted_ms": round(latest),
        "bytes": heaviest,
        "ok": worst <= P95_MS_MAX and latest <= LCP_MS_MAX and heaviest <= WEIGHT_MAX,
    }
    print(json.dumps(report))
    return 0 if report["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
