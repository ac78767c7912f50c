"""Tell the bus that an erased subject's copies are gone here, or kept for a ground of GDPR Art. 17(3)."""

import httpx

from passerelle.provider import NoToken
from passerelle_schemas.faults import Fault

TIMEOUT_S = 30.0


class NotAcknowledged(Fault):
    """The consent service cannot be reached, or said no."""


def acknowledge(base_url: str, auth: httpx.Auth, erasure_id: bytes) -> str:
    """Acknowledge one erasure for the department that ``auth`` speaks for; return since when it counts (RFC 3339).

    Saying it again changes nothing. Raises `NotAcknowledged`.
    """
    try:
        answer = httpx.post(f"{base_url}/v1/erasures/{erasure_id.hex()}/acknowledgement", auth=auth, timeout=TIMEOUT_S)
    except httpx.TransportError as exc:
        hint = "start it: passerelle consent serve"
        raise NotAcknowledged(f"no answer ({type(exc).__name__})", where=base_url, hint=hint) from None
    except NoToken as fault:
        raise NotAcknowledged(fault.what, where=fault.where, hint=fault.hint) from None
    if answer.status_code == httpx.codes.NOT_FOUND:
        raise NotAcknowledged("this department was told of no such erasure", where=base_url)
    if answer.status_code != httpx.codes.OK:
        raise NotAcknowledged(f"the consent service said no ({answer.status_code})", where=base_url)
    return str(answer.json()["acknowledged_at"])
