"""Read a finished run back into its history: topics by a client, transactions from the broker's segment files."""

import base64
import bisect
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from faults import segments
from faults.history import Consent, Decided, Delivery, End, Exchange, Fence, Policy, Position, Recorder
from passerelle.config import KafkaAccess
from passerelle_consent.policy.bundle import PolicyBundle
from passerelle_consent.wire import POLICY_KEY, Origin, decode_decisions, decode_fence, decode_standing, encode_standing
from passerelle_schemas.topics import CONSENT, DECISIONS, EXCHANGE, FENCE, inbox

GROUP = "gate"
READ_S_MAX = 60.0
AT_ONCE = 5_000
WAIT_S = 0.05
"""`consume` returns early only when it has `AT_ONCE` messages, so the last wait of each topic is for nothing."""


def collect(
    recorder: Recorder,
    *,
    access: KafkaAccess,
    data: Path,
    partitions: int,
    recipients: list[str],
    drained: bool,
    committed: dict[int, int],
) -> None:
    """Write everything that the judge needs beside what was recorded during the run. ``data``: the broker's logs."""
    read = Topics(access, partitions)
    _consent(recorder, read)
    recorder.write(*map(_exchange, read.all(EXCHANGE)))
    for record in read.all(FENCE):
        mark = decode_fence(record.value or b"")
        recorder.write(Fence(record.partition, record.offset, mark.applied, mark.worker))
    for record in read.all(DECISIONS):
        recorder.write(*_decisions(record))
    for recipient in recipients:
        recorder.write(*_inbox(read, recipient, data, partitions))
    recorder.write(*_positions(data))
    recorder.write(End(drained, {str(p): offset for p, offset in committed.items()}))


class Row(NamedTuple):
    """A record of a topic."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: dict[str, str]


class Topics:
    """Reads whole topics, read_committed."""

    def __init__(self, access: KafkaAccess, partitions: int) -> None:
        self._partitions = partitions
        self._settings = {
            **access.confluent(),
            "group.id": "history",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            # The end of a partition is told when a fetch of it comes back: at the default, half a second later.
            "fetch.wait.max.ms": 10,
        }

    def all(self, topic: str) -> Iterator[Row]:
        """Every record, to the end of each partition. Raises `TimeoutError`."""
        consumer = Consumer(self._settings)
        try:
            consumer.list_topics(topic, READ_S_MAX)  # a topic that the client has not met waits for its next second
            consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in range(self._partitions)])
            yield from self._to_the_ends(consumer, topic)
        finally:
            consumer.close()

    def _to_the_ends(self, consumer: Consumer, topic: str) -> Iterator[Row]:
        left, end = self._partitions, time.monotonic() + READ_S_MAX
        while left:
            messages = consumer.consume(AT_ONCE, WAIT_S)
            if messages:
                end = time.monotonic() + READ_S_MAX
            elif time.monotonic() > end:
                raise TimeoutError(f"{topic} was not read to its ends")
            for message in messages:
                error = message.error()
                if error is None:
                    yield _row(message)
                elif error.code() == KafkaError._PARTITION_EOF:
                    left -= 1
                else:
                    raise KafkaException(error)


def _row(message: Message) -> Row:
    headers: Any = message.headers() or []
    texts = {name: value.decode(errors="replace") for name, value in headers}
    return Row(message.partition() or 0, message.offset() or 0, message.key(), message.value(), texts)


def _consent(recorder: Recorder, read: Topics) -> None:
    known: set[str] = set()
    for record in read.all(CONSENT):
        if record.key != POLICY_KEY:
            standing = None if record.value is None else _plain(record.value)
            recorder.write(Consent(record.partition, record.offset, (record.key or b"").hex(), None, standing))
            continue
        bundle = PolicyBundle.unpack(record.value or b"")
        digest = bundle.digest.hex()
        if digest not in known:
            known.add(digest)
            recorder.write(Policy(digest, json.loads(bundle.canonical)))
        recorder.write(Consent(record.partition, record.offset, None, digest, None))


def _plain(value: bytes) -> dict[str, Any]:
    """A standing as JSON values. What cannot be read back to the same bytes is not what was written."""
    standing = decode_standing(value)
    if encode_standing(standing) != value:
        raise ValueError("a standing does not survive its own wire format")
    return {
        "linked": standing.linked,
        "restricted_since_ms": standing.restricted_since_ms,
        "stances": {
            id_: {"state": s.state.value, "notice": s.notice, "at_ms": s.at_ms, "until_ms": s.until_ms}
            for id_, s in standing.stances.items()
        },
        "overrides": [{"agreement": o.agreement, "until_ms": o.until_ms} for o in standing.overrides],
        "minor_until_ms": standing.minor_until_ms,
        "protection": standing.protection and standing.protection.value,
    }


def _exchange(record: Row) -> Exchange:
    h = record.headers
    return Exchange(
        record.partition,
        record.offset,
        None if record.key is None else record.key.hex(),
        h.get("ce_id"),
        h.get("ce_flow"),
        h.get("ce_origin"),
        h.get("ce_type"),
        None if record.value is None else base64.b64encode(record.value).decode(),
    )


def _decisions(record: Row) -> Iterator[Decided]:
    batch = decode_decisions(record.value or b"")
    for d in batch.decisions:
        yield Decided(
            record.partition,
            record.offset,
            d.id.hex(),
            d.at_ms,
            d.verdict.value,
            d.reason.value,
            None if d.flow < 0 else batch.flows[d.flow].flow,
            list(d.withheld),
            None if d.subject is None else d.subject.hex(),
            _origin(d.origin),
            batch.policy.hex(),
        )


def _origin(origin: Origin | None) -> str | None:
    return None if origin is None else origin.text()


def _inbox(read: Topics, recipient: str, data: Path, partitions: int) -> Iterator[Delivery]:
    topic = inbox(recipient)
    ended = {p: segments.spans(data / f"{topic}-{p}") for p in range(partitions)}
    for record in read.all(topic):
        h = record.headers
        yield Delivery(
            recipient,
            record.partition,
            record.offset,
            (record.key or b"").hex(),
            h["ce_id"],
            h["ce_flow"],
            h["ce_decisionid"],
            h["ce_purpose"],
            h["ce_policy"],
            h["ce_type"],
            base64.b64encode(record.value or b"").decode(),
            _marker(ended[record.partition], record.offset),
        )


def _marker(spans: list[segments.Span], offset: int) -> int | None:
    """Where the transaction of this record was committed; None when the file does not say so."""
    at = bisect.bisect_right(spans, offset, key=lambda s: s.first) - 1
    if at < 0 or not spans[at].first <= offset <= spans[at].last or not spans[at].committed:
        return None
    return spans[at].marker


def _positions(data: Path) -> Iterator[Position]:
    for commit in segments.commits(data, GROUP):
        for partition in sorted({p for _, p in commit.offsets}):
            exchange, consent = (commit.offsets.get((topic, partition)) for topic in (EXCHANGE, CONSENT))
            yield Position(partition, exchange, consent)
