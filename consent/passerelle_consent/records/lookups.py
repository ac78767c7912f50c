"""Looks at the published log: on few threads, and a bounded queue before them.

An auditor may ask for much at once. What citizens and departments ask runs on other threads, and does not wait for it.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import structlog

from passerelle_consent.records import problems
from passerelle_consent.records.log import PublishedLog
from passerelle_consent.records.ports import LedgerAway
from passerelle_consent.records.problems import Problem

T = TypeVar("T")

THREADS = 2
"""They share one interpreter with everything else: more would only wait for each other."""

WAITING_MAX = 64
"""Each takes some 2 to 30 ms: about a second of work. Beyond it a client hears `overloaded` at once."""

_log = structlog.get_logger("lookups")


class Lookups:
    """Asks the log. `close` after use."""

    def __init__(self, log: PublishedLog) -> None:
        self._published = log
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="log")
        self._waiting = 0

    async def ask(self, question: Callable[[PublishedLog], T]) -> T:
        """Return the answer. Raises `Problem` overloaded, ledger-unavailable, and what the question raises."""
        if self._waiting >= WAITING_MAX:
            raise Problem(problems.OVERLOADED)
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, question, self._published)
        except LedgerAway as away:
            _log.warning("log away", error=str(away))
            raise Problem(problems.LEDGER_UNAVAILABLE) from None
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Finish what is under way; leave the rest."""
        self._threads.shutdown(wait=True, cancel_futures=True)
