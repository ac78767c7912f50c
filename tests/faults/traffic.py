"""Proposals as agents send them: at least once, in order, with replays. Written straight to the exchange.

A replay repeats a stretch of one source from somewhere in its past up to its newest record, in order, as an agent does
that starts again from its committed position. So a record may come twice or more, but never for the first time after
a later one of its source.
"""

import random
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import Producer

from faults.history import Recorder, Sent
from passerelle.config import KafkaAccess
from passerelle.envelope import Event, proposal_headers, proposal_id, source_of
from passerelle_consent.wire import Origin
from passerelle_schemas.catalogue import Catalogue, Contract
from passerelle_schemas.topics import EXCHANGE, partition_of

TICK_S = 0.01
COPIES = 0.05
"""Of the proposals are sent twice at once."""
ODD = 0.01
"""Of the proposals are garbage, of an unknown flow, of the wrong type, about a stranger, or without their origin."""
REPLAYS_A_SECOND = 2.0
MOVES = "outbox.civil-registry.address-changed"
PAST_MAX = 300
"""Records of a source that a replay may go back."""
HOT = 0.7
"""Of the proposals are about citizens who are about to change their minds."""

Target = tuple[bytes, str]
"""Subject ref and flow."""


@dataclass(frozen=True, kw_only=True)
class Route:
    """A flow, and where its proposals come from."""

    flow: str
    rule: str
    topic: str
    n: int = 0
    text_field: str
    """A field of the event that holds a number of its own in each proposal."""


ROUTES = {
    route.flow: route
    for route in (
        Route(flow="move.schools", rule="move", topic=MOVES, text_field="street"),
        Route(
            flow="move.cleanliness",
            rule="move",
            topic=MOVES,
            n=1,
            text_field="street",
        ),
        *(
            Route(
                flow=f"street-report.{recipient}",
                rule="report",
                topic="outbox.citizen-desk.report-filed",
                text_field="reporter_name",
            )
            for recipient in ("cleanliness", "roads", "parks")
        ),
    )
}


@dataclass(kw_only=True)
class Source:
    """One rule's proposals from one outbox partition."""

    past: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=PAST_MAX))


class Traffic:
    """Sends proposals in a thread until it is stopped."""

    def __init__(
        self,
        *,
        access: KafkaAccess,
        catalogue: Catalogue,
        flows: Mapping[str, str],
        subjects: list[bytes],
        partitions: int,
        rate: float,
        seed: int,
        recorder: Recorder,
    ) -> None:
        """``flows``: flow → event type; ``rate``: new proposals a second."""
        self.sent = 0
        self._contracts: dict[str, Contract] = {flow: catalogue.by_type(flows[flow]) for flow in ROUTES}
        self._subjects = subjects
        self._partitions = partitions
        self._rate = rate
        self._random = random.Random(seed)
        self._recorder = recorder
        self._hot: dict[Target, None] = {}
        self._next: dict[tuple[str, int], int] = {}
        self._sources: dict[tuple[str, str, int], Source] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="traffic", daemon=True)
        self._producer = Producer(
            {
                **access.confluent(),
                "enable.idempotence": True,
                "linger.ms": 2,
                "message.timeout.ms": 120_000,
                "queue.buffering.max.messages": 500_000,
            }
        )

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Stop, and wait until the broker has everything."""
        self._stop.set()
        self._thread.join()
        left = self._producer.flush(60)
        if left:
            raise TimeoutError(f"{left} proposals were not taken")

    def heat(self, target: Target) -> None:
        """Send much about this target from now on."""
        self._hot[target] = None

    def cool(self, target: Target) -> None:
        self._hot.pop(target, None)

    def _run(self) -> None:
        due, last = 0.0, time.monotonic()
        while not self._stop.is_set():
            now = time.monotonic()
            # A thread that was kept waiting does not catch up for more than half a second.
            due += self._rate * min(0.5, now - last)
            last = now
            for _ in range(int(due)):
                self._propose()
            due %= 1
            if self._random.random() < REPLAYS_A_SECOND * TICK_S:
                self._replay()
            self._producer.poll(0)
            self._stop.wait(TICK_S)

    def _propose(self) -> None:
        hot = list(self._hot)
        if hot and self._random.random() < HOT:
            ref, flow = self._random.choice(hot)
        else:
            ref, flow = self._random.choice(self._subjects), self._random.choice(list(ROUTES))
        record, source = self._record(ref, flow)
        if self._random.random() < ODD:
            record = self._odd(record)
        source.past.append(record)
        self._send(record)
        if self._random.random() < COPIES:
            self._send(record)

    def _record(self, ref: bytes, flow: str) -> tuple[dict[str, Any], Source]:
        """The next proposal of the source that this subject's events come from."""
        route, contract = ROUTES[flow], self._contracts[flow]
        partition = partition_of(ref[::-1], self._partitions)
        offset = self._next.get((route.topic, partition), 0)
        self._next[route.topic, partition] = offset + 1
        origin = Origin(rule=route.rule, topic=route.topic, partition=partition, offset=offset, n=route.n)
        event = Event(
            id=proposal_id(origin, flow),
            source=source_of(contract.department),
            type=contract.type,
            time="2026-11-23T10:00:00.000Z",
        )
        body = contract.encode({**contract.example, route.text_field: f"{offset} rue {partition}"})
        record = {
            "key": ref,
            "value": body,
            "headers": proposal_headers(event, flow=flow, origin=origin),
            "partition": partition_of(ref, self._partitions),
        }
        return record, self._sources.setdefault((route.rule, route.topic, partition), Source())

    def _odd(self, record: dict[str, Any]) -> dict[str, Any]:
        headers = dict(record["headers"])
        kind = self._random.randrange(5)
        if kind == 0:
            return {**record, "value": b"\x00" + self._random.randbytes(20)}
        if kind == 1:
            return {**record, "headers": [*{**headers, "ce_flow": b"nowhere"}.items()]}
        if kind == 2:
            return {**record, "headers": [*{**headers, "ce_type": b"tax.taxpayer-moved.v1"}.items()]}
        if kind == 3:
            stranger = self._random.randbytes(16)
            return {**record, "key": stranger, "partition": partition_of(stranger, self._partitions)}
        return {**record, "headers": [(n, v) for n, v in headers.items() if n != "ce_origin"]}

    def _replay(self) -> None:
        if not self._sources:
            return
        past = list(self._random.choice(list(self._sources.values())).past)
        for record in past[self._random.randrange(len(past)) :] if past else []:
            self._send(record)

    def _send(self, record: dict[str, Any]) -> None:
        origin = dict(record["headers"]).get("ce_origin")

        def written(error: Any, message: Any) -> None:
            if error is None:
                text = origin.decode() if origin else None
                self._recorder.write(Sent(text, message.partition(), message.offset()))

        while True:
            try:
                self._producer.produce(EXCHANGE, **record, on_delivery=written)
            except BufferError:
                self._producer.poll(0.05)
            else:
                break
        self.sent += 1
