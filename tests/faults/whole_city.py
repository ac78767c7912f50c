"""The whole city as processes, from outboxes to inboxes and the ledger, for tests that look at it from outside."""

import asyncio
import json
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
from confluent_kafka import Consumer, KafkaException, TopicPartition

from faults.citizens import Person, Portal
from faults.collect import Topics
from faults.scenario import Ground
from passerelle.city.components import Component, Supervisor
from passerelle.city.node import free_port
from passerelle.publish.outgoing import Outgoing
from passerelle.publish.producer import DepartmentProducer
from passerelle_schemas.catalogue import Catalogue
from passerelle_schemas.topics import EXCHANGE, inbox, outbox

GATES = ("gate-1", "gate-2")
AGENTS_GROUP = "agents.lutece"
DRAIN_S_MAX = 90.0
POLL_S = 0.2
HAPPENED = datetime(2026, 11, 23, 10, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Published:
    """One event as a department published it, and about whom."""

    type: str
    person: Person
    value: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class WholeCity:
    """Everything is up."""

    ground: Ground
    supervisor: Supervisor
    portal: Portal
    catalogue: Catalogue

    def say(self, person: Person, agreement: str, action: str = "give") -> httpx.Response:
        """What a citizen says, through the portal."""
        path = f"/v1/subjects/{person.pseudonym.hex()}/agreements/{agreement}/{action}"
        return self.post(path, {"notice": 1}, person)

    def post(self, path: str, body: Any, person: Person | None = None) -> httpx.Response:
        """Call as this citizen, or as the portal's department."""
        auth = self.portal.office if person is None else self.portal.citizens()(person.pseudonym)
        return httpx.post(self.portal.url + path, json=body, auth=auth, timeout=30)

    def publish(self, events: Iterable[Published], *, a_second: float) -> None:
        """Publish with each department's own credentials, in order, no faster than asked."""
        asyncio.run(self._publish(list(events), a_second))

    async def _publish(self, events: list[Published], a_second: float) -> None:
        producers: dict[str, DepartmentProducer] = {}
        began = time.monotonic()
        for n, event in enumerate(events):
            await asyncio.sleep(max(0.0, n / a_second - (time.monotonic() - began)))
            department = event.type.partition(".")[0]
            if department not in producers:
                access = self.ground.access(department)
                producers[department] = await DepartmentProducer(access, department, self.catalogue).__aenter__()
            pseudonym = self.ground.keyring.pseudonym(department, event.person.ref)
            outgoing = Outgoing(
                type=event.type, pseudonym=pseudonym, value=event.value, event_id=f"test-{n}", time=HAPPENED
            )
            async for _ in producers[department].publish_all([producers[department].prepare(outgoing)]):
                pass
        for producer in producers.values():
            await producer.__aexit__(None, None, None)

    def drain(self) -> None:
        """Wait until the agents have taken all events and the gate all proposals. Raises `TimeoutError`."""
        outboxes = sorted({outbox(c.department, c.event) for c in self.catalogue if not c.derived})
        logs = [t for t in self._topics() if t.startswith("agents.") and t.endswith(".log")]
        self._caught_up(AGENTS_GROUP, [*outboxes, *logs])
        self._caught_up("gate", [EXCHANGE])

    def inbox(self, department: str) -> list[tuple[bytes, dict[str, str], dict[str, Any]]]:
        """Key, headers and value of each delivery, in the order of each partition."""
        read = Topics(self.ground.access("admin"), self.ground.manifest.partitions)
        return [(r.key or b"", r.headers, self.catalogue.decode(r.value)[1]) for r in read.all(inbox(department))]

    def lines(self, component: str) -> list[dict[str, Any]]:
        """What a component logged."""
        return list(self.supervisor.lines(component))

    def _topics(self) -> list[str]:
        with _consumer(self.ground, "look") as consumer:
            return sorted(consumer.list_topics(timeout=10).topics)

    def _caught_up(self, group: str, topics: list[str]) -> None:
        places = [TopicPartition(t, p) for t in topics for p in range(self.ground.manifest.partitions)]
        end, behind = time.monotonic() + DRAIN_S_MAX, {}
        with _consumer(self.ground, group) as consumer:
            while time.monotonic() < end:
                behind = _behind(consumer, places)
                if not behind:
                    return
                time.sleep(POLL_S)
        raise TimeoutError(f"{group} is behind: {behind}")


def _behind(consumer: Consumer, places: list[TopicPartition]) -> dict[str, int]:
    """Topic/partition → records that the group has not taken. An answer that is not there yet counts as behind."""
    try:
        found = {f"{p.topic}/{p.partition}": p for p in consumer.committed(places, timeout=10)}
        ends = {n: consumer.get_watermark_offsets(p, timeout=10, cached=False) for n, p in found.items()}
    except KafkaException:
        return {"?": 1}
    left = {name: end - max(found[name].offset, low) for name, (low, end) in ends.items()}
    return {name: n for name, n in left.items() if n > 0}


@contextmanager
def _consumer(ground: Ground, group: str) -> Iterator[Consumer]:
    consumer = Consumer({**ground.access("admin").confluent(), "group.id": group, "isolation.level": "read_committed"})
    try:
        yield consumer
    finally:
        consumer.close()


@contextmanager
def whole_city(
    ground: Ground, *, agents: str = "lutece.agents", environ: Mapping[str, str] | None = None
) -> Iterator[WholeCity]:
    """Consent service, ledger, two gate workers, agents of a module; each is started again when it is killed."""
    port = free_port()
    components = [
        Component(name="consent", arguments=("consent", "serve", "--port", str(port))),
        Component(name="ledger", arguments=("ledger", "integrate")),
        *(Component(name=name, arguments=("gate", "run", "--worker", name, "--session-ms", "3000")) for name in GATES),
        Component(name="agents", arguments=("agents", "run", agents)),
    ]
    with Supervisor(home=ground.home, environ={**ground.environ(), **(environ or {})}) as supervisor:
        supervisor.start(*components)
        yield WholeCity(
            ground=ground,
            supervisor=supervisor,
            portal=ground.portal(port),
            catalogue=ground.manifest.policy_bundle().catalogue,
        )


def dead_letters(ground: Ground, topic: str) -> list[dict[str, Any]]:
    """What a dead-letter topic holds."""
    return [json.loads(r.value or b"{}") for r in Topics(ground.access("admin"), 1).all(topic)]
