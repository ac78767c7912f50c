"""Windows and rules that go wrong, in real workers: what is right is said once, and the rest goes on."""

import asyncio
import shutil
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from faults.founded import MANIFEST
from integration.agents_world import Worker
from integration.windowed_world import BIRTHS, LOOPS, REPORTS, Windows
from passerelle import settling
from passerelle.agents import watching
from passerelle.city.apply import City
from passerelle.city.manifest import Manifest
from passerelle_schemas.faults import Fault

pytestmark = pytest.mark.broker
AGENTS = Path(__file__).with_name("windowed_agents.py")


@pytest.fixture(scope="module")
def town(city, tmp_path_factory):
    """Lutèce with one more app of agents, whose module stands beside its manifest."""
    folder = tmp_path_factory.mktemp("town")
    said = MANIFEST.read_text().replace(": ../", f": {MANIFEST.parents[1]}/")
    (folder / "city.yaml").write_text(
        said.replace("module: lutece.agents }", "module: lutece.agents }\n  - { id: windows, module: windowed_agents }")
    )
    shutil.copy(AGENTS, folder)
    town = replace(city, manifest=Manifest.load(folder / "city.yaml"))
    City(manifest=town.manifest, home=town.home, admin=town.access("admin")).apply()
    return town


@pytest.fixture(scope="module")
def worker(town):
    running = Worker(town, "windows", command=("passerelle.cli", "agents", "run", "windowed_agents")).start()
    yield running
    running.stop()


async def test_kill_9_under_load_loses_nothing_and_doubles_nothing_of_windows(town, worker):
    world = Windows(town, seed=5)
    await worker.ready()
    over = asyncio.Event()
    publishing = asyncio.create_task(world.publish(20_000, rate=200, over=over))
    for n in range(2):
        await asyncio.sleep(1.5)  # somewhere in the middle of its work: the seed of the test is the machine's own
        world.lose_checkpoints(world.logs[n])  # as on another host: one rule's state is folded from its log again
        worker.kill_and_start()
        await worker.ready(times=n + 2)
    over.set()
    await publishing
    await world.drained()
    found = await world.compare()
    print(found)
    assert worker.ends == [-signal.SIGKILL] * 2
    assert min(found["groups"], found["folds"], *found["late"]) > 50, found


def replayed(town, rule, reason, nth):
    """Try one again as an operator does; the ledger is not told."""
    owner = "agents.windows"
    desk = settling.desk(town.settings, town.manifest, owner)
    found = [w for w in settling.letters_of(desk, owner) if (w.letter.rule, w.letter.reason) == (rule, reason)]
    return desk.ready(found[nth])


async def test_a_rule_that_goes_wrong_costs_one_record_and_the_rest_goes_on(town, worker, monkeypatch):
    """It raises, answers nonsense, reads what it did not declare, ends, holds too much, does not come back."""
    world = Windows(town, seed=6)
    lives = len(worker.ends) + 1
    await worker.ready(times=lives)
    before = len(await world.letters())
    anna, ben, chloe, dario = world.people[:4]
    operators = ("raises", "wrong-type", "no-such-flow", "undeclared", "exits", LOOPS, "DVD")
    codes = ("75001", "number", LOOPS, "75002", "75003")
    at = await world.send(
        *(world.event(f"r{n}", REPORTS, anna, n, operator=op) for n, op in enumerate(operators)),
        *(world.event(f"b{n}", BIRTHS, ben, n / 10, postcode=code) for n, code in enumerate(codes)),
        world.event("next", BIRTHS, ben, 48, postcode="75004"),
        *(world.event(f"h{n}", BIRTHS, chloe, n / 100, postcode=str(n) * 12_000) for n in range(1, 10)),
        world.event("over", BIRTHS, chloe, 48, postcode="75005"),
        world.event("other", BIRTHS, dario, 0, postcode="75006"),
    )
    for n in range(2):
        worker.ends.append(await asyncio.to_thread(worker.process.wait, 60))
        worker.start()
        await worker.ready(times=lives + n + 1)
    await world.drained()
    assert worker.ends[-2:] == [75, 75]

    troubled, of_day = "windows.troubled", "windows.births-of-day"
    reports, births, (over_,), held, last, other = at[:7], at[7:12], at[12:13], at[13:22], at[22], at[23]
    wrong = ("KeyError", "WrongAnswer", "WrongAnswer", "UndeclaredField", "SystemExit")
    expected = {(troubled, "rule-error", error, *at_) for error, at_ in zip(wrong, reports, strict=False)}
    expected |= {(troubled, "too-slow", None, *reports[5]), (of_day, "rule-error", "Undecodable", *births[1])}
    # What was too slow stands in its window: whatever is folded with it would be as slow, and is told without a try.
    expected |= {(of_day, "too-slow", None, *at_) for at_ in births[2:]}
    expected |= {(of_day, "state-too-large", None, *at_) for at_ in held[5:]}
    assert await world.refused(before) == expected
    proposed = await world.proposed(at)
    counted = {
        at_: proposed[of_day, *at_]["entry_year"] for rule, *at_ in proposed if rule == of_day for at_ in [tuple(at_)]
    }
    assert (troubled, *reports[6]) in proposed
    assert counted == {births[0]: 1, over_: 1, **{at_: n + 1 for n, at_ in enumerate(held[:5])}, last: 1, other: 1}
    ends = [line for line in worker.lines() if line.get("event") == "gave up"]
    assert {(line["rule"], line["owner"], line["exit_code"]) for line in ends} == {
        (rule, "agents.windows", 75) for rule in (troubled, of_day)
    }
    assert "did not come back" in ends[0]["why"]

    monkeypatch.setattr(watching, "SLOW_S", 0.2)
    with pytest.raises(Fault, match="does not come back from it"):
        await asyncio.to_thread(replayed, town, of_day, "too-slow", 0)
    monkeypatch.setattr(sys.modules["windowed_agents"], "LOOPS", "mended")
    monkeypatch.setattr(watching, "SLOW_S", 20)
    tried = [(0, "too-slow"), (-1, "too-slow"), (0, "rule-error"), (0, "state-too-large")]
    said = [(await asyncio.to_thread(replayed, town, of_day, reason, n))().said for n, reason in tried]
    assert [one.partition(":")[0] for one in said] == [
        "a later event of the same citizen has said it since",
        "1 proposals",
        *["not taken again"] * 2,
    ]
    (((rule, *where), value),) = (one for one in (await world.proposed(at)).items() if "~dl-" in one[0][0])
    assert (rule.partition("~")[0], tuple(where), value["entry_year"], value["postcode"]) == (
        of_day,
        births[4],
        5,
        "75003",
    )
