"""Logs: one canonical line per unit of work, JSON in files, pretty on a terminal. No person in any of them (P8)."""

import logging
import sys
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any, TextIO

import structlog

FORBIDDEN = frozenset(
    {
        "body",
        "email",
        "family_name",
        "given_names",
        "identity",
        "key",
        "name",
        "payload",
        "phone",
        "pseudonym",
        "subject",
        "subject_ref",
        "token",
        "value",
    }
)
"""Keys that a log line must not carry, whatever the caller means well."""


def scrub(_logger: object, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Blank what stands under a forbidden key, and say that it was there."""
    for name in FORBIDDEN & line.keys():
        line[name] = "[scrubbed]"
    return line


def error_class(_logger: object, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Keep of an exception its class and where it was raised: its message may quote a payload."""
    found = line.pop("exc_info", None)
    exc = sys.exc_info()[1] if found is True else found[1] if isinstance(found, tuple) else found
    if isinstance(exc, BaseException):
        line["error"] = type(exc).__name__
        frame = exc.__traceback__
        while frame is not None and frame.tb_next is not None:
            frame = frame.tb_next
        if frame is not None:
            line["raised_at"] = f"{Path(frame.tb_frame.f_code.co_filename).name}:{frame.tb_lineno}"
    return line


def configure(component: str, file: TextIO | None = None) -> None:
    """Set logging up for a process: JSON lines on ``file`` (standard error by default), pretty on a terminal."""
    out = file or sys.stderr
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer() if out.isatty() else structlog.processors.JSONRenderer()
    )
    shared: list[structlog.typing.Processor] = [
        _named(component),
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        error_class,
        scrub,
    ]
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(file=out),
        cache_logger_on_first_use=True,
    )
    _route_libraries(out, shared, renderer)


def _named(component: str) -> structlog.typing.Processor:
    """Say whose line it is. A processor and no context variable, since threads do not inherit those."""

    def add(_logger: object, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        line.setdefault("component", component)
        return line

    return add


def _route_libraries(
    out: TextIO, shared: list[structlog.typing.Processor], renderer: structlog.typing.Processor
) -> None:
    """Send the libraries' own warnings through the same processors; their chatter below that is dropped."""
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
