"""Serve an application over HTTP until SIGTERM: the listening socket, and how the server is set."""

import gc
import signal
import socket
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import uvicorn

REQUESTS_AT_ONCE = 2_000
"""Connections beyond it are answered 503 at once; each waits 2 s at most, so a thousand withdrawals a second fit."""

DRAIN_S = 10
"""How long requests may finish after SIGTERM: five times the longest that one waits."""

KEEP_ALIVE_S = 75
"""Longer than clients keep an idle connection (httpx 5 s, browsers and proxies up to 60 s): they close it, never we, so
that no request meets a connection that is just being closed."""

SWITCH_S = 0.0005
"""How long a thread keeps the interpreter from another that wants it (`sys.setswitchinterval`)."""


def settle() -> None:
    """Say that all is loaded: the collector leaves it alone, and threads hand the interpreter over soon.

    A change on PostgreSQL is a dozen statements, each awaited in a thread that then needs the interpreter back: at
    Python's 5 ms a time, a busy event loop would keep it for longer than the statements take.
    """
    gc.freeze()
    sys.setswitchinterval(SWITCH_S)


def listen(host: str, port: int) -> socket.socket:
    """Bind, so that a port that is taken is one line. Raises `Fault`."""
    from passerelle_schemas.faults import Fault

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With its protocol by name: asyncio turns Nagle's algorithm off for no other, and an answer in two writes, head and
    # body, would then wait some 40 ms for the client's delayed acknowledgement of the first.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as exc:
        listening.close()
        hint = "choose another port, or let one be found: --port 0"
        raise Fault(f"cannot listen: {exc.strerror}", where=f"{host}:{port}", hint=hint) from None
    return listening


def server(application: Any) -> "uvicorn.Server":
    """Return the server; whoever calls starts and stops what is behind the application."""
    import uvicorn

    return uvicorn.Server(
        uvicorn.Config(
            application,
            log_config=None,
            access_log=False,
            http="httptools",
            server_header=False,
            date_header=False,
            limit_concurrency=REQUESTS_AT_ONCE,
            timeout_graceful_shutdown=DRAIN_S,
            timeout_keep_alive=KEEP_ALIVE_S,
            lifespan="off",  # what is behind is started by hand, so that a fault is one line and no traceback
        )
    )


async def serve(running: "uvicorn.Server", listening: socket.socket, component: str) -> None:
    """Listen, say so, and serve until told to end."""
    import structlog

    listening.listen()
    address, port = listening.getsockname()[:2]
    structlog.get_logger(component).info("ready", address=f"http://{address}:{port}")
    _finish_on_signals()
    await running.serve(sockets=[listening])


def _finish_on_signals() -> None:
    """Uvicorn raises the signal that ended it once more when it is done; by then it is only a matter of stopping."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
