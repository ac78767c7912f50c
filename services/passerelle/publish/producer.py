"""A department's way onto the bus: typed, checked against the contract, idempotent."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any, Self

from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    KafkaError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
)

from passerelle.config import KafkaAccess
from passerelle.publish.outgoing import Outgoing, Prepared, PublishFault, prepare
from passerelle_schemas.catalogue import Catalogue
from passerelle_schemas.topics import partition_of

IN_FLIGHT_MAX = 2_000
"""Records sent and not yet acknowledged: about 1 MB, two batches for each of twelve partitions."""
START_ATTEMPTS = 5
FIRST_PAUSE_S = 0.25
"""Doubled each time: five attempts last 4 s, a broker that is being restarted included."""
REQUEST_TIMEOUT_MS = 20_000
STOP_S_MAX = 20.0
"""How long what is on its way may still take when the producer stops: it tries for as long as it lives."""
LINGER_MS = 5
"""Fills batches when many are published at once; nobody waits 5 ms for a single event."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Placed:
    """Where a published event stands, acknowledged by all replicas."""

    topic: str
    partition: int
    offset: int
    tag: int = 0


class DepartmentProducer:
    """Publishes one department's events to its outboxes. An asynchronous context manager.

    Raises `PublishFault`: the broker cannot be reached or refuses, the event is not the department's, or its value
    does not fit the contract.
    """

    def __init__(self, access: KafkaAccess, department: str, catalogue: Catalogue) -> None:
        self._access = access
        self._department = department
        self._catalogue = catalogue
        self._partitions: dict[str, int] = {}
        self._producer: AIOKafkaProducer | None = None

    async def __aenter__(self) -> Self:
        pause_s = FIRST_PAUSE_S
        for attempt in range(1, START_ATTEMPTS + 1):
            producer = self._client()
            try:
                await producer.start()
            except KafkaError as exc:
                await producer.stop()
                if attempt == START_ATTEMPTS or not exc.retriable:
                    raise self._unreachable(exc) from None
                await asyncio.sleep(pause_s)
                pause_s *= 2
            except BaseException:  # Ctrl-C while connecting
                await producer.stop()
                raise
            else:
                self._producer = producer
                return self
        raise AssertionError  # the last attempt raised or returned

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._producer is not None:
            # What is not acknowledged by then was never told to be published.
            with suppress(TimeoutError):
                async with asyncio.timeout(STOP_S_MAX):
                    await self._producer.stop()

    async def publish(
        self, type_: str, pseudonym: bytes, value: Mapping[str, Any], *, event_id: str, time: datetime
    ) -> tuple[str, int, int]:
        """Publish one event and wait until it is safe. Returns (topic, partition, offset)."""
        outgoing = Outgoing(type=type_, pseudonym=pseudonym, value=value, event_id=event_id, time=time)
        async for placed in self.publish_all([self.prepare(outgoing)]):
            return placed.topic, placed.partition, placed.offset
        raise AssertionError  # one event in, one place out

    def prepare(self, outgoing: Outgoing, *, tag: int = 0) -> Prepared:
        """Check an event against its contract and turn it into bytes, without the broker."""
        return prepare(self._catalogue, self._department, outgoing, tag=tag)

    async def publish_all(self, events: Iterable[Prepared]) -> AsyncIterator[Placed]:
        """Publish many, at most `IN_FLIGHT_MAX` on their way at once. Yields their places in the same order."""
        waiting: deque[tuple[Prepared, asyncio.Future[Any]]] = deque()
        try:
            for event in events:
                if len(waiting) >= IN_FLIGHT_MAX:
                    yield await self._placed(*waiting.popleft())
                waiting.append((event, await self._send(event)))
            while waiting:
                yield await self._placed(*waiting.popleft())
        finally:
            # What is left was refused or given up with its fellow: nobody else will look at its outcome.
            for _, future in waiting:
                future.add_done_callback(_seen)

    async def _send(self, event: Prepared) -> "asyncio.Future[Any]":
        if self._producer is None:
            raise PublishFault("the producer is not started")
        try:
            partition = partition_of(event.key, await self._partitions_of(event.topic))
            future: asyncio.Future[Any] = await self._producer.send(
                event.topic, event.value, key=event.key, partition=partition, headers=event.headers
            )
        except KafkaError as exc:
            raise self._refused(event.topic, exc) from None
        return future

    async def _placed(self, event: Prepared, future: "asyncio.Future[Any]") -> Placed:
        try:
            meta = await future
        except KafkaError as exc:
            raise self._refused(event.topic, exc) from None
        return Placed(topic=event.topic, partition=meta.partition, offset=meta.offset, tag=event.tag)

    async def _partitions_of(self, topic: str) -> int:
        """Return how many partitions the topic has; it is asked once, as the manifest fixes the number for ever."""
        if topic not in self._partitions:
            assert self._producer is not None  # noqa: S101 - _send looked
            self._partitions[topic] = len(await self._producer.partitions_for(topic))
        return self._partitions[topic]

    def _client(self) -> AIOKafkaProducer:
        return AIOKafkaProducer(
            **self._access.aiokafka(),
            client_id=f"publish.{self._department}",
            acks="all",
            enable_idempotence=True,
            linger_ms=LINGER_MS,
            request_timeout_ms=REQUEST_TIMEOUT_MS,
        )

    def _unreachable(self, exc: KafkaError) -> PublishFault:
        if isinstance(exc, ClusterAuthorizationFailedError):
            # Asked of a producer that may write to no topic at all.
            return PublishFault(f"the broker does not let {self._access.username} publish")
        return PublishFault(
            f"the broker cannot be used ({type(exc).__name__})",
            where=self._access.bootstrap_servers,
            hint="is it up? passerelle kafka status   are the passwords set? passerelle city apply",
        )

    def _refused(self, topic: str, exc: KafkaError) -> PublishFault:
        if isinstance(exc, TopicAuthorizationFailedError):
            return PublishFault(f"the broker does not let {self._access.username} write", where=topic)
        if isinstance(exc, UnknownTopicOrPartitionError):
            return PublishFault("no such topic", where=topic, hint="make it: passerelle city apply")
        return PublishFault(f"the broker did not take the event ({type(exc).__name__})", where=topic)


def _seen(future: "asyncio.Future[Any]") -> None:
    if not future.cancelled():
        future.exception()
