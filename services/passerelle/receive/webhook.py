"""Hand deliveries to a recipient's own system over HTTP: CloudEvents, signed, tried again within bounds.

A try that fails is repeated after a pause that doubles, with jitter, and the standing is asked for again before each
repeat: what was withdrawn meanwhile is not sent, and what nobody can vouch for is not sent either. After the last try
the delivery becomes a dead letter: its place in the inbox and a reason, no payload, no person. Receivers meet a
delivery twice after a crash; `webhook-id`, the decision's id, is the same then.
"""

import asyncio
import json
import math
import random
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import structlog

from passerelle.envelope import rfc3339
from passerelle.publish.from_json import plain
from passerelle.receive.burying import Burying
from passerelle.receive.delivery import Delivery, Erased
from passerelle.receive.recheck import StandingUnknown
from passerelle.receive.signing import signed
from passerelle_schemas.topics import SUBJECT_ERASED

COMPONENT = "webhook"
TRIES_MAX = 7
"""With the pauses between them one minute, and as many time-outs: a receiver that is being restarted included."""
PAUSE_S_FIRST, PAUSE_S_MAX = 1.0, 30.0
"""Doubled each time; a half of it at random, so that receivers do not meet all senders at once."""
ANSWER_S_MAX = 15.0
"""What the Standard Webhooks specification advises, 15 to 30 s: a receiver puts the message down and answers."""
FRESH = timedelta(minutes=1)
"""A delivery that lay in the inbox for longer is asked about before its first try too."""
_log = structlog.get_logger(COMPONENT)


class NotTaken(Exception):
    """One try failed; the reason names no content."""


@dataclass(kw_only=True)
class Counts:
    """What became of what was read."""

    sent: int = 0
    withdrawn: int = 0


@dataclass(frozen=True, kw_only=True)
class Receiver:
    """Where to, and with which secret. ``client`` must not follow redirects: they would leak what they are given."""

    url: str
    secret: bytes
    client: httpx.AsyncClient
    now: Callable[[], datetime]
    answer_s_max: float = ANSWER_S_MAX

    async def post(self, message_id: str, body: bytes) -> None:
        """Raise `NotTaken` unless the answer is 2xx. What the receiver answers besides is not read."""
        at_s = int(self.now().timestamp())
        headers = {"content-type": "application/cloudevents+json", **signed(self.secret, message_id, at_s, body)}
        request = self.client.build_request("POST", self.url, content=body, headers=headers, timeout=self.answer_s_max)
        try:
            # The client's own limit is for each read: a receiver that drips its header would be waited for for ever.
            async with asyncio.timeout(self.answer_s_max):
                answer = await self.client.send(request, stream=True, follow_redirects=False)
                await answer.aclose()
        except (httpx.TimeoutException, TimeoutError):
            raise NotTaken("no answer in time") from None
        except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError) as exc:
            raise NotTaken(f"no answer ({type(exc).__name__})") from None
        if answer.is_redirect:
            raise NotTaken(f"redirects ({answer.status_code}), which is not followed")
        if not answer.is_success:
            raise NotTaken(f"status {answer.status_code}")


class Webhook:
    """The handlers of an `InboxReader`: `deliver` and `tell`."""

    def __init__(
        self,
        receiver: Receiver,
        recheck: Callable[[Delivery], Awaitable[Delivery | None]],
        burying: Burying,
        *,
        pause: Callable[[float], Awaitable[None]],
        jitter: Callable[[], float] = random.random,
        delete_by: Callable[[Delivery], datetime | None] = lambda _: None,
    ) -> None:
        """``jitter`` is uniform in [0, 1)."""
        self._receiver = receiver
        self._recheck = recheck
        self._burying = burying
        self._pause = pause
        self._jitter = jitter
        self._delete_by = delete_by
        self.counts = Counts()

    async def deliver(self, delivery: Delivery, *, first_ask: bool = False) -> None:
        """Send a delivery, or find that it may not go any more, or bury it. Raises `TakesNothing`.

        ``first_ask``: ask whether it may still go before the first try too, however fresh it is.
        """
        checked = not first_ask and self._receiver.now() - delivery.appended <= FRESH
        message_id = delivery.decision_id.hex()
        reason = ""
        for attempt in range(TRIES_MAX):
            if attempt:
                await self._pause(self._pause_s(attempt))
            try:
                current = delivery if checked else await self._recheck(delivery)
                checked = False
                if current is None:
                    self.counts.withdrawn += 1
                    _log.info("not sent any more", decision=message_id, attempt=attempt)
                    return
                await self._receiver.post(message_id, self._event(current))
            except (NotTaken, StandingUnknown) as exc:
                reason = str(exc)
                _log.warning("not taken", decision=message_id, attempt=attempt, reason=reason)
                continue
            self._sent(message_id)
            return
        await self._burying.bury(delivery, reason)

    async def tell(self, erased: Erased) -> None:
        """Send a notice of erasure: no standing stands against it. Raises `TakesNothing`."""
        message_id = erased.erasure_id.hex()
        reason = ""
        for attempt in range(TRIES_MAX):
            if attempt:
                await self._pause(self._pause_s(attempt))
            try:
                await self._receiver.post(message_id, _notice(erased))
            except NotTaken as exc:
                reason = str(exc)
                _log.warning("not taken", erasure=message_id, attempt=attempt, reason=reason)
                continue
            self._sent(message_id)
            return
        await self._burying.bury(erased, reason)

    def _sent(self, message_id: str) -> None:
        self._burying.taken()
        self.counts.sent += 1
        _log.info("sent", message=message_id)

    def _pause_s(self, attempt: int) -> float:
        longest = min(math.ldexp(PAUSE_S_FIRST, attempt - 1), PAUSE_S_MAX)
        return longest / 2 * (1 + self._jitter())

    def _event(self, delivery: Delivery) -> bytes:
        by = self._delete_by(delivery)
        return _encoded(
            {
                "id": delivery.event_id,
                "source": delivery.source,
                "type": delivery.type,
                "time": rfc3339(delivery.time),
                "pseudonym": delivery.pseudonym.hex(),
                "decisionid": delivery.decision_id.hex(),
                "flow": delivery.flow,
                "purpose": delivery.purpose,
                **({} if by is None else {"deleteby": rfc3339(by)}),
                "datacontenttype": "application/json",
                "data": plain(delivery.value),
            }
        )


def _notice(erased: Erased) -> bytes:
    return _encoded(
        {
            "id": erased.erasure_id.hex(),
            "source": "/passerelle",
            "type": SUBJECT_ERASED,
            "time": rfc3339(erased.time),
            "pseudonym": erased.pseudonym.hex(),
        }
    )


def _encoded(event: Mapping[str, Any]) -> bytes:
    """CloudEvents 1.0, JSON format."""
    return json.dumps({"specversion": "1.0", **event}, ensure_ascii=False, separators=(",", ":")).encode()


def utc_now() -> datetime:
    """The clock of a running webhook."""
    return datetime.now(UTC)
