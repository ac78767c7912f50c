"""What task i knows: standings, policy and marks of its partition, and how far it has come."""

from collections.abc import Mapping

from passerelle.gate.notices import Erased
from passerelle.gate.policy import PolicyInForce, ReadPolicy
from passerelle_consent.policy.standings import Standings
from passerelle_consent.wire import (
    ERASURE,
    POLICY_KEY,
    ROLL_KEY,
    SUBJECT_REF_BYTES,
    BadRecord,
    Mark,
    decode_erasure,
    decode_mark,
    decode_standing,
)
from passerelle_schemas.faults import Fault


class TaskState:
    """The fold of `consent[i]` and `marks[i]`. Changes between transactions only, by one thread (fence rule 2)."""

    partition: int
    standings: Standings
    marks: dict[bytes, Mark]
    policy: PolicyInForce | None
    applied: int
    """Next offset of `consent[i]`: all below it are applied."""
    fenced: int
    """The `applied` that this task last committed with its marker; -1 before its first transaction, which so always
    has something to tell, and shows early whether the task may commit at all."""
    decided: int
    """Next offset of `exchange[i]`."""
    told: int
    """The offset of `consent[i]` that was committed last, by whomever: notices of erasures below it are written."""
    erased: list[Erased]
    """Erasures applied, of which no transaction has written the notices yet."""

    def __init__(self, partition: int, read_policy: ReadPolicy) -> None:
        self.partition = partition
        self.standings = Standings(decode_standing)
        self.marks = {}
        self.policy = None
        self.applied = 0
        self.fenced = -1
        self.decided = 0
        self.told = 0
        self.erased = []
        self._read_policy = read_policy
        self._unreadable: set[bytes] = set()

    @property
    def held(self) -> str | None:
        """Why nothing may be decided now, or None. Closed by default (P5): held, never passed."""
        if self._unreadable:
            return "unreadable-policy" if POLICY_KEY in self._unreadable else "unreadable-standing"
        return "no-policy" if self.policy is None else None

    def apply_consent(self, offset: int, key: bytes | None, value: bytes | None) -> None:
        """Take in the record at ``offset`` of `consent[i]`; one that was applied already changes nothing.

        What cannot be read holds the task until a newer record under its key takes its place.
        """
        if offset < self.applied:
            return
        self.applied = offset + 1
        key = key or b""
        try:
            if value and value[0] != ERASURE and len(key) == SUBJECT_REF_BYTES:
                news = self.standings.put(key, value)  # one of millions
            else:
                news = self._take(offset, key, value)
        except Fault:
            self._unreadable.add(key)
        else:
            if news and self._unreadable:
                self._unreadable.discard(key)

    def _take(self, offset: int, key: bytes, value: bytes | None) -> bool:
        """Take in what is no standing. Return whether this is news.

        A relay that repeats itself may write again what an unreadable record has replaced: the task stays held.
        """
        if key == POLICY_KEY:
            self.policy = None if value is None else self._read_policy(value)
        elif len(key) == SUBJECT_REF_BYTES:
            return self._forget(offset, key, value)
        elif key != ROLL_KEY and value is not None:
            raise BadRecord("a key of consent that is no subject ref")
        return True

    def _forget(self, offset: int, ref: bytes, erasure: bytes | None) -> bool:
        if erasure is not None:
            return self._erase(offset, ref, erasure)
        self.standings.drop(ref)
        return True

    def _erase(self, offset: int, ref: bytes, value: bytes) -> bool:
        """Forget at once, and note whom to tell, unless the transaction that told them is committed already."""
        erasure = decode_erasure(value)
        news = self.standings.erase(ref, erasure.revision)
        if news and offset >= self.told:
            self.erased.append(Erased(offset=offset, ref=ref, erasure=erasure))
        return news

    def load_mark(self, key: bytes | None, value: bytes | None) -> None:
        """Take in a record of `marks[i]`, which only this task's transactions wrote. Raises `BadRecord`."""
        if key is None or value is None:
            raise BadRecord("a mark without key or value")
        self.marks[key] = decode_mark(value)

    def settle(self, *, decided: int, fenced: int, moved: Mapping[bytes, Mark]) -> None:
        """Take over what a transaction committed."""
        self.decided = decided
        self.fenced = self.told = fenced
        self.erased = [e for e in self.erased if e.offset >= fenced]
        self.marks.update(moved)
