"""Which of the city's two languages an answer is written in: French, unless the caller asks for English."""

import re
from collections.abc import Iterator
from typing import Annotated, Literal

from fastapi import Header, Query

Language = Literal["fr", "en"]

SOURCE: Language = "fr"
"""What the city writes in where nobody asks, or asks for a language that it has not."""

ACCEPTED_CHARS_MAX = 500
"""Browsers send some 40."""

_RANGE = re.compile(r"\s*(\*|[A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8})*)\s*(?:;\s*q=(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)\s*)?")


async def asked_for(
    lang: Annotated[Language | None, Query(description="Of the words within; before `Accept-Language`.")] = None,
    accept_language: Annotated[str, Header(max_length=ACCEPTED_CHARS_MAX)] = "",
) -> Language:
    """Gather the language: a dependency of every route that writes words in one language."""
    return lang or negotiated(accept_language)


def negotiated(accept_language: str) -> Language:
    """Return the language that is wanted most (RFC 9110 §12.5.4; RFC 4647 §3.4, lookup)."""
    weights = dict.fromkeys((SOURCE, "en"), 0.0)
    wanted = dict(_ranges(accept_language))
    for language in weights:
        weights[language] = wanted.get(language, wanted.get("*", 0.0))
    return "en" if weights["en"] > weights[SOURCE] else SOURCE


def _ranges(accept_language: str) -> Iterator[tuple[str, float]]:
    """Yield (primary tag, weight); of several of one tag the heaviest comes last. What is no range says nothing."""
    matches = (_RANGE.fullmatch(part) for part in accept_language.split(","))
    ranges = [(m[1].partition("-")[0].lower(), 1.0 if m[2] is None else float(m[2])) for m in matches if m]
    yield from sorted(ranges, key=lambda found: found[1])
