"""The composition root of a gate worker: settings, keys and clients come together here, and signals end here."""

import gc
import signal
import threading
import time
import warnings
from collections.abc import Callable
from contextlib import closing
from typing import Any

import structlog
from confluent_kafka import KafkaException

from passerelle import telemetry
from passerelle.city.manifest import Manifest
from passerelle.config import Settings, settings
from passerelle.gate.calls import error_name
from passerelle.gate.clients import Clients, Timings
from passerelle.gate.task import Task
from passerelle.gate.worker import GaveUp, Worker
from passerelle_schemas.faults import Fault
from passerelle_schemas.topics import CONSENT, DECISIONS, EXCHANGE, FENCE, MARKS, inbox

PRINCIPAL = "gate"
REACH_S = 30.0
"""How long a broker may take to answer at the start: one that starts at the same time needs some ten seconds."""
ASK_AGAIN_S = 0.2

_log = structlog.get_logger()


class NotThisCity(Fault):
    """The cluster's topics are not those of the manifest."""


def serve(name: str, timings: Timings, *, make_task: Callable[..., Task] = Task) -> None:
    """Run the worker ``name`` until a signal ends it. Raises `Fault`.

    ``make_task`` is called like `Task`; the fault tests hand in a subclass that breaks one rule.
    """
    telemetry.configure(PRINCIPAL)
    # Closing a fenced producer tries to abort, and cannot: the next owner has settled what it left.
    warnings.filterwarnings("ignore", message="Producer abort_transaction failed", category=RuntimeWarning)
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    worker = assemble(settings(), name, timings, make_task=make_task)
    gc.freeze()  # what is there by now lives as long as the process: the collector need not stop deliveries to see it
    worker.run(stopping.is_set)


def assemble(
    found: Settings,
    name: str,
    timings: Timings,
    *,
    make_task: Callable[..., Task] = Task,
    make_worker: Callable[..., Worker] = Worker,
) -> Worker:
    """Put a worker together for this home and manifest, and check that the cluster has what it needs."""
    manifest = Manifest.load(found.manifest_path)
    clients = Clients(found.access(PRINCIPAL).confluent(), timings, worker=name)
    partitions = _partitions(clients)
    _check(partitions, manifest)
    return make_worker(
        clients=clients,
        timings=timings,
        keyring=manifest.keyring(found.home),
        recipients=frozenset(manifest.department_ids),
        partitions=manifest.partitions,
        name=name,
        make_task=make_task,
    )


def _partitions(clients: Clients) -> dict[str, int]:
    """Topic → partitions, of all that the gate may see. Raises `GaveUp` when no broker answers."""
    deadline = time.monotonic() + REACH_S
    with closing(clients.probe()) as probe:
        while True:
            try:
                topics: dict[str, Any] = probe.list_topics(timeout=5.0).topics
            except KafkaException as exc:
                if time.monotonic() > deadline:
                    raise GaveUp(f"no broker answers: {error_name(exc)}", hint="passerelle kafka status") from None
                time.sleep(ASK_AGAIN_S)
                continue
            return {topic: len(about.partitions) for topic, about in topics.items()}


def _check(partitions: dict[str, int], manifest: Manifest) -> None:
    """Partition i of one topic is partition i of all (DESIGN §3), or decisions would be made on others' standings."""
    subject_topics = [EXCHANGE, CONSENT, DECISIONS, MARKS, FENCE, *map(inbox, manifest.department_ids)]
    for topic in subject_topics:
        found = partitions.get(topic, 0)
        if found != manifest.partitions:
            raise NotThisCity(
                f"{topic} has {found} partitions, the manifest says {manifest.partitions}", hint="passerelle city apply"
            )
