"""Apicurio Registry 3: schemas under given ids, by its import.

Its Confluent API (`/apis/ccompat/…`) numbers schemas by itself: an id in the request is passed over in silence, and it
knows no mode IMPORT. But it gives the same content the id that it has, and its own API imports contents with theirs
kept. So the contents are imported first, and then registered as any client would. The import tells of no failure:
whoever calls looks afterwards what is there.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Iterable
from typing import Any

import httpx

from passerelle.external_registry.compare import schema_text
from passerelle.external_registry.confluent import TIMEOUT_S, RegistryFault
from passerelle_schemas.contract import Contract

COMPATIBLE = "/apis/ccompat/"
_IMPORT = "/apis/registry/v3/admin/import?requireEmptyRegistry=false"
_KEEP = {"X-Registry-Preserve-ContentId": "true", "X-Registry-Preserve-GlobalId": "false"}


def is_apicurio(url: str) -> bool:
    """Whether an address is that of its Confluent API."""
    return COMPATIBLE in url


def import_contents(url: str, contracts: Iterable[Contract], *, transport: httpx.BaseTransport | None = None) -> None:
    """Bring the schemas in, under no subject yet. Raises `RegistryFault`."""
    base = httpx.URL(url.partition(COMPATIBLE)[0])
    where = str(base.copy_with(userinfo=b""))
    headers = {**_KEEP, "Content-Type": "application/zip"}
    try:
        with httpx.Client(base_url=base, timeout=TIMEOUT_S, transport=transport) as http:
            answer = http.post(_IMPORT, content=archive(contracts), headers=headers)
    except httpx.HTTPError as exc:
        raise RegistryFault(f"the registry does not answer ({type(exc).__name__})", where=where) from None
    if answer.is_error:
        hint = "importing needs the role of an administrator, and Apicurio Registry 3"
        raise RegistryFault(f"the registry did not take the import ({answer.status_code})", where=where, hint=hint)


def archive(contracts: Iterable[Contract]) -> bytes:
    """The archive that its import reads: schemas without a name, each with its id."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archived:
        said = {"systemName": "passerelle", "systemVersion": "3.0", "exportVersion": "3.0"}
        _write(archived, "manifest.Manifest.json", said)
        for contract in contracts:
            _content(archived, contract)
    return out.getvalue()


def _content(archived: zipfile.ZipFile, contract: Contract) -> None:
    text = schema_text(contract).encode()
    name = hashlib.sha256(text).hexdigest()
    described = {
        "contentId": contract.schema_id,
        "contentHash": name,
        "artifactType": "AVRO",  # of which it makes the other, canonical hash itself
        "contentType": "application/json",
    }
    _write(archived, f"content/{name}.Content.json", described)
    archived.writestr(f"content/{name}.Content.data", text)


def _write(archived: zipfile.ZipFile, name: str, value: Any) -> None:
    archived.writestr(name, json.dumps(value))
