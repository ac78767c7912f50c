"""The bytes of the bus's own topics. Pure: no client, no clock.

Each value is one version byte and an Avro body of a schema that stands here: these records never leave the bus, so
they need no registry. Parsers refuse what they do not know (`BadRecord`); they never leak another error.
"""

import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Any

import fastavro

from passerelle_consent.policy import packed
from passerelle_consent.policy.decide import Reason, Verdict
from passerelle_consent.policy.packed import INSTANT_BYTES, REVISION_BYTES
from passerelle_consent.policy.standing import Actor, Override, Protection, Stance, Standing, State
from passerelle_schemas.faults import Fault

VERSION = b"\x01"
PACKED_VERSION = bytes([packed.VERSION])
"""Of a usual standing, which `policy.packed` describes; all others are of `VERSION`."""
ERASURE = 0x81
"""First byte of a value of `consent` under a subject ref that says to forget the subject."""
ERASURE_VERSION = bytes([ERASURE])
"""Of an `Erasure`, which shares its topic and key with standings: no reader takes the one for the other."""
JOURNAL_VERSION = b"\x02"
"""Since entries tell of dead letters; those before read as ever."""
POLICY_KEY = b"policy"
"""The key of the policy bundle on `consent`. Six bytes, so it is no subject ref (sixteen)."""

ROLL_KEY = b"roll"
"""The key of a record of `consent` that says nothing, and has no value. Kafka closes a segment only when something is
appended, and compacts closed ones only: on a quiet partition an erased subject's last standing would stay for ever."""

SUBJECT_REF_BYTES = 16
ORIGIN_BYTES_MAX = 320
"""Of an origin's text: a rule's name and a topic's (Kafka allows 249), with three numbers."""
DECISIONS_PER_RECORD = 1_500
"""Bounds a packed record: with the longest origins and ten fields withheld, a decision takes some 600 bytes, and so
the record stays below Kafka's default of 1 MiB."""

_LONG_MAX, _INT_MAX = 2**63 - 1, 2**31 - 1


class BadRecord(Fault):
    """A record of an internal topic that cannot be read."""


class JournalType(StrEnum):
    """What the consent service tells the ledger. Decisions come from the gate."""

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


class Cause(StrEnum):
    """Why a dead letter is replayed or discarded. Closed, since a sentence could name somebody."""

    SOURCE_MENDED = "source-mended"
    RECEIVER_MENDED = "receiver-mended"
    CONTRACT_MENDED = "contract-mended"
    RULE_MENDED = "rule-mended"
    SUPERSEDED = "superseded"
    """Something newer says the same, or the opposite."""
    NOT_NEEDED = "not-needed"
    NEVER_VALID = "never-valid"


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """The outbox record that triggered a proposal, and the rule that made it; n, as one trigger may yield several."""

    rule: str
    topic: str
    partition: int
    offset: int
    n: int = 0

    def text(self) -> str:
        """``rule;topic;partition;offset;n``, as header `ce_origin` carries it."""
        return f"{self.rule};{self.topic};{self.partition};{self.offset};{self.n}"

    @classmethod
    def parse(cls, text: str) -> "Origin":
        """Raises `BadRecord`."""
        try:
            rule, topic, partition, offset, n = text.split(";")
            origin = cls(rule=rule, topic=topic, partition=int(partition), offset=int(offset), n=int(n))
        except ValueError:
            raise BadRecord("an origin is rule;topic;partition;offset;n") from None
        numbers = (origin.partition <= _INT_MAX, origin.offset <= _LONG_MAX, origin.n <= _INT_MAX)
        if min(origin.partition, origin.offset, origin.n) < 0 or not all(numbers):
            raise BadRecord("an origin's numbers are a partition, an offset and a count")
        if not rule or not topic or origin.text() != text or len(text.encode()) > ORIGIN_BYTES_MAX:
            raise BadRecord("an origin is rule;topic;partition;offset;n")
        return origin


def decision_id(origin: Origin) -> bytes:
    """Return the id of the one decision about this proposal: 16 bytes, the same on every retry."""
    return hashlib.sha256(b"passerelle/decision\n" + origin.text().encode()).digest()[:16]


@dataclass(frozen=True, kw_only=True, slots=True)
class FlowUse:
    """What the ledger tells of a flow, as it was under the policy of its batch."""

    flow: str
    recipient: str
    purpose: str
    agreements: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class DecisionRecord:
    """One decision on its way to the ledger."""

    id: bytes
    at_ms: int
    verdict: Verdict
    reason: Reason
    flow: int
    """Index into the batch's flows; -1 when the policy knows no such flow."""
    withheld: tuple[str, ...] = ()
    subject: bytes | None
    """Subject ref; None when the proposal could not be read that far."""
    origin: Origin | None


