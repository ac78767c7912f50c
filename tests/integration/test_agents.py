"""The agents of Lutèce on a real broker: nothing is lost and nothing doubled, whatever happens to a worker."""

import asyncio
import signal

import pytest
from confluent_kafka.admin import (
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from conftest import start_broker
from integration.agents_world import DEAD, Worker, World, topic_of
from passerelle.city.apply import City
from passerelle.city.broker import Broker

pytestmark = pytest.mark.broker
SESSION_S = 10
"""The agents' session time-out: a worker that is stopped longer loses its partitions."""


@pytest.fixture
def workers(city):
    started = []

    def start(name):
        started.append(Worker(city, name).start())
        return started[-1]

    yield start
    for worker in started:
        worker.stop()


def apply(city):
    City(manifest=city.manifest, home=city.home, admin=city.access("admin")).apply()


def ended(worker):
    return worker.process.wait(60), [line for line in worker.lines() if line.get("event") == "gave up"]


def test_without_a_topic_the_worker_ends_and_names_it(city, workers):
    admin = AdminClient(city.access("admin").confluent())
    admin.delete_topics([DEAD])[DEAD].result(30)
    try:
        code, (line,) = ended(workers("no-topic"))
    finally:
        apply(city)
    assert code == 75
    assert DEAD in line["why"]


def test_without_a_right_the_worker_ends_and_names_the_topic(city, workers):
    topic = topic_of("tax.income-assessed.v1")
    admin = AdminClient(city.access("admin").confluent())
    right = AclBindingFilter(
        ResourceType.TOPIC,
        topic,
        ResourcePatternType.LITERAL,
        "User:agents.lutece",
        None,
        AclOperation.READ,
        AclPermissionType.ALLOW,
    )
    assert admin.delete_acls([right])[right].result(30)
    try:
        code, (line,) = ended(workers("no-right"))
    finally:
        apply(city)
    assert code == 75
    assert topic in line["why"]


async def test_kill_9_in_the_middle_loses_nothing_and_doubles_nothing(city, workers):
    world = World(city, seed=1)
    worker = workers("killed")
    publishing = asyncio.create_task(world.publish(4_000, rate=160))
    for n in range(2):
        await worker.ready(times=n + 1)
        await asyncio.sleep(2 + n)  # somewhere in the middle of its work: the seed of the test is the machine's own
        worker.kill_and_start()
    await publishing
    await world.drained()
    found = await world.compare()
    print(found)
    assert worker.ends == [-signal.SIGKILL] * 2
    assert found["proposals"] > 4_000
    state = await world.compare_state()
    assert state["folded"] == state["of"], state
    await worker.ready(times=3)
    assert worker.stop() == 0


async def test_kill_9_of_one_of_two_and_the_rebalances_under_load_lose_nothing_and_double_nothing(city, workers):
    world = World(city, seed=4)
    first, second = workers("one-of-two"), workers("two-of-two")
    await first.ready()
    await second.ready()
    publishing = asyncio.create_task(world.publish(6_000, rate=300))
    for n, worker in enumerate((first, second, first)):
        await asyncio.sleep(3)  # somewhere in the middle of its work: the seed of the test is the machine's own
        if n == 1:
            world.lose_checkpoints()  # as on another host: the state is folded from the log again
        worker.kill_and_start()
        await worker.ready(times=2 + n // 2)
    await publishing
    await world.drained()
    print(await world.compare(), await world.compare_state())
    assert (first.ends, second.ends) == ([-signal.SIGKILL] * 2, [-signal.SIGKILL])
    assert (first.stop(), second.stop()) == (0, 0)


async def test_a_worker_that_comes_back_as_a_zombie_loses_nothing_and_doubles_nothing(city, workers):
    world = World(city, seed=2)
    first, second = workers("first"), workers("second")
    await first.ready()
    await second.ready()
    publishing = asyncio.create_task(world.publish(5_000, rate=200))
    await asyncio.sleep(2)
    first.signal(signal.SIGSTOP)
    await asyncio.sleep(SESSION_S + 3)  # past its session: its partitions are the other's by now
    first.signal(signal.SIGCONT)
    await publishing
    await world.drained()
    print(await world.compare(), await world.compare_state())
    assert (first.process.poll(), second.process.poll()) == (None, None)
    assert (first.stop(), second.stop()) == (0, 0)


async def test_a_broker_that_dies_and_comes_back_loses_nothing_and_doubles_nothing(city, workers):
    world = World(city, seed=3)
    worker = workers("outage")
    await worker.ready()
    await world.publish(2_000, rate=1_000)
    Broker.find(city.home).kill()
    start_broker(city.home)
    await world.publish(500, rate=500)
    await world.drained()
    print(await world.compare())
    assert worker.stop() == 0


async def test_faust_s_own_commands_list_and_run_them(city):
    listed = Worker(city, "faust-agents", command=("faust", "-A", "lutece.agents", "agents")).start()
    assert listed.process.wait(60) == 0
    assert "lutece.meal-tariff" in listed.log.read_text()
    worker = Worker(city, "faust-worker", command=("faust", "-A", "lutece.agents", "worker", "-l", "warn")).start()
    try:
        await worker.said("ready")
    finally:
        assert worker.stop() == 0
