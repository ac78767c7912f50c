"""Take a citizen's export out of the consent service (GDPR Art. 20), part by part."""

from collections.abc import Iterator

import httpx

from passerelle_schemas.faults import Fault

TIMEOUT_S = 30.0
PARTS_MAX = 1_000
"""200,000 changes: more is a service that leads in circles."""


class NoExport(Fault):
    """The consent service cannot be reached, or said no."""


def parts(client: httpx.Client, pseudonym: str, language: str) -> Iterator[str]:
    """Yield each part as it was signed. Raises `NoExport`."""
    path = f"/v1/subjects/{pseudonym}/export?lang={language}"
    for _ in range(PARTS_MAX):
        answer = _asked(client, path)
        yield answer.text
        if "next" not in answer.links:
            return
        path = answer.links["next"]["url"]
    raise NoExport(f"has more than {PARTS_MAX} parts", where=str(client.base_url))


def _asked(client: httpx.Client, path: str) -> httpx.Response:
    where = str(client.base_url)
    try:
        answer = client.get(path)
    except httpx.TransportError as exc:
        hint = "start it: passerelle consent serve"
        raise NoExport(f"no answer ({type(exc).__name__})", where=where, hint=hint) from None
    if answer.status_code != httpx.codes.OK:
        raise NoExport(f"the consent service said no: {_why(answer)}", where=where)
    return answer


def _why(answer: httpx.Response) -> str:
    """The problem's title (RFC 9457), which is no text of the caller's."""
    try:
        return str(answer.json()["title"])
    except (ValueError, KeyError, TypeError):
        return str(answer.status_code)
