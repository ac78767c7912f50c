"""What waits while somebody signs in: the question asked of the provider, and a form that was sent without a session.

Bounded, and forgotten after some minutes. The browser holds a random token; the hash of it is the key here.
"""

import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from passerelle.web.sessions import Audience

KEPT_MAX = 20_000
KEPT_MS = 15 * 60_000
"""As long as a sign-in at a provider may take."""


@dataclass(frozen=True, kw_only=True, slots=True)
class KeptForm:
    """A form whose sender was no longer signed in: it is offered again afterwards, to be sent or not."""

    path: str
    """Of ours, with its language."""
    fields: Sequence[tuple[str, str]] = field(repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class SigningIn:
    """One question that is at the provider (OpenID Connect Core §3.1.2.1, RFC 7636)."""

    audience: Audience
    state: str
    nonce: str
    verifier: str = field(repr=False)
    back_to: str
    began_ms: int
    form: KeptForm | None = None


class Kept:
    """Questions by the token of the browser that asked."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._asked: OrderedDict[bytes, SigningIn] = OrderedDict()
        self._forms: OrderedDict[bytes, tuple[int, KeptForm]] = OrderedDict()

    def ask(self, audience: Audience, back_to: str, form: KeptForm | None) -> tuple[str, SigningIn]:
        """Begin a sign-in; return the browser's token, and what is asked."""
        asked = SigningIn(
            audience=audience,
            state=secrets.token_urlsafe(24),
            nonce=secrets.token_urlsafe(24),
            verifier=secrets.token_urlsafe(48),
            back_to=back_to,
            began_ms=self._clock(),
            form=form,
        )
        token = secrets.token_urlsafe(24)
        self._asked[_hash(token)] = asked
        _bound(self._asked)
        return token, asked

    def answered(self, token: str | None, state: str) -> SigningIn | None:
        """Return the question of this browser, once. None: it asked none, or another, or too long ago."""
        asked = self._asked.pop(_hash(token or ""), None)
        if asked is None or not secrets.compare_digest(asked.state, state):
            return None
        return asked if self._clock() - asked.began_ms <= KEPT_MS else None

    def keep(self, form: KeptForm) -> str:
        """Keep a form; return the browser's token."""
        token = secrets.token_urlsafe(24)
        self._forms[_hash(token)] = self._clock(), form
        _bound(self._forms)
        return token

    def form(self, token: str | None) -> KeptForm | None:
        """Return a kept form, once."""
        kept_ms, form = self._forms.pop(_hash(token or ""), (0, None))
        return form if self._clock() - kept_ms <= KEPT_MS else None


def _bound(held: OrderedDict[bytes, Any]) -> None:
    while len(held) > KEPT_MAX:
        held.popitem(last=False)


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
