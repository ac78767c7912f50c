"""From the rows of `decisions` to sealed entries. Pure, and the hot path of the integrator.

A decision's entry is what its flow, its verdict and its reason make it, but for four values. So each such kind is
written once as an `Entry`, which holds it to the format, and the four are set between the parts of its canonical text:
the same bytes as `Entry.encode` writes, in a tenth of the time. A test holds the two together.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from passerelle_consent.ledger.log.canonical import canonical
from passerelle_consent.ledger.log.commitments import DRAWN_BYTES, KEY_BYTES, commit, commit_unseen, private_part
from passerelle_consent.ledger.log.entries import DIGEST_BYTES, ID_BYTES, Entry, EntryType, time_text
from passerelle_consent.ledger.sealing.vault import SealedEntry, Vault
from passerelle_consent.policy.decide import Reason
from passerelle_consent.wire import DecisionRows, FlowUse, Origin, reason_of, verdict_of

UNPROVEN_SUBJECT = frozenset({Reason.UNKNOWN_SUBJECT, Reason.UNKNOWN_FLOW, Reason.WRONG_TYPE, Reason.UNREADABLE})
"""Denied before anybody looked whether such a subject exists: its ref may be garbage. It gets a throw-away key, so
that garbage cannot fill the table of keys."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Kind:
    """What all decisions of one flow, verdict and reason have in common."""

    parts: tuple[str, str, str, str, str]
    """The canonical entry, cut where body_commit, decision, subject_commit and time stand, in that order."""
    proven: bool
    """Whether the subject is known to exist, so that a key may be kept for it."""


class _Kinds(dict[tuple[int, str, str], _Kind]):
    """The kinds of one record, each written when it first occurs."""

    def __init__(self, read: DecisionRows) -> None:
        super().__init__()
        self._policy = read.policy
        self._flows = read.flows

    def __missing__(self, key: tuple[int, str, str]) -> _Kind:
        flow, verdict, reason = key
        use = self._flows[flow] if flow >= 0 else None
        kind = self[key] = _kind(self._policy, use, verdict, reason)
        return kind


def seal_decisions(read: DecisionRows, vault: Vault) -> Iterator[SealedEntry]:
    """Yield an entry for each row, in order. Raises `Invalid` for one that the entry format does not take."""
    kinds, drawn = _Kinds(read), vault.random(DRAWN_BYTES * len(read.rows))
    for at, row in zip(range(0, len(drawn), DRAWN_BYTES), read.rows, strict=True):
        kind = kinds[row["flow"], row["verdict"], row["reason"]]
        ident, private = row["id"], private_of(row)
        key = vault.key_of(row["subject"], proven=kind.proven)
        if key is not None:
            subject, body, sealed, handle = commit(key, ident, private, drawn[at : at + DRAWN_BYTES])
        else:
            subject, body, sealed, handle = commit_unseen(ident, private, vault.random(2 * KEY_BYTES))
        first, second, third, fourth, last = kind.parts
        time = time_text(row["at_ms"])
        text = f"{first}{body.hex()}{second}{ident.hex()}{third}{subject.hex()}{fourth}{time}{last}"
        yield SealedEntry(ident, text.encode(), sealed or None, handle)


def subjects_of(read: DecisionRows) -> Iterator[bytes]:
    """Yield the subjects of a record, some of them more than once."""
    return (row["subject"] for row in read.rows if row["subject"] is not None)


@lru_cache(maxsize=1024)  # a policy has some hundred flows, each with a handful of verdicts and reasons
def _kind(policy: bytes, flow: FlowUse | None, verdict: str, reason: str) -> _Kind:
    names: dict[str, Any] = {"agreements": ()}
    if flow is not None:
        names = {name: getattr(flow, name) for name in ("flow", "recipient", "purpose", "agreements")}
    zeros: dict[str, Any] = {
        "body_commit": bytes(DIGEST_BYTES),
        "decision": bytes(ID_BYTES),
        "subject_commit": bytes(DIGEST_BYTES),
    }
    why = reason_of(reason)
    entry = Entry(
        type=EntryType.DECISION, time_ms=0, policy=policy, verdict=verdict_of(verdict), reason=why, **names, **zeros
    )
    values = {**{name: zero.hex() for name, zero in zeros.items()}, "time": time_text(0)}
    # No name in an entry holds a quote: `Entry` has just seen to that.
    cuts = "|".join(f'(?<="{name}":"){value}(?=")' for name, value in values.items())
    first, second, third, fourth, last = re.split(cuts, entry.encode().decode())
    return _Kind(parts=(first, second, third, fourth, last), proven=why not in UNPROVEN_SUBJECT)


def private_of(row: dict[str, Any]) -> bytes:
    """Write a row's private part. What was released follows from the policy, the flow and what was withheld."""
    origin, subject = row["origin"], row["subject"]
    withheld = _withheld(tuple(row["withheld"]))
    if origin is None or subject is None:
        return private_part(
            subject=subject and subject.hex(), withheld=row["withheld"], origin=origin and Origin(**origin).text()
        )
    source = _source(origin["rule"], origin["topic"])
    numbers = f"{origin['partition']};{origin['offset']};{origin['n']}"
    return f'{{"origin":"{source};{numbers}","subject":"{subject.hex()}","withheld":{withheld}}}'.encode()


@lru_cache(maxsize=1024)  # as many as there are rules
def _source(rule: str, topic: str) -> str:
    """Return the text as JSON has it between its quotes."""
    return canonical(f"{rule};{topic}").decode()[1:-1]


@lru_cache(maxsize=1024)  # as many as there are sets of fields that flows may withhold and citizens do
def _withheld(names: tuple[str, ...]) -> str:
    return canonical(names).decode()
