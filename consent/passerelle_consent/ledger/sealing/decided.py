"""From the rows of `decisions` to sealed entries. Pure, and the hot path of the integrator.

A decision's entry is what its kind makes it, but for four values. So each kind is written once as an `Entry`, which
holds it to the format, and the four are set between the parts of its canonical text: the same bytes as `Entry.encode`
writes, in a tenth of the time. So are private parts. A test holds each to the plain way.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter
from typing import Any

from passerelle_consent.ledger.log.canonical import canonical
from passerelle_consent.ledger.log.commitments import DRAWN_BYTES, KEY_BYTES, commit, commit_unseen, private_part
from passerelle_consent.ledger.log.entries import DIGEST_BYTES, ID_BYTES, Entry, EntryType, time_text
from passerelle_consent.ledger.sealing.vault import SealedEntry, Vault
from passerelle_consent.policy.decide import Reason
from passerelle_consent.wire import DecisionRows, FlowUse, Kind, Source

_subject = itemgetter(3)
_tuple = tuple.__new__  # of a NamedTuple: its own constructor costs as much as a hash

UNPROVEN_SUBJECT = frozenset({Reason.UNKNOWN_SUBJECT, Reason.UNKNOWN_FLOW, Reason.WRONG_TYPE, Reason.UNREADABLE})
"""Denied before anybody looked whether such a subject exists: its ref may be garbage. It gets a throw-away key, so
that garbage cannot fill the table of keys."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Form:
    """How all decisions of one kind are written."""

    entry: tuple[str, str, str, str, str]
    """The canonical entry, cut where body_commit, decision, subject_commit and time stand, in that order."""
    withheld: tuple[str, ...]
    withheld_text: str
    """The end of the canonical private part, behind the subject."""
    proven: bool
    """Whether the subject is known to exist, so that a key may be kept for it."""


def seal_decisions(read: DecisionRows, vault: Vault) -> Iterator[SealedEntry]:
    """Yield an entry for each row, in order. Raises `Invalid` for one that the entry format does not take."""
    forms = [_form(read.policy, read.flows[kind.flow] if kind.flow >= 0 else None, kind) for kind in read.kinds]
    origins = [*map(_origin_text, read.sources)]
    keys, drawn = vault.keys, vault.random(DRAWN_BYTES * len(read.rows))
    places = range(0, len(drawn), DRAWN_BYTES)
    for at, (ident, at_ms, kind, subject, source, offset, n) in zip(places, read.rows, strict=True):
        form = forms[kind]
        if subject is None or source < 0:
            origin = f"{';'.join(map(str, read.sources[source]))};{offset};{n}" if source >= 0 else None
            private = private_part(subject=subject and subject.hex(), withheld=form.withheld, origin=origin)
        else:
            private = f'{origins[source]}{offset};{n}","subject":"{subject.hex()}{form.withheld_text}'.encode()
        key = keys.get(subject) if subject is not None else None
        if key is None:
            key = vault.key_of(subject, proven=form.proven)
        if key is not None:
            subject_by, body_by, sealed, handle = commit(key, ident, private, drawn[at : at + DRAWN_BYTES])
        else:
            subject_by, body_by, sealed, handle = commit_unseen(ident, private, vault.random(2 * KEY_BYTES))
        first, second, third, fourth, last = form.entry
        time = time_text(at_ms)
        text = f"{first}{body_by.hex()}{second}{ident.hex()}{third}{subject_by.hex()}{fourth}{time}{last}"
        yield _tuple(SealedEntry, (ident, text.encode(), sealed or None, handle))


def subjects_of(read: DecisionRows) -> set[bytes]:
    """Return the subjects of a record."""
    return set(map(_subject, read.rows)) - {None}


@lru_cache(maxsize=1024)  # a policy has some hundred flows, each with a handful of kinds
def _form(policy: bytes, flow: FlowUse | None, kind: Kind) -> _Form:
    names: dict[str, Any] = {"agreements": ()}
    if flow is not None:
        names = {name: getattr(flow, name) for name in ("flow", "recipient", "purpose", "agreements")}
    zeros: dict[str, Any] = {
        "body_commit": bytes(DIGEST_BYTES),
        "decision": bytes(ID_BYTES),
        "subject_commit": bytes(DIGEST_BYTES),
    }
    why: dict[str, Any] = {"verdict": kind.verdict, "reason": kind.reason, "policy": policy}
    entry = Entry(type=EntryType.DECISION, time_ms=0, **why, **names, **zeros)
    values = {**{name: zero.hex() for name, zero in zeros.items()}, "time": time_text(0)}
    # No name in an entry holds a quote: `Entry` has just seen to that.
    cuts = "|".join(f'(?<="{name}":"){value}(?=")' for name, value in values.items())
    first, second, third, fourth, last = re.split(cuts, entry.encode().decode())
    return _Form(
        entry=(first, second, third, fourth, last),
        withheld=kind.withheld,
        withheld_text=f'","withheld":{canonical(kind.withheld).decode()}}}',
        proven=kind.reason not in UNPROVEN_SUBJECT,
    )


@lru_cache(maxsize=1024)  # as many as there are rules and partitions
def _origin_text(source: Source) -> str:
    """Return the beginning of a canonical private part, up to the origin's offset."""
    text = canonical(";".join(map(str, source))).decode()[:-1]
    return f'{{"origin":{text};'
