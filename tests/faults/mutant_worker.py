"""A gate worker that breaks one rule of the fence on purpose: what the judge must find.

Run by `workers.py` in place of `passerelle gate run`. Everything but the one rule is the gate's own code. A mutant
stops itself (SIGSTOP) where it hurts most, now and then, and whoever watches continues it; a correct worker may be
stopped at the same places without harm.
"""

import argparse
import os
import random
import signal
from typing import Any

from confluent_kafka import Consumer, Producer, TopicPartition

from passerelle.config import settings
from passerelle.gate.clients import Timings
from passerelle.gate.judge import Judged
from passerelle.gate.run import PRINCIPAL, serve
from passerelle.gate.task import Task
from passerelle_consent.wire import FenceMark, encode_fence
from passerelle_schemas.topics import CONSENT, FENCE

if not __package__:  # run as a script: its siblings are found from the folder above
    import sys
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from faults.workers import SESSION_MS, TRANSACTION_MS

STOPS = 0.1
"""Of the transactions that could hurt."""
CATCH_UP_S = 0.05


class Stopping(Task):
    """Breaks nothing. Stops itself at the places that a mutant names, in some of its transactions."""

    stops = False

    def applied_at_begin(self) -> int:
        self.stops = random.random() < STOPS
        return super().applied_at_begin()

    def stop_here(self) -> None:
        if self.stops:
            os.kill(os.getpid(), signal.SIGSTOP)


class OffsetsApart(Stopping):
    """Rule 1 broken: the offsets are committed in a transaction of their own, before the one that releases.

    Whoever takes over in between begins behind what was never decided. So somebody must be there to take over: only
    every other worker, in the order of their birth, stops itself.
    """

    _judged: Judged | None = None

    def applied_at_begin(self) -> int:
        applied = super().applied_at_begin()
        self.stops = self.stops and int(self._worker.rpartition("-")[2]) % 2 == 1
        return applied

    def release(self, judged: Judged) -> None:
        self._judged = judged

    def commit(self) -> None:
        super().commit()
        judged, self._judged = self._judged, None
        if judged is not None:
            if judged.decisions.decisions:  # a transaction that only applies consent has nothing to lose here
                self.stop_here()
            self.producer.begin_transaction()
            super().release(judged)
            super().commit()


class Following(Stopping):
    """Can read on in `consent[i]` by itself, at a time when the gate does not."""

    def __init__(self, **parts: Any) -> None:
        super().__init__(**parts)
        access = settings().access(PRINCIPAL).confluent()
        self._reader = Consumer({**access, "group.id": PRINCIPAL, "enable.auto.commit": False})
        self._reader.assign([TopicPartition(CONSENT, self.state.partition, self.state.applied)])

    def catch_up(self) -> None:
        """Apply what `consent[i]` holds by now."""
        for message in self._reader.consume(1_000, CATCH_UP_S):
            if message.error() is None:
                self.state.apply_consent(message.offset() or 0, message.key(), message.value())


class FenceApart(Following):
    """Rule 1 broken: the position is told by a producer of its own as soon as it is reached, whatever is still open.

    The acknowledgement then says nothing about the transaction in which older decisions wait for their commit.
    """

    def __init__(self, **parts: Any) -> None:
        super().__init__(**parts)
        self._teller = Producer({**settings().access(PRINCIPAL).confluent(), "enable.idempotence": True})

    def mark_fence(self, applied: int) -> None:
        """Not in the transaction."""

    def send_offsets(self, offsets: list[TopicPartition]) -> None:
        self.stop_here()
        self.catch_up()
        mark = encode_fence(FenceMark(applied=self.state.applied, worker=self._worker))
        partition = self.state.partition
        self._teller.produce(FENCE, key=str(partition).encode(), value=mark, partition=partition)
        self._teller.flush(self._call_s)
        self.stop_here()
        super().send_offsets(offsets)


class LateConsent(Following):
    """Rule 2 broken: consent is applied in mid-transaction, and the transaction commits the position reached then.

    What it releases was decided on an older standing than it says.
    """

    def offsets_to_commit(self, decided: int, applied: int) -> list[TopicPartition]:
        self.stop_here()
        self.catch_up()
        late = self.state.applied
        if late > applied:
            self.mark_fence(late)
        return super().offsets_to_commit(decided, late)


RULES: dict[str, type[Task]] = {
    "none": Stopping,
    "offsets-apart": OffsetsApart,
    "fence-apart": FenceApart,
    "late-consent": LateConsent,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rule", choices=sorted(RULES), required=True)
    parser.add_argument("--worker", required=True)
    args = parser.parse_args()
    timings = Timings(session_ms=SESSION_MS, transaction_ms=TRANSACTION_MS)
    serve(args.worker, timings, make_task=RULES[args.rule])


if __name__ == "__main__":
    main()
