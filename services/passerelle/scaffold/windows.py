"""What a rule with a window needs beyond its events: how long it is, its imports, and times for its scenario."""

import re
from datetime import UTC, datetime, timedelta

from passerelle_schemas.faults import Fault

_SPAN = re.compile(r"P(?=.)(?:(\d{1,3})D)?(?:T(?=.)(?:(\d{1,4})H)?(?:(\d{1,5})M)?)?")

SHORTEST, LONGEST = timedelta(minutes=1), timedelta(days=11)
"""A join holds events for twice its window, and no longer than 23 days (agents/DECISIONS.md, 5)."""

_FIRST = datetime(2026, 1, 5, tzinfo=UTC)
"""When a scenario begins: after the day from which the agreements made with it are in force, and in the past."""

_BEFORE_IMPORTS = re.compile(r"^(?=(?:from|import) )", re.MULTILINE)
_AGENTS = re.compile(r"^from passerelle\.agents import [\w, ]+$", re.MULTILINE)


def span(text: str) -> timedelta:
    """Read ``P7D``, ``PT12H``, ``P1DT30M`` (ISO 8601). Raises `Fault`."""
    found = _SPAN.fullmatch(text)
    if found is None:
        raise Fault(f"{text} is no window", hint="for example P7D, PT12H or PT30M (ISO 8601)")
    days, hours, minutes = (int(n or 0) for n in found.groups())
    window = timedelta(days=days, hours=hours, minutes=minutes)
    if not SHORTEST <= window <= LONGEST:
        raise Fault(f"a window of {text} is not between a minute and {LONGEST.days} days")
    return window


def written(window: timedelta) -> str:
    """As Python code says it."""
    minutes = int(window.total_seconds()) // 60
    for unit, size in (("days", 24 * 60), ("hours", 60), ("minutes", 1)):
        if minutes % size == 0:
            return f"timedelta({unit}={minutes // size})"
    raise AssertionError(window)


def begins(window: timedelta) -> datetime:
    """Return the first beginning of such a window in a scenario's time: windows follow each other from 1970 on."""
    size = int(window.total_seconds())
    return datetime.fromtimestamp(-(-int(_FIRST.timestamp()) // size) * size, UTC)


def instant(at: datetime) -> str:
    """RFC 3339, to the second."""
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"


def importing(code: str, *, folds: bool = False) -> str:
    """Return the module with the imports that a rule with a window needs, where they are missing."""
    if not re.search(r"^from datetime import .*\btimedelta\b", code, re.MULTILINE):
        code = _BEFORE_IMPORTS.sub("from datetime import timedelta\n", code, count=1)
    if folds and not re.search(r"^from passerelle\.agents import .*\bfolded\b", code, re.MULTILINE):
        if _AGENTS.search(code):
            return _AGENTS.sub(r"\g<0>, folded", code, count=1)
        return _BEFORE_IMPORTS.sub("from passerelle.agents import folded\n", code, count=1)
    return code
