"""A proposal that the gate could not take, proposed once more. Pure.

The gate drops what its source marks say was decided (DESIGN §6), so the proposal comes from a source of its own: its
origin names the rule as ``<rule>~<run>``. A run is decided once, however often it is proposed.
"""

from collections.abc import Iterable
from dataclasses import replace

from passerelle.envelope import Headers
from passerelle_consent.wire import BadRecord, Origin

MARK = "~"
ORIGIN = "ce_origin"


def again(headers: Iterable[tuple[str, bytes]], run: str) -> Headers:
    """Return the headers with the run's origin, and else as they are: the event's id is the same."""
    return [(name, _renamed(value, run) if name == ORIGIN else value) for name, value in headers]


def _renamed(raw: bytes, run: str) -> bytes:
    try:
        origin = Origin.parse(raw.decode())
    except (UnicodeDecodeError, BadRecord):
        return raw
    return replace(origin, rule=f"{origin.rule}{MARK}{run}").text().encode()
