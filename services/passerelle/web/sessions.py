"""Who is signed in: bounded, in memory, forgotten when the process ends. Browsers hold a random token and nothing else.

The store keeps the token's hash: whoever reads the memory of a crash gets no session from it.
"""

import hashlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from passerelle.issuer import Bearing

SESSIONS_MAX = 100_000
"""Some 100 MB. The one that was not used for longest is signed out first."""

IDLE_MS = 30 * 60_000
"""ANSSI advises a short one; half an hour is longer than reading any of these pages takes."""

LONGEST_MS = 8 * 3_600_000
"""A working day."""


class Audience(StrEnum):
    """Whom a page is for."""

    CITIZEN = "citizen"
    STAFF = "staff"


@dataclass(frozen=True, kw_only=True, slots=True)
class Person:
    """Who signed in. The name is for the greeting; it is neither stored elsewhere nor logged."""

    audience: Audience
    name: str = field(repr=False)
    bearing: Bearing = field(repr=False)
    """Whom the tokens speak for that are shown to the consent service."""

    def may(self, *scopes: str) -> bool:
        """Whether one of these scopes is this person's."""
        return not set(scopes).isdisjoint(self.bearing.scopes)


@dataclass(kw_only=True, slots=True)
class Session:
    """One browser that is signed in."""

    person: Person
    began_ms: int
    seen_ms: int
    id_token: str = field(repr=False)
    """Shown to the provider again at the sign-out (OpenID Connect RP-Initiated Logout)."""
    issuer: str
    subject: str = field(repr=False)
    sid: str | None = field(default=None, repr=False)
    """The provider's own session, where it names one: it may end it (Back-Channel Logout)."""
    secret: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    """Of which the forms' tokens are made."""
    labels: dict[str, str] = field(default_factory=dict, repr=False)
    """What a guardian calls those for whom they speak, by pseudonym: forgotten at the sign-out, stored nowhere."""
    wards: "Wards | None" = field(default=None, repr=False)
    """Those for whom they speak, as the consent service told it a moment ago."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Wards:
    """Those for whom somebody speaks."""

    told: Sequence[Mapping[str, Any]]
    at_ms: int


class Sessions:
    """Sessions by token."""

    def __init__(self, clock: Callable[[], int]) -> None:
        """``clock``: milliseconds since 1970."""
        self._clock = clock
        self._held: OrderedDict[bytes, Session] = OrderedDict()

    def begin(self, session: Session) -> str:
        """Keep a session; return the token for the browser."""
        token = secrets.token_urlsafe(32)
        self._held[_hash(token)] = session
        while len(self._held) > SESSIONS_MAX:
            self._held.popitem(last=False)
        return token

    def find(self, token: str | None) -> Session | None:
        """Return the session of a token, None if it is over; it was now used."""
        key = _hash(token or "")
        session = self._held.get(key)
        if session is None:
            return None
        now = self._clock()
        if now - session.seen_ms > IDLE_MS or now - session.began_ms > LONGEST_MS:
            del self._held[key]
            return None
        session.seen_ms = now
        self._held.move_to_end(key)
        return session

    def end(self, token: str | None) -> None:
        """Forget a session."""
        self._held.pop(_hash(token or ""), None)

    def end_at(self, issuer: str, *, subject: str | None, sid: str | None) -> int:
        """Forget what the provider says is over, by its session or by the person; return how many that were."""
        over = list(self._those(issuer, subject, sid))
        for key in over:
            del self._held[key]
        return len(over)

    def _those(self, issuer: str, subject: str | None, sid: str | None) -> Iterator[bytes]:
        for key, session in self._held.items():
            same = session.sid == sid if sid is not None else session.subject == subject
            if session.issuer == issuer and same:
                yield key


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def form_token(session: Session) -> str:
    """Return a token for a form: another one each time, so that a compressed page does not give it away (BREACH)."""
    mask = secrets.token_bytes(16)
    return (mask + _seal(session, mask)).hex()


def is_form_token(session: Session, token: str) -> bool:
    """Whether a form was made for this session."""
    try:
        said = bytes.fromhex(token)
    except ValueError:
        return False
    return hmac.compare_digest(said[16:], _seal(session, said[:16]))


def _seal(session: Session, mask: bytes) -> bytes:
    return hmac.digest(session.secret, mask, "sha256")[:16]
