"""Faust's aiokafka transport with batches as events: one event is one partition's fetch (DESIGN §5a).

Channels, queues, streams, agents, sensors, flow control, rebalance and commits stay Faust's own. What is ours: a fetch
is delivered whole and undecoded; nothing is skipped between two batches; commits advance over `CommitLedger`; the
producer is idempotent; no web server. The methods overridden here are private to Faust, so its release is pinned
exactly.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, cast

import faust
import faust.app.base
from faust.transport.consumer import ensure_TP
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage

from passerelle.agents.ledger import CommitLedger, Holes
from passerelle.agents.reading import Batch

QUEUED_BATCHES = 4
"""Batches that wait in front of one agent. With 4,000 records a fetch at most this bounds the memory of a worker."""

FETCH_S = 1.0
"""How long a fetch waits for records: the pace at which the loop notices that it should stop."""

TAIL_S = 3.0
"""How often the ends of partitions are checked for a fetch that was lost with nothing after it to show the hole."""

TAIL_TRIES = 9
"""The end of a log may be a transaction marker, which nobody delivers: stop asking after half a minute."""


class BatchSchema(faust.Schema[bytes, bytes]):
    """Hands a batch to the agent as it is."""

    def __init__(self) -> None:
        super().__init__(key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")

    def compile(self, app: Any, **_: Any) -> Callable[..., Awaitable[Any]]:
        """Faust asks for a decoder of messages; ours decodes nothing, so that nothing is acknowledged too early."""
        create = app.create_event

        async def deliver(message: Any, *, propagate: bool = False) -> Any:  # noqa: ARG001 - Faust's signature
            return create(None, message.value, None, message)

        return deliver


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """Reads what is committed, and nothing that a relay began and another sends again."""

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        # Faust asks for it under its own exactly-once alone; the fetcher is made of this when the consumer starts.
        consumer._isolation_level = "read_committed"  # noqa: SLF001 - see the module's docstring
        return consumer


class Consumer(driver.Consumer):
    """Delivers whole fetches in order, and commits only what is acknowledged without a gap."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._ledger: CommitLedger[TP] = CommitLedger()
        self._holes: Holes[TP] = Holes()
        self._delivering = False

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Eager rebalancing: all partitions go."""
        self._ledger.forget()
        await super().on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """A new generation starts with an empty ledger, from the committed offsets."""
        self._ledger.forget()
        await super().on_partitions_assigned(assigned, generation_id)

    def _new_offset(self, tp: TP) -> int | None:
        self._acked[tp].clear()
        self._acked_index[tp].clear()
        return self._ledger.committable(tp)

    async def _drain_messages(self, fetcher: Any) -> None:
        try:
            while not (self._stopped.is_set() or fetcher._stopped.is_set()):  # noqa: SLF001 - see the module's docstring
                await asyncio.sleep(0)
                await self._drain_once()
        except self.consumer_stopped_errors:
            if not self.app.should_stop:
                raise
        except asyncio.CancelledError:
            if not self.app.should_stop:
                raise
        finally:
            self._delivering = False

    async def _drain_once(self) -> None:
        records, active = await self._wait_next_records(FETCH_S)
        # Read after the fetch: a rebalance may have happened while it waited, and then these records are valid ones.
        generation = self.app.consumer_generation_id
        if records is None or self.should_stop:
            return
        if not self.flow_active:
            await self._seek_back()
            return
        self._delivering = bool(records)
        open_to = self._buffered_partitions | (active or set())
        for partition, fetched in records.items():
            tp = ensure_TP(partition)
            if not self._current(generation):
                break  # what is dropped here is a hole for the next fetch, and is asked for again
            if tp in open_to:
                await self._deliver(tp, fetched, generation)
        self._delivering = False

    def _current(self, generation: int) -> bool:
        return self.flow_active and self.app.consumer_generation_id == generation

    async def _seek_back(self) -> None:
        try:
            await self.perform_seek()
        except Exception as exc:  # noqa: BLE001 - Faust's own loop only warns here, too: the next round seeks again
            self.log.warning("seek while the flow is stopped: %s", type(exc).__name__)

    async def _deliver(self, tp: TP, fetched: Sequence[Any], generation: int) -> None:
        wanted = self._read_offset[tp] or 0
        if not self._holes.believed(tp, generation, wanted, fetched[0].offset):
            self.log.info("hole in %s-%s: wanted %s, got %s; asking again", *tp, wanted, fetched[0].offset)
            await self._thread.seek_wait({tp: wanted})
            return
        records = [r for r in fetched if r.offset >= wanted] if fetched[0].offset < wanted else fetched
        if not records:
            return
        message = self._message(tp, records, generation)
        self._ledger.delivered(tp, message)
        self._read_offset[tp] = records[-1].offset + 1
        self.app.monitor.track_tp_end_offset(tp, self.highwater(tp))
        await self.wait_first(self.callback(message), self.suspend_flow.wait())

    def _message(self, tp: TP, records: Sequence[Any], generation: int) -> ConsumerMessage:
        last = records[-1]
        return ConsumerMessage(
            topic=tp.topic,
            partition=tp.partition,
            offset=last.offset,
            timestamp=last.timestamp / 1000.0,
            timestamp_type=last.timestamp_type,
            headers=None,
            key=None,
            value=cast(
                "bytes", Batch(tp.topic, tp.partition, records)
            ),  # delivered as it is: `BatchSchema` reads no bytes
            checksum=None,
            serialized_key_size=0,
            serialized_value_size=0,
            tp=tp,
            generation_id=generation,
        )

    @faust.Service.task
    async def _watch_tails(self) -> None:
        before: Mapping[TP, tuple[int, int, int]] = {}
        tried: dict[tuple[TP, tuple[int, int, int]], int] = {}
        while not self.should_stop:
            await self.sleep(TAIL_S)
            now = {} if self._delivering or not self.flow_active else self._tails()
            for tp, tail in now.items():
                if before.get(tp) == tail and tried.get((tp, tail), 0) < TAIL_TRIES:
                    tried[tp, tail] = tried.get((tp, tail), 0) + 1
                    self.log.info("hole at the end of %s-%s: wanted %s, at %s; asking again", *tp, *tail[1:])
                    await self._thread.seek_wait({tp: tail[1]})
            before = now
            tried = {k: n for k, n in tried.items() if now.get(k[0]) == k[1]}

    def _tails(self) -> dict[TP, tuple[int, int, int]]:
        """Partitions whose fetch position is past what was delivered: (generation, wanted, position)."""
        consumer = self._thread._ensure_consumer()  # noqa: SLF001 - see the module's docstring
        subscription = consumer._subscription.subscription  # noqa: SLF001 - the same
        assigned = subscription and subscription.assignment
        found = {}
        for partition in assigned.tps if assigned else ():
            tp, state = ensure_TP(partition), assigned.state_value(partition)
            wanted = self._read_offset[tp] or 0
            if state.has_valid_position and state.position > wanted:
                found[tp] = (self.app.consumer_generation_id, wanted, state.position)
        return found


class Producer(driver.Producer):
    """acks=all, idempotent."""

    def _settings_extra(self) -> Mapping[str, Any]:
        return {"acks": "all", "enable_idempotence": True}


class Transport(driver.Transport):
    """Faust's transport with our consumer and producer."""

    Consumer = Consumer
    Producer = Producer


