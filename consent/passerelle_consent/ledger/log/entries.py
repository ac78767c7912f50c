"""Entries of the ledger (DESIGN §8): RFC 8785 canonical JSON of a closed set of types. Pure.

No field can hold personal data, because no field holds free text: a value is a member of a closed set, a digest, a
time, or the name of a department, a flow, an agreement or a purpose, in the grammar of the files that define them.
Whoever reads an entry refuses what is not canonical, so one entry has one spelling and one leaf hash.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from operator import attrgetter
from typing import Any, Self

from passerelle_consent.ledger.faults import Invalid
from passerelle_consent.ledger.log.canonical import canonical
from passerelle_consent.policy.decide import Reason, Verdict
from passerelle_consent.wire import Cause

VERSION = 1
ID_BYTES = 16
DIGEST_BYTES = 32
AGREEMENTS_MAX = 32
"""A flow names one agreement for each source; no join has near as many."""

TIME_MS_MAX = 253_402_300_799_999
"""9999-12-31T23:59:59.999Z, the last that RFC 3339 can say."""


class EntryType(StrEnum):
    """What an entry is about. Closed: a new type is a new version of the format."""

    DECISION = "decision"
    GIVEN = "given"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"
    FENCED = "fenced"
    OBJECTED = "objected"
    OVERRIDE = "override"
    REVIEWED = "reviewed"
    LINKED = "linked"
    ERASED = "erased"
    POLICY = "policy"
    AGREEMENT = "agreement"
    KEY = "key"
    READ = "read"
    REQUESTED = "requested"
    REVOKED = "revoked"
    EXPIRED = "expired"
    RESTRICTED = "restricted"
    LIFTED = "lifted"
    ANSWERED = "answered"
    GUARDIAN = "guardian"
    CONSULTED = "consulted"
    REPLAYED = "replayed"
    DISCARDED = "discarded"


_COMMITS = frozenset({"subject_commit", "body_commit"})
_FLOW = frozenset({"flow", "recipient", "purpose"})
_JOURNAL = _COMMITS | {"agreements", "recipient", "department", "policy", "regarding"}
_WHO = frozenset({"department"})
_LETTER = frozenset({"id", "component", "cause", "digest"})
_ABOUT_AGREEMENT = _COMMITS | {"id", "agreements"}

REQUIRED: Mapping[EntryType, frozenset[str]] = {
    EntryType.DECISION: _COMMITS | {"decision", "verdict", "reason", "agreements", "policy"},
    EntryType.GIVEN: _ABOUT_AGREEMENT,
    EntryType.REFUSED: _ABOUT_AGREEMENT,
    EntryType.WITHDRAWN: _ABOUT_AGREEMENT,
    EntryType.OBJECTED: _ABOUT_AGREEMENT,
    EntryType.FENCED: frozenset({"id", "regarding"}),
    EntryType.OVERRIDE: _COMMITS | {"id", "recipient"},
    EntryType.REVIEWED: frozenset({"id"}),
    EntryType.LINKED: _COMMITS | {"id"},
    EntryType.ERASED: _COMMITS | {"id"},
    EntryType.POLICY: frozenset({"id", "policy"}),
    EntryType.AGREEMENT: frozenset({"id", "agreements"}),
    EntryType.KEY: frozenset({"id"}),
    EntryType.READ: frozenset({"id"}),
    EntryType.REQUESTED: _ABOUT_AGREEMENT,
    EntryType.REVOKED: _ABOUT_AGREEMENT,
    EntryType.EXPIRED: _ABOUT_AGREEMENT,
    EntryType.RESTRICTED: _COMMITS | {"id"},
    EntryType.LIFTED: _COMMITS | {"id"},
    EntryType.ANSWERED: _ABOUT_AGREEMENT,
    EntryType.GUARDIAN: _COMMITS | {"id"},
    EntryType.CONSULTED: frozenset({"id", "agreements", "digest"}),
    EntryType.REPLAYED: _LETTER,
    EntryType.DISCARDED: _LETTER,
}
"""What an entry of a type must say, besides v, type and time."""

_ABOUT_LETTERS = frozenset({EntryType.REPLAYED, EntryType.DISCARDED})

ALLOWED: Mapping[EntryType, frozenset[str]] = {
    kind: required | (_FLOW if kind is EntryType.DECISION else _WHO if kind in _ABOUT_LETTERS else _JOURNAL)
    for kind, required in REQUIRED.items()
}
"""What it may say. A decision names a flow, its recipient and its purpose together, or none of them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One entry. Raises `Invalid` when it is made of values or of a combination that the format does not have."""

    type: EntryType
    time_ms: int
    decision: bytes | None = None
    """Id of the decision, 16 bytes; the id of any other entry is ``id``."""
    id: bytes | None = None
    verdict: Verdict | None = None
    reason: Reason | None = None
    flow: str | None = None
    recipient: str | None = None
    purpose: str | None = None
    department: str | None = None
    agreements: tuple[str, ...] | None = None
    """``id@version`` each; None where the type has none, empty for a decision whose flow is unknown."""
    policy: bytes | None = None
    """SHA-256 of the policy bundle in force."""
    regarding: bytes | None = None
    """Id of the entry that this one answers: the withdrawal that is now fenced."""
    digest: bytes | None = None
    """SHA-256 of the published result of a consultation, or of the reference of a dead letter or a re-run."""
    component: str | None = None
    """Whose dead letter: `<component>` or `<component>.<department>`. ``department`` settled it, else an operator."""
    cause: Cause | None = None
    subject_commit: bytes | None = None
    body_commit: bytes | None = None

    def __post_init__(self) -> None:
        values = _values(self)
        for name, holds, value in zip(_GRAMMAR, _GRAMMAR.values(), values, strict=True):
            if value is not None and not holds(value):
                raise Invalid(f"an entry's {name} holds a value that the format does not have")
        if problem := _problem_of_shape(self.type, tuple(value is not None for value in values)):
            raise Invalid(problem)

    @property
    def ident(self) -> bytes:
        """The id that no other entry has."""
        ident = self.decision or self.id
        assert ident is not None, "REQUIRED gives every type one of the two"  # noqa: S101 - an invariant, for mypy
        return ident

    def encode(self) -> bytes:
        """Return the canonical bytes (RFC 8785)."""
        return canonical(self.plain())

    def plain(self) -> dict[str, Any]:
        """Return the object that `encode` writes."""
        plain: dict[str, Any] = {"v": VERSION, "time": time_text(self.time_ms)}
        for name, value in zip(_GRAMMAR, _values(self), strict=True):
            if value is not None and name != "time_ms":
                plain[name] = value.hex() if isinstance(value, bytes) else value
        return plain

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """Read an entry. Raises `Invalid` for bytes that `encode` would not have written."""
        entry = cls(**_typed(_object(raw)))
        if entry.encode() != raw:
            raise Invalid("the entry is not canonical JSON (RFC 8785)")
        return entry


_SLUG = re.compile(r"[a-z][a-z0-9-]{0,127}")
_FLOW_ID = re.compile(r"[a-z][a-z0-9.-]{0,127}")
_PURPOSE = re.compile(r"dpv:[A-Za-z]{1,124}")
_AGREEMENT = re.compile(r"[a-z][a-z0-9-]{0,127}@[1-9][0-9]{0,5}")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z")
_WRITTEN_AS_HEX = ("decision", "id", "policy", "regarding", "digest", "subject_commit", "body_commit")


def _text(pattern: re.Pattern[str]) -> Callable[[Any], bool]:
    # The names in a log are few and come in millions of entries: each is matched once. A list is not hashable,
    # so the type is looked at first.
    remembered = lru_cache(maxsize=4096)(lambda value: pattern.fullmatch(value) is not None)
    return lambda value: isinstance(value, str) and remembered(value)


def _bytes(size: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, bytes) and len(value) == size


def _agreements(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) <= AGREEMENTS_MAX and all(map(_is_agreement, value))


_is_agreement = _text(_AGREEMENT)
_GRAMMAR: Mapping[str, Callable[[Any], bool]] = {
    "type": lambda value: isinstance(value, EntryType),
    "time_ms": lambda value: type(value) is int and 0 <= value <= TIME_MS_MAX,
    "decision": _bytes(ID_BYTES),
    "id": _bytes(ID_BYTES),
    "verdict": lambda value: isinstance(value, Verdict),
    "reason": lambda value: isinstance(value, Reason),
    "flow": _text(_FLOW_ID),
    "recipient": _text(_SLUG),
    "purpose": _text(_PURPOSE),
    "department": _text(_SLUG),
    "agreements": _agreements,
    "policy": _bytes(DIGEST_BYTES),
    "regarding": _bytes(ID_BYTES),
    "digest": _bytes(DIGEST_BYTES),
    "component": _text(_FLOW_ID),
    "cause": lambda value: isinstance(value, Cause),
    "subject_commit": _bytes(DIGEST_BYTES),
    "body_commit": _bytes(DIGEST_BYTES),
}


_values = attrgetter(*_GRAMMAR)


@lru_cache(maxsize=1024)  # there are fewer shapes than that: a log repeats a handful of them
def _problem_of_shape(kind: EntryType, filled: tuple[bool, ...]) -> str | None:
    present = {name for name, is_there in zip(_GRAMMAR, filled, strict=True) if is_there} - {"type", "time_ms"}
    if missing := REQUIRED[kind] - present:
        return f"an entry of type {kind} lacks {', '.join(sorted(missing))}"
    if foreign := present - ALLOWED[kind]:
        return f"an entry of type {kind} has no {', '.join(sorted(foreign))}"
    if len(present & _COMMITS) == 1:
        return "an entry has both commitments or none"
    if kind is EntryType.DECISION and 0 < len(present & _FLOW) < len(_FLOW):
        return "a decision names flow, recipient and purpose together"
    return None


@lru_cache(maxsize=256)
def _second_text(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S").zfill(len("0000-00-00T00:00:00"))


@lru_cache(maxsize=256)  # whoever decides, decides hundreds in a millisecond
def time_text(time_ms: int) -> str:
    """RFC 3339 in UTC with three digits: one spelling for each millisecond. Raises `Invalid`."""
    if not 0 <= time_ms <= TIME_MS_MAX:
        raise Invalid("a time that RFC 3339 cannot say, or before 1970")
    second, ms = divmod(time_ms, 1000)
    return f"{_second_text(second)}.{ms:03d}Z"


def time_of(text: str) -> int:
    """Read what `time_text` wrote, as epoch milliseconds. Raises `Invalid`; `TypeError` for what is no text."""
    if not _TIME.fullmatch(text):
        raise Invalid("the entry's time is not RFC 3339 in UTC with milliseconds")
    return _second_of(text[:-5]) * 1000 + int(text[-4:-1])


@lru_cache(maxsize=256)
def _second_of(text: str) -> int:
    return int(datetime.strptime(text, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC).timestamp())


def _object(raw: bytes) -> dict[str, Any]:
    try:
        read = json.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError):
        raise Invalid("the entry is not JSON") from None
    if not isinstance(read, dict) or type(read.pop("v", None)) is not int:
        raise Invalid("the entry is not an object of a known version")
    if unknown := set(read) - _WIRE_NAMES:
        raise Invalid(f"the entry has {len(unknown)} unknown fields")
    return read


_WIRE_NAMES = frozenset({f.name for f in fields(Entry)} - {"time_ms"} | {"time"})


def _typed(read: dict[str, Any]) -> dict[str, Any]:
    """Turn JSON values into an entry's. A version other than ours is caught when the bytes are compared."""
    try:
        read["time_ms"] = time_of(read.pop("time"))
        read["type"] = _TYPES[read["type"]]
        if "verdict" in read:
            read["verdict"] = _VERDICTS[read["verdict"]]
        if "reason" in read:
            read["reason"] = _REASONS[read["reason"]]
        if "cause" in read:
            read["cause"] = _CAUSES[read["cause"]]
        if "agreements" in read:
            read["agreements"] = tuple(read["agreements"])
        for name in _WRITTEN_AS_HEX:
            if name in read:
                read[name] = bytes.fromhex(read[name])
    except (KeyError, ValueError, TypeError):
        raise Invalid("the entry holds a value that the format does not have") from None
    return read


_TYPES = {str(t): t for t in EntryType}
_VERDICTS = {str(v): v for v in Verdict}
_REASONS = {str(r): r for r in Reason}
_CAUSES = {str(c): c for c in Cause}
