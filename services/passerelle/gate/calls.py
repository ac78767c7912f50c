"""Calls of a transactional producer, and what to do when one fails.

| Error | Do |
|---|---|
| retriable | repeat the **same** call, within a bound |
| abortable, wrong state, inconsistent | abort, take over |
| the group moved on (generation, member) | abort, poll, back off, take over if still assigned |
| fenced (fatal) | drop the producer; poll, back off, take over if still assigned |
| the abort fails, or the commit's outcome is unknown | drop the producer: `init_transactions` settles it |

After any failure the producer is thrown away (fence rule 11): librdkafka speaks the first version of the transaction
protocol, where the epoch stays the same between transactions, so a late Produce could join the next one.
"""

import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import structlog
from confluent_kafka import KafkaError, KafkaException, Producer

from passerelle.envelope import Headers

P = ParamSpec("P")
T = TypeVar("T")

REPEATS_S = 12.0
"""How long a retriable call is repeated: a coordinator that moves needs a few seconds; a transaction has ten."""
REPEAT_PAUSE_S = 0.02
BACK_OFF_S = 0.1
FENCED_BACK_OFF_S_MAX = 1.5
"""Whoever was fenced first hears from the group. Without this pause two workers would fence each other in turn."""

_MOVED_ON = frozenset(
    {
        KafkaError._FENCED,  # noqa: SLF001 - how the library names its own errors
        KafkaError.PRODUCER_FENCED,
        KafkaError.INVALID_PRODUCER_EPOCH,
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.REBALANCE_IN_PROGRESS,
        KafkaError.FENCED_INSTANCE_ID,
    }
)

_log = structlog.get_logger(__name__)


class CannotProduce(Exception):
    """The producer's queue stayed full: the broker takes nothing."""


def error_of(exc: Exception) -> KafkaError | None:
    """The Kafka error inside an exception, if there is one."""
    error = exc.args[0] if isinstance(exc, KafkaException) and exc.args else None
    return error if isinstance(error, KafkaError) else None


def error_name(exc: Exception) -> str:
    """A name for logs: Kafka's own, else the class."""
    error = error_of(exc)
    return error.name() if error else type(exc).__name__


def repeat(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call, and repeat the same call while the error is retriable. Raises `KafkaException`."""
    deadline = time.monotonic() + REPEATS_S
    while True:
        try:
            return call(*args, **kwargs)
        except KafkaException as exc:
            if not _retriable(error_of(exc)) or time.monotonic() > deadline:
                raise
        time.sleep(REPEAT_PAUSE_S)


def give_up(producer: Producer, exc: Exception, *, call_s: float, session_s: float) -> float:
    """Abort what can be aborted. Returns how long to wait before the next take-over, in seconds."""
    error = error_of(exc)
    if error is None or not error.fatal():
        try:
            repeat(producer.abort_transaction, call_s)
        except KafkaException as failed:
            _log.info("abort-failed", error=error_name(failed))
    if error is not None and error.code() in _MOVED_ON:
        return min(FENCED_BACK_OFF_S_MAX, session_s / 2)
    return BACK_OFF_S


def send(
    producer: Producer, topic: str, value: bytes, *, key: bytes | None, partition: int, headers: Headers | None = None
) -> None:
    """Produce one record, waiting while the queue is full. Raises `CannotProduce`, `KafkaException`."""
    deadline = None
    while True:
        try:
            # Plain arguments: this is called for every delivery, and a packed dict would cost more than the rest of it.
            producer.produce(topic, value, key, partition, headers=headers)  # type: ignore[arg-type]
        except BufferError:
            deadline = deadline or time.monotonic() + REPEATS_S
            if time.monotonic() > deadline:
                raise CannotProduce from None
            producer.poll(0.05)
        else:
            return


def _retriable(error: KafkaError | None) -> bool:
    return error is not None and error.retriable() and not error.fatal() and not error.txn_requires_abort()
