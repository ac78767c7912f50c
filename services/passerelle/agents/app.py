"""Declarations → real Faust agents (DESIGN §5a).

This is what a city's developer writes::

city = AgentApp("lutece", catalogue=catalogue, flows=flows, keyring=keyring)
app = city.app                                       # faust -A lutece.agents worker | agents
reports = city.outbox("citizen-desk.report-filed.v1")

@city.route(reports, to=["street-report.roads", "street-report.parks"], reads=[reports.operator])
def street_report(report):
    return "street-report.roads" if report.operator == "DVD" else None
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import faust
import structlog

from passerelle.agents.check import NotReady, check
from passerelle.agents.declared import AgentsPlan, Declarations
from passerelle.agents.folding import SLICE, Folder
from passerelle.agents.history import read
from passerelle.agents.lanes import Lanes
from passerelle.agents.logged import Hop, Logged
from passerelle.agents.patience import Patience, give_up, until_done
from passerelle.agents.proposing import Out
from passerelle.agents.reading import Batch, Reader, Record
from passerelle.agents.route import Route
from passerelle.agents.rules import Attempt, Rule, applied
from passerelle.agents.sending import Sender
from passerelle.agents.state import Open, State, checkpoints, expire, memory
from passerelle.agents.transport import App, Producer
from passerelle.agents.watching import SLOW_S, Watch
from passerelle.config import KafkaAccess, settings
from passerelle.pseudonyms import Keyring
from passerelle_consent.policy.flows import Flow
from passerelle_schemas.catalogue import Catalogue
from passerelle_schemas.faults import Fault

__all__ = ["AgentApp", "AgentsPlan"]

log = structlog.get_logger()

FETCH_RECORDS = 4_000
"""Records in one fetch of all partitions: some 4 MB, and a batch that is processed well within a second."""

BATCH_BYTES = 262_144
"""Of one produce batch: a quarter of the broker's default limit; larger ones gained nothing."""

EXPIRE_S = 3_600.0
"""How often checkpoints forget what was held for long enough: it counts against a bound of days."""

_FAUST: Mapping[str, Any] = {
    "autodiscover": False,
    "key_serializer": "raw",
    "value_serializer": "raw",
    "topic_allow_declare": False,  # `city apply` makes every topic
    "topic_disable_leader": True,
    "web_enabled": False,
    "consumer_auto_offset_reset": "earliest",
    "broker_max_poll_records": FETCH_RECORDS,
    "broker_commit_interval": 1.0,
    "broker_session_timeout": 10.0,
    "broker_heartbeat_interval": 3.0,
    "broker_request_timeout": 20.0,
    "producer_request_timeout": 20.0,
    "producer_acks": -1,
    "producer_linger": 0,  # a batch is already full
    "producer_max_batch_size": BATCH_BYTES,
    "stream_wait_empty": False,  # what is not acknowledged is delivered again; waiting for it only delays a rebalance
    "worker_redirect_stdouts": False,
}


