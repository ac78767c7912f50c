"""C2SP tlog-policy: whose signatures make a checkpoint good, as one file says it. Pure.

The file serves both sides: the log asks its witnesses at their addresses; whoever verifies wants the quorum.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Self

from passerelle_consent.ledger.faults import Invalid, Unclear
from passerelle_consent.ledger.log.cosignature import WitnessKey
from passerelle_consent.ledger.log.note import Note, Verifier

LINES_MAX = 1_000
"""The text wants 32 logs, 32 witnesses and 32 groups at least."""

NONE = "none"
_FORBIDDEN = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]")
_COUNT = re.compile(r"[1-9][0-9]{0,3}")
_BLANKS = re.compile(r"[ \t]+")


@dataclass(frozen=True, kw_only=True, slots=True)
class KnownWitness:
    """A witness of the policy. ``address`` is its submission prefix, where it is known."""

    name: str
    key: WitnessKey
    address: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """At least ``need`` of ``members``, witnesses or groups."""

    need: int
    members: tuple[str, ...]


@dataclass(kw_only=True, slots=True)
class Policy:
    """What the file says."""

    logs: list[Verifier] = field(default_factory=list)
    witnesses: dict[str, KnownWitness] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    quorum: str | None = None

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Raises `Unclear`, which names the line: without a policy nothing is told."""
        policy = cls()
        if _FORBIDDEN.search(data):
            raise Unclear("not a policy: it holds control characters")
        lines = data.decode("utf-8", "surrogateescape").split("\n")
        if len(lines) > LINES_MAX:
            raise Unclear(f"a policy has at most {LINES_MAX} lines")
        for number, line in enumerate(lines, 1):
            items = [item for item in _BLANKS.split(line) if item]
            if items and not items[0].startswith("#"):
                try:
                    policy._take(*items)
                except (Invalid, Unclear, TypeError, ValueError) as exc:
                    what = str(exc) if isinstance(exc, (Invalid, Unclear)) else "not a line of a policy"
                    raise Unclear(f"line {number}: {what}") from None
        if policy.quorum is None:
            raise Unclear("a policy has a quorum line")
        return policy

    def check(self, note: Note) -> dict[str, int]:
        """Return the witnesses that cosigned, and when (seconds since the Epoch).

        Raises `Invalid` for a forged cosignature, `Unclear` when those that cosigned are no quorum.
        """
        times = {name: w.key.time_s(note) for name, w in self.witnesses.items()}
        seen = {name: time_s for name, time_s in times.items() if time_s is not None}
        if self.quorum != NONE and not self._satisfied(self.quorum or "", seen):
            cosigned = ", ".join(sorted(seen)) or "none"
            raise Unclear(f"the witnesses that cosigned are no quorum ({cosigned})", hint="perhaps not yet: try again")
        return seen

    def asked(self) -> Iterator[KnownWitness]:
        """Yield the witnesses that have an address."""
        return (w for w in self.witnesses.values() if w.address is not None)

    def _satisfied(self, name: str, seen: Mapping[str, int]) -> bool:
        group = self.groups.get(name)
        if group is None:
            return name in seen
        return sum(self._satisfied(member, seen) for member in group.members) >= group.need

    def _take(self, keyword: str, *items: str) -> None:
        takes: dict[str, Callable[..., None]] = {
            "log": self._log,
            "witness": self._witness,
            "group": self._group,
            "quorum": self._quorum,
        }
        if keyword not in takes:
            raise Invalid("no such keyword")
        takes[keyword](*items)

    def _log(self, vkey: str, _address: str | None = None) -> None:
        log = Verifier.parse(vkey)
        if log.public in {known.public for known in self.logs}:
            raise Invalid("a log's key stands here twice")
        self.logs.append(log)

    def _witness(self, name: str, vkey: str, address: str | None = None) -> None:
        self._check_new(name)
        key = WitnessKey.parse(vkey)
        if key.public in {known.key.public for known in self.witnesses.values()}:
            raise Invalid("a witness's key stands here twice")
        self.witnesses[name] = KnownWitness(name=name, key=key, address=address)

    def _group(self, name: str, need: str, *members: str) -> None:
        self._check_new(name)
        if len(set(members)) != len(members) or not all(m in self.witnesses or m in self.groups for m in members):
            raise Invalid("a group's members are defined before it, and each is named once")
        taken = {member for group in self.groups.values() for member in group.members}
        if taken & set(members):
            raise Invalid("a name is a member of one group at most")
        count = {"any": 1, "all": len(members)}.get(need) or (int(need) if _COUNT.fullmatch(need) else 0)
        if not 1 <= count <= len(members):
            raise Invalid("a group wants one of its members at least, and all at most")
        self.groups[name] = Group(need=count, members=members)

    def _quorum(self, name: str) -> None:
        if self.quorum is not None:
            raise Invalid("a policy has one quorum line")
        if name != NONE and name not in self.witnesses and name not in self.groups:
            raise Invalid(f"no such witness or group: {name}")
        self.quorum = name

    def _check_new(self, name: str) -> None:
        if name == NONE or name in self.witnesses or name in self.groups:
            raise Invalid(f"{name} stands for something already")