class Boot(faust.app.base.BootStrategy):
    """No web server: `web_enabled=False` alone is set back by ``faust worker`` (DESIGN §5a, rule 8)."""

    enable_web = False


class App(faust.App):
    """A `faust.App` whose agents hear batches.

    Declaring an agent makes Faust read its settings. Ours are declared when Faust finalizes the app (``faust`` and
    `passerelle agents run` do so before anything else), so that importing a module of agents reads no setting.
    """

    BootStrategy = Boot

    def __init__(
        self,
        app_id: str,
        *,
        late: Callable[[], Mapping[str, Any]],
        before_start: Callable[[], Awaitable[None]],
        **options: Any,
    ) -> None:
        self._late = late
        self._before_start = before_start
        self._declared: list[Callable[[], None]] = []
        super().__init__(app_id, **options)

    def declare(self, agent: Callable[[], None]) -> None:
        """Declare an agent when the app is finalized."""
        self._declared.append(agent)

    def finalize(self) -> None:
        """See the class."""
        super().finalize()
        while self._declared:
            self._declared.pop(0)()

    async def on_start(self) -> None:
        """Check first: without a topic or a right stock Faust reports that it is ready and stays silent (rule 8)."""
        if not self.client_only:
            await self._before_start()
        await super().on_start()

    def batches(self, topic: str) -> Any:
        """Return a channel of `Batch`."""
        return self.topic(topic, schema=BatchSchema(), maxsize=QUEUED_BATCHES)

    def _load_settings(self, *, silent: bool = False) -> Any:
        app_id, options = self._default_options
        self._default_options = (app_id, {**options, **self._late()})
        return super()._load_settings(silent=silent)

    def _new_transport(self) -> Transport:
        return Transport(self.conf.broker_consumer, self)

    def _new_producer_transport(self) -> Transport:
        return Transport(self.conf.broker_producer, self)