class AgentApp(Declarations):
    """The agents of one app, on Faust. Importing it neither connects nor reads keys: that happens when it starts.

    ``keyring`` and ``access`` are asked at the start; without ``access``, `passerelle.config` says who and where.
    ``folder`` is where joins keep their checkpoints (`home.store`/agents by default; None from it: in memory).
    ``slow_s``: what a rule may take for one record; beyond it the process ends, and starts again past that record.
    """

    def __init__(
        self,
        name: str,
        *,
        catalogue: Catalogue,
        flows: Iterable[Flow],
        keyring: Callable[[], Keyring],
        access: Callable[[], KafkaAccess] | None = None,
        folder: Callable[[], Path | None] | None = None,
        slow_s: float = SLOW_S,
        **options: Any,
    ) -> None:
        super().__init__(name, catalogue=catalogue, flows=flows)
        self._keyring = keyring
        self._access = access or (lambda: settings().access(self.id))
        self._folder = folder or (lambda: settings().home.store / "agents" / name)
        self._readers: dict[str, Reader] = {}
        self._open: Open = memory
        self._sender: Sender | None = None
        self._slow_s = slow_s
        self._watch = Watch(None, owner=self.id, slow_s=slow_s)
        self.app = App(self.id, late=self._late, before_start=self.check, **{**_FAUST, **options})
        self.app.on_partitions_assigned.connect(self._ready, weak=False)
        self.app.timer(interval=EXPIRE_S)(self._expire)

    async def check(self) -> None:
        """Keys, topics, partitions and rights, before anything starts. Ends the process with 75 when one is missing."""
        plan = self.plan()
        try:
            keyring, access = self._keyring(), self._access()
        except Fault as fault:
            give_up(str(fault), hint=fault.hint)
        self._readers = {topic: self.reader(topic, keyring) for topic in plan.outboxes}

        async def attempt(_: Patience) -> None:
            try:
                cluster = await check(plan, access)
            except NotReady as fault:
                give_up(str(fault), hint=fault.hint)
            folder = self._folder()
            self._open = checkpoints(folder, cluster) if folder else memory
            noted = folder / "too-slow.json" if folder else None
            self._watch = Watch(noted, owner=self.id, cluster=cluster, slow_s=self._slow_s)

        await until_done(attempt, rule="check")
        self._watch.start()
        await self._expire()

    async def _expire(self) -> None:
        """Forget what joins have held for as long as they may, wherever a checkpoint of theirs lies."""
        folder, now_ms = self._folder(), int(time.time() * 1000)
        if folder is None:
            return
        for join in (rule for rule in self.rules.values() if isinstance(rule, Logged)):
            await asyncio.to_thread(expire, folder, join.log, now_ms - join.hold_ms)

    def _late(self) -> Mapping[str, Any]:
        """Faust's options that only the environment knows.

        Without a broker ``faust agents`` still lists them; ``faust worker`` is stopped by `check`.
        """
        try:
            access = self._access()
        except Fault:
            return {}
        folder = self._folder() or Path.cwd()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return {
            "broker": [f"kafka://{server}" for server in access.bootstrap_servers.split(",")],
            "broker_credentials": faust.SASLCredentials(
                username=access.username, password=access.password, mechanism="SCRAM-SHA-512"
            ),
            "datadir": str(folder / "faust"),
        }

    async def _ready(self, *sent: Any, **_: Any) -> None:
        """Faust's signal: (app, assigned partitions)."""
        self._watch.refresh()
        log.info("ready", app=self.id, partitions=len(sent[-1]))

    # -- rules become agents --------------------------------------------------------------------------------------

    def _added(self, rule: Rule) -> None:
        if isinstance(rule, Logged):
            folder = Folder(
                self.id,
                rule,
                self._opened,
                self._read_log,
                self._send,
                run=self._run,
                passes_over=self._passes_over,
            )
            self.app.declare(partial(self._agent, rule, rule.log, folder.process))
        else:
            topic = rule.outboxes[0].topic
            self.app.declare(partial(self._agent, rule, topic, partial(self._stateless, rule)))

    def _run(
        self, component: str, rule: str, record: Record, attempt: Attempt, instead: Callable[[], object]
    ) -> Sequence[Out]:
        """As the watch that `check` started does it."""
        return self._watch.guarded(component, rule, record, attempt, instead)

    def _passes_over(self, rule: str, record: Record) -> bool:
        return self._watch.passes_over(rule, record)

    def _opened(self, join_log: str, partition: int) -> State:
        """The state of a partition, as `check` found it can be kept."""
        return self._open(join_log, partition)

    def _agent(self, rule: Rule, topic: str, process: Callable[[Batch, Patience], Awaitable[None]]) -> None:
        async def agent(stream: Any) -> None:
            lanes, batches = Lanes(), stream.noack()
            try:
                async for event in batches.events():
                    batch: Batch = event.message.value
                    await lanes.start(batch.partition, partial(_finish, rule.name, batches, event, batch, process))
            finally:
                lanes.cancel()

        agent.__name__ = agent.__qualname__ = rule.name
        agent.__doc__ = f"{rule.kind} → {', '.join(rule.flows) or rule.name.partition('.')[2]}"
        self.app.agent(self.app.batches(topic), name=rule.name, concurrency=1)(agent)

    async def _stateless(self, rule: Route | Hop, batch: Batch, _: Patience) -> None:
        if batch.read is None:
            batch.read = self._readers[batch.topic].read(batch.records)
        reports = self.by_topic()[batch.topic][0] is rule
        outs: list[Out] = []
        for start in range(0, len(batch.read), SLICE):
            outs += applied(self.id, rule, batch.read[start : start + SLICE], reports=reports, run=self._run)
            await asyncio.sleep(0)
        await self._send(outs)

    # -- Kafka ----------------------------------------------------------------------------------------------------

    async def _send(self, outs: Sequence[Out]) -> None:
        if self._sender is None:
            producer = cast("Producer", self.app.producer)._ensure_producer()  # noqa: SLF001 - Faust offers no batches
            self._sender = Sender(producer, lambda: int(time.time() * 1000))
        await self._sender.send(outs)

    def _read_log(
        self, topic: str, partition: int, first: int, end: int
    ) -> AsyncIterator[tuple[Sequence[Record], int]]:
        return read(self._access(), topic, partition, first, end)


async def _finish(
    name: str, stream: Any, event: Any, batch: Batch, process: Callable[[Batch, Patience], Awaitable[None]]
) -> None:
    """Process until every output is acknowledged by the broker; only then acknowledge the batch (rule 3)."""
    began = time.monotonic()
    await until_done(partial(process, batch), rule=name, topic=batch.topic, partition=batch.partition)
    await stream.ack(event)
    log.debug(
        "batch",
        rule=name,
        topic=batch.topic,
        partition=batch.partition,
        offset=batch.records[0].offset,
        records=len(batch.records),
        ms=round((time.monotonic() - began) * 1000, 1),
    )
