"""`passerelle consent`: the consent service. Composition root: the one place that puts its real parts together."""

import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from passerelle.cli import consultations, say
from passerelle.cli.options import ConsentUrl
from passerelle.cli.receipt import Language
from passerelle.config import CONSENT_PORT

if TYPE_CHECKING:
    from collections.abc import Sequence

    import uvicorn
    from fastapi import FastAPI

    from passerelle.city.manifest import Manifest
    from passerelle.config import Home, Settings
    from passerelle.consent_clients import Clients
    from passerelle.issuer import Bearing
    from passerelle.pseudonyms import Keyring
    from passerelle_consent.records.http.tokens import Tokens
    from passerelle_consent.records.ports import Clock, Identity, Pseudonym, SubjectRef
    from passerelle_consent.records.service import Parts

PRINCIPAL = "consent"

TOKEN_MINUTES_MAX = 24 * 60
"""A token cannot be taken back."""

app = typer.Typer(help="The consent service.", no_args_is_help=True)
app.add_typer(consultations.app, name="consultations")
app.command()(say.say)


@app.command()
def serve(
    *,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 finds a free one.")] = CONSENT_PORT,
) -> None:
    """Serve links, consents, withdrawals and objections over HTTP until SIGTERM, then finish what is in hand."""
    import asyncio

    import uvloop

    from passerelle.cli.serving import listen
    from passerelle.config import settings
    from passerelle.telemetry import configure

    configure(PRINCIPAL)
    with listen(host, port) as listening, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        code = runner.run(_serve(settings(), listening))
    raise typer.Exit(code)


@app.command()
def token(
    *,
    scope: Annotated[
        list[str], typer.Option(help="citizen, guardian, department, officer, auditor, operator; repeat.")
    ],
    department: Annotated[str | None, typer.Option(help="Whose pseudonyms it uses.")] = None,
    pseudonym: Annotated[str | None, typer.Option(help="A citizen's own, of that department, as hexadecimal.")] = None,
    subject: Annotated[str | None, typer.Option(help="Who this is at the issuer [from the others].")] = None,
    minutes: Annotated[int, typer.Option(min=1, max=TOKEN_MINUTES_MAX, help="How long it lives.")] = 15,
) -> None:
    """Mint an access token of the city's own issuer, and print it. It cannot be taken back before its end."""
    from passerelle.city.manifest import Manifest
    from passerelle.config import settings
    from passerelle.issuer import LocalIssuer

    here = settings()
    manifest = Manifest.load(here.manifest_path)
    bearing = _bearing(manifest, scope, department, pseudonym, subject)
    typer.echo(LocalIssuer(here.home, manifest).mint(bearing, minutes=minutes))


@app.command()
def attention(
    *,
    consent_url: ConsentUrl,
) -> None:
    """Count what waits: reviews of overrides, answers, erasures, consents that end. Exits with 1 if any is late."""
    import httpx

    from passerelle.attention import TIMEOUT_S, is_late, waiting
    from passerelle.city.manifest import Manifest
    from passerelle.config import settings
    from passerelle.issuer import Bearing, LocalIssuer

    here = settings()
    auth = LocalIssuer(here.home, Manifest.load(here.manifest_path)).bearer(Bearing(scopes=["operator"]))
    with httpx.Client(base_url=consent_url, auth=auth, timeout=TIMEOUT_S) as client:
        counts = waiting(client)
    for name, count in counts.items():
        typer.echo(f"{name.replace('_', ' '):<18} {count}")
    raise typer.Exit(1 if is_late(counts) else 0)


@app.command()
def vacuum() -> None:
    """Rewrite a PostgreSQL store's tables, so that no byte of what was erased is left in them. For a quiet hour."""
    from passerelle.config import settings
    from passerelle_consent.records.vacuum import vacuum as rewritten

    for name in rewritten(settings().consent_store_url()):
        typer.echo(name)


