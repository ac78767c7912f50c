"""Dead letters on the broker: their topics, the records that they are about, and what the ledger is told of them."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

import httpx
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from passerelle.config import KafkaAccess
from passerelle.dead_letters import Done
from passerelle.envelope import Headers
from passerelle.provider import NoToken
from passerelle_consent.wire import Cause, DeadLetter
from passerelle_schemas.faults import Fault
from passerelle_schemas.topics import EXCHANGE, dead_letter, partition_of

READ_MAX = 100_000
"""The latest letters of a topic that are looked at: more is a flood, which is stopped where it comes from."""
WAIT_S = 10.0
READ_S_MAX = 60.0


class RecordGone(Fault):
    """The record that a letter is about is not there any more."""

    exit_code = 1


class NotTold(Fault):
    """The ledger could not be told, so nothing is done."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """A record, as `receive.delivery` reads one."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None = field(repr=False)
    value: bytes | None = field(repr=False)
    headers: Headers = field(repr=False)


def read(access: KafkaAccess, owner: str) -> Iterator[tuple[datetime, DeadLetter]]:
    """Read an owner's letters to their end. Raises `Fault`."""
    topic = dead_letter(owner)
    consumer = _consumer(access)
    until = time.monotonic() + READ_S_MAX
    try:
        first, end = consumer.get_watermark_offsets(TopicPartition(topic, 0), WAIT_S)
        consumer.assign([TopicPartition(topic, 0, max(first, end - READ_MAX))])
        while time.monotonic() < until:
            for message in consumer.consume(1_000, 0.5):
                if _at_the_end(message):
                    return
                if message.error() is None:
                    at = datetime.fromtimestamp(message.timestamp()[1] / 1000, UTC)
                    yield at, DeadLetter.decode(message.value() or b"")
        raise _unusable(topic, TimeoutError())
    except KafkaException as exc:
        raise _unusable(topic, exc) from None
    finally:
        consumer.close()


def record_of(access: KafkaAccess, letter: DeadLetter) -> Found:
    """Return the record that a letter is about. Raises `RecordGone`, `Fault`."""
    consumer = _consumer(access)
    until = time.monotonic() + WAIT_S
    try:
        consumer.assign([TopicPartition(letter.topic, letter.partition, letter.offset)])
        while time.monotonic() < until:
            for message in consumer.consume(1, 0.5):
                if message.error() is None and message.offset() == letter.offset:
                    return _found(message)
                if message.error() is None or _at_the_end(message):
                    what = "the record is gone: its topic's retention has ended"
                    where = f"{letter.topic}[{letter.partition}]@{letter.offset}"
                    raise RecordGone(what, where=where, hint="passerelle deadletters discard")
        raise _unusable(letter.topic, TimeoutError())
    except KafkaException as exc:
        raise _unusable(letter.topic, exc) from None
    finally:
        consumer.close()


def write(access: KafkaAccess, owner: str, letters: Iterable[DeadLetter]) -> None:
    """Leave letters, in their order, on every replica. Raises `Fault`."""
    topic = dead_letter(owner)
    _produce(access, [(topic, 0, None, letter.encode(), []) for letter in letters])


def propose(access: KafkaAccess, record: Found, headers: Headers) -> None:
    """Put a record once more on the partition where it was. Raises `Fault`."""
    _produce(access, [(record.topic, record.partition, record.key, record.value, headers)])


def propose_all(access: KafkaAccess, proposals: Iterable[tuple[bytes, bytes, Headers]], partitions: int) -> None:
    """Put proposals (subject ref, value, headers) where agents put them. Raises `Fault`."""
    _produce(access, [(EXCHANGE, partition_of(key, partitions), key, value, said) for key, value, said in proposals])


def tell(base_url: str, auth: httpx.Auth, done: Done, cause: Cause, *, component: str, digest: bytes) -> str:
    """Have the ledger tell what is about to be done; return the entry's id. Raises `NotTold`.

    ``digest``: SHA-256 of the reference of a letter, or of what a re-run says of itself.
    """
    said = {"done": done.value, "component": component, "cause": cause.value, "letter": digest.hex()}
    try:
        answer = httpx.post(f"{base_url}/v1/operations/dead-letters", json=said, auth=auth, timeout=WAIT_S)
    except NoToken as fault:
        raise NotTold(fault.what, where=fault.where, hint=fault.hint) from None
    except httpx.TransportError as exc:
        hint = "nothing was done; start it: passerelle consent serve"
        raise NotTold(f"no answer ({type(exc).__name__})", where=base_url, hint=hint) from None
    if answer.status_code != httpx.codes.CREATED:
        raise NotTold(f"the consent service said no ({answer.status_code})", where=base_url, hint="nothing was done")
    return str(answer.json()["entry"])


def _consumer(access: KafkaAccess) -> Consumer:
    reading = {"group.id": "unused", "enable.auto.commit": False, "enable.partition.eof": True, "log_level": 0}
    gone = {"auto.offset.reset": "earliest", "isolation.level": "read_committed"}
    return Consumer({**access.confluent(), **reading, **gone})


def _at_the_end(message: Message) -> bool:
    error = message.error()
    return error is not None and error.code() == KafkaError._PARTITION_EOF  # noqa: SLF001 - it is its name


def _found(message: Message) -> Found:
    return Found(
        topic=message.topic() or "",
        partition=message.partition() or 0,
        offset=message.offset() or 0,
        timestamp=message.timestamp()[1],
        key=message.key(),
        value=message.value(),
        headers=_headers(message),
    )


def _headers(message: Message) -> Headers:
    found: list[tuple[str, bytes]] = message.headers() or []  # type: ignore[assignment] # as a consumer gives them
    return found


def _produce(access: KafkaAccess, records: Iterable[tuple[str, int, bytes | None, bytes | None, Headers]]) -> None:
    failed: list[KafkaError] = []

    def told(error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            failed.append(error)

    producer = Producer({**access.confluent(), "acks": "all", "enable.idempotence": True, "log_level": 0})
    topic = ""
    for topic, partition, key, value, headers in records:
        producer.produce(topic, value, key, partition, headers=dict[str, str | bytes | None](headers), on_delivery=told)
    left = producer.flush(WAIT_S)
    if failed or left:
        raise _unusable(topic, KafkaException(*failed))


def _unusable(topic: str, exc: Exception) -> Fault:
    code = getattr(exc.args[0] if exc.args else None, "name", lambda: type(exc).__name__)()
    return Fault(f"cannot be used ({code})", where=topic, hint="is the broker up? passerelle kafka status")
