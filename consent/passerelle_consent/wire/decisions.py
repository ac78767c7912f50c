"""Values of `decisions`: what one transaction of a gate's task decided, and what the ledger reads of it.

A batch stands in columns: its n-th decision is the n-th value of each. What was decided, and the rule it answers to,
stand once for the many decisions that have them in common. A row of Avro each, as they were written before, took twice
the bytes and ten times as long to read.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import fastavro

from passerelle_consent.policy.decide import Reason, Verdict
from passerelle_consent.wire import body
from passerelle_consent.wire.body import VERSION, BadRecord
from passerelle_consent.wire.origin import Origin

COLUMNS_VERSION = b"\x02"
"""Since batches stand in columns; rows of `VERSION`, which a topic may still hold, read as ever."""

DECISIONS_PER_RECORD = 1_500
"""Bounds a packed record: with the longest origins and ten fields withheld, no two alike, a decision takes some 600
bytes, and so the record stays below Kafka's default of 1 MiB."""

_REF_BYTES = _ID_BYTES = 16


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


class Kind(NamedTuple):
    """What was decided, whoever it was about."""

    flow: int
    verdict: Verdict
    reason: Reason
    withheld: tuple[str, ...] = ()


class Source(NamedTuple):
    """What the origins of one rule's proposals from one partition of an outbox have in common."""

    rule: str
    topic: str
    partition: int


