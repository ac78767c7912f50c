"""How long a worker keeps trying, and what it does then (DESIGN §5a, rule 4)."""

import asyncio
import os
import sys
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NoReturn

import structlog
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    InvalidTopicError,
    KafkaError,
    MessageSizeTooLargeError,
    OutOfOrderSequenceNumber,
    ProducerFenced,
    TopicAuthorizationFailedError,
    UnknownProducerId,
)

log = structlog.get_logger()

PATIENCE_S = 90.0
"""A broker restarts within this; beyond it a fresh process (sockets, metadata, producer id) is the better try."""

BACKOFF_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Pauses between repetitions; the last one repeats. 90 s hold about 20 repetitions."""

GAVE_UP = 75
"""EX_TEMPFAIL of sysexits.h: whoever supervises the process starts it again."""

FATAL = (
    TopicAuthorizationFailedError,
    GroupAuthorizationFailedError,
    ClusterAuthorizationFailedError,
    InvalidTopicError,
    MessageSizeTooLargeError,
    # The producer's sequence is broken for good: only a new producer id helps, so only a new process.
    OutOfOrderSequenceNumber,
    ProducerFenced,
    UnknownProducerId,
)


class BrokerFault(Exception):
    """A fault that should pass, and is no `KafkaError` (a checkpoint that is not ours): repeat the batch."""


def give_up(why: str, **where: object) -> NoReturn:
    """Crash-only: nothing unacknowledged was committed, so a new process loses nothing. Does not return."""
    log.critical("gave up", why=why, exit_code=GAVE_UP, **where)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(GAVE_UP)


class Patience:
    """One batch's time. `progress` starts it anew: a long fold that advances is not a broker that does not answer."""

    def __init__(self, timeout: asyncio.Timeout) -> None:
        self._timeout = timeout

    def progress(self) -> None:
        """Something was achieved."""
        self._timeout.reschedule(asyncio.get_running_loop().time() + PATIENCE_S)


async def until_done(
    attempt: Callable[[Patience], Awaitable[None]], *, stop: Callable[..., NoReturn] = give_up, **where: object
) -> None:
    """Repeat until it succeeds; stop the process when it cannot, or has not for `PATIENCE_S`.

    The time limit is ours: an idempotent aiokafka producer never lets a send expire.
    """
    tries = 0
    try:
        async with asyncio.timeout(PATIENCE_S) as timeout:
            while True:
                try:
                    return await attempt(Patience(timeout))
                except FATAL as exc:
                    stop(type(exc).__name__, refused=_named(exc), **where)
                except (KafkaError, BrokerFault) as exc:
                    tries += 1
                    log.info("tried again", error=type(exc).__name__, tries=tries, **where)
                    await asyncio.sleep(BACKOFF_S[min(tries, len(BACKOFF_S)) - 1])
    except TimeoutError:
        stop(f"no success for {PATIENCE_S:.0f} s", **where)
    except Exception as exc:  # noqa: BLE001 - the process ends on it
        # A fault of the kit itself: do not guess, do not acknowledge. No traceback: a pretty one shows local variables.
        stop(type(exc).__name__, raised_at=_place(exc), **where)


def _place(exc: Exception) -> str:
    """File and line that raised it."""
    *_, (frame, line) = traceback.walk_tb(exc.__traceback__)
    return f"{Path(frame.f_code.co_filename).name}:{line}"


def _named(exc: Exception) -> str | None:
    """The topic that an authorisation error names. Other errors' messages may quote what was sent."""
    return str(exc.args[0])[:249] if isinstance(exc, TopicAuthorizationFailedError) and exc.args else None
