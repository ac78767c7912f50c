"""What waits for somebody at the consent service, for whoever is on call."""

from collections.abc import Mapping

import httpx

from passerelle_schemas.faults import Fault

TIMEOUT_S = 30.0


class NoAnswer(Fault):
    """The consent service cannot be reached, or said no."""


def waiting(client: httpx.Client) -> Mapping[str, int]:
    """Ask the service how much is open, and how much is late. Raises `NoAnswer`."""
    where = str(client.base_url)
    try:
        answer = client.get("/v1/operations/attention")
    except httpx.TransportError as exc:
        hint = "start it: passerelle consent serve"
        raise NoAnswer(f"no answer ({type(exc).__name__})", where=where, hint=hint) from None
    if answer.status_code != httpx.codes.OK:
        raise NoAnswer(f"the consent service said no ({answer.status_code})", where=where)
    return {name: int(count) for name, count in answer.json().items()}


def is_late(counts: Mapping[str, int]) -> bool:
    """Whether a term has passed."""
    return any(count for name, count in counts.items() if name.endswith("_overdue"))
