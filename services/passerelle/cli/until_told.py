"""Run a coroutine until SIGTERM or Ctrl-C: it is cancelled, and ends what it has open."""

import asyncio
import signal
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any


def until_told(running: Coroutine[Any, Any, None]) -> None:
    """Return when it has ended. Raises what it raises."""
    asyncio.run(_until_told(running))


async def _until_told(running: Coroutine[Any, Any, None]) -> None:
    task = asyncio.create_task(running)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    with suppress(asyncio.CancelledError):
        await task
