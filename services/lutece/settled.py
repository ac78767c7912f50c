"""Wait until a run has come to rest: everything published is routed, decided, delivered, seen and in the ledger."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from lutece.observer import Observer
from lutece.stage import GATE_WORKERS, Stage
from passerelle.city.running import gate_names
from passerelle_consent.wire import decode_journal
from passerelle_schemas.faults import Fault
from passerelle_schemas.topics import EXCHANGE, JOURNAL

SETTLE_SECONDS_MAX = 180.0
"""Bounds the wait: a run that a fault test disturbed comes to rest within a few session time-outs."""
POLL_SECONDS = 0.2
BROKER_SECONDS_MAX = 10
JOURNAL_RECORDS_MAX = 5_000


class NotSettled(Fault):
    """Something is still on its way, or was lost."""

    exit_code = 1


@dataclass(kw_only=True)
class Settled:
    """Compares what stands in the topics with how far each reader is."""

    city: Stage
    observer: Observer
    published: int
    ledger_size: Callable[[], int]
    plan_topics: tuple[str, ...]
    """What the agents read: outboxes and join logs."""
    _readers: dict[str, Consumer] = field(default_factory=dict)
    _journal: set[bytes] = field(default_factory=set)

    def wait(self) -> None:
        """Return when nothing is missing. Raises `NotSettled` naming what is."""
        end = time.monotonic() + SETTLE_SECONDS_MAX
        try:
            while missing := self._missing():
                self.city.supervisor.check()
                self.observer.check()
                if time.monotonic() > end:
                    raise NotSettled(f"the run did not come to rest: {missing}", where=str(self.city.home.logs))
                time.sleep(POLL_SECONDS)
        finally:
            for reader in self._readers.values():
                reader.close()

    def replays_dropped(self) -> int:
        """What the gate workers say that they dropped: the last count of each."""
        return sum(self._last_stats(worker).get("replays_dropped", 0) for worker in gate_names(GATE_WORKERS))

    def _last_stats(self, worker: str) -> Mapping[str, int]:
        return next(
            (line for line in reversed(list(self.city.supervisor.lines(worker))) if line.get("event") == "stats"), {}
        )

    def _missing(self) -> str | None:
        """Say what is missing first on the way of an event; None when nothing is."""
        return next((f"{n} {what}" for n, what in self._stretches() if n > 0), None)

    def _stretches(self) -> Iterator[tuple[int, str]]:
        seen = self.observer.seen
        yield self.published - len(seen.appended_ms), "events not seen on their outboxes"
        yield self._lag(self.city.manifest.agents[0].principal, self.plan_topics), "records not taken by the agents"
        yield self._lag("gate", (EXCHANGE,)), "proposals not taken by the gate"
        yield len(seen.proposals) - len(seen.decided), "decisions not seen"
        yield seen.permitted() - len(seen.deliveries), "deliveries not seen"
        yield len(seen.decided) + self._journalled() - self.ledger_size(), "entries not in the ledger"

    def _journalled(self) -> int:
        """Entries of the journal; a relay that was interrupted may have written one twice."""
        if "journal" not in self._readers:
            reader = self._reader("journal")
            partitions = range(self.city.manifest.partitions)
            reader.assign([TopicPartition(JOURNAL, p, OFFSET_BEGINNING) for p in partitions])
        for message in self._readers["journal"].consume(JOURNAL_RECORDS_MAX, POLL_SECONDS):
            if message.error() is None:
                self._journal.add(decode_journal(bytes(message.value() or b"")).id)
        return len(self._journal)

    def _lag(self, group: str, topics: tuple[str, ...]) -> int:
        """Records that stand in the topics beyond what the group has committed."""
        reader = self._reader(group)
        ends = self._ends(reader, topics)
        held = reader.committed([TopicPartition(t, p) for t, p in ends], timeout=BROKER_SECONDS_MAX)
        return sum(max(0, ends[tp.topic, tp.partition] - max(0, tp.offset)) for tp in held)

    def _ends(self, reader: Consumer, topics: tuple[str, ...]) -> dict[tuple[str, int], int]:
        where = [TopicPartition(t, p) for t in topics for p in range(self.city.manifest.partitions)]
        found = {}
        for tp in where:
            _, end = reader.get_watermark_offsets(tp, timeout=BROKER_SECONDS_MAX)
            found[tp.topic, tp.partition] = end
        return found

    def _reader(self, group: str) -> Consumer:
        """A consumer that only asks how far the group is; it never joins."""
        if group not in self._readers:
            self._readers[group] = Consumer({**self.city.access("admin").confluent(), "group.id": group})
        return self._readers[group]
