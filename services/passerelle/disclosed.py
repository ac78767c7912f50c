"""The ledger's entries about one subject, for the consent service: `records` and `ledger` do not know each other."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import sqlalchemy as sa

from passerelle_consent.ledger import disclose
from passerelle_consent.ledger.commitments import MasterKey, SubjectKey
from passerelle_consent.ledger.disclose import Opened
from passerelle_consent.ledger.entries import Entry, EntryType
from passerelle_consent.ledger.folder import LogFolder
from passerelle_consent.ledger.note import Verifier
from passerelle_consent.ledger.prove import NotInLog, prove_inclusion
from passerelle_consent.ledger.reader import Reader
from passerelle_consent.ledger.store import Store
from passerelle_consent.records.ports import Decided, DisclosureFilter, LedgerAway, Looked, SubjectRef
from passerelle_schemas.faults import Fault

Page = TypeVar("Page", Decided, Looked)


class LedgerEntries:
    """`records.ports.SubjectEntries` over the ledger's database, its master key and its published folder.

    The database is opened read-only and at each call anew until it is there: the ledger may be started later.
    """

    def __init__(self, url: str, master: MasterKey, folder: Path) -> None:
        self._store = Store(url, read_only=True)
        self._master = master
        self._folder = folder

    def decisions(
        self, ref: SubjectRef, wanted: DisclosureFilter, *, before: int | None, limit: int
    ) -> Sequence[Decided]:
        """Return at most ``limit`` decisions that are asked for, newest first. Raises `LedgerAway`."""
        return self._page(ref, _decisions(wanted), _decided, before, limit)

    def readers(self, ref: SubjectRef, *, before: int | None, limit: int) -> Sequence[Looked]:
        """Return at most ``limit`` reads, newest first. Raises `LedgerAway`."""
        return self._page(ref, lambda entry: entry.type is EntryType.READ, _looked, before, limit)

    def proof(self, ref: SubjectRef, ident: bytes) -> str | None:
        """Return the tlog-proof of an entry; None unless it is the subject's and published. Raises `LedgerAway`."""
        with self._about(ref) as (db, key):
            index = None if key is None else db.place(key.handle, ident)
        if index is None:
            return None
        with _or_away():
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
        wanted: disclose.Wanted,
        read: Callable[[Opened], Page],
        before: int | None,
        limit: int,
    ) -> list[Page]:
        with self._about(ref) as (db, key):
            found = [] if key is None else disclose.newest(db, key, before=before, limit=limit, wanted=wanted)
        return [read(opened) for opened in found]

    @contextmanager
    def _about(self, ref: SubjectRef) -> Iterator[tuple[Reader, SubjectKey | None]]:
        with _or_away(), self._store.reading() as db:
            yield db, disclose.key_of(db, self._master, ref)


@contextmanager
def _or_away() -> Iterator[None]:
    """No database yet, no folder yet, another master key: whatever it is, nothing can be told now."""
    try:
        yield
    except (sa.exc.SQLAlchemyError, OSError, Fault) as exc:
        raise LedgerAway(type(exc).__name__) from exc


def _decisions(wanted: DisclosureFilter) -> disclose.Wanted:
    def asked(entry: Entry) -> bool:
        return (
            entry.type is EntryType.DECISION
            and wanted.recipient in (None, entry.recipient)
            and wanted.verdict in (None, entry.verdict)
            and (wanted.since_ms is None or entry.time_ms >= wanted.since_ms)
            and (wanted.until_ms is None or entry.time_ms < wanted.until_ms)
        )

    return asked


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
