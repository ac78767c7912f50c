"""Follow a published log and sound the alarm. What was verified is kept, so that each pass reads what is new.

A pass opens the checkpoint, shows that it contains the one before (the tree is grown from the kept root, whose tiles
must still lead there), reads the new entries, and moves on only when they lead to the signed root.
"""

import copy
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Self

from passerelle_consent.ledger.audit.published import CHECKPOINT, PublishedLog
from passerelle_consent.ledger.audit.scan import Placed, scan
from passerelle_consent.ledger.audit.watch import Alarm, Kind, Person, Watch
from passerelle_consent.ledger.faults import Invalid, Unclear
from passerelle_consent.ledger.log import tiles, tree
from passerelle_consent.ledger.log.checkpoint import Checkpoint, open_checkpoint
from passerelle_consent.ledger.log.entries import Entry
from passerelle_consent.ledger.log.note import Note, Verifier
from passerelle_consent.ledger.log.tiles import TILE_HEIGHT, TILE_WIDTH, RightEdge, Tile
from passerelle_consent.ledger.log.trust import Policy

STATE_VERSION = 1


@dataclass(kw_only=True, slots=True)
class State:
    """What a monitor remembers. ``note`` is the last checkpoint that it has verified; None at first."""

    note: bytes | None = None
    watch: Watch = field(default_factory=Watch)

    def encode(self) -> str:
        """Return JSON. Keys do not go in: a person is known by a digest of theirs."""
        plain = {
            "v": STATE_VERSION,
            "note": None if self.note is None else self.note.decode(),
            "overrides": _written(self.watch.overrides.values()),
            "policies": _written(self.watch.policies),
            "people": {_digest(p.key): _written(p.entries) for p in self.watch.people},
        }
        return json.dumps(plain, ensure_ascii=False)

    @classmethod
    def parse(cls, text: str, keys: Sequence[bytes]) -> Self:
        """Read a state, of the people whose keys are given. Raises `Unclear`."""
        try:
            read = json.loads(text)
            if read["v"] != STATE_VERSION:
                raise Unclear("the state of another version")
            known = {digest: _read(said) for digest, said in read["people"].items()}
            people = [Person(key=key, entries=known[_digest(key)]) for key in keys if _digest(key) in known]
            overrides = {p.entry.ident: p for p in _read(read["overrides"])}
            watch = Watch(people=people, overrides=overrides, policies=_read(read["policies"]))
            return cls(note=None if read["note"] is None else read["note"].encode(), watch=watch)
        except (ValueError, KeyError, TypeError, AttributeError, Invalid):
            raise Unclear("not the state of a monitor", hint="without it, the whole log is read") from None


@dataclass(frozen=True, kw_only=True, slots=True)
class Pass:
    """What one pass found. ``size`` is the checkpoint's, None when it did not open."""

    size: int | None
    alarms: tuple[Alarm, ...]

    @property
    def exit_code(self) -> int:
        """0 all clear, 1 an alarm, 2 could not tell."""
        kinds = {a.kind for a in self.alarms}
        return 1 if kinds - {Kind.UNCLEAR} else 2 if kinds else 0


