"""What changed from one version of an agreement to the next, in an order that people read. Pure.

An agreement is shown as it was signed. Words are compared word by word; what a list holds, item by item.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any, Literal

Kind = Literal["same", "gone", "new"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """Some words of a text."""

    kind: Kind
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One thing that is not as it was. What is None is not there in that version."""

    what: str
    """Of `WHAT`, or `field`."""
    before: Any = None
    after: Any = None
    pieces: Sequence[Piece] = ()
    """Of a text that was there before and after."""


_TEXTS = ("purpose", "notice", "outside_public_tasks")
_VALUES = ("source", "recipient", "basis", "law", "special_category", "retention", "review")
WHAT = ("field", *_VALUES, "subjects", "in_force", "consent", *_TEXTS)


def changes(before: Mapping[str, Any], after: Mapping[str, Any], language: str) -> list[Change]:
    """Return what changed between two versions, as `signed` has them. ``language``: of the texts compared."""
    found = [
        *_fields(before, after, language),
        *(
            Change(what=what, before=before.get(what), after=after.get(what))
            for what in (*_VALUES, "in_force", "consent")
            if before.get(what) != after.get(what)
        ),
    ]
    if set(before["subjects"]) != set(after["subjects"]):
        found.append(Change(what="subjects", before=sorted(before["subjects"]), after=sorted(after["subjects"])))
    for what in _TEXTS:
        old, new = _said(before.get(what), language), _said(after.get(what), language)
        if old != new:
            found.append(Change(what=what, before=old, after=new, pieces=pieces(old, new) if old and new else ()))
    return found


def pieces(before: str, after: str) -> list[Piece]:
    """Compare two texts by their words; spaces stay with the word before them."""
    old, new = (re.findall(r"\S+\s*", text) for text in (before, after))
    found: list[Piece] = []
    for tag, a, b, c, d in SequenceMatcher(a=old, b=new, autojunk=False).get_opcodes():
        if tag == "equal":
            found.append(Piece(kind="same", text="".join(old[a:b])))
            continue
        if b > a:
            found.append(Piece(kind="gone", text="".join(old[a:b])))
        if d > c:
            found.append(Piece(kind="new", text="".join(new[c:d])))
    return found


def _fields(before: Mapping[str, Any], after: Mapping[str, Any], language: str) -> list[Change]:
    """Each field that came, that went, or whose reason is another; its `<type>#<field>` first in either value."""
    old, new = _reasons(before, language), _reasons(after, language)
    return [
        Change(
            what="field",
            before=(at, old[at]) if at in old else None,
            after=(at, new[at]) if at in new else None,
            pieces=pieces(old[at], new[at]) if at in old and at in new else (),
        )
        for at in dict.fromkeys((*old, *new))
        if old.get(at) != new.get(at)
    ]


def _reasons(agreement: Mapping[str, Any], language: str) -> dict[str, str]:
    """`<type>#<field>` → why the recipient needs it."""
    return {
        f"{event}#{field}": reason[language]
        for event, said in agreement["events"].items()
        for field, reason in said["fields"].items()
    }


def _said(text: Mapping[str, Any] | None, language: str) -> str | None:
    return None if text is None else str(text[language])
