"""Times and numbers as people of a language write them (CLDR, by Babel), in the city's own time. Pure."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from babel import Locale, dates, numbers

from passerelle.web.languages import Language

_LOCALES = {language: Locale.parse(language.value) for language in Language}
_DAY_PATTERNS = {Language.FR: "EEEE d MMMM y", Language.EN: "EEEE d MMMM y"}
_SHORT_PATTERNS = {Language.FR: "d MMM y", Language.EN: "d MMM y"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Formats:
    """How one language writes."""

    language: Language
    zone: ZoneInfo

    def instant(self, at: str | datetime) -> str:
        """To the millisecond: `14:03:22,118`, in English `14:03:22.118`."""
        local = self._local(at)
        comma = "," if self.language is Language.FR else "."
        return f"{local:%H:%M:%S}{comma}{local.microsecond // 1000:03d}"

    def clock(self, at: str | datetime) -> str:
        """To the minute: `14:03`."""
        return f"{self._local(at):%H:%M}"

    def day(self, at: str | date) -> str:
        """With its weekday: `lundi 23 novembre 2026`."""
        return _date(self._day(at), _DAY_PATTERNS[self.language], self.language)

    def short_date(self, at: str | date) -> str:
        """Short: `23 nov. 2026`."""
        return _date(self._day(at), _SHORT_PATTERNS[self.language], self.language)

    def long_date(self, at: str | date) -> str:
        """Without its weekday: `23 novembre 2026`."""
        return _date(self._day(at), "d MMMM y", self.language)

    def month(self, at: str | date) -> str:
        """`novembre 2026`."""
        return dates.format_date(self._day(at), "MMMM y", locale=_LOCALES[self.language])

    def offset(self, at: str | datetime) -> str:
        """`UTC+1`."""
        seconds = int((self._local(at).utcoffset() or timedelta()).total_seconds())
        hours, minutes = divmod(abs(seconds) // 60, 60)
        return f"UTC{'-' if seconds < 0 else '+'}{hours}" + (f":{minutes:02d}" if minutes else "")

    def number(self, value: float) -> str:
        """`4 812 907`, with a narrow space that does not break; in English `4,812,907`."""
        return _number(value, self.language)

    def percent(self, part: float) -> str:
        """Of a part of one: `1,4 %`."""
        return numbers.format_percent(
            part, "#,##0.#\u202f%" if self.language is Language.FR else "#,##0.#%", locale=_LOCALES[self.language]
        )

    def _local(self, at: str | datetime) -> datetime:
        instant = datetime.fromisoformat(at) if isinstance(at, str) else at
        return (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).astimezone(self.zone)

    def _day(self, at: str | date) -> date:
        if isinstance(at, str):
            return date.fromisoformat(at) if len(at) == len("2026-11-23") else self._local(at).date()
        return self._local(at).date() if isinstance(at, datetime) else at


@lru_cache(maxsize=4_096)  # most are small, and come again
def _number(value: float, language: Language) -> str:
    return numbers.format_decimal(value, locale=_LOCALES[language])


@lru_cache(maxsize=4_096)  # some years of days
def _date(day: date, pattern: str, language: Language) -> str:
    """French writes the first of a month as an ordinal."""
    written = dates.format_date(day, pattern, locale=_LOCALES[language])
    if language is not Language.FR:
        return written
    head, _, tail = written.partition(" ")
    if head == "1":
        return f"1er {tail}"
    number, _, rest = tail.partition(" ")
    return f"{head} 1er {rest}" if number == "1" else written
