"""The order of what `decisions` and `consent.journal` say, and drafts of the journal's entries. Pure.

A draft is an entry before its commitments. Two rules give the ledger an order that an auditor can reason about:

1. *A cause stands before its effects.* What is new in the journal is read after the ends of `decisions` were noted, so
   a permit does not stand before the consent that made it.
2. *After `fenced`, nothing.* A `fenced` or `erased` entry waits until every decision that was committed before it
   could be read has been integrated. The gate wrote all that was decided on the old standing before it let the fence
   be seen (DESIGN §7), so no permit under the withdrawn agreement can follow. What the same subject does next waits
   behind it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

from passerelle_consent.ledger.log.commitments import Committed, private_part
from passerelle_consent.ledger.log.entries import Entry, EntryType
from passerelle_consent.wire import JournalEntry, JournalType

BARRIERS = frozenset({JournalType.FENCED, JournalType.ERASED})

Ends: TypeAlias = Mapping[int, int]
"""Partition → the offset after its last record."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Draft:
    """A journal entry to be, without commitments. Decisions are many, and go by `decided`."""

    type: EntryType
    ident: bytes
    time_ms: int
    names: Mapping[str, object]
    """The entry's other fields, by name."""
    subject: bytes | None = None
    """Subject ref; it goes into the private part and nowhere else."""
    private: bytes = b""

    def entry(self, committed: Committed | None) -> Entry:
        """Finish the entry. Raises `Invalid`."""
        return Entry(
            type=self.type,
            time_ms=self.time_ms,
            id=self.ident,
            subject_commit=committed.subject_commit if committed else None,
            body_commit=committed.body_commit if committed else None,
            **self.names,  # type: ignore[arg-type]
        )


def draft_of_journal(entry: JournalEntry) -> Draft:
    """Draft one change that the consent service recorded."""
    names = {
        "agreements": entry.agreements or None,
        "recipient": entry.recipient,
        "department": entry.department,
        "policy": entry.policy,
        "regarding": entry.regarding,
        "digest": entry.digest,
        "component": entry.component,
        "cause": entry.cause,
    }
    return Draft(
        type=EntryType(entry.type.value),
        ident=entry.id,
        time_ms=entry.at_ms,
        names=names,
        subject=entry.subject,
        private=private_part(
            subject=entry.subject and entry.subject.hex(),
            reader=entry.reader,
            what=entry.what,
            mandate=entry.mandate,
        ),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class JournalRecord:
    """A journal entry and where it was read."""

    partition: int
    offset: int
    entry: JournalEntry


@dataclass(frozen=True, kw_only=True, slots=True)
class Held:
    """A journal entry that waits: a barrier for decisions, any other for a barrier of the same subject before it."""

    record: JournalRecord
    until: Ends | None = None
    """Ends of `decisions`, noted after the barrier was read. Unknown until they are noted again."""

    @property
    def subject(self) -> bytes | None:
        """Whose order is kept."""
        return self.record.entry.subject

    def due(self, reached: Ends) -> bool:
        """Whether nothing but a barrier before it holds this entry back."""
        if self.record.entry.type not in BARRIERS:
            return True
        return self.until is not None and all(reached.get(p, 0) >= end for p, end in self.until.items())


@dataclass(frozen=True, kw_only=True, slots=True)
class Waiting:
    """The journal entries that were read and are not integrated yet, in the order of reading."""

    held: tuple[Held, ...] = ()

    def noted(self, decision_ends: Ends) -> "Waiting":
        """Give those without a bound the ends that were noted after they were read."""
        return Waiting(held=tuple(replace(h, until=decision_ends) if h.until is None else h for h in self.held))

    def arrange(self, records: Iterable[JournalRecord]) -> tuple[list[JournalRecord], "Waiting"]:
        """Split what was read: what goes in now, and all that waits (barriers, and what follows for their subject)."""
        now, held = [], list(self.held)
        behind = {h.subject for h in held} - {None}
        for record in records:
            subject = record.entry.subject
            if record.entry.type not in BARRIERS and subject not in behind:
                now.append(record)
                continue
            held.append(Held(record=record))
            if subject is not None:
                behind.add(subject)
        return now, Waiting(held=tuple(held))

    def release(self, reached: Ends) -> tuple[list[JournalRecord], "Waiting"]:
        """Split into what goes in now that decisions up to ``reached`` are integrated, in order, and the rest."""
        out, rest, stopped = [], [], set[bytes | None]()
        for held in self.held:
            if held.due(reached) and held.subject not in stopped:
                out.append(held.record)
            else:
                rest.append(held)
                stopped.add(held.subject)
        return out, Waiting(held=tuple(rest))

    def resume_at(self, positions: Ends) -> dict[int, int]:
        """Where to read the journal again after a crash: never past an entry that waits."""
        result = dict(positions)
        for held in self.held:
            at = result.get(held.record.partition, held.record.offset)
            result[held.record.partition] = min(at, held.record.offset)
        return result
