"""Dead letters as an operator sees them: for each record that was not taken one line, and what was done about it. Pure.

A dead letter is a reference and a reason. What an operator does about it is one more record on the same topic, from
`OPERATOR`: so the topic itself tells what still waits, and keeps what was done for as long as the letters.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from passerelle.gate.again import MARK
from passerelle_consent.wire import DeadLetter
from passerelle_schemas.faults import Fault

OPERATOR = "operator"

REPLAYS_MAX = 3
"""What three replays did not mend, a fourth does not either: somebody must look first."""


RUN = "dl-"
REPLAYED_BY = f"{MARK}{RUN}"
"""In the rule of a proposal: it lies elsewhere on the exchange each time that it is proposed, and says so itself."""


class Done(StrEnum):
    """What an operator did."""

    REPLAYED = "replayed"
    DISCARDED = "discarded"


class NoSuchLetter(Fault):
    """Nothing of that reference waits."""

    exit_code = 1


class ReplayedEnough(Fault):
    """It came back from every replay so far."""

    exit_code = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Waiting:
    """One record that was not taken, however often that was tried."""

    letter: DeadLetter
    """The last one about it."""
    owner: str
    count: int
    first: datetime
    last: datetime
    replays: int = 0
    """How often it was replayed, and came back."""

    @property
    def reference(self) -> str:
        """Where the record is: ``topic[partition]@offset``; a row's id is the offset of its table."""
        return reference_of(self.letter)

    @property
    def component(self) -> str:
        """Whose it is, as the ledger names it: `gate`, `agents.<app>`, or `<component>.<department>`."""
        own = self.letter.component
        return own if self.owner == own else f"{own}.{self.owner}"

    @property
    def digest(self) -> bytes:
        """SHA-256 of the reference: what the ledger says of it."""
        return hashlib.sha256(self.reference.encode()).digest()

    @property
    def run(self) -> str:
        """The next replay's name: the same when it is begun anew after a crash."""
        return f"{RUN}{self.digest.hex()[:12]}-{self.replays + 1}"

    def may_be_replayed(self, *, again: bool) -> None:
        """Raise `ReplayedEnough`, unless somebody says ``again``."""
        if self.replays >= REPLAYS_MAX and not again:
            what = f"was replayed {self.replays} times, and came back"
            raise ReplayedEnough(what, where=self.reference, hint="mend its cause first; then: --again")


def reference_of(letter: DeadLetter) -> str:
    """Name the record that a letter is about."""
    return f"{letter.topic}[{letter.partition}]@{letter.offset}"


def resolution(letter: DeadLetter, done: Done) -> DeadLetter:
    """Return the record by which a letter waits no more."""
    fields = {"topic": letter.topic, "partition": letter.partition, "offset": letter.offset}
    return DeadLetter(component=OPERATOR, reason=done.value, **fields)  # type: ignore[arg-type] # str and int, as named


def waiting(letters: Iterable[tuple[datetime, DeadLetter]], owner: str) -> list[Waiting]:
    """Fold a topic, in its order, into what waits; the longest first."""
    found: dict[str, Waiting] = {}
    replays: Counter[str] = Counter()
    for at, letter in letters:
        reference = reference_of(letter)
        before = found.get(reference)
        if letter.component == OPERATOR:
            found.pop(reference, None)
            replays[reference] += letter.reason == Done.REPLAYED
        elif before is None:
            often = replays[reference] + (letter.rule or "").count(REPLAYED_BY)
            found[reference] = Waiting(letter=letter, owner=owner, count=1, first=at, last=at, replays=often)
        else:
            found[reference] = replace(before, letter=letter, count=before.count + 1, last=at)
    return sorted(found.values(), key=lambda w: w.first)


def find(found: Iterable[Waiting], reference: str) -> Waiting:
    """Raises `NoSuchLetter`."""
    for one in found:
        if one.reference == reference:
            return one
    raise NoSuchLetter(f"no dead letter {reference} waits", hint="passerelle deadletters list")