@app.command()
def export(
    *,
    department: Annotated[str, typer.Option("--department", "-d", help="Whose portal: the pseudonym is of there.")],
    pseudonym: Annotated[str, typer.Option(help="The citizen's, of that department, as hexadecimal.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Where the first part goes; others beside it.")] = Path(
        "export.jws"
    ),
    lang: Annotated[Language, typer.Option(help="Of the receipts within.")] = Language.FR,
    consent_url: ConsentUrl,
) -> None:
    """Write what a citizen said to signed files (GDPR Art. 20), with a token of the city's own issuer.

    `passerelle receipt verify` checks each. Files are for their owner alone; one that is there is not replaced.
    """
    import httpx

    from passerelle.city.manifest import Manifest
    from passerelle.config import settings
    from passerelle.issuer import LocalIssuer
    from passerelle.portability import TIMEOUT_S, parts

    here = settings()
    manifest = Manifest.load(here.manifest_path)
    bearing = _bearing(manifest, ["citizen"], department, pseudonym, None)
    auth = LocalIssuer(here.home, manifest).bearer(bearing)
    with httpx.Client(base_url=consent_url, auth=auth, timeout=TIMEOUT_S) as client:
        for number, part in enumerate(parts(client, pseudonym, lang), 1):
            path = output if number == 1 else output.with_stem(f"{output.stem}-{number}")
            _write_own(path, part)
            typer.echo(path)


def _write_own(path: Path, text: str) -> None:
    from passerelle_schemas.faults import Fault

    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(text + "\n")
    except FileExistsError:
        raise Fault("is there already", where=str(path), hint="choose another: --output") from None
    except OSError as exc:
        raise Fault(f"cannot be written: {exc.strerror}", where=str(path)) from None


def _bearing(
    manifest: "Manifest", scopes: list[str], department: str | None, pseudonym: str | None, subject: str | None
) -> "Bearing":
    """Refuse at once what the service would refuse. Raises `Fault`."""
    from passerelle.cli.inbox import known_department
    from passerelle.issuer import Bearing
    from passerelle_consent.records.ports import PERSONAL, Role
    from passerelle_schemas.faults import Fault

    unknown = [scope for scope in scopes if scope not in {role.value for role in Role}]
    if unknown:
        raise Fault(f"no scope {unknown[0]}", hint=f"scopes: {', '.join(Role)}")
    if department is not None:
        known_department(department, set(manifest.department_ids))
    personal = not PERSONAL.isdisjoint(scopes)
    if personal is (pseudonym is None):
        raise Fault("citizen and guardian need --pseudonym, the others have none")
    if department is None and (personal or not {Role.DEPARTMENT, Role.OFFICER}.isdisjoint(scopes)):
        raise Fault("a scope with pseudonyms needs --department")
    try:
        block = None if pseudonym is None else bytes.fromhex(pseudonym)
    except ValueError:
        raise Fault("--pseudonym is not hexadecimal") from None
    return Bearing(scopes=scopes, department=department, pseudonym=block, subject=subject)


async def _serve(here: "Settings", listening: socket.socket) -> int:
    """Serve until told to end; return the exit code."""
    from passerelle.cli.serving import serve as serve_until_told
    from passerelle.cli.serving import server as make_server
    from passerelle.cli.serving import settle
    from passerelle.consent_clients import Clients

    broken: list[BaseException] = []
    server: uvicorn.Server

    def give_up(exc: BaseException) -> None:
        broken.append(exc)
        server.should_exit = True

    async with Clients(here) as clients:
        parts = _parts(here, clients, give_up)
        application = _application(here, parts)
        server = make_server(application)
        records = application.state.records
        await records.start()
        # Some 130,000 objects of libraries live as long as the process: the collector need not look through them again
        # and again, which stands still for some 50 ms each time.
        settle()
        try:
            await serve_until_told(server, listening, PRINCIPAL)
        finally:
            await records.stop()
    # EX_TEMPFAIL: whoever watches over us may start us again.
    return getattr(broken[0], "exit_code", 75) if broken else 0


def _application(here: "Settings", parts: "Parts") -> "FastAPI":
    from passerelle.city.manifest import Manifest
    from passerelle_consent.records.http.app import make_app
    from passerelle_consent.records.http.rates import Rates
    from passerelle_consent.records.service import Records

    manifest = Manifest.load(here.manifest_path)
    return make_app(Records(parts), authenticator(manifest, here.home, parts.clock), Rates(parts.clock))


