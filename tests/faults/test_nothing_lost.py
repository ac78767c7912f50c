"""kill -9 of a gate worker and of the agents in the middle of a day: nothing is lost, nothing comes twice.

From the outboxes to the inboxes, with every part real. What should be there is counted from what was published, by
rules written here once more.
"""

import os
import random
import signal
import threading
import time
from collections import Counter, defaultdict

import pytest

from faults.run import broker_and_city
from faults.scenario import link
from faults.whole_city import Published, whole_city

SEED = 3
PEOPLE = 60
EVENTS = 1_500
A_SECOND = 120.0
FIRST_KILL_S, BETWEEN_KILLS_S = 2.0, 2.0
READY_S_MAX = 60.0
MOVES, REPORTS = "civil-registry.address-changed.v1", "citizen-desk.report-filed.v1"
HOUSEHOLDS, INCOMES = "civil-registry.household-changed.v1", "tax.income-assessed.v1"
OPERATORS = {"DVD": "roads", "graffitis": "cleanliness", "DEVE": "parks", "Une société": None}


def the_day(city, people):
    """Moves and reports with a number each, and for everyone one household and one income, in a drawn order."""
    draw = random.Random(SEED)
    examples = {t: city.catalogue.by_type(t) for t in (MOVES, REPORTS, HOUSEHOLDS, INCOMES)}
    base = {t: c.decode(c.encode(c.example)) for t, c in examples.items()}
    once = [(t, p) for p in people for t in (HOUSEHOLDS, INCOMES)]
    drawn = [(draw.choice((MOVES, REPORTS)), draw.choice(people)) for _ in range(EVENTS)]
    mixed = once + drawn
    draw.shuffle(mixed)
    for n, (type_, person) in enumerate(mixed):
        own = {
            MOVES: {"new_street": f"{n} rue du Test"},
            REPORTS: {"report_id": f"R{n}", "operator": draw.choice(list(OPERATORS))},
        }
        yield Published(type=type_, person=person, value={**base[type_], **own.get(type_, {})})


def expected(events, consenting):
    """Department → (person, flow, number) of each delivery, in the order of publishing."""
    wanted = defaultdict(list)
    for event in events:
        ref, value = event.person.ref, event.value
        if event.type == MOVES:
            wanted["tax"].append((ref, "move.tax", value["new_street"]))
            wanted["cleanliness"].append((ref, "move.cleanliness", value["new_street"]))
            if event.person in consenting:
                wanted["schools"].append((ref, "move.schools", value["new_street"]))
        department = OPERATORS[value["operator"]] if event.type == REPORTS else None
        if department is not None:
            wanted[department].append((ref, f"street-report.{department}", value["report_id"]))
    return wanted


def found(city, department, keyring):
    """The same as it stands in the inbox."""
    return [
        (keyring.subject(department, key), headers["ce_flow"], number)
        for key, headers, value in city.inbox(department)
        if (number := value.get("new_street") or value.get("street") or value.get("report_id"))
    ]


def orders(deliveries):
    """(person, flow) → numbers, in order."""
    by = defaultdict(list)
    for ref, flow, number in deliveries:
        by[ref, flow].append(number)
    return by


def disturb(city):
    """Kill the agents, a gate worker, and then the other one with the agents; each is started again."""
    time.sleep(FIRST_KILL_S)
    kill(city, "agents")
    time.sleep(BETWEEN_KILLS_S)
    kill(city, "gate-1")
    await_lives(city, "agents", 2)
    time.sleep(BETWEEN_KILLS_S)
    kill(city, "gate-2")
    kill(city, "agents")


def kill(city, component):
    os.kill(city.supervisor.pid(component), signal.SIGKILL)


def await_lives(city, component, lives):
    """Wait until a component was ready for the n-th time."""
    end = time.monotonic() + READY_S_MAX
    while sum(line.get("event") == "ready" for line in city.lines(component)) < lives:
        assert time.monotonic() < end, component
        time.sleep(0.1)


@pytest.mark.broker
@pytest.mark.fault
def test_kill_9_of_gate_and_agents_loses_nothing_and_doubles_nothing(made):
    with broker_and_city(made) as ground, whole_city(ground) as city:
        people = link(ground, city.portal, PEOPLE, SEED)
        consenting = people[: PEOPLE // 2]
        for person in consenting:
            assert city.say(person, "move-schools").status_code == 200
            assert city.say(person, "meal-tariff-household").status_code == 200
            assert city.say(person, "meal-tariff-income").status_code == 200
        events = list(the_day(city, people))
        faults = threading.Thread(target=disturb, args=(city,))
        faults.start()
        city.publish(events, a_second=A_SECOND)
        faults.join()
        for component, lives in {"agents": 3, "gate-1": 2, "gate-2": 2}.items():
            await_lives(city, component, lives)
        city.drain()
        keyring, wanted = ground.keyring, expected(events, consenting)
        for department, deliveries in wanted.items():
            got = found(city, department, keyring)
            assert Counter(got) == Counter(deliveries), department
            assert orders(got) == orders(deliveries), department
        tariffs = [key for key, headers, _ in city.inbox("schools") if headers["ce_flow"] == "meal-tariff.schools"]
        assert Counter(keyring.subject("schools", k) for k in tariffs) == Counter(p.ref for p in consenting)
