"""`passerelle publish event`: one event about one person, by hand."""

import asyncio
import json
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from passerelle.cli.say import pseudonym_of

if TYPE_CHECKING:
    from passerelle_schemas.catalogue import Contract


def event(
    type_: Annotated[
        str, typer.Argument(help="<department>.<event>.v<n>; that department publishes.", metavar="EVENT")
    ],
    fields: Annotated[
        list[str] | None,
        typer.Argument(help="Values: a field's name, =, and JSON or plain text.", metavar="[FIELD=VALUE]…"),
    ] = None,
    *,
    pseudonym: Annotated[str, typer.Option(help="About whom: the department's own pseudonym, as hexadecimal.")],
    example: Annotated[
        bool, typer.Option("--example", help="Take what is left out from the contract's example: for trials.")
    ] = False,
    event_id: Annotated[str | None, typer.Option("--id", help="Name it again to repeat the same event.")] = None,
) -> None:
    """Publish one event, and say where it stands when all replicas have it."""
    from passerelle.city.manifest import Manifest
    from passerelle.cli.inbox import hush_libraries
    from passerelle.config import settings
    from passerelle.publish.from_json import Misfit, converted
    from passerelle.publish.outgoing import Outgoing, own_contract
    from passerelle.publish.producer import DepartmentProducer
    from passerelle_schemas.faults import Fault

    hush_libraries()
    here = settings()
    catalogue = Manifest.load(here.manifest_path).policy_bundle().catalogue
    contract = catalogue.by_type(type_)
    own_contract(catalogue, contract.department, type_)
    try:
        value = converted(contract, {**(dict(contract.example) if example else {}), **_values(contract, fields or [])})
    except Misfit as misfit:
        raise Fault(str(misfit), where=type_, hint=f"its fields: {', '.join(contract.fields)}") from None
    outgoing = Outgoing(
        type=type_,
        pseudonym=pseudonym_of(pseudonym, "--pseudonym"),
        value=value,
        event_id=event_id or uuid.uuid4().hex,
        time=datetime.now(UTC),
    )

    async def publish() -> str:
        async with DepartmentProducer(here.access(contract.department), contract.department, catalogue) as producer:
            async for placed in producer.publish_all([producer.prepare(outgoing)]):
                return f"{placed.topic}, partition {placed.partition}, offset {placed.offset}"
        raise AssertionError  # one event in, one place out

    typer.echo(f"published to {asyncio.run(publish())}")


def _values(contract: "Contract", fields: list[str]) -> dict[str, Any]:
    """Read ``name=value``. Raises `typer.BadParameter`, which does not quote a value."""
    values: dict[str, Any] = {}
    for text in fields:
        name, equals, value = text.partition("=")
        if not equals or name not in contract.fields:
            raise typer.BadParameter(f"write <field>=<value>; fields: {', '.join(contract.fields)}")
        values[name] = value if _is_text(contract, name) else _read(value)
    return values


def _read(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text  # a day, a symbol


def _is_text(contract: "Contract", name: str) -> bool:
    """Whether a field holds text and nothing else, so that `4` is no number there."""
    type_ = next(f["type"] for f in contract.schema["fields"] if f["name"] == name)
    return type_ in ("string", ["null", "string"])