Row = tuple[bytes, int, int, bytes | None, int, int, int]
"""Of one decision: id, milliseconds, index of its kind, subject ref, index of its source (-1 without an origin), and
the origin's offset and n."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DecisionRows:
    """A `DecisionBatch` for whoever opens tens of thousands of decisions a second."""

    policy: bytes
    flows: tuple[FlowUse, ...]
    kinds: Sequence[Kind]
    sources: Sequence[Source]
    rows: Sequence[Row]

    def records(self) -> Iterator[DecisionRecord]:
        """Yield each decision, with its kind and its source."""
        for ident, at_ms, kind, subject, source, offset, n in self.rows:
            flow, verdict, reason, withheld = self.kinds[kind]
            yield DecisionRecord(
                id=ident,
                at_ms=at_ms,
                verdict=verdict,
                reason=reason,
                flow=flow,
                withheld=withheld,
                subject=subject,
                origin=None if source < 0 else Origin(**self.sources[source]._asdict(), offset=offset, n=n),
            )


_OF_ALL: Mapping[str, Any] = {
    "policy": body.fixed("Digest", 32),
    "flows": body.array(
        body.record("FlowUse", flow="string", recipient="string", purpose="string", agreements=body.array("string"))
    ),
}
_VERDICT_AND_REASON = {"verdict": body.enum("Verdict", Verdict), "reason": body.enum("Reason", Reason)}
_SOURCE = {"rule": "string", "topic": "string", "partition": "int"}
_ROWS = fastavro.parse_schema(
    body.record(
        "DecisionBatch",
        **_OF_ALL,
        decisions=body.array(
            body.record(
                "Decision",
                id=body.fixed("Id", _ID_BYTES),
                at_ms="long",
                **_VERDICT_AND_REASON,
                flow="int",
                withheld=body.array("string"),
                subject=body.nullable(body.fixed("SubjectRef", _REF_BYTES)),
                origin=body.nullable(body.record("Origin", **_SOURCE, offset="long", n="int")),
            )
        ),
    )
)
COLUMNS = fastavro.parse_schema(
    body.record(
        "DecisionBatch",
        **_OF_ALL,
        kinds=body.array(body.record("Kind", flow="int", **_VERDICT_AND_REASON, withheld=body.array("string"))),
        sources=body.array(body.record("Source", **_SOURCE)),
        first_ms="long",
        after_ms=body.array("long"),
        id="bytes",
        kind=body.array("int"),
        subject="bytes",
        without_subject=body.array("int"),
        source=body.array("int"),
        offset=body.array("long"),
        n=body.array("int"),
    )
)
_VERDICT = {body.symbol(v): v for v in Verdict}
_REASON = {body.symbol(r): r for r in Reason}
_NOBODY = bytes(_REF_BYTES)


def encode_decisions(batch: DecisionBatch) -> Iterator[bytes]:
    """Yield values of `decisions`, each of at most `DECISIONS_PER_RECORD` decisions."""
    flows = [{name: getattr(flow, name) for name in flow.__slots__} for flow in batch.flows]
    for start in range(0, len(batch.decisions), DECISIONS_PER_RECORD):
        columns = _columns(batch.decisions[start : start + DECISIONS_PER_RECORD])
        yield body.encode(COLUMNS, {"policy": batch.policy, "flows": flows, **columns}, COLUMNS_VERSION)


def read_decisions(value: bytes) -> DecisionRows:
    """Raises `BadRecord`."""
    if value[:1] == VERSION:
        read = body.decode(_ROWS, value, "decisions")
        kinds, sources, rows = _of_rows(read["decisions"])
    else:
        read = body.decode(COLUMNS, value, "decisions", COLUMNS_VERSION)
        kinds, sources, rows = _of_columns(read)
    flows = tuple(FlowUse(**{**flow, "agreements": tuple(flow["agreements"])}) for flow in read["flows"])
    if any(not -1 <= kind.flow < len(flows) for kind in kinds):
        raise BadRecord("decisions: a flow that the batch does not name")
    return DecisionRows(policy=read["policy"], flows=flows, kinds=kinds, sources=sources, rows=rows)


def decode_decisions(value: bytes) -> DecisionBatch:
    """Raises `BadRecord`."""
    read = read_decisions(value)
    return DecisionBatch(policy=read.policy, flows=read.flows, decisions=tuple(read.records()))


class _Places(dict[Any, int]):
    """Numbers what it is asked for, in the order of asking."""

    def __missing__(self, value: Any) -> int:
        place = self[value] = len(self)
        return place


def _columns(decisions: Sequence[DecisionRecord]) -> dict[str, Any]:
    kinds, sources = _Places(), _Places()
    first_ms, origins = decisions[0].at_ms, [d.origin for d in decisions]
    # The tables are full only once the columns that number them are made.
    columns = {
        "first_ms": first_ms,
        "after_ms": [d.at_ms - first_ms for d in decisions],
        "id": _joined([d.id for d in decisions], _ID_BYTES),
        "kind": [kinds[d.flow, d.verdict, d.reason, d.withheld] for d in decisions],
        "subject": _joined([_NOBODY if d.subject is None else d.subject for d in decisions], _REF_BYTES),
        "without_subject": [place for place, d in enumerate(decisions) if d.subject is None],
        "source": [-1 if o is None else sources[o.rule, o.topic, o.partition] for o in origins],
        "offset": [0 if o is None else o.offset for o in origins],
        "n": [0 if o is None else o.n for o in origins],
    }
    said = [
        {"flow": flow, "verdict": body.symbol(verdict), "reason": body.symbol(reason), "withheld": withheld}
        for flow, verdict, reason, withheld in kinds
    ]
    return {**columns, "kinds": said, "sources": [Source(*source)._asdict() for source in sources]}


def _joined(values: Sequence[bytes], width: int) -> bytes:
    """One value that is too long, and one too short, would shift all between them to other decisions."""
    if any(len(value) != width for value in values):
        raise ValueError(f"a column of {width} bytes each")
    return b"".join(values)


def _of_columns(read: Mapping[str, Any]) -> tuple[list[Kind], list[Source], list[Row]]:
    kinds, sources = [_kind_of(kind) for kind in read["kinds"]], [Source(**source) for source in read["sources"]]
    first_ms, places = read["first_ms"], read["kind"]
    times = [first_ms + after for after in read["after_ms"]]
    subjects: list[bytes | None] = [*_cut(read["subject"], _REF_BYTES)]
    _check_places(places, "kind", 0, len(kinds))
    _check_places(read["source"], "source", -1, len(sources))
    _check_places(read["without_subject"], "decision", 0, len(subjects))
    for place in read["without_subject"]:
        if subjects[place] != _NOBODY:
            raise BadRecord("decisions: a subject of a decision that is about nobody")
        subjects[place] = None
    idents = _cut(read["id"], _ID_BYTES)
    try:
        rows = list(zip(idents, times, places, subjects, read["source"], read["offset"], read["n"], strict=True))
    except ValueError:
        raise BadRecord("decisions: columns of several lengths") from None
    return kinds, sources, rows


def _cut(column: bytes, width: int) -> list[bytes]:
    if len(column) % width:
        raise BadRecord("decisions: a column that ends within a value")
    return [column[at : at + width] for at in range(0, len(column), width)]


def _check_places(places: Sequence[int], of: str, least: int, count: int) -> None:
    if places and not least <= min(places) <= max(places) < count:
        raise BadRecord(f"decisions: a {of} that the batch does not have")


def _of_rows(read: Iterable[Mapping[str, Any]]) -> tuple[list[Kind], list[Source], list[Row]]:
    kinds, sources = _Places(), _Places()
    rows: list[Row] = []
    for row in read:
        kind, origin, source = kinds[_kind_of(row)], row["origin"], -1
        if origin is not None:
            source = sources[Source(origin["rule"], origin["topic"], origin["partition"])]
        offset, n = (0, 0) if origin is None else (origin["offset"], origin["n"])
        rows.append((row["id"], row["at_ms"], kind, row["subject"], source, offset, n))
    return list(kinds), list(sources), rows


def _kind_of(said: Mapping[str, Any]) -> Kind:
    return Kind(said["flow"], _VERDICT[said["verdict"]], _REASON[said["reason"]], tuple(said["withheld"]))
