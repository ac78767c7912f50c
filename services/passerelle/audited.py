"""The whole log for the consent service's auditors: `records` and `ledger` do not know each other."""

import json
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

from passerelle.disclosed import or_away, selection_of
from passerelle_consent.ledger.audit.folder import LogFolder
from passerelle_consent.ledger.audit.prove import NotInLog, prove_inclusion
from passerelle_consent.ledger.audit.published import BUNDLE_BYTES_MAX, CHECKPOINT, Absent
from passerelle_consent.ledger.faults import Invalid
from passerelle_consent.ledger.log.cosignature import WitnessKey
from passerelle_consent.ledger.log.entries import TIME_MS_MAX, Entry
from passerelle_consent.ledger.log.note import Note, SignatureLine, Verifier
from passerelle_consent.ledger.log.tiles import Tile
from passerelle_consent.ledger.log.trust import Policy
from passerelle_consent.ledger.query import places as ledger_places
from passerelle_consent.ledger.query.archive import archive
from passerelle_consent.ledger.query.counts import By, Every, fitting
from passerelle_consent.ledger.query.export import Export, available, entries_of
from passerelle_consent.ledger.query.index import Index
from passerelle_consent.records.log import (
    CountedBy,
    CountedEvery,
    ExportFormat,
    ExportsBusy,
    Extent,
    FormatUnavailable,
    LogFilter,
    Logged,
    Signature,
    Signed,
    Tallies,
    Tally,
    TooLong,
    TooMany,
)

BUCKETS_MAX = 1_000
"""Of one count: six weeks of hours, some three years of days; some 200,000 rows of the index."""

EXPORTED_MAX = 1_000_000
"""Entries: some twenty seconds, 200 MB of an archive, and 8 MB of memory. More is exported from the log's files."""

EXPORTS_AT_ONCE = 1
"""One is as much as this process's lock lets run beside the requests that must not wait."""

STAMP_BYTES, COSIGNATURE_BYTES = 8, 72
"""tlog-cosignature, "Format": seconds since 1970, then an Ed25519 signature."""


class FolderLog:
    """`records.log.PublishedLog` over the published folder and its index.

    Both are looked for at each call anew: the ledger may be started later.
    """

    def __init__(self, folder: Path, index_url: str, witnesses: Path) -> None:
        """``witnesses``: the policy that names them (tlog-policy), if there is one."""
        self._folder = folder
        self._witnesses = witnesses
        self._index = Index(index_url, read_only=True)
        self._exporting = threading.Semaphore(EXPORTS_AT_ONCE)
        self._sized: tuple[tuple[int, int, int], int] | None = None

    def entries(self, wanted: LogFilter, *, before: int | None, limit: int) -> tuple[Sequence[Logged], Extent]:
        """Return at most ``limit`` entries wanted below index ``before``, newest first. Raises `LedgerAway`."""
        selection = selection_of(wanted)
        with or_away():
            with self._index.reading() as db:
                indexed = db.reached().size
                places = db.newest(selection, before=before, limit=limit)
            size = self._checkpoint_size()
            # The index has told all but whole ids; that each entry says what is wanted is seen in its bytes.
            found = [
                (place, raw)
                for place, raw in entries_of(LogFolder(self._folder), size, places)
                if selection.may_match(raw) and (selection.ident is None or selection.matches(Entry.parse(raw)))
            ]
        return [Logged(index=place, entry=json.loads(raw)) for place, raw in found], Extent(indexed=indexed, size=size)

    def counts(self, wanted: LogFilter, *, by: CountedBy, every: CountedEvery | None) -> tuple[Tallies, Extent]:
        """Count entries by time and value; ``wanted``'s times are taken to whole hours, days or months.

        ``every``: unless told, what fits (`ledger.query.counts.fitting`). Raises `LedgerAway`, `TooLong`.
        """
        with or_away(), self._index.reading() as db:
            told, wanted = _fitting(db, wanted) if every is None else (Every(every), wanted)
            since, until = _span(db, wanted, told)
            selection = replace(selection_of(wanted), since_ms=since, until_ms=until)
            counts = [
                Tally(start_ms=c.start_ms, value=c.value, count=c.count) for c in db.counts(selection, By(by), told)
            ]
            extent = Extent(indexed=db.reached().size, size=self._checkpoint_size())
        return Tallies(every=told.value, since_ms=since, until_ms=until, counts=counts), extent

    def export(self, wanted: LogFilter, *, format_: ExportFormat, start: int, end: int | None) -> Iterator[bytes]:
        """Begin an archive of the entries wanted and their proof. Only what is indexed is looked at.

        Raises `LedgerAway`, `TooMany`, `ExportsBusy`, `FormatUnavailable`.
        """
        if format_ not in available():
            raise FormatUnavailable
        asked = selection_of(wanted)
        with or_away():
            with self._index.reading() as db:
                indexed = db.reached().size
                end = indexed if end is None else min(end, indexed)
                places = db.all(asked, start=start, end=end, limit=EXPORTED_MAX + 1)
            if len(places) > EXPORTED_MAX:
                raise TooMany(EXPORTED_MAX)
            log, verifier = LogFolder(self._folder), self._verifier()
            export = Export(log=log, verifier=verifier, asked=asked, format=format_, start=start, end=end)
            parts = self._alone(archive(export, export.read(places)))
            # It begins here: what has begun is ended too when nobody takes the rest.
            return chain([next(parts)], parts)

    def _alone(self, parts: Iterator[bytes]) -> Iterator[bytes]:
        if not self._exporting.acquire(blocking=False):
            raise ExportsBusy
        try:
            yield from parts
        finally:
            self._exporting.release()

    def checkpoint(self) -> Signed:
        """Return the checkpoint, with what signed it. Raises `LedgerAway`."""
        with or_away():
            log = LogFolder(self._folder)
            checkpoint, note = log.checkpoint(verifier := self._verifier())
            known = self._known_witnesses()
            published_ms = int((self._folder / CHECKPOINT).stat().st_mtime * 1000)
        return Signed(
            origin=checkpoint.origin,
            size=checkpoint.size,
            root=checkpoint.root,
            published_ms=published_ms,
            signatures=_signatures(Note.parse(note), verifier, known),
            note=note.decode(),
            vkey=verifier.encode(),
        )

    def file(self, name: str) -> bytes | None:
        """Return a published file; None when there is none, or no log has one of this name. Raises `LedgerAway`."""
        with or_away():
            try:
                if name != CHECKPOINT:
                    Tile.parse(name)
                return LogFolder(self._folder).read(name, BUNDLE_BYTES_MAX)
            except (Absent, Invalid):
                return None

    def proof(self, index: int) -> str | None:
        """Return the tlog-proof of an entry; None when nothing that is signed stands there. Raises `LedgerAway`."""
        with or_away():
            try:
                return prove_inclusion(LogFolder(self._folder), self._verifier(), index).encode().decode()
            except NotInLog:
                return None

    def _known_witnesses(self) -> list[WitnessKey]:
        if not self._witnesses.exists():
            return []
        return [witness.key for witness in Policy.parse(self._witnesses.read_bytes()).witnesses.values()]

    def _checkpoint_size(self) -> int:
        """Of the checkpoint that is published now: its signature is checked once, while it is the same file."""
        at = (self._folder / CHECKPOINT).stat()
        seen = at.st_ino, at.st_mtime_ns, at.st_size
        if self._sized is None or self._sized[0] != seen:
            self._sized = seen, LogFolder(self._folder).checkpoint(self._verifier())[0].size
        return self._sized[1]

    def _verifier(self) -> Verifier:
        vkey = self._folder.with_name(f"{self._folder.name}.vkey").read_text("utf-8").removesuffix("\n")
        return Verifier.parse(vkey)


