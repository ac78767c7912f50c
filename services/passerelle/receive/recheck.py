"""Ask the consent service again, before a delivery is tried again: fails closed."""

from dataclasses import dataclass, replace

import httpx

from passerelle.provider import NoToken
from passerelle.receive.delivery import Delivery
from passerelle_schemas.faults import Fault

TIMEOUT_S = 5.0


class StandingUnknown(Fault):
    """The consent service does not answer, or not as it should: nothing is sent."""


@dataclass(frozen=True, kw_only=True)
class Recheck:
    """Asks ``POST /v1/deliveries/check`` as the recipient. ``client`` has the service's address and a bearer token."""

    client: httpx.AsyncClient

    async def __call__(self, delivery: Delivery) -> Delivery | None:
        """Return what may still be handed on; None when it may not any more. Raises `StandingUnknown`."""
        body = {"flow": delivery.flow, "pseudonym": delivery.pseudonym.hex()}
        try:
            answer = await self.client.post("/v1/deliveries/check", json=body, timeout=TIMEOUT_S)
            answer.raise_for_status()
            said = answer.json()
            verdict, withheld = said["verdict"], frozenset(said["withheld"])
        except (httpx.HTTPError, NoToken, ValueError, KeyError, TypeError) as exc:
            raise StandingUnknown(f"nobody says whether this may still go ({type(exc).__name__})") from None
        if verdict not in ("permit", "redact"):
            return None
        value = {name: None if name in withheld else held for name, held in delivery.value.items()}
        return replace(delivery, value=value)
