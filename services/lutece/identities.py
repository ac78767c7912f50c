"""The demonstration's identity provider: `deploy/identity`, in a process of its own, with the cast to choose from."""

import json
import secrets
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lutece.cast import Part
from passerelle_schemas.faults import Fault

END_S_MAX = 5.0
EIDAS_LOW = "eidas1"
"""The level of assurance that FranceConnect's services ask for."""


@contextmanager
def identity_provider(folder: Path, cast: Iterable[Part], site: str) -> Iterator[Mapping[str, Any]]:
    """Run the provider of a folder; yield what the pages' `keys/web.json` is to say. Raises `Fault`."""
    if not (folder / "node_modules/oidc-provider").is_dir():
        raise Fault("the identity provider is not installed", where=str(folder), hint="make demo")
    secret = secrets.token_urlsafe(24)
    clients = [
        {"client_id": audience, "client_secret": secret, "site": site, "for": audience}
        for audience in ("citizens", "staff")
    ]
    people = {part.id: {"story": part.story, "claims": part.claims} for part in cast}
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:  # mode 0600
        json.dump({"audiences": [], "clients": clients, "people": people}, file)
        file.flush()
        with _node(folder, file.name) as issuer:
            yield {
                "citizen": {"issuer": issuer, "client_id": "citizens", "client_secret": secret, "acr": EIDAS_LOW},
                "staff": {"issuer": issuer, "client_id": "staff", "client_secret": secret},
            }


@contextmanager
def _node(folder: Path, file: str) -> Iterator[str]:
    """Run it while the block lasts; yield its issuer."""
    with subprocess.Popen(  # noqa: S603 - our own program
        ["node", "provider.mjs", file],  # noqa: S607 - Node.js, as everything here finds it
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,  # Ctrl-C is the demonstration's to hear
    ) as process:
        try:
            said = process.stdout.readline() if process.stdout else ""
            if not said:
                raise Fault("the identity provider ended at once", where=str(folder), hint=f"node provider.mjs {file}")
            yield str(json.loads(said)["issuer"])
        finally:
            process.terminate()
            try:
                process.wait(END_S_MAX)
            except subprocess.TimeoutExpired:
                process.kill()
