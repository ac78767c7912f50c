"""Show a person what the ledger holds about them: their entries, opened, newest first.

The subject's key finds its entries by one indexed look-up (`commitments.handle`) and opens them. Once it is destroyed
there is nothing to find (GDPR Art. 17).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from passerelle_consent.ledger.database.reader import Reader
from passerelle_consent.ledger.log.commitments import SubjectKey, read_private, unseal
from passerelle_consent.ledger.log.entries import Entry
from passerelle_consent.ledger.log.masters import Masters
from passerelle_consent.ledger.query.select import EVERYTHING, Selection

READ_FIRST, READ_AT_ONCE = 32, 500
"""Entries of the first query, and of the later ones at most: a page is read in one, a whole history in a few."""

NEWEST = 2**63 - 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Opened:
    """One entry with its private part. ``index`` is its place in the log, for a proof."""

    index: int
    entry: Entry
    private: Mapping[str, Any]


def key_of(db: Reader, masters: Masters, subject: bytes) -> SubjectKey | None:
    """Unwrap a subject's key; None when the ledger has no entry about such a subject. Raises `Invalid`, `Unclear`."""
    stored = db.subject_keys([subject]).get(subject)
    return None if stored is None else stored.open(subject, masters)


def newest(
    db: Reader, key: SubjectKey, *, before: int | None, limit: int, wanted: Selection = EVERYTHING
) -> list[Opened]:
    """Return the entries wanted with an index below ``before``, newest first, ``limit`` at most. Raises `Invalid`.

    What comes in meanwhile stands behind every page that was read, so that pages neither miss nor repeat an entry.
    """
    end = NEWEST if before is None else before
    return list(islice(opened(db, key, start=0, end=end, wanted=wanted), limit))


def opened(
    db: Reader, key: SubjectKey, *, start: int, end: int = NEWEST, wanted: Selection = EVERYTHING
) -> Iterator[Opened]:
    """Yield the entries wanted in ``[start, end)``, newest first; only those are opened. Raises `Invalid`."""
    more, count = True, READ_FIRST
    while more:
        rows = db.listed(key.handle, start=start, end=end, count=count)
        for index, body, sealed in rows:
            # A long history is gone through in some 20 ms: what is not wanted is told from its bytes, and not parsed.
            if wanted.may_match(body) and wanted.matches(entry := Entry.parse(body)):
                yield Opened(index=index, entry=entry, private=_private(key, entry, sealed))
            end = index
        more, count = len(rows) == count, min(4 * count, READ_AT_ONCE)


def _private(key: SubjectKey, entry: Entry, sealed: bytes) -> Mapping[str, Any]:
    return read_private(unseal(key, entry.ident, sealed, entry.body_commit or b""))
