"""Anniversaries and periods by the calendar. Pure.

A day begins at midnight UTC, here as in an agreement's `in_force`: in France that is an hour or two after the day
began, so a minor stays one that much longer, and nobody is taken for an adult too early.
"""

import re
from datetime import UTC, date, datetime, time, timedelta

MAJORITY_YEARS = 18
"""French Civil Code, art. 414."""

_PERIOD = re.compile(r"P(?:(\d{1,2})Y)?(?:(\d{1,3})M)?(?:(\d{1,3})W)?(?:(\d{1,4})D)?")
_MONTHS = 12


class BadPeriod(ValueError):
    """No ISO 8601 duration of years, months, weeks and days, or one of no length."""


def midnight_ms(day: date) -> int:
    """Return the beginning of a day, epoch milliseconds."""
    return int(datetime.combine(day, time(), UTC).timestamp()) * 1000


def majority_ms(born: date) -> int:
    """Return the instant of the 18th birthday; who was born on a 29 February has it on 1 March."""
    return midnight_ms(_anniversary(born, MAJORITY_YEARS))


def reached_ms(minor_until_ms: int, age: int) -> int:
    """Return the instant at which a minor who comes of age then has reached this age.

    Counted back from majority, since no birth date is kept. Who was born on a 29 February comes of age on 1 March, and
    so reaches 16 on 1 March too, a day late.
    """
    return midnight_ms(_anniversary(_day(minor_until_ms), age - MAJORITY_YEARS))


def end_ms(from_ms: int, period: str) -> int:
    """Return the instant at which an ISO 8601 duration that begins then is over. Raises `BadPeriod`.

    Years and months are the calendar's; a month that has no such day ends on its last.
    """
    found = _PERIOD.fullmatch(period)
    years, months, weeks, days = (int(n or 0) for n in found.groups()) if found else (0, 0, 0, 0)
    if not any((years, months, weeks, days)):
        raise BadPeriod(f"{period!r} is no duration as P1Y or P18M")
    begun = _day(from_ms)
    month = begun.month - 1 + months
    first = date(begun.year + years + month // _MONTHS, month % _MONTHS + 1, 1)
    day = min(begun.day, _days_of(first)) - 1 + 7 * weeks + days
    return midnight_ms(first + timedelta(days=day)) + from_ms - midnight_ms(begun)


def _anniversary(day: date, years: int) -> date:
    try:
        return day.replace(year=day.year + years)
    except ValueError:  # a 29 February in a year that has none
        return date(day.year + years, 3, 1)


def _day(at_ms: int) -> date:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at_ms)).date()


def _days_of(first: date) -> int:
    return ((first + timedelta(days=31)).replace(day=1) - first).days