@dataclass(frozen=True, kw_only=True, slots=True)
class DecisionBatch:
    """The decisions of one transaction of one gate task."""

    policy: bytes
    flows: tuple[FlowUse, ...]
    decisions: tuple[DecisionRecord, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class DecisionRows:
    """A `DecisionBatch` as Avro has it, for whoever opens tens of thousands of decisions a second."""

    policy: bytes
    flows: tuple[FlowUse, ...]
    rows: list[dict[str, Any]]
    """Fields of `DecisionRecord`; verdict and reason are symbols (`verdict_of`, `reason_of`), the origin a dict."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JournalEntry:
    """One change that the consent service recorded."""

    id: bytes
    type: JournalType
    at_ms: int
    subject: bytes | None = None
    agreements: tuple[str, ...] = ()
    recipient: str | None = None
    department: str | None = None
    policy: bytes | None = None
    regarding: bytes | None = None
    """The entry that this one answers: the withdrawal that is now fenced."""
    digest: bytes | None = None
    """SHA-256 of the published result of a consultation."""
    reader: str | None = None
    """Of a `read`: as what somebody read (a role). This and the next two are for the subject alone."""
    what: str | None = None
    """Of a `read`: which of the subject's data."""
    mandate: str | None = None
    """Of a `read` by an auditor: the reference of the mandate."""
    component: str | None = None
    """Whose dead letter was replayed or discarded; ``digest`` is the SHA-256 of its reference then."""
    cause: Cause | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Erasure:
    """A subject's last word on `consent` before the tombstone (GDPR Art. 17): forget, and tell these (Art. 19)."""

    id: bytes
    """Of the change, of the entry in the ledger, and of every notice: what a recipient acknowledges. 16 bytes."""
    revision: int
    """Above that of every standing before it: none of those, sent again, brings the subject back."""
    at_ms: int
    departments: tuple[str, ...]
    """Whose inboxes get a notice: who linked the subject or may have received something."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FenceMark:
    """Task i decides on all of `consent[i]` below ``applied``."""

    applied: int
    worker: str


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Mark:
    """How far one source was decided: the highest (offset, n)."""

    offset: int
    n: int


@dataclass(frozen=True, kw_only=True, slots=True)
class DeadLetter:
    """A reference to a record that was not taken, and why. No payload, no key, no person."""

    component: str
    reason: str
    topic: str
    partition: int
    offset: int
    rule: str | None = None
    error: str | None = None
    """The class of the error, never its message: a message may quote the payload."""

    def encode(self) -> bytes:
        """JSON, so that an operator can read the topic with any tool."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        return json.dumps({k: v for k, v in fields.items() if v is not None}, separators=(",", ":")).encode()

    @classmethod
    def decode(cls, value: bytes) -> "DeadLetter":
        """Raises `BadRecord`."""
        try:
            return cls(**json.loads(value))
        except (ValueError, TypeError) as exc:
            raise BadRecord(f"not a dead letter: {type(exc).__name__}") from None


def _record(name: str, **fields: Any) -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": [{"name": n, "type": t} for n, t in fields.items()]}


def _enum(name: str, kind: type[StrEnum]) -> dict[str, Any]:
    return {"type": "enum", "name": name, "symbols": [_symbol(k) for k in kind]}


def _symbol(value: StrEnum) -> str:
    """Avro names have no hyphen (Avro 1.12, "Names")."""
    return value.value.replace("-", "_")


def _array(items: Any) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _nullable(kind: Any) -> list[Any]:
    return ["null", kind]


def _fixed(name: str, size: int) -> dict[str, Any]:
    return {"type": "fixed", "name": name, "size": size}


# A standing that is not usual, or was written before usual ones were packed; turns are named by their place:
#     version · revision · turns … · said at … · what was said (Avro) · number of turns · of stances
_OWN_AT, _COUNT_BYTES, _STANCE_MARK = 1 + REVISION_BYTES, 2, b"\xff"
_SAID = fastavro.parse_schema(
    _record(
        "Said",
        linked="boolean",
        protection=_nullable(_enum("Protection", Protection)),
        minor_until=_nullable("int"),
        restricted_since_ms=_nullable("long"),
        overrides=_array(_record("Override", agreement="string", until="int")),
        stances=_array(
            _record(
                "Stance",
                mark=_fixed("Mark", len(_STANCE_MARK)),
                agreement="string",
                state=_enum("State", State),
                notice=_nullable("int"),
                until=_nullable("int"),
                by=_enum("Actor", Actor),
            )
        ),
    )
)
_ORIGIN = _record("Origin", rule="string", topic="string", partition="int", offset="long", n="int")
_DECISIONS = fastavro.parse_schema(
    _record(
        "DecisionBatch",
        policy=_fixed("Digest", 32),
        flows=_array(
            _record("FlowUse", flow="string", recipient="string", purpose="string", agreements=_array("string"))
        ),
        decisions=_array(
            _record(
                "Decision",
                id=_fixed("Id", 16),
                at_ms="long",
                verdict=_enum("Verdict", Verdict),
                reason=_enum("Reason", Reason),
                flow="int",
                withheld=_array("string"),
                subject=_nullable(_fixed("SubjectRef", 16)),
                origin=_nullable(_ORIGIN),
            )
        ),
    )
)
_JOURNAL_FIELDS: Mapping[str, Any] = {
    "id": _fixed("Id", 16),
    "type": _enum("JournalType", JournalType),
    "at_ms": "long",
    "subject": _nullable(_fixed("SubjectRef", 16)),
    "agreements": _array("string"),
    "recipient": _nullable("string"),
    "department": _nullable("string"),
    "policy": _nullable(_fixed("Digest", 32)),
    "regarding": _nullable("Id"),
    "digest": _nullable("Digest"),
    "reader": _nullable("string"),
    "what": _nullable("string"),
    "mandate": _nullable("string"),
}
_JOURNAL_FIRST = fastavro.parse_schema(_record("JournalEntry", **_JOURNAL_FIELDS))
_JOURNAL = fastavro.parse_schema(
    _record("JournalEntry", **_JOURNAL_FIELDS, component=_nullable("string"), cause=_nullable(_enum("Cause", Cause)))
)
_ERASURE = fastavro.parse_schema(
    _record("Erasure", id=_fixed("Id", 16), revision="long", at_ms="long", departments=_array("string"))
)
_FENCE = fastavro.parse_schema(_record("FenceMark", applied="long", worker="string"))
_MARK = fastavro.parse_schema(_record("Mark", offset="long", n="int"))


def _encode(schema: Any, value: Mapping[str, Any], version: bytes = VERSION) -> bytes:
    out = io.BytesIO()
    out.write(version)
    fastavro.schemaless_writer(out, schema, value)
    return out.getvalue()


def _decode(schema: Any, value: bytes, what: str, version: bytes = VERSION) -> dict[str, Any]:
    if value[:1] != version:
        raise BadRecord(f"{what}: unknown version byte")
    return _read(schema, value[1:], what)


def _read(schema: Any, body: bytes, what: str) -> dict[str, Any]:
    source = io.BytesIO(body)
    try:
        read: dict[str, Any] = fastavro.schemaless_reader(source, schema, None)  # type: ignore[assignment]
    except Exception as exc:  # noqa: BLE001 - fastavro raises whatever the bytes provoke
        raise BadRecord(f"{what}: {type(exc).__name__}") from None
    if source.tell() != len(body):
        raise BadRecord(f"{what}: bytes after the body")
    return read


_STATE = {_symbol(s): s for s in State}
_PROTECTION = {_symbol(p): p for p in Protection}
_ACTOR = {_symbol(a): a for a in Actor}
_VERDICT = {_symbol(v): v for v in Verdict}
_REASON = {_symbol(r): r for r in Reason}
_JOURNAL_TYPE = {_symbol(t): t for t in JournalType}
_CAUSE = {_symbol(c): c for c in Cause}
_REASON_SYMBOL = {r: s for s, r in _REASON.items()}


def encode_standing(standing: Standing) -> bytes:
    """Value of `consent` under a subject ref. Instants are milliseconds of 1970 or later, below 2^48."""
    return packed.pack(standing) or _encode_parted(standing)


def _encode_parted(standing: Standing) -> bytes:
    turns = packed.turns_of(standing)
    places: dict[int | None, int] = {turn: place for place, turn in enumerate(turns)}
    instants = (*turns, *(s.at_ms for s in standing.stances.values()))
    counts = (len(turns), len(standing.stances))
    out = io.BytesIO()
    out.write(VERSION + standing.revision.to_bytes(REVISION_BYTES))
    out.write(b"".join([instant.to_bytes(INSTANT_BYTES) for instant in instants]))
    fastavro.schemaless_writer(out, _SAID, _plain_said(standing, places))
    out.write(b"".join([count.to_bytes(_COUNT_BYTES) for count in counts]))
    return out.getvalue()


def _plain_said(standing: Standing, places: Mapping[int | None, int]) -> dict[str, Any]:
    return {
        "linked": standing.linked,
        "protection": None if standing.protection is None else _symbol(standing.protection),
        "minor_until": places.get(standing.minor_until_ms),
        "restricted_since_ms": standing.restricted_since_ms,
        "overrides": [{"agreement": o.agreement, "until": places[o.until_ms]} for o in standing.overrides],
        "stances": [
            {
                "mark": _STANCE_MARK,
                "agreement": s.agreement,
                "state": _symbol(s.state),
                "notice": s.notice,
                "until": places.get(s.until_ms),
                "by": _symbol(s.by),
            }
            for s in standing.stances.values()
        ],
    }


def decode_standing(value: bytes) -> Standing:
    """Raises `BadRecord`."""
    if value[:1] != PACKED_VERSION:
        return _decode_parted(value)
    try:
        return packed.unpack(value)
    except (ValueError, IndexError) as exc:
        raise BadRecord(f"standing: {type(exc).__name__}") from None


def _decode_parted(value: bytes) -> Standing:
    if value[:1] != VERSION or len(value) < _OWN_AT + 2 * _COUNT_BYTES:
        raise BadRecord("standing: unknown version byte, or too short")
    body_end = len(value) - 2 * _COUNT_BYTES
    counts = (int.from_bytes(value[body_end:][:_COUNT_BYTES]), int.from_bytes(value[-_COUNT_BYTES:]))
    body_at = _OWN_AT + INSTANT_BYTES * sum(counts)
    read = _read(_SAID, value[body_at:body_end], "standing")
    starts = range(_OWN_AT, body_at, INSTANT_BYTES)
    instants = [int.from_bytes(value[at : at + INSTANT_BYTES]) for at in starts]
    turns, said_at = instants[: counts[0]], instants[counts[0] :]
    if len(read["stances"]) != len(said_at) or any(a >= b for a, b in pairwise(turns)):
        raise BadRecord("standing: its counts or its turns are not what they should be")
    if any(stance["mark"] != _STANCE_MARK for stance in read["stances"]):
        raise BadRecord("standing: a stance without its mark")
    try:
        return _standing(read, turns, said_at, revision=int.from_bytes(value[1:_OWN_AT]))
    except IndexError:
        raise BadRecord("standing: a turn that it does not have") from None


def _standing(read: Mapping[str, Any], turns: Sequence[int], said_at: Iterable[int], *, revision: int) -> Standing:
    """Raises `IndexError`."""

    def turn(place: int | None) -> int | None:
        if place is not None and place < 0:
            raise IndexError
        return None if place is None else turns[place]

    stances = (
        Stance(
            agreement=s["agreement"],
            state=_STATE[s["state"]],
            notice=s["notice"],
            at_ms=at_ms,
            until_ms=turn(s["until"]),
            by=_ACTOR[s["by"]],
        )
        for s, at_ms in zip(read["stances"], said_at, strict=True)
    )
    overrides = (Override(agreement=o["agreement"], until_ms=turn(o["until"]) or 0) for o in read["overrides"])
    return Standing(
        linked=read["linked"],
        revision=revision,
        stances={s.agreement: s for s in stances},
        restricted_since_ms=read["restricted_since_ms"],
        overrides=tuple(overrides),
        minor_until_ms=turn(read["minor_until"]),
        protection=None if read["protection"] is None else _PROTECTION[read["protection"]],
    )


def encode_decisions(batch: DecisionBatch) -> Iterator[bytes]:
    """Yield values of `decisions`, each of at most `DECISIONS_PER_RECORD` decisions."""
    flows = [
        {"flow": f.flow, "recipient": f.recipient, "purpose": f.purpose, "agreements": f.agreements}
        for f in batch.flows
    ]
    for start in range(0, len(batch.decisions), DECISIONS_PER_RECORD):
        part = batch.decisions[start : start + DECISIONS_PER_RECORD]
        yield _encode(
            _DECISIONS, {"policy": batch.policy, "flows": flows, "decisions": [_plain_decision(d) for d in part]}
        )


def _plain_decision(decision: DecisionRecord) -> dict[str, Any]:
    origin = decision.origin
    return {
        "id": decision.id,
        "at_ms": decision.at_ms,
        "verdict": decision.verdict.value,
        "reason": _REASON_SYMBOL[decision.reason],
        "flow": decision.flow,
        "withheld": decision.withheld,
        "subject": decision.subject,
        "origin": None
        if origin is None
        else {
            "rule": origin.rule,
            "topic": origin.topic,
            "partition": origin.partition,
            "offset": origin.offset,
            "n": origin.n,
        },
    }


def read_decisions(value: bytes) -> DecisionRows:
    """Raises `BadRecord`."""
    read = _decode(_DECISIONS, value, "decisions")
    flows = tuple(
        FlowUse(flow=f["flow"], recipient=f["recipient"], purpose=f["purpose"], agreements=tuple(f["agreements"]))
        for f in read["flows"]
    )
    if any(not -1 <= row["flow"] < len(flows) for row in read["decisions"]):
        raise BadRecord("decisions: a flow that the batch does not name")
    return DecisionRows(policy=read["policy"], flows=flows, rows=read["decisions"])


def verdict_of(symbol: str) -> Verdict:
    """Return the verdict that a row names."""
    return _VERDICT[symbol]


def reason_of(symbol: str) -> Reason:
    """Return the reason that a row names."""
    return _REASON[symbol]


def decode_decisions(value: bytes) -> DecisionBatch:
    """Raises `BadRecord`."""
    read = read_decisions(value)
    decisions = tuple(
        DecisionRecord(
            id=d["id"],
            at_ms=d["at_ms"],
            verdict=_VERDICT[d["verdict"]],
            reason=_REASON[d["reason"]],
            flow=d["flow"],
            withheld=tuple(d["withheld"]),
            subject=d["subject"],
            origin=None if d["origin"] is None else Origin(**d["origin"]),
        )
        for d in read.rows
    )
    return DecisionBatch(policy=read.policy, flows=read.flows, decisions=decisions)


def encode_journal(entry: JournalEntry) -> bytes:
    """Value of `consent.journal`."""
    plain = {name: getattr(entry, name) for name in entry.__slots__}
    cause = None if entry.cause is None else _symbol(entry.cause)
    return _encode(_JOURNAL, {**plain, "type": _symbol(entry.type), "cause": cause}, JOURNAL_VERSION)


def decode_journal(value: bytes) -> JournalEntry:
    """Raises `BadRecord`."""
    if value[:1] == VERSION:
        read = _decode(_JOURNAL_FIRST, value, "journal entry")
    else:
        read = _decode(_JOURNAL, value, "journal entry", JOURNAL_VERSION)
    agreements: Iterable[str] = read.pop("agreements")
    cause = _CAUSE.get(read.pop("cause", None))
    return JournalEntry(**{**read, "type": _JOURNAL_TYPE[read["type"]]}, agreements=tuple(agreements), cause=cause)


def encode_fence(mark: FenceMark) -> bytes:
    """Value of `fence`."""
    return _encode(_FENCE, {"applied": mark.applied, "worker": mark.worker})


def decode_fence(value: bytes) -> FenceMark:
    """Raises `BadRecord`."""
    return FenceMark(**_decode(_FENCE, value, "fence mark"))


def encode_mark(mark: Mark) -> bytes:
    """Value of `marks`."""
    return _encode(_MARK, {"offset": mark.offset, "n": mark.n})


def decode_mark(value: bytes) -> Mark:
    """Raises `BadRecord`."""
    return Mark(**_decode(_MARK, value, "mark"))


def mark_key(origin: Origin) -> bytes:
    """Key of `marks`: one rule's proposals from one outbox partition."""
    return f"{origin.rule};{origin.topic};{origin.partition}".encode()


def encode_erasure(erasure: Erasure) -> bytes:
    """Value of `consent` under the ref of a subject that is erased."""
    plain = {name: getattr(erasure, name) for name in erasure.__slots__}
    return _encode(_ERASURE, plain, ERASURE_VERSION)


def decode_erasure(value: bytes) -> Erasure:
    """Raises `BadRecord`."""
    read = _decode(_ERASURE, value, "erasure", ERASURE_VERSION)
    if not 0 <= read["revision"] < 2 ** (8 * REVISION_BYTES):
        raise BadRecord("erasure: a revision that no standing has")
    return Erasure(**{**read, "departments": tuple(read["departments"])})
