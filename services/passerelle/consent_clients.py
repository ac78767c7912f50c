"""The consent service's Kafka clients: the relay's producer and the reader of the fence.

On PostgreSQL the relay's producer has a transactional id, so that the next process's producer shuts this one's out
(decision record `0002-sole-use-on-postgresql.md` of `passerelle_consent.records`).
"""

import asyncio
from typing import TYPE_CHECKING, Any, Self

from passerelle.city.manifest import Manifest
from passerelle_schemas.faults import Fault
from passerelle_schemas.topics import FENCE

if TYPE_CHECKING:
    from passerelle.config import KafkaAccess, Settings
    from passerelle_consent.records.ports import Producer

PRINCIPAL = "consent"
RELAY_ID = "consent-relay"
"""The transactional id: there is one relay (`passerelle.city.desired` lets it be used)."""

TRANSACTION_MS = 10_000
"""After this the broker aborts a transaction whose relay fell silent; until then readers wait behind it."""

END_S = 5.0
"""How long the end of one transaction may take. Whatever became of it, the next producer's start settles it."""

START_ATTEMPTS = 6
FIRST_PAUSE_S = 0.5
"""Doubled each time: six attempts last 16 s, a broker that is being started again included."""

FETCH_WAIT_MS = 100
"""The broker answers a fetch at once when a mark is there; this bounds what a lost race between the two costs."""


class Clients:
    """The Kafka clients of the service; the relay stops its producer itself, the fence reader its consumer."""

    def __init__(self, here: "Settings") -> None:
        self.manifest: Manifest = Manifest.load(here.manifest_path)
        self._access: KafkaAccess = here.access(PRINCIPAL)
        self.fence: Any = None

    async def __aenter__(self) -> Self:
        """Start the fence reader. Raises `Fault`."""
        self.fence = await self._started(self._fence_consumer)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop it. A second stop does nothing; before the service runs, nobody else stops it."""
        await self.fence.stop()

    async def connect(self) -> "Producer":
        """Start a producer: one batch on its way to each broker at a time, acknowledged by all in-sync replicas."""
        return Plain(await self._started(lambda: self._producer(enable_idempotence=True)))

    async def supersede(self) -> "Producer":
        """Start a producer that shuts out whichever was started before it, and settles what that one left."""
        settings = {"transactional_id": RELAY_ID, "transaction_timeout_ms": TRANSACTION_MS}
        return Transactional(await self._started(lambda: self._producer(**settings)))

    def _producer(self, **settings: Any) -> Any:
        from aiokafka import AIOKafkaProducer

        return AIOKafkaProducer(**self._access.aiokafka(), client_id=PRINCIPAL, acks="all", linger_ms=0, **settings)

    def _fence_consumer(self) -> Any:
        from aiokafka import AIOKafkaConsumer

        return AIOKafkaConsumer(
            **self._access.aiokafka(),
            client_id=PRINCIPAL,
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=FETCH_WAIT_MS,
        )

    async def _started(self, make: Any) -> Any:
        """Start a client, with a bound on attempts. Raises `Fault`."""
        from aiokafka import AIOKafkaConsumer, TopicPartition
        from aiokafka.errors import KafkaError

        pause_s = FIRST_PAUSE_S
        for attempt in range(1, START_ATTEMPTS + 1):
            client = make()
            try:
                await client.start()
            except (KafkaError, OSError) as exc:
                await client.stop()
                problem = type(exc).__name__
            else:
                if isinstance(client, AIOKafkaConsumer):
                    client.assign([TopicPartition(FENCE, p) for p in range(self.manifest.partitions)])
                    # A turn of the loop, so that its background task begins: stopped before, it would raise.
                    await asyncio.sleep(0)
                return client
            if attempt < START_ATTEMPTS:
                await asyncio.sleep(pause_s)
                pause_s *= 2
        raise Fault(
            f"the broker does not answer ({problem}, {START_ATTEMPTS} attempts)",
            where=self._access.bootstrap_servers,
            hint="passerelle kafka status; passerelle city apply",
        )


class Plain:
    """A `Producer` for a store that no other process can have taken in the meantime."""

    def __init__(self, client: Any) -> None:
        self._client = client

    async def begin(self) -> None:
        """Nothing to do."""

    async def send(
        self, topic: str, value: bytes | None = None, key: bytes | None = None, partition: int | None = None
    ) -> asyncio.Future[Any]:
        """Take a record."""
        taken: asyncio.Future[Any] = await self._client.send(topic, value, key, partition)
        return taken

    async def end(self, failure: Exception | None) -> bool:  # noqa: ARG002 - records are there one by one
        """Return true: what went before the failure stands."""
        return True

    async def stop(self) -> None:
        """Finish what was taken, then close."""
        await self._client.stop()


class Transactional(Plain):
    """A `Producer` whose batches are there as a whole, and only while no later producer was started."""

    async def begin(self) -> None:
        """Begin a transaction."""
        await self._client.begin_transaction()

    async def end(self, failure: Exception | None) -> bool:
        """Commit, unless something failed. Raises `Superseded`."""
        from aiokafka.errors import KafkaError, ProducerFenced

        from passerelle_consent.records.relay import Superseded

        if failure is None:
            try:
                async with asyncio.timeout(END_S):
                    await self._client.commit_transaction()
            except (KafkaError, TimeoutError) as exc:
                failure = exc
        if isinstance(failure, ProducerFenced):
            raise Superseded("another process relays")
        return failure is None
