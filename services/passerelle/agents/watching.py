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

from passerelle.agents.patience import give_up
from passerelle.agents.proposing import Out
from passerelle.agents.reading import Record
from passerelle.agents.rules import guarded, too_slow

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
    """Runs rules on records as `rules.guarded`, for ``slow_s`` each. ``path`` names what was too slow before."""

    def __init__(
        self, path: Path | None, *, owner: str, slow_s: float = SLOW_S, stop: Callable[..., NoReturn] = give_up
    ) -> None:
        self._path = path
        self._owner = owner
        self._slow_s = slow_s
        self._stop = stop
        self._passed_over = frozenset(_read(path))
        self._at: tuple[At, float] | None = None

    def start(self) -> None:
        """Begin to watch, in a thread that ends with the process."""
        threading.Thread(target=self._keep, name="watch", daemon=True).start()

    def guarded(
        self,
        component: str,
        rule: str,
        record: Record,
        attempt: Callable[[], Sequence[Out]],
        instead: Callable[[], object] = lambda: None,
    ) -> Sequence[Out]:
        """As `rules.guarded`; of a record that was too slow ``instead`` is done (it folds) and a dead letter made."""
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
        if self._path:
            _write(self._path, [*_read(self._path), at][-KEPT_MAX:])
        self._stop(
            f"a rule did not come back within {self._slow_s:.0f} s",
            **at._asdict(),
            owner=self._owner,
            hint="the next start makes a dead letter of this record (too-slow); the rule must not wait or loop",
        )

    def _keep(self) -> None:
        while True:
            time.sleep(min(1.0, self._slow_s / 4))
            self.look()


def _read(path: Path | None) -> list[At]:
    """What is no list of records is none: the record is then run, and found, again."""
    if path is None:
        return []
    with suppress(OSError, ValueError, TypeError):
        return [At(*one) for one in json.loads(path.read_text("utf-8"))]
    return []


def _write(path: Path, kept: list[At]) -> None:
    """Whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    beside = path.with_suffix(f".{os.getpid()}")
    beside.write_text(json.dumps(kept), "utf-8")
    beside.replace(path)
