"""Read a log with every processor: processes that read runs of bundles, and hand back what `bundles` makes of each.

They take turns, so that what they say comes in the order of the log; each has no more than `AHEAD` runs before it, so
that a log of any size needs the same memory. Ctrl-C at the terminal does not reach them: they are ended when the
reading ends, for whatever reason. When it is the process that asked which is ended, so is their pipe, and with it they.
"""

import os
import pickle
import subprocess
import sys
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import cycle, islice
from typing import IO, cast

from passerelle_consent.ledger.audit import bundles
from passerelle_consent.ledger.audit.bundles import BundleRead
from passerelle_consent.ledger.audit.published import Opener, PublishedLog
from passerelle_consent.ledger.faults import Unclear

RUN = 32
"""Bundles that are asked for at once: 8,192 entries, 50 ms of hashing or half a second of parsing."""
AHEAD = 2
"""Runs that a process has before it: one to read, and one so that it need not wait."""
PROCESSES_MAX = 8
"""More of them would wait for the one that puts everything together."""
HASHED_MIN, PARSED_MIN = 100_000, 10_000
"""Entries of a log that is worth the third of a second in which processes start."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """What a process is told first; after that, ranges of bundles."""

    opener: Opener
    size: int
    parses: bool


def how_many(log: PublishedLog, size: int, *, parses: bool) -> int:
    """Return with how many processes a log of ``size`` is read soonest; 1 is this one alone."""
    if log.opener() is None or size < (PARSED_MIN if parses else HASHED_MIN):
        return 1
    return min(PROCESSES_MAX, _processors())


def read_bundles(log: PublishedLog, size: int, *, parses: bool, processes: int) -> Generator[BundleRead, None, None]:
    """Yield every bundle of a tree of ``size``, in order; close it when you leave it early. Raises `Unclear`."""
    opener = log.opener()
    if processes == 1 or opener is None:
        for index in range(bundles.count(size)):
            yield bundles.read_bundle(log, bundles.bundle_at(index, size), parses=parses)
        return
    with ExitStack() as stack:
        readers = [stack.enter_context(_reader(log.where)) for _ in range(processes)]
        for reader in readers:
            reader.tell(Job(opener=opener, size=size, parses=parses))
        yield from _in_turn(readers, _runs(bundles.count(size)))


def _runs(count: int) -> Iterator[range]:
    return (range(first, min(first + RUN, count)) for first in range(0, count, RUN))


def _in_turn(readers: Sequence["_Reader"], runs: Iterator[range]) -> Iterator[BundleRead]:
    asked: deque[_Reader] = deque()
    for reader, run in zip(islice(cycle(readers), AHEAD * len(readers)), runs, strict=False):
        reader.tell(run)
        asked.append(reader)
    while asked:
        reader = asked.popleft()
        answer = reader.answer()
        if run_next := next(runs, None):
            reader.tell(run_next)
            asked.append(reader)
        yield from answer


@dataclass(frozen=True, kw_only=True, slots=True)
class _Reader:
    """A process that reads, and the pipes to it. What is sent fits a pipe, so that sending never waits."""

    requests: IO[bytes]
    answers: IO[bytes]
    where: str

    def tell(self, what: Job | range) -> None:
        try:
            pickle.dump(what, self.requests)
            self.requests.flush()
        except BrokenPipeError:
            raise self._ended() from None

    def answer(self) -> list[BundleRead]:
        try:
            return cast("list[BundleRead]", pickle.load(self.answers))  # noqa: S301 - from our own process
        except (EOFError, pickle.UnpicklingError):
            raise self._ended() from None

    def _ended(self) -> Unclear:
        return Unclear("a process that read it was ended", where=self.where, hint="is there memory enough?")


@contextmanager
def _reader(where: str) -> Iterator[_Reader]:
    # A fresh interpreter, and not a fork: whoever asks may have threads. -P: no file of the folder we are in is ours.
    command = [sys.executable, "-P", "-m", f"{__package__}.reader_process"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, start_new_session=True) as process:  # noqa: S603 - ours
        assert process.stdin is not None and process.stdout is not None, "they were asked for"  # noqa: S101, PT018
        try:
            yield _Reader(requests=process.stdin, answers=process.stdout, where=where)
        finally:
            process.kill()  # it only reads: there is nothing that it must finish
            with suppress(BrokenPipeError):  # of what could not be sent to one that was gone before
                process.stdin.close()


def _processors() -> int:
    """Return how many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
