"""`passerelle ledger`: composition root of the ledger. What needs neither Kafka nor a database stands in `audit`."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import typer

from passerelle.cli import audit, masters, monitor, queries, scan, witness

if TYPE_CHECKING:
    from passerelle.config import Settings
    from passerelle_consent.ledger.integrator.cosigning import WitnessedPublisher
    from passerelle_consent.ledger.integrator.feed import Feed
    from passerelle_consent.ledger.integrator.integrate import Integrator
    from passerelle_consent.ledger.integrator.publish import FolderPublisher

app = typer.Typer(help="The ledger: integrate, verify, prove.", no_args_is_help=True)

PRINCIPAL = "ledger"
KEY_BYTES = 32


@app.command()
def integrate() -> None:
    """Integrate decisions and consent changes and publish the signed log, until SIGTERM or Ctrl-C."""
    import structlog

    from passerelle.config import settings
    from passerelle.telemetry import configure
    from passerelle_consent.ledger.integrator.interpreter import settle

    configure(PRINCIPAL)
    log, stop = structlog.get_logger(), queries.stopped_by_signal()
    with _integrator(settings()) as integrator:
        settle()
        integrator.run(stop, ready=lambda: log.info("ready"))
    log.info("stopped")


@contextmanager
def _integrator(here: "Settings") -> Iterator["Integrator"]:
    import os
    import socket

    from passerelle.city.manifest import Manifest
    from passerelle.keys import key_bytes
    from passerelle.masters import MasterFiles
    from passerelle_consent.ledger.database.store import Store
    from passerelle_consent.ledger.integrator.integrate import Integrator
    from passerelle_consent.ledger.integrator.publish import FolderPublisher
    from passerelle_consent.ledger.integrator.sealing_process import SealingProcess
    from passerelle_consent.ledger.log.note import Signer
    from passerelle_schemas.topics import DECISIONS, JOURNAL

    home = here.home
    signer = Signer.of(Manifest.load(here.manifest_path).origin, key_bytes(home.keys, "ledger/signing", KEY_BYTES))
    folder = FolderPublisher(home.ledger, signer.verifier)
    folder.write_key()
    home.store.mkdir(parents=True, exist_ok=True, mode=0o700)
    store = Store(here.ledger_store_url())
    with store.reading() as db:
        keys = MasterFiles(home.keys, make=not db.subjects(b"", 1))
    keys.current()  # one that was lost is not replaced
    with (
        _witnessed(here, folder) as publisher,
        _feed(here, DECISIONS) as decisions,
        _feed(here, JOURNAL) as journal,
        closing(SealingProcess()) as sealing,
    ):
        yield Integrator(
            store=store,
            decisions=decisions,
            journal=journal,
            signer=signer,
            masters=keys,
            publisher=publisher,
            random=os.urandom,
            holder=f"{socket.gethostname()}:{os.getpid()}",
            sealing=sealing,
        )
    store.close()


@contextmanager
def _witnessed(here: "Settings", folder: "FolderPublisher") -> Iterator["WitnessedPublisher"]:
    """Ask the witnesses of this home's policy, if it has one."""
    from passerelle.cli.logs import read_policy
    from passerelle_consent.ledger.audit.folder import LogFolder
    from passerelle_consent.ledger.integrator.ask import WitnessClient
    from passerelle_consent.ledger.integrator.cosigning import WitnessedPublisher

    policy = here.home.witnesses
    known = read_policy(policy).asked() if policy.is_file() else ()
    publisher = WitnessedPublisher(folder, LogFolder(here.home.ledger), [WitnessClient(w) for w in known])
    try:
        yield publisher
    finally:
        publisher.close()


@contextmanager
def _feed(here: "Settings", topic: str) -> Iterator["Feed"]:
    from confluent_kafka import Consumer

    from passerelle_consent.ledger.integrator.feed import Feed, consumer_settings

    consumer = Consumer(consumer_settings(here.access(PRINCIPAL).confluent()))
    try:
        yield Feed(consumer, topic)
    finally:
        consumer.close()


for command in (
    audit.verify,
    audit.fsck,
    audit.prove,
    audit.verify_proof,
    scan.scan,
    scan.subject_key,
    witness.witness,
    witness.cosign,
    monitor.monitor,
    queries.index,
    queries.export,
    queries.verify_export,
    masters.rotate_master,
):
    app.command()(command)