def _parts(here: "Settings", clients: "Clients", on_broken: Any) -> "Parts":
    import time
    import uuid

    from passerelle.audited import FolderLog
    from passerelle.disclosed import LedgerEntries
    from passerelle.masters import MasterFiles
    from passerelle.receipt_keys import keep
    from passerelle_consent.records.service import Parts
    from passerelle_consent.records.store import Store

    manifest, home = clients.manifest, here.home
    seal = manifest.seal(home)
    store = Store(here.consent_store_url())
    return Parts(
        store=store,
        bundle=manifest.policy_bundle(),
        register=Register(manifest.city_key(home), manifest.keyring(home)),
        connect=clients.supersede if store.can_be_lost else clients.connect,
        fence_consumer=clients.fence,
        ledger=LedgerEntries(here.ledger_store_url(), MasterFiles(home.keys, make=True), home.ledger),
        log=FolderLog(home.ledger, here.ledger_index_url(), home.witnesses),
        clock=lambda: time.time_ns() // 1_000_000,
        new_id=lambda: uuid.uuid4().bytes,
        partitions=manifest.partitions,
        registrars=manifest.registrars,
        controller=manifest.data_controller(),
        seal=seal,
        receipt_keys=keep(seal, home.receipt_keys),
        on_broken=on_broken,
    )


def authenticator(manifest: "Manifest", home: "Home", clock: "Clock") -> "Tokens":
    """Take the tokens of the issuer that the manifest names. Raises `Fault`."""
    from passerelle.issuer import LocalIssuer
    from passerelle_consent.records.http.keys import FetchFailed, FixedKeys, ProviderKeys, fetch_from
    from passerelle_consent.records.http.tokens import Tokens, Trust
    from passerelle_schemas.faults import Fault

    identity, departments = manifest.identity, frozenset(manifest.department_ids)
    trust = Trust(issuer=identity.issuer, audience=identity.audience, departments=departments)
    if identity.jwks_uri is not None:
        return Tokens(ProviderKeys(fetch_from(identity.jwks_uri), clock), trust, clock)
    if identity.jwks_file is None:
        return Tokens(FixedKeys(LocalIssuer(home, manifest).jwks), trust, clock)
    file = manifest.path.parent / identity.jwks_file
    try:
        return Tokens(FixedKeys(file.read_bytes()), trust, clock)
    except (OSError, FetchFailed) as exc:
        raise Fault(f"the issuer's keys cannot be read: {exc}", where=str(file)) from None


class Register:
    """The identity register of `records`, over the city's keys (DESIGN §4)."""

    def __init__(self, city_key: bytes, keyring: "Keyring") -> None:
        self._city_key = city_key
        self._keyring = keyring

    @property
    def departments(self) -> frozenset[str]:
        """Whoever has a key."""
        return self._keyring.departments

    def refs(self, identities: "Sequence[Identity]") -> "list[SubjectRef]":
        """Hash each identity, in order. Raises `BadIdentity`."""
        from pydantic import ValidationError

        from passerelle.pseudonyms import PivotIdentity, normalised, subject_ref
        from passerelle_consent.records.ports import BadIdentity, SubjectRef

        refs = []
        for index, identity in enumerate(identities):
            try:
                pivot = PivotIdentity(**{name: getattr(identity, name) for name in PivotIdentity.model_fields})
            except ValidationError:
                raise BadIdentity(index) from None
            # Names of punctuation alone would make one subject of different people.
            if not normalised(pivot.family_name) or not normalised(" ".join(pivot.given_names)):
                raise BadIdentity(index)
            refs.append(SubjectRef(subject_ref(self._city_key, pivot)))
        return refs

    def pseudonyms(self, department: str, refs: "Sequence[SubjectRef]") -> "list[Pseudonym]":
        """Return the department's pseudonyms, in order."""
        from passerelle.pseudonyms import REF_BYTES
        from passerelle_consent.records.ports import Pseudonym

        blocks = self._keyring.pseudonyms(department, b"".join(refs))
        return [Pseudonym(blocks[i : i + REF_BYTES]) for i in range(0, len(blocks), REF_BYTES)]

    def ref(self, department: str, pseudonym: "Pseudonym") -> "SubjectRef":
        """Return the subject behind a department's pseudonym."""
        from passerelle_consent.records.ports import SubjectRef

        return SubjectRef(self._keyring.subject(department, pseudonym))