def _fitting(db: ledger_places.Reader, wanted: LogFilter) -> tuple[Every, LogFilter]:
    """Choose by the time that is asked for, as far as the log goes back; return it so."""
    first_ms, last_ms = max(db.first_ms() or 0, wanted.since_ms or 0), db.last_ms() or 0
    if wanted.until_ms is not None:
        last_ms = min(last_ms, wanted.until_ms - 1)
    return fitting(first_ms, last_ms), replace(wanted, since_ms=first_ms)


def _span(db: ledger_places.Reader, wanted: LogFilter, every: Every) -> tuple[int, int]:
    """Return whole hours, days or months, up to the last entry: the last thousand, unless told otherwise.

    Raises `TooLong`.
    """
    last_ms = db.last_ms() or 0
    if wanted.until_ms is not None:
        last_ms = max(0, min(last_ms, wanted.until_ms - 1))
    until = every.after(every.start(last_ms))
    earliest = every.back(until, BUCKETS_MAX)
    if wanted.since_ms is None:
        return earliest, until
    since = every.start(max(0, min(wanted.since_ms, until)))
    if since < earliest:
        raise TooLong(BUCKETS_MAX)
    return since, until


def _signatures(note: Note, verifier: Verifier, witnesses: Sequence[WitnessKey]) -> list[Signature]:
    """Say of each line who signed, and when; a witness that is not known is taken at its word."""
    by_key = {(key.name, key.key_id): key for key in witnesses}
    return [_signature(line, note.text, verifier, by_key.get((line.name, line.key_id))) for line in note.signatures]


def _signature(line: SignatureLine, text: str, verifier: Verifier, witness: WitnessKey | None) -> Signature:
    own = (line.name, line.key_id) == (verifier.name, verifier.key_id)
    at_s = int.from_bytes(line.signature[:STAMP_BYTES]) if len(line.signature) == COSIGNATURE_BYTES else None
    try:
        checked = own or (witness is not None and witness.check(line, text) == at_s)
    except Invalid:
        checked = False
    at_ms = at_s * 1000 if at_s is not None and at_s <= TIME_MS_MAX // 1000 else None
    return Signature(name=line.name, key_id=line.key_id, at_ms=at_ms, checked=checked)
