"""Confluent's REST API as a client: what a registry holds, and how it takes a schema under an id that is given.

An id is taken in the mode IMPORT alone, which is set for one subject while it is written and set back afterwards.
"""

from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx

from passerelle.external_registry.compare import Held, Missing, schema_text
from passerelle_schemas.faults import Fault

MEDIA_TYPE = "application/vnd.schemaregistry.v1+json"
TIMEOUT_S = 20.0
"""A registry answers in milliseconds; one that reads its topic for the first time may take some seconds."""
UNKNOWN = httpx.codes.NOT_FOUND


class RegistryFault(Fault):
    """The external registry cannot be asked, or says no."""


class Client:
    """A context manager. Remembers what it was told: make a new one to look again. Raises `RegistryFault`."""

    def __init__(self, url: str, *, transport: httpx.BaseTransport | None = None) -> None:
        """``url``: what Confluent's clients are given; it may hold a user and a password."""
        try:
            self._url = httpx.URL(url.rstrip("/"))
            if self._url.scheme not in ("http", "https") or not self._url.host:
                raise httpx.InvalidURL("no address")  # noqa: TRY301 - one answer for both
            self._http = httpx.Client(base_url=self._url, timeout=TIMEOUT_S, transport=transport)
        except httpx.InvalidURL:
            raise RegistryFault("is no address of a registry", where="--registry", hint="http://<host>:8081") from None
        self._versions: dict[tuple[str, int], Held | None] = {}

    @property
    def where(self) -> str:
        """The address, without the password."""
        return str(self._url.copy_with(userinfo=b""))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def version(self, subject: str, version: int) -> Held | None:
        """One version of a subject; None when the subject or the version is unknown."""
        if (subject, version) not in self._versions:
            said = self.ask("GET", f"/subjects/{_part(subject)}/versions/{version}")
            self._versions[subject, version] = None if said is None else self._held(said)
        return self._versions[subject, version]

    def by_id(self, schema_id: int) -> str | None:
        """The schema of an id; None when the id is free."""
        said = self.ask("GET", f"/schemas/ids/{schema_id}")
        if said is None:
            return None
        if not isinstance(said, dict) or not isinstance(said.get("schema"), str):
            raise self._no_registry()
        return str(said["schema"])

    def register(self, missing: Missing) -> None:
        """Register as any client does, where the registry knows the schema and its id already."""
        body = {"schema": schema_text(missing.contract)}
        self._must("POST", f"/subjects/{_part(missing.subject)}/versions", body)

    def import_(self, missing: Missing) -> None:
        """Register under the subject, with the contract's own version and id."""
        subject, contract = _part(missing.subject), missing.contract
        before = self.ask("GET", f"/mode/{subject}")
        body = {"schema": schema_text(contract), "id": contract.schema_id, "version": contract.version}
        self._set_mode(subject, "IMPORT")
        try:
            self._must("POST", f"/subjects/{subject}/versions", body)
        finally:
            if before is None:
                self.ask("DELETE", f"/mode/{subject}")
            else:
                self._set_mode(subject, before["mode"])

    def _set_mode(self, subject: str, mode: str) -> None:
        # Forced, since a subject that has a version already is not let into IMPORT otherwise.
        self._must("PUT", f"/mode/{subject}?force=true", {"mode": mode})

    def _must(self, method: str, path: str, body: Any) -> Any:
        said = self.ask(method, path, body)
        if said is None:
            hint = "ids can be given only where the mode IMPORT is supported and mode.mutability is on"
            raise RegistryFault(
                f"{method} {path.partition('?')[0]}: there is no such call", where=self.where, hint=hint
            )
        return said

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Return the answer; None for a 404."""
        headers = {"Accept": f"{MEDIA_TYPE}, application/json", "Content-Type": MEDIA_TYPE}
        try:
            answer = self._http.request(method, path, headers=headers, json=body)
            if answer.status_code == UNKNOWN:
                return None
            said = answer.json()
        except httpx.HTTPError as exc:
            what = f"the registry does not answer ({type(exc).__name__})"
            raise RegistryFault(what, where=self.where, hint="is it up? is it reached from here?") from None
        except ValueError:
            raise self._no_registry() from None
        if answer.is_error:
            code = said.get("error_code", answer.status_code) if isinstance(said, dict) else answer.status_code
            raise RegistryFault(f"the registry said no to {method} {path.partition('?')[0]} ({code})", where=self.where)
        return said

    def _held(self, said: Any) -> Held:
        try:
            return Held(id=int(said["id"]), schema=str(said["schema"]))
        except (KeyError, TypeError, ValueError):
            raise self._no_registry() from None

    def _no_registry(self) -> RegistryFault:
        hint = "the address that Confluent's clients are given; of Apicurio: http://<host>:8080/apis/ccompat/v7"
        return RegistryFault("what answers is no schema registry", where=self.where, hint=hint)


def _part(subject: str) -> str:
    return quote(subject, safe="")
