"""What the city's monitor said last: `passerelle ledger monitor --state … >> …`, run beside the ledger.

The page does not read the log itself: that takes minutes for ten million entries. It shows what a monitor wrote down,
and when it last looked; that it was quiet since is not said where nothing looked.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from passerelle.web.audit.labels import ALARMS

TAIL_BYTES = 256 * 1024
SHOWN_MAX = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class Alarm:
    """One line of the monitor. ``index`` is the entry's, where it is about one."""

    at: datetime
    kind: str
    what: str
    index: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Heard:
    """What is known: the newest alarms first. ``looked`` is when a monitor last finished a look."""

    looked: datetime
    alarms: Sequence[Alarm]
    unreadable: int
    """Lines that are no alarms: a page that left them out would be quieter than its monitor."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MonitorFiles:
    """Where a monitor of this city keeps what it verified, and writes its alarms."""

    state: Path
    alarms: Path

    def heard(self) -> Heard | None:
        """None where no monitor has looked. Reads the end of the file alone."""
        try:
            looked = datetime.fromtimestamp(self.state.stat().st_mtime, UTC)
        except OSError:
            return None
        alarms, unreadable = parse(_tail(self.alarms))
        return Heard(looked=looked, alarms=alarms, unreadable=unreadable)


def parse(lines: Sequence[str]) -> tuple[Sequence[Alarm], int]:
    """Read alarms, newest first, and count the lines that are none. Pure."""
    found, unreadable = [], 0
    for line in reversed(lines):
        try:
            said = json.loads(line)
            alarm = Alarm(
                at=datetime.fromisoformat(said["at"]),
                kind=ALARMS[said["alarm"]],
                what=str(said["what"]),
                index=None if said["index"] is None else int(said["index"]),
            )
        except (ValueError, KeyError, TypeError):
            unreadable += 1
        else:
            found.append(alarm)
    return found[:SHOWN_MAX], unreadable


def _tail(path: Path) -> Sequence[str]:
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            start = file.seek(max(0, size - TAIL_BYTES))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return []
    # What is cut begins within a line.
    return lines[1:] if start else lines
