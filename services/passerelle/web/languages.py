"""French and English: which one a page speaks, and the words of the second (gettext; French is the source).

A page has one address in each language: `/registre` in French, `/en/registre` in English.
"""

import re
from collections.abc import Mapping
from enum import StrEnum
from functools import cache, lru_cache
from pathlib import Path

from babel.messages.pofile import read_po
from starlette.types import ASGIApp, Receive, Scope, Send

LOCALES = Path(__file__).parent / "locale"


class Language(StrEnum):
    """What the pages speak."""

    FR = "fr"
    EN = "en"

    @classmethod
    def of(cls, path: str) -> "Language":
        """Of an address of ours."""
        return cls.EN if f"{path.partition('?')[0]}/".startswith(f"{cls.EN.prefix}/") else cls.FR

    @property
    def prefix(self) -> str:
        """What its addresses begin with."""
        return "" if self is Language.FR else f"/{self.value}"

    @property
    def other(self) -> "Language":
        """The language that one can change to."""
        return Language.EN if self is Language.FR else Language.FR


_HELD_TOGETHER = re.compile(r"(?<=\S) (?=[:;?!»])|(?<=«) ")
_TEXTS_MAX = 4096
"""More than the sentences of the pages and of the agreements together."""


@lru_cache(_TEXTS_MAX)
def typeset(text: str, language: Language) -> str:
    """French with the spaces of its punctuation unbroken: no line begins with a colon or a question mark."""
    return _HELD_TOGETHER.sub("\u00a0", text) if language is Language.FR else text


class Words:
    """The words of one language, as gettext functions."""

    def __init__(self, language: Language, messages: Mapping[str, tuple[str, ...]]) -> None:
        """``messages``: the translated forms, singular first, by the French message."""
        self._language = language
        self._messages = messages

    def gettext(self, message: str) -> str:
        """Return the message in this language; in French where it has no translation, which a test forbids."""
        return typeset(self._messages.get(message, (message,))[0], self._language)

    def ngettext(self, one: str, many: str, n: int) -> str:
        """Return the form for ``n``. In French nought is singular, in English it is not."""
        singular = n in (0, 1) if self._language is Language.FR else n == 1
        forms = self._messages.get(one, (one, many))
        return typeset(forms[0] if singular else forms[-1], self._language)


@cache
def words(language: Language) -> Words:
    """Read the catalogues of a language: one file for each section of the site."""
    messages: dict[str, tuple[str, ...]] = {}
    for path in sorted((LOCALES / language.value).glob("*.po")):
        with path.open("rb") as file:
            for message in read_po(file, locale=language.value, abort_invalid=True):
                if message.id:
                    key = message.id if isinstance(message.id, str) else message.id[0]
                    said = message.string or ""
                    messages[key] = (said,) if isinstance(said, str) else tuple(said)
    return Words(language, messages)


class LanguagePaths:
    """ASGI: takes `/en` off a path, and notes the language in the request's state."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] == "http":
            language = Language.of(scope["path"])
            if language.prefix:
                path = scope["path"].removeprefix(language.prefix) or "/"
                scope = {**scope, "path": path, "raw_path": path.encode()}
            scope.setdefault("state", {})["language"] = language
        await self._app(scope, receive, send)
