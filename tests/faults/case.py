"""A history with the indexes that judging it needs. Pure."""

import bisect
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any, NamedTuple

from faults.history import (
    Consent,
    Decided,
    Delivery,
    Exchange,
    Fence,
    Give,
    History,
    Policy,
    Position,
    Sent,
    Subject,
    Withdrawal,
)
from faults.second_opinion import Reading

Ref = str
Under = tuple[Ref, str]
"""Whose, and under which agreement."""


class CannotTell(Exception):
    """The history contradicts itself where the broker would not: it was not recorded whole."""


@dataclass(frozen=True)
class Log:
    """The consent records of one partition: what stood where."""

    standings: dict[Ref, tuple[list[int], list[Any]]]
    policies: tuple[list[int], list[Any]]
    end: int

    def standing(self, ref: Ref | None, applied: int) -> dict[str, Any] | None:
        """The newest one below position ``applied``."""
        return _newest(self.standings.get(ref or "", ([], [])), applied)

    def policy(self, applied: int) -> str | None:
        """The digest of the policy in force at that position."""
        return _newest(self.policies, applied)


class Closed(NamedTuple):
    """From an acknowledged withdrawal to the next give: nothing under the agreement may come to stand in between."""

    withdrawal: Withdrawal
    until: int | None
    """The inbox's log end noted before the next give; None when none followed."""


class Case:
    """What the judge asks of a history."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.partitions = range(history.head.partitions)
        self.policies = {p.digest: Reading(p.document) for p in history.of(Policy)}
        self.pseudonyms: dict[Ref, dict[str, str]] = {s.ref: s.pseudonyms for s in history.of(Subject)}

    @cached_property
    def proposals(self) -> dict[str, Exchange]:
        """Origin → its first record; replays stand at higher offsets of the same partition."""
        first: dict[str, Exchange] = {}
        for e in self._in_place(Exchange):
            first.setdefault(origin_of(e), e)
        return first

    @cached_property
    def decisions(self) -> dict[str, list[Decided]]:
        """Origin → its decisions."""
        return _by(self._in_place(Decided), lambda d: d.origin or f"none: {d.id}")

    @cached_property
    def deliveries(self) -> dict[str, list[Delivery]]:
        """Decision id → its deliveries."""
        return _by(self._in_place(Delivery), lambda d: d.decision)

    @cached_property
    def consent(self) -> dict[int, Log]:
        """Raises `CannotTell`."""
        return {p: _log(p, [c for c in self._in_place(Consent) if c.partition == p]) for p in self.partitions}

    @cached_property
    def positions(self) -> dict[int, tuple[list[int], list[int]]]:
        """For each partition the `exchange` and `consent` positions of its commits, in commit order.

        One that a commit left out stays as it was. Each is what was reached so far: going back is a finding of its own.
        """
        found: dict[int, list[Position]] = _by(self.history.of(Position), lambda p: p.partition)
        return {
            p: (_reached(c.exchange for c in found.get(p, [])), _reached(c.consent for c in found.get(p, [])))
            for p in self.partitions
        }

    def applied(self, proposal: Exchange) -> int | None:
        """The consent position of the transaction that took this proposal; None when no commit did."""
        exchange, consent = self.positions[proposal.partition]
        at = bisect.bisect_right(exchange, proposal.offset)
        return consent[at] if at < len(exchange) else None

    @cached_property
    def fences(self) -> dict[int, list[Fence]]:
        """Markers by partition, in offset order."""
        return _by(self._in_place(Fence), lambda f: f.partition)

    @cached_property
    def acknowledged(self) -> dict[Under, list[Closed]]:
        """Acknowledged withdrawals, in the order of their consent offsets."""
        found: dict[Under, list[Closed]] = defaultdict(list)
        later: dict[Under, int] = {}
        for told in reversed(self.history.story):
            under = told.ref, told.agreement
            if isinstance(told, Give):
                later[under] = told.end
            elif told.acknowledged_ms is not None:
                found[under].insert(0, Closed(told, later.get(under)))
        return found

    def check_whole(self) -> None:
        """Raises `CannotTell`: what was sent must be read back, and what was delivered must have its marker."""
        there = {(e.partition, e.offset): e.origin for e in self.history.of(Exchange)}
        for sent in self.history.of(Sent):
            if there.get((sent.partition, sent.offset), "") != sent.origin:
                raise CannotTell(f"exchange/{sent.partition}@{sent.offset} was acknowledged and not read back")
        for delivery in self.history.of(Delivery):
            if delivery.marker is None:
                raise CannotTell(f"{place(delivery)} was read, and no commit marker of it was found")

    def _in_place(self, kind: type) -> list[Any]:
        return sorted(self.history.of(kind), key=lambda row: (row.partition, row.offset))


def origin_of(proposal: Exchange) -> str:
    """Its origin; a record without a readable one is named by where it lies."""
    return proposal.origin or f"unreadable;exchange;{proposal.partition};{proposal.offset};0"


def place(delivery: Delivery) -> str:
    """Coordinates for people."""
    return f"inbox.{delivery.recipient}/{delivery.partition}@{delivery.offset}"


def _log(partition: int, rows: list[Consent]) -> Log:
    if [c.offset for c in rows] != list(range(len(rows))):
        raise CannotTell(f"consent/{partition}: offsets are missing: compacted, or not read whole")
    standings: dict[Ref, tuple[list[int], list[Any]]] = defaultdict(lambda: ([], []))
    policies: tuple[list[int], list[Any]] = ([], [])
    for c in rows:
        offsets, found = policies if c.ref is None else standings[c.ref]
        offsets.append(c.offset)
        found.append(c.policy if c.ref is None else c.standing)
    return Log(dict(standings), policies, len(rows))


def _newest(found: tuple[list[int], list[Any]], applied: int) -> Any:
    offsets, values = found
    at = bisect.bisect_left(offsets, applied) - 1
    return values[at] if at >= 0 else None


def _reached(positions: Iterable[int | None]) -> list[int]:
    return list(accumulate((0 if p is None else p for p in positions), max))


def _by(rows: Iterable[Any], key: Any) -> dict[Any, list[Any]]:
    found: dict[Any, list[Any]] = defaultdict(list)
    for row in rows:
        found[key(row)].append(row)
    return dict(found)
