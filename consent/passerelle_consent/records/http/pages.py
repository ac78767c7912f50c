"""Lists in pages: a bounded limit, an opaque cursor, and `Link: rel="next"` (RFC 8288) while there is more.

A cursor names where the last page ended, and carries a digest of the query that it belongs to: caller, path, filters.
It is checked, not signed: whoever forges one picks another place in a list that is theirs to read anyway.

    @router.get("/v1/subjects/{pseudonym}/changes")
    async def changes(request: Request, page: Annotated[Page, Depends(paged)]) -> ChangesOut:
        (before,) = page.after(int) or (None,)
        rows = await records.read(partial(script, before=before, limit=page.rows))
        return ChangesOut(changes=[… for row in page.cut(rows, lambda row: (row.revision,))])
"""

import hashlib
import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar
from urllib.parse import urlencode

from fastapi import Query, Request, Response

from passerelle_consent.records import problems
from passerelle_consent.records.http.answers import refuses
from passerelle_consent.records.problems import Problem

T = TypeVar("T")

Part = int | str | bytes
Place = tuple[Part, ...]
"""The sort key of a row: what the next page comes after. In a cursor bytes are hexadecimal."""

LIMIT = 50
LIMIT_MAX = 200
"""Some 100 KB of the longest items, and a few milliseconds of the store."""

CURSOR_CHARS_MAX = 400
"""A digest and a sort key take fewer than 150."""

_DIGEST_BYTES = 12


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """One page of a list."""

    limit: int
    request: Request = field(repr=False)
    response: Response = field(repr=False)
    cursor: str | None = None

    @property
    def rows(self) -> int:
        """How many rows to read: one more than are shown, to know whether there is a next page."""
        return self.limit + 1

    def after(self, *kinds: type[Part]) -> tuple[Any, ...] | None:
        """Return the place after which this page begins, None for the first.

        Raises `Problem` bad-cursor, cursor-of-another-query.

        ``kinds``: the types of the sort key's parts.
        """
        if self.cursor is None:
            return None
        try:
            digest, *parts = json.loads(urlsafe_b64decode(self.cursor))
            place = tuple(_part(part, kind) for part, kind in zip(parts, kinds, strict=True))
        except (ValueError, TypeError):
            raise Problem(problems.BAD_CURSOR) from None
        if not _is_digest(digest):
            raise Problem(problems.BAD_CURSOR)
        if digest != self._query():
            raise Problem(problems.CURSOR_OF_ANOTHER_QUERY)
        return place

    def cut(self, rows: Sequence[T], place: Callable[[T], Place]) -> Sequence[T]:
        """Return the rows that are shown; if there are more, say where."""
        target = self.following(rows, place)
        if target is not None:
            self.response.headers["Link"] = f'<{target}>; rel="next"'
        return rows[: self.limit]

    def following(self, rows: Sequence[T], place: Callable[[T], Place]) -> str | None:
        """Return where the next page is, None after the last."""
        if len(rows) <= self.limit:
            return None
        ends = [part.hex() if isinstance(part, bytes) else part for part in place(rows[self.limit - 1])]
        cursor = urlsafe_b64encode(json.dumps([self._query(), *ends]).encode()).decode()
        filters = [(n, v) for n, v in self.request.query_params.multi_items() if n != "cursor"]
        return f"{self.request.url.path}?{urlencode([*filters, ('cursor', cursor)])}"

    def _query(self) -> str:
        """Tell one query from another: a cursor is good for its own."""
        principal = getattr(self.request.state, "principal", None)
        kept = sorted(p for p in self.request.query_params.multi_items() if p[0] not in ("cursor", "limit"))
        asked = json.dumps([principal.name if principal else None, self.request.url.path, kept])
        return hashlib.sha256(asked.encode()).hexdigest()[: 2 * _DIGEST_BYTES]


def _is_digest(part: Any) -> bool:
    """Whether it begins as a cursor of ours does."""
    return isinstance(part, str) and re.fullmatch(rf"[0-9a-f]{{{2 * _DIGEST_BYTES}}}", part) is not None


def _part(part: Any, kind: type[Part]) -> Part:
    """Return a part of a sort key that a database can hold. Raises `ValueError`."""
    if kind is bytes and isinstance(part, str):
        return bytes.fromhex(part)
    if type(part) is not kind or (isinstance(part, int) and abs(part) >= 2**63):
        raise ValueError
    return part


@refuses(problems.BAD_CURSOR, problems.CURSOR_OF_ANOTHER_QUERY)
async def paged(
    request: Request,
    response: Response,
    limit: Annotated[int, Query(ge=1, le=LIMIT_MAX, description="How many at most.")] = LIMIT,
    cursor: Annotated[
        str | None,
        Query(
            pattern=r"^[A-Za-z0-9_=-]+$",
            max_length=CURSOR_CHARS_MAX,
            description='Where the last page ended: as its `Link: rel="next"` has it.',
        ),
    ] = None,
) -> Page:
    """Gather a page: a dependency of every list."""
    return Page(limit=limit, request=request, response=response, cursor=cursor)
