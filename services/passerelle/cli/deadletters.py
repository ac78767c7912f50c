"""`passerelle deadletters`: what was not taken, why, and what an operator does about it."""

import json
import time
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from passerelle.config import KafkaAccess, Settings
    from passerelle.dead_letters import Done, Waiting
    from passerelle_consent.wire import DeadLetter

READ_MAX = 100_000
"""The latest letters of a topic that are looked at: more is a flood, which is stopped where it comes from."""
WAIT_S = 10.0
READ_S_MAX = 60.0

app = typer.Typer(help="What was not taken, and why: references, no payload, no person.", no_args_is_help=True)

Owner = Annotated[str, typer.Option("--owner", "-o", help="A department, `gate`, or `agents.<app>`.")]
Reference = Annotated[str, typer.Argument(help="As `list` shows it: topic[partition]@offset.")]
Database = Annotated[
    str | None, typer.Option(help="The department's PostgreSQL, for rows of its outbox.", metavar="URL")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_(*, owner: Owner, as_json: AsJson = False) -> None:
    """List what waits, the longest first: reference, reason, how often, first and last seen. Exit 1 when any does."""
    found = _waiting(owner)
    if as_json:
        typer.echo(json.dumps([_plain(one) for one in found]))
    else:
        table = Table("reference", "way", "reason", "count", "first seen", "last seen", box=None)
        for one in found:
            seen = (f"{at:%Y-%m-%d %H:%M:%S}" for at in (one.first, one.last))
            table.add_row(one.reference, one.letter.component, one.letter.reason, str(one.count), *seen)
        Console(soft_wrap=True, highlight=False, markup=False).print(table)
    raise typer.Exit(1 if found else 0)


@app.command()
def show(reference: Reference, *, owner: Owner) -> None:
    """Show one, as JSON."""
    from passerelle.dead_letters import find

    typer.echo(json.dumps(_plain(find(_waiting(owner), reference)), indent=2))


@app.command()
def replay(reference: Reference, *, owner: Owner, database: Database = None) -> None:
    """Give a refused row of an outbox back to the relay: checked again, it goes the same way, with the same id."""
    from passerelle.dead_letters import Done, find
    from passerelle_schemas.faults import Fault

    letter = find(_waiting(owner), reference).letter
    if not _is_row(letter):
        what = f"{letter.component} repeats by itself what its source still holds; there is nothing to give back"
        raise Fault(what, hint=f"see it: passerelle deadletters show {reference}")
    _settle(owner, letter, Done.REPLAYED, database)
    typer.echo(f"{reference}: given back to the relay")


@app.command()
def discard(reference: Reference, *, owner: Owner, database: Database = None) -> None:
    """Say that this one is given up. A refused row is deleted; a record stays where it is until its retention ends."""
    from passerelle.dead_letters import Done, find

    letter = find(_waiting(owner), reference).letter
    _settle(owner, letter, Done.DISCARDED, database)
    typer.echo(f"{reference}: discarded")


def _settle(owner: str, letter: "DeadLetter", done: "Done", database: str | None) -> None:
    """Do it where the row is, then write it down: a crash in between leaves a letter that waits, and can be settled."""
    from passerelle.config import settings
    from passerelle.dead_letters import Done, resolution

    if _is_row(letter):
        _at_the_row(letter.offset, database, give_back=done is Done.REPLAYED)
    _write(_access(settings(), owner), owner, resolution(letter, done))


def _at_the_row(row: int, database: str | None, *, give_back: bool) -> None:
    from passerelle.publish.outbox_table import OutboxTable
    from passerelle_schemas.faults import Fault

    if database is None:
        raise Fault("this one is a row of the department's outbox", hint="say where: --database postgresql://…")
    with OutboxTable(database, alone=False) as table:
        done = table.give_back(row) if give_back else table.discard(row)
    if not done:
        typer.echo("no such row is refused any more: only the letter is settled", err=True)


def _is_row(letter: "DeadLetter") -> bool:
    from passerelle.publish.outbox_table import TABLE

    return letter.topic == TABLE


def _waiting(owner: str) -> "list[Waiting]":
    from passerelle.config import settings
    from passerelle.dead_letters import waiting

    here = settings()
    return waiting(_letters(_access(here, owner), owner), owner)


def _access(here: "Settings", owner: str) -> "KafkaAccess":
    """A department sees to its own; those of the bus itself take the administrator's key. Raises `Fault`."""
    from passerelle.city.manifest import Manifest
    from passerelle_schemas.faults import Fault

    manifest = Manifest.load(here.manifest_path)
    if owner in manifest.department_ids:
        return here.access(owner)
    if owner not in {"gate", *(agents.principal for agents in manifest.agents)}:
        raise Fault(f"nobody is called {owner}", hint="a department, gate, or agents.<app>")
    return here.access("admin")


def _letters(access: "KafkaAccess", owner: str) -> "Iterator[tuple[datetime, DeadLetter]]":
    """Read the topic to its end. Raises `Fault`."""
    from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

    from passerelle_consent.wire import DeadLetter
    from passerelle_schemas.topics import dead_letter

    topic = dead_letter(owner)
    group = {"group.id": "unused", "enable.auto.commit": False, "enable.partition.eof": True, "log_level": 0}
    consumer = Consumer({**access.confluent(), **group, "isolation.level": "read_committed"})
    until = time.monotonic() + READ_S_MAX
    try:
        first, end = consumer.get_watermark_offsets(TopicPartition(topic, 0), WAIT_S)
        consumer.assign([TopicPartition(topic, 0, max(first, end - READ_MAX))])
        while time.monotonic() < until:
            for message in consumer.consume(1_000, 0.5):
                error = message.error()
                if error is not None and error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - it is its name
                    return
                if error is None:
                    at = datetime.fromtimestamp(message.timestamp()[1] / 1000, UTC)
                    yield at, DeadLetter.decode(message.value() or b"")
        raise _unreadable(topic, TimeoutError())
    except KafkaException as exc:
        raise _unreadable(topic, exc) from None
    finally:
        consumer.close()


def _unreadable(topic: str, exc: Exception) -> Exception:
    from passerelle_schemas.faults import Fault

    code = getattr(exc.args[0] if exc.args else None, "name", lambda: type(exc).__name__)()
    return Fault(f"cannot be used ({code})", where=topic, hint="is the broker up? passerelle kafka status")


def _write(access: "KafkaAccess", owner: str, letter: "DeadLetter") -> None:
    from confluent_kafka import KafkaError, KafkaException, Message, Producer

    from passerelle_schemas.topics import dead_letter

    topic = dead_letter(owner)
    failed: list[KafkaError] = []

    def told(error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            failed.append(error)

    producer = Producer({**access.confluent(), "acks": "all", "enable.idempotence": True, "log_level": 0})
    producer.produce(topic, letter.encode(), on_delivery=told)
    left = producer.flush(WAIT_S)
    if failed or left:
        raise _unreadable(topic, KafkaException(*failed))


def _plain(one: "Waiting") -> dict[str, Any]:
    said = {name: value for name, value in asdict(one.letter).items() if value is not None}
    seen = {"first": one.first.isoformat(), "last": one.last.isoformat()}
    return {"reference": one.reference, "owner": one.owner, **said, "count": one.count, **seen}
