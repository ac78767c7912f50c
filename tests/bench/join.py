"""Joined events per second, and how soon a million join states are back: the SDK against naive Faust agents.

The meal tariff of Lutèce on a real broker, 4 partitions: households of the civil registry and incomes of the tax
office, each under a pseudonym of its own, are re-keyed to the subject, joined, and proposed. The same pure rules judge
in all three; what differs is who carries the records and keeps the state:

- `sdk`: the SDK (batches as events, state as a fold of the join's log; loses nothing);
- `nowait`: Faust agents and a Faust Table, which do not wait for acknowledgements (and so lose events when they die);
- `await`: the same, and each send is awaited.

Each person has one household and one income, so that each person yields one proposal in whatever order they come. A
naive worker begins at the last people of the outboxes only: it would take minutes for all. Runs alternate.

Recovery: a worker starts whose join holds a state for each of ``STATES`` people, and one event comes for each
partition; the time is from its start until all four were answered. Lost: without its checkpoint, from the log. Kept:
with it. Empty: a join that holds nothing.
"""

import os
import shutil
import sys
import time

from carried import world

PEOPLE = int(os.environ.get("PEOPLE", "50000"))
OF_NAIVE = int(os.environ.get("OF_NAIVE", "4000"))
STATES = int(os.environ.get("STATES", "1000000"))
ROUNDS = int(os.environ.get("ROUNDS", "3"))
BAR = 5.0
CAP_S = 60.0
WAYS = ("sdk", "nowait", "await")
PEER = "nowait"
HOUSEHOLDS, INCOMES = "civil-registry.household-changed.v1", "tax.income-assessed.v1"
OUTBOXES = ("outbox.civil-registry.household-changed", "outbox.tax.income-assessed")


def declare(app, lutece):
    """The meal tariff alone."""
    from passerelle.agents.lineage import derived

    households, incomes = app.outbox(HOUSEHOLDS), app.outbox(INCOMES)
    band = derived(lutece.tariff_band, households.adults, households.dependants, incomes.reference_income_cents)
    app.join(households, incomes, flow="meal-tariff.schools", fields={"tariff_band": band})(lutece.meal_tariff)


def declared_as(city, name):
    declared = world.declared_as(name, declare, city.admin)
    world.create_topics(city.admin, declared)
    return declared


# -- throughput -----------------------------------------------------------------------------------------------------


def throughput(city, ends):
    """Returns way → [(events/s, events per CPU-second)]."""
    outbox, everybody = world.Outbox(city), world.people(PEOPLE)
    starts = {}
    for many in (everybody[:-OF_NAIVE], everybody[-OF_NAIVE:]):
        starts = {topic: ends.of(topic) for topic in OUTBOXES}
        for subject in many:
            outbox.event(HOUSEHOLDS, subject)
            outbox.event(INCOMES, subject)
        outbox.flush()
    found = {way: [] for way in WAYS}
    for n in range(ROUNDS):
        for way in WAYS:
            declared = declared_as(city, f"join-{way}-{n}")
            if way != "sdk":
                ends.begin_at(declared.id, starts)
            base, wanted = ends.exchange(), PEOPLE if way == "sdk" else OF_NAIVE
            with world.worker_of(__file__, way, declared.name) as worker:
                count, seconds, cpu = world.wait_for(worker, ends, base, wanted, CAP_S)
            found[way].append((2 * count / seconds, 2 * count / cpu))
    return found


# -- recovery -------------------------------------------------------------------------------------------------------


def recovery(city, ends):
    """Returns seconds to the first answers: of an empty join, with the checkpoint lost, and with it kept."""
    declared = declared_as(city, "recovery")
    (join,) = (rule for rule in declared.rules.values() if rule.kind == "join")
    everybody = fill_log(city, declared, join)
    empty = answered(city, ends, declared_as(city, "empty"), everybody, caught=None)
    shutil.rmtree(world.folder_of(declared.name), ignore_errors=True)
    lost = answered(city, ends, declared, everybody, caught=join)
    kept = answered(city, ends, declared, everybody, caught=join)
    return empty, lost, kept


def entry_of(join, subject_number):
    from passerelle.agents.entry import Entry

    shape = join.shapes[0]
    contract = join.outboxes[0].contract
    body = shape.encode(contract.decode(contract.encode(contract.example)))
    now_ms = int(time.time() * 1000)
    return Entry(0, 0, subject_number, 1_767_225_600_000, now_ms, shape.fingerprint, body, now_ms)


def fill_log(city, declared, join):
    from passerelle.agents import entry as entries

    outbox, everybody = world.Outbox(city), world.people(STATES)
    for n, subject in enumerate(everybody):
        outbox.put(join.log, subject, entries.encode(entry_of(join, n)))
    outbox.flush()
    return everybody


def caught_up(ends, declared, join=None):
    """The group has read everything there is."""
    topics = [*OUTBOXES, *([join.log] if join else [])]
    ends.begin_at(declared.id, {topic: ends.of(topic) for topic in topics})


def answered(city, ends, declared, everybody, *, caught):
    """Seconds from a worker's start until one event for each partition was joined."""
    from passerelle_schemas.topics import partition_of

    caught_up(ends, declared, caught)
    outbox, base = world.Outbox(city), ends.exchange()
    firsts = {partition_of(subject, world.PARTITIONS): subject for subject in everybody[:200]}
    for subject in firsts.values():
        if caught is None:
            outbox.event(HOUSEHOLDS, subject)
        outbox.event(INCOMES, subject)
    outbox.flush()
    began = time.monotonic()
    with world.worker_of(__file__, "sdk", declared.name) as worker:
        while ends.exchange() - base < world.PARTITIONS:
            if worker.poll() is not None or time.monotonic() - began > world.START_S:
                raise RuntimeError("the worker did not work")
            time.sleep(0.02)
        return time.monotonic() - began


# -- the bench ------------------------------------------------------------------------------------------------------


def main() -> int:
    with world.city_on_a_broker() as city, world.ends_of(city.admin) as ends:
        return report(throughput(city, ends), recovery(city, ends))


def report(found, recovered):
    rate, ratios = world.table_of(found, PEER)
    empty, lost, kept = recovered
    pace = STATES / max(lost - empty, 0.01)
    print(f"start to first answers, no state  {empty:6.1f} s")
    print(f"{STATES:,} states, checkpoint kept  {kept:6.1f} s")
    print(f"{STATES:,} states, checkpoint lost  {lost:6.1f} s   {pace:,.0f} states/s")
    recovery = {
        "states": STATES,
        "lost_s": round(lost, 1),
        "kept_s": round(kept, 1),
        "empty_s": round(empty, 1),
        "states_per_s": round(pace),
    }
    against = "naive Faust agents with a Table that do not wait for acknowledgements"
    return world.conclude("join", against, rate, ratios, BAR, recovery=recovery)


if __name__ == "__main__":
    if sys.argv[1:2] == ["work"]:
        world.run_worker(*sys.argv[2:], declare)
    else:
        sys.exit(main())
