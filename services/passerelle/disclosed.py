"""The ledger's entries about one subject, for the consent service: `records` and `ledger` do not know each other."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import sqlalchemy as sa

from passerelle_consent.ledger.audit.folder import LogFolder
from passerelle_consent.ledger.audit.prove import NotInLog, prove_inclusion
from passerelle_consent.ledger.database.reader import Reader
from passerelle_consent.ledger.database.store import Store
from passerelle_consent.ledger.log.commitments import SubjectKey
from passerelle_consent.ledger.log.entries import EntryType
from passerelle_consent.ledger.log.masters import Masters
from passerelle_consent.ledger.log.note import Verifier
from passerelle_consent.ledger.query import disclose
from passerelle_consent.ledger.query.disclose import Opened
from passerelle_consent.ledger.query.select import Selection
from passerelle_consent.records.log import LogFilter, OwnEntry
from passerelle_consent.records.ports import Decided, DisclosureFilter, LedgerAway, Looked, SubjectRef
from passerelle_schemas.faults import Fault

Page = TypeVar("Page", Decided, Looked, OwnEntry)


class LedgerEntries:
    """`records.ports.SubjectEntries` over the ledger's database, its master keys and its published folder.

    The database is opened read-only and at each call anew until it is there: the ledger may be started later.
    """

    def __init__(self, url: str, masters: Masters, folder: Path) -> None:
        self._store = Store(url, read_only=True)
        self._masters = masters
        self._folder = folder

    def decisions(
        self, ref: SubjectRef, wanted: DisclosureFilter, *, before: int | None, limit: int
    ) -> Sequence[Decided]:
        """Return at most ``limit`` decisions that are asked for, newest first. Raises `LedgerAway`."""
        return self._page(ref, _decisions(wanted), _decided, before, limit)

    def readers(self, ref: SubjectRef, *, before: int | None, limit: int) -> Sequence[Looked]:
        """Return at most ``limit`` reads, newest first. Raises `LedgerAway`."""
        return self._page(ref, Selection(type=EntryType.READ), _looked, before, limit)

    def entries(self, ref: SubjectRef, wanted: LogFilter, *, before: int | None, limit: int) -> Sequence[OwnEntry]:
        """Return at most ``limit`` entries that are asked for, newest first. Raises `LedgerAway`."""
        return self._page(ref, selection_of(wanted), _own, before, limit)

    def proof(self, ref: SubjectRef, ident: bytes) -> str | None:
        """Return the tlog-proof of an entry; None unless it is the subject's and published. Raises `LedgerAway`."""
        with self._about(ref) as (db, key):
            index = None if key is None else db.place(key.handle, ident)
        if index is None:
            return None
        with or_away():
            vkey = self._folder.with_name(f"{self._folder.name}.vkey").read_text("utf-8").removesuffix("\n")
            try:
                return prove_inclusion(LogFolder(self._folder), Verifier.parse(vkey), index).encode().decode()
            except NotInLog:
                return None

    def key(self, ref: SubjectRef) -> bytes | None:
        """Return k_subject; None when there is no entry about such a subject. Raises `LedgerAway`."""
        with self._about(ref) as (_, key):
            return None if key is None else key.secret

    def close(self) -> None:
        """Close all connections."""
        self._store.close()

    def _page(
        self,
        ref: SubjectRef,
        wanted: Selection,
        read: Callable[[Opened], Page],
        before: int | None,
        limit: int,
    ) -> list[Page]:
        with self._about(ref) as (db, key):
            found = [] if key is None else disclose.newest(db, key, before=before, limit=limit, wanted=wanted)
        return [read(opened) for opened in found]

    @contextmanager
    def _about(self, ref: SubjectRef) -> Iterator[tuple[Reader, SubjectKey | None]]:
        with or_away(), self._store.reading() as db:
            yield db, disclose.key_of(db, self._masters, ref)


@contextmanager
def or_away() -> Iterator[None]:
    """No database yet, no folder yet, another master key: whatever it is, nothing can be told now."""
    try:
        yield
    except (sa.exc.SQLAlchemyError, OSError, Fault) as exc:
        raise LedgerAway(type(exc).__name__) from exc


def _decisions(wanted: DisclosureFilter) -> Selection:
    return Selection(
        type=EntryType.DECISION,
        agreement=wanted.agreement,
        recipient=wanted.recipient,
        verdict=wanted.verdict,
        since_ms=wanted.since_ms,
        until_ms=wanted.until_ms,
    )


def selection_of(wanted: LogFilter) -> Selection:
    """Say in the ledger's words what is asked for."""
    return Selection(
        since_ms=wanted.since_ms,
        until_ms=wanted.until_ms,
        type=None if wanted.type is None else EntryType(wanted.type),
        verdict=wanted.verdict,
        reason=wanted.reason,
        flow=wanted.flow,
        recipient=wanted.recipient,
        department=wanted.department,
        agreement=wanted.agreement,
        ident=wanted.ident,
    )


def _own(opened: Opened) -> OwnEntry:
    # Nobody outside the bus is told a ref: who it is about is known to whoever asks.
    private = {name: value for name, value in opened.private.items() if name != "subject"}
    return OwnEntry(index=opened.index, entry=json.loads(opened.entry.encode()), private=private)


def _decided(opened: Opened) -> Decided:
    entry = opened.entry
    assert entry.verdict is not None  # noqa: S101 - every decision has both
    assert entry.reason is not None  # noqa: S101
    return Decided(
        index=opened.index,
        id=entry.ident,
        at_ms=entry.time_ms,
        verdict=entry.verdict,
        reason=entry.reason,
        flow=entry.flow,
        recipient=entry.recipient,
        agreements=entry.agreements or (),
        policy=entry.policy,
        withheld=tuple(opened.private.get("withheld", ())),
    )


def _looked(opened: Opened) -> Looked:
    entry, private = opened.entry, opened.private
    return Looked(
        index=opened.index,
        id=entry.ident,
        at_ms=entry.time_ms,
        department=entry.department,
        reader=private.get("reader"),
        what=private.get("what"),
        mandate=private.get("mandate"),
    )
