"""A rule that does not come back: the process ends, and on its next start passes over that one record.

An author's function runs in the event loop, so nothing within the loop can stop it, nor can a thread. What a thread
can do is to note which rule was at which record, and to end the process: nothing unacknowledged was committed. A
function that blocks in C without giving the interpreter back stops the thread too; the broker then gives the
partitions to another worker, which meets the same record.
"""

import json
import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, NoReturn

import structlog

from passerelle.agents.patience import give_up
from passerelle.agents.proposing import Out
from passerelle.agents.reading import Record
from passerelle.agents.rules import guarded, too_slow

log = structlog.get_logger()

SLOW_S = 20.0
"""What a rule may take for one record. A rule's work is microseconds; beyond this it waits, or loops."""

KEPT_MAX = 1_000
"""Records that are passed over, the newest: each cost a start of the process, and is committed soon after."""


class At(NamedTuple):
    """A rule, and the record that it is at."""

    rule: str
    topic: str
    partition: int
    offset: int


class Watch:
    """Runs rules on records as `rules.guarded`, for ``slow_s`` each.

    ``path`` names what was too slow before, of one ``cluster``: on a broker made anew an offset is another record.
    """

    def __init__(
        self,
        path: Path | None,
        *,
        owner: str,
        cluster: str = "",
        slow_s: float = SLOW_S,
        stop: Callable[..., NoReturn] = give_up,
    ) -> None:
        self._path = path
        self._owner = owner
        self._cluster = cluster
        self._slow_s = slow_s
        self._stop = stop
        self._passed_over: frozenset[At] = frozenset()
        self._at: tuple[At, float] | None = None
        self.refresh()

    def start(self) -> None:
        """Begin to watch, in a thread that ends with the process."""
        threading.Thread(target=self._keep, name="watch", daemon=True).start()

    def refresh(self) -> None:
        """Hear of what another worker on this host did not come back from, whose partitions may be ours now."""
        self._passed_over = frozenset(_read(self._path, self._cluster))

    def passes_over(self, rule: str, record: Record) -> bool:
        """Whether the rule did not come back from the record before."""
        return At(rule, record.topic, record.partition, record.offset) in self._passed_over

    def guarded(
        self,
        component: str,
        rule: str,
        record: Record,
        attempt: Callable[[], Sequence[Out]],
        instead: Callable[[], object] = lambda: None,
    ) -> Sequence[Out]:
        """As `rules.guarded`; of a record that was too slow ``instead`` is done (it counts) and a dead letter made."""
        at = At(rule, record.topic, record.partition, record.offset)
        if at in self._passed_over:
            return too_slow(component, rule, record, instead)
        self._at = at, time.monotonic() + self._slow_s
        try:
            return guarded(component, rule, record, attempt)
        finally:
            self._at = None

    def look(self) -> None:
        """End the process if a rule has been at one record for too long."""
        seen = self._at
        if seen is None or time.monotonic() < seen[1]:
            return
        at, _ = seen
        self._note(at)
        self._stop(
            f"a rule did not come back within {self._slow_s:.0f} s",
            **at._asdict(),
            owner=self._owner,
            hint="the next start makes a dead letter of this record (too-slow); the rule must not wait or loop",
        )

    def _note(self, at: At) -> None:
        """A disk that is full must not keep a process that stands still: the next start meets the record again."""
        if self._path is None:
            return
        before = [one for one in _read(self._path, self._cluster) if one != at]
        try:
            _write(self._path, self._cluster, [*before, at][-KEPT_MAX:])
        except OSError as exc:
            log.warning("cannot note what was too slow", path=str(self._path), error=type(exc).__name__)

    def _keep(self) -> None:
        while True:
            time.sleep(min(1.0, self._slow_s / 4))
            self.look()


def _read(path: Path | None, cluster: str) -> list[At]:
    """What is no list of records of this cluster is none: the record is then run, and found, again."""
    if path is None:
        return []
    with suppress(OSError, ValueError, TypeError, KeyError):
        said = json.loads(path.read_text("utf-8"))
        return [At(*one) for one in said["records"]] if said["cluster"] == cluster else []
    return []


def _write(path: Path, cluster: str, kept: list[At]) -> None:
    """Whole or not at all. Raises `OSError`."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    beside = path.with_suffix(f".{os.getpid()}")
    beside.write_text(json.dumps({"cluster": cluster, "records": kept}), "utf-8")
    beside.replace(path)
