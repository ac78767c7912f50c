"""Notices of erasure to those who hold copies (GDPR Art. 19). Pure.

A notice goes to the same inbox partition as the subject's deliveries, by the same task, in the transaction that commits
the offset of `consent[i]` past the erasure: behind all that was delivered about the subject, and exactly once.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from passerelle.envelope import Event, notice_headers, rfc3339
from passerelle.gate.judge import Delivery
from passerelle.pseudonyms import Keyring
from passerelle_consent.wire import Erasure
from passerelle_schemas.topics import SUBJECT_ERASED, inbox

SOURCE = "/passerelle/consent"


@dataclass(frozen=True, kw_only=True, slots=True)
class Erased:
    """A subject, its erasure, and where that stands on `consent[i]`."""

    offset: int
    ref: bytes
    erasure: Erasure


def notices(erased: Iterable[Erased], keyring: Keyring) -> Iterator[Delivery]:
    """One record for each erasure and recipient. A department that this city has no more has no inbox to write to."""
    for one in erased:
        time = rfc3339(datetime.fromtimestamp(one.erasure.at_ms / 1000, UTC))
        event = Event(id=one.erasure.id.hex(), source=SOURCE, type=SUBJECT_ERASED, time=time)
        for department in one.erasure.departments:
            if department in keyring.departments:
                yield Delivery(inbox(department), keyring.pseudonym(department, one.ref), b"", notice_headers(event))
