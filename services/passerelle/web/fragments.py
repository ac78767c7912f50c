"""Parts of pages that look the same whoever looks: a drawing, a verdict, a row of a history. Each is written once."""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Any, Protocol

from markupsafe import Markup

KEPT_MAX = 8_192
"""Some 4 MB, in both languages: a policy of a hundred flows has some ten ways of each."""


class Macro(Protocol):
    """A template's."""

    name: str

    def __call__(self, *args: Any) -> Markup:
        """Write it."""


class Fragments:
    """Of one site: what a key stands for is its policy's."""

    def __init__(self) -> None:
        self._held: OrderedDict[Hashable, Markup] = OrderedDict()

    def kept(self, macro: Macro, args: tuple[Any, ...], key: Hashable) -> Markup:
        """Return what a macro wrote for this key, the first time with these arguments. A key says all that is shown."""
        at = macro.name, key
        found = self._held.get(at)
        if found is None:
            found = self._held[at] = macro(*args)
            while len(self._held) > KEPT_MAX:
                self._held.popitem(last=False)
        return found
