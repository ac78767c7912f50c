"""Say something about an agreement at the consent service, and wait until it is in effect."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from passerelle_consent.policy.bundle import PolicyBundle
from passerelle_consent.records.sayable import shown
from passerelle_consent.records.transitions import Action
from passerelle_schemas.faults import Fault

WAIT_S_MAX = 30.0
"""For the fence to pass a change: milliseconds, unless a gate worker is just being replaced."""
POLL_S = 0.1


class NotSaid(Fault):
    """The consent service cannot be reached, or said no; nothing was changed. ``problem`` is the refusal's name."""

    exit_code = 1

    def __init__(
        self, what: str, *, where: str | None = None, hint: str | None = None, problem: str | None = None
    ) -> None:
        super().__init__(what, where=where, hint=hint)
        self.problem = problem


@dataclass(frozen=True, kw_only=True, slots=True)
class Said:
    """What stands now, and since when nothing is delivered against it."""

    state: str
    in_effect: bool
    """False: recorded, and not acknowledged within `WAIT_S_MAX`."""


def say(
    client: httpx.Client, pseudonym: bytes, agreement: str, action: Action, *, notice: int | None, auth: httpx.Auth
) -> Said:
    """Say it for the subject of ``pseudonym`` by the token of whoever speaks. Raises `NotSaid`."""
    body = {} if notice is None else {"notice": notice}
    path = f"/v1/subjects/{pseudonym.hex()}/agreements/{agreement}/{action}"
    try:
        answer = client.post(path, json=body, auth=auth)
        _check(answer)
        return Said(state=answer.json()["state"], in_effect=in_effect(client, answer, auth))
    except httpx.TransportError as exc:
        raise NotSaid(
            f"the consent service does not answer ({type(exc).__name__})",
            where=str(client.base_url),
            hint="is it up? passerelle status",
        ) from None


def notice_shown(bundle: PolicyBundle, agreement: str, now_ms: int) -> int | None:
    """The version of the notice that a citizen is shown at an instant; None where there is no such agreement."""
    found = shown(sorted((a for a in bundle.agreements if a.id == agreement), key=lambda a: a.version), now_ms)
    return None if found is None else found.notice.version


def in_effect(client: httpx.Client, answer: httpx.Response, auth: httpx.Auth) -> bool:
    """Wait for the acknowledgement of what was only recorded so far (202), `WAIT_S_MAX` at most; whether it came."""
    end = time.monotonic() + WAIT_S_MAX
    while answer.status_code == httpx.codes.ACCEPTED and time.monotonic() < end:
        time.sleep(POLL_S)
        status = client.get(answer.headers["Location"], auth=auth)
        if status.status_code == httpx.codes.OK and status.json().get("acknowledged_at"):
            return True
    return answer.status_code != httpx.codes.ACCEPTED


def _check(answer: httpx.Response) -> None:
    if not answer.is_error:
        return
    try:
        words = answer.json()
    except ValueError:
        words = {}
    slug = str(words.get("type", "")).rpartition(":")[2] or None
    what = f"the consent service said no: {answer.status_code} {refusal(words)}"
    raise NotSaid(what, problem=slug, hint=hint_of(words))


def refusal(words: Mapping[str, Any]) -> str:
    """What problem details (RFC 9457) tell, on one line."""
    title = str(words.get("title", "no reason given")).rstrip(".")
    why = next((f" ({words[more]})" for more in ("why", "basis") if more in words), "")
    return f"{title}{why}" + (f"; it stands at {words['state']}" if "state" in words else "")


def hint_of(words: Mapping[str, Any]) -> str | None:
    """What can be done instead."""
    legal = words.get("legal")
    return f"what can be said here: {', '.join(legal)}" if legal else None
