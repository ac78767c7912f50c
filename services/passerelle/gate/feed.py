"""Follows `consent[i]` for the tasks of a worker, between their transactions (fence rule 2)."""

from collections.abc import Mapping

import structlog
from confluent_kafka import Consumer, TopicPartition

from passerelle.gate.state import TaskState
from passerelle_schemas.topics import CONSENT

BATCH = 5_000
BATCHES_A_ROUND_MAX = 20
"""A flood of consent must not keep proposals waiting for ever: the rest is applied in the next round, and what is not
applied is not acknowledged either."""

_log = structlog.get_logger(__name__)


class Feed:
    """One consumer over the consent partitions of the tasks that are up."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer
        self._states: Mapping[int, TaskState] = {}

    def follow(self, states: Mapping[int, TaskState]) -> None:
        """Follow these tasks from where each of them stands, and no others."""
        self._states = dict(states)
        if states:
            self._consumer.assign([TopicPartition(CONSENT, p, s.applied) for p, s in states.items()])
        else:
            self._consumer.unassign()

    def apply(self) -> set[int]:
        """Apply what is new. Returns the partitions that cannot be followed any more: they must be loaded again."""
        lost: set[int] = set()
        for _ in range(BATCHES_A_ROUND_MAX):
            messages = self._consumer.consume(BATCH, 0)
            for message in messages:
                partition, offset, error = message.partition(), message.offset(), message.error()
                state = self._states.get(-1 if partition is None else partition)
                if error is not None:
                    _log.warning("consent-feed", partition=partition, error=error.name())
                    lost |= {state.partition} if state and not error.retriable() else set()
                elif state is not None and offset is not None:
                    state.apply_consent(offset, message.key(), message.value())
            if len(messages) < BATCH:
                break
        return lost

    def close(self) -> None:
        """Close the consumer."""
        self._consumer.close()