class Monitor:
    """Follows one log."""

    def __init__(
        self,
        *,
        log: PublishedLog,
        verifier: Verifier,
        keys: Sequence[bytes] = (),
        state: State | None = None,
        policy: Policy | None = None,
        late_after_s: int,
    ) -> None:
        self.state = state or State()
        self._log, self._verifier, self._policy = log, verifier, policy
        self._keys = keys
        self._late_after_s = late_after_s

    def look(self, now_s: float) -> Pass:
        """Make one pass. Raises nothing for what it reads: that is an alarm."""
        alarms: list[Alarm] = []
        size = None
        try:
            checkpoint, note = self._log.checkpoint(self._verifier)
            size = checkpoint.size
            for part in (self._late(note, now_s), self._advance(checkpoint, note)):
                alarms += _heard(part)
        except (Invalid, Unclear) as fault:
            alarms.append(_alarm(fault))
        alarms += self.state.watch.standing(int(now_s * 1000))
        return Pass(size=size, alarms=tuple(alarms))

    def _late(self, note: bytes, now_s: float) -> Iterator[Alarm]:
        """The newest cosignature of a known witness says when the log was current; without witnesses, its file."""
        times = [] if self._policy is None else list(self._policy.check(Note.parse(note)).values())
        said_s = max(times) if times else self._log.published_s()
        if said_s is None:
            raise Unclear("nothing says when it was published", where=CHECKPOINT)
        if now_s - said_s > self._late_after_s:
            what = f"is {now_s - said_s:.0f} seconds old, where {self._late_after_s} are allowed"
            yield Alarm(kind=Kind.CHECKPOINT_LATE, what=f"{CHECKPOINT}: {what}")

    def _advance(self, checkpoint: Checkpoint, note: bytes) -> Iterator[Alarm]:
        before = None if self.state.note is None else open_checkpoint(self.state.note, self._verifier)
        since = before.size if before else 0
        if before is not None and checkpoint.size < before.size:
            what = f"the log has {checkpoint.size} entries, and had {before.size}: rolled back, or another history"
            yield Alarm(kind=Kind.TWO_HISTORIES, what=what)
            return
        edge = self._edge(since, checkpoint.size)
        if before is not None and edge.root() != before.root:
            what = f"the log of {checkpoint.size} entries does not begin with what it signed at size {before.size}"
            yield Alarm(kind=Kind.TWO_HISTORIES, what=what)
            return
        watch = copy.deepcopy(self.state.watch)
        watch.people += [self._person(key, before) for key in self._keys if not _known(watch, key)]
        alarms = list(self._read(edge, watch, since, checkpoint.size))
        if edge.root() != checkpoint.root:
            raise Invalid("its root is not the root of the entries", where=CHECKPOINT)
        self.state = State(note=note, watch=watch)
        yield from alarms

    def _edge(self, size: int, now: int) -> RightEdge:
        def read(level: int, index: int) -> bytes:
            width = min(TILE_WIDTH, (now >> TILE_HEIGHT * level) - index * TILE_WIDTH)
            return self._log.hashes(Tile(level=level, index=index, width=width))

        return RightEdge.of(size, read)

    def _read(self, edge: RightEdge, watch: Watch, since: int, size: int) -> Iterator[Alarm]:
        for bundle in tiles.bundles(size, since):
            start = max(since, bundle.start)
            fresh = self._log.bundle(bundle)[start - bundle.start :]
            edge.append(tree.leaf_hashes(fresh))
            for index, raw in enumerate(fresh, start):
                yield from watch.take(index, raw)

    def _person(self, key: bytes, before: Checkpoint | None) -> Person:
        """Whoever is new to a monitor that has come some way: what the log already holds about them."""
        if before is None:
            return Person(key=key)
        held = scan(self._log, self._verifier, key).entries
        return Person(key=key, entries=[p for p in held if p.index < before.size])


def _heard(alarms: Iterator[Alarm]) -> Iterator[Alarm]:
    """Yield alarms; a fault that ends them is the last."""
    try:
        yield from alarms
    except (Invalid, Unclear) as fault:
        yield _alarm(fault)


def _alarm(fault: Invalid | Unclear) -> Alarm:
    return Alarm(kind=Kind.INVALID if isinstance(fault, Invalid) else Kind.UNCLEAR, what=str(fault))


def _known(watch: Watch, key: bytes) -> bool:
    return any(person.key == key for person in watch.people)


def _digest(key: bytes) -> str:
    return sha256(b"passerelle/monitor\n" + key).hexdigest()[:32]


def _written(placed: Iterable[Placed]) -> list[Any]:
    return [[p.index, p.entry.encode().decode()] for p in placed]


def _read(said: list[Any]) -> list[Placed]:
    return [Placed(index=int(index), entry=Entry.parse(raw.encode())) for index, raw in said]
