"""Route events per second: the agents' SDK against naive Faust agents that do the same work.

The street-report route of Lutèce on a real broker, 4 partitions: envelope, key and Avro are read, the department
chosen, the event re-keyed and sent to the exchange. The same pure code judges in all three; what differs is who
carries it:

- `sdk`: the SDK (batches as events, all outputs acknowledged before the input is; loses nothing);
- `await`: one agent that awaits the acknowledgement of each send before the next event;
- `nowait`: one agent that does not wait for acknowledgements (and so loses events when it dies).

Runs alternate. A run counts from its first output to its last, or for `CAP_S`.
"""

import os
import random
import sys

from carried import world

EVENTS = int(os.environ.get("EVENTS", "60000"))
ROUNDS = int(os.environ.get("ROUNDS", "3"))
PEOPLE = 20_000
BAR = 5.0
CAP_S = 8.0
"""A naive agent would take minutes for all; its pace is steady after a second."""
WAYS = ("sdk", "nowait", "await")
PEER = "nowait"
TYPE = "citizen-desk.report-filed.v1"
OPERATORS = ("Ramen", "graffitis", "DVD", "DPMP-Divisions", "DEVE", "CIELIS", "DASES")


def declare(app, lutece):
    """The street-report route alone."""
    reports = app.outbox(TYPE)
    to = [f"street-report.{d}" for d in lutece.OPERATORS]
    app.route(reports, to=to, reads=[reports.operator])(lutece.street_report)


def fill(city):
    rng, everybody, outbox = random.Random(world.PEOPLE_SEED), world.people(PEOPLE), world.Outbox(city)
    for _ in range(EVENTS):
        outbox.event(TYPE, rng.choice(everybody), operator=rng.choice(OPERATORS))
    outbox.flush()


def bench(city, ends):
    """Alternate the ways; returns way → [(events/s, events per CPU-second)]."""
    fill(city)
    found = {way: [] for way in WAYS}
    for n in range(ROUNDS):
        for way in WAYS:
            declared = world.declared_as(f"route-{way}-{n}", declare, city.admin)
            world.create_topics(city.admin, declared)
            base = ends.exchange()
            with world.worker_of(__file__, way, declared.name) as worker:
                count, seconds, cpu = world.wait_for(worker, ends, base, EVENTS, CAP_S)
            found[way].append((count / seconds, count / cpu))
    return found


def main() -> int:
    with world.city_on_a_broker() as city, world.ends_of(city.admin) as ends:
        return report(bench(city, ends))


def report(found):
    rate, ratios = world.table_of(found, PEER)
    against = "a naive Faust agent that does not wait for acknowledgements"
    return world.conclude("route", against, rate, ratios, BAR)


if __name__ == "__main__":
    if sys.argv[1:2] == ["work"]:
        world.run_worker(*sys.argv[2:], declare)
    else:
        sys.exit(main())
