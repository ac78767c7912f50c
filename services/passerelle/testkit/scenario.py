"""A scenario: who lives in the city, what happens there, and what must come of it. A file that people can read.

    scenario: A school learns of a move only with consent
    people:
      anna: {}
    steps:
      - publish: {who: anna, event: civil-registry.address-changed.v1}
      - expect:
          - {who: anna, flow: move.tax, verdict: permit}
          - {who: anna, flow: move.schools, verdict: deny, reason: consent-not-given}
      - give: {who: anna, agreement: move-schools}

`expect` names everything that was decided since the last one, in any order: what is missing and what is too much are
both findings. With `flows: [move.schools]` it speaks of these alone. A value that is left out is the example of the
contract; a delivered value names the fields that matter. ``at`` says when an event happened, for rules with windows;
`dead_letters` names, by rule and reason, what the agents refused since the last one; with `flows`, it is of the rules
that the file names. The same file is played in memory and on a real city.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Protocol

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from passerelle.agents.reading import Refusal
from passerelle.saying import NotSaid
from passerelle.testkit.outcomes import Outcome
from passerelle_consent.policy.decide import Reason, Verdict
from passerelle_consent.policy.standing import Protection
from passerelle_consent.records.transitions import Action
from passerelle_consent.wire import DeadLetter
from passerelle_schemas.documents import Document
from passerelle_schemas.faults import Fault

STEPS_MAX = 1_000
PEOPLE_MAX = 1_000
GUARDIANS_MAX = 4
"""A scenario is read by people; a load is another matter."""

SAYABLE = (Action.GIVE, Action.REFUSE, Action.DEFER, Action.WITHDRAW, Action.OBJECT)
"""By a citizen, in a step of that name."""

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,30}$")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Someone(_Part):
    """A person whom the bus knows."""

    minor_until: AwareDatetime | None = None
    """Of a minor: the 18th birthday."""
    protection: Protection | None = None
    guardians: tuple[Name, ...] = Field(default=(), max_length=GUARDIANS_MAX)
    """Others among the people: a minor's parents, a protected adult's curators or tutors."""

    @model_validator(mode="after")
    def _somebody_needs_them(self) -> "Someone":
        if self.guardians and self.minor_until is None and self.protection is None:
            raise ValueError("only minors and protected adults have guardians")
        return self

    @property
    def minor_until_ms(self) -> int | None:
        """Epoch milliseconds."""
        return None if self.minor_until is None else int(self.minor_until.timestamp() * 1000)


class Publish(_Part):
    """A department publishes an event about somebody."""

    who: Name
    event: str
    at: AwareDatetime | None = None
    """When it happened: in memory, time passes until then; on a real city it is past. Otherwise now."""
    value: dict[str, Any] = {}


class Say(_Part):
    """A citizen says something about an agreement."""

    who: Name
    agreement: str
    by: Name | None = None
    """The guardian who says it for them."""
    refused: str | None = None
    """It must be refused: the problem's name, as the consent service answers it (`cannot-speak`, …)."""


class Expected(_Part):
    """One decision that must have been made, with as much of it as matters."""

    who: Name
    flow: str
    verdict: Verdict
    reason: Reason | None = None
    withheld: list[str] | None = None
    value: dict[str, Any] | None = None

    def met_by(self, outcome: Outcome) -> bool:
        """Whether this is the decision that was meant."""
        if (self.who, self.flow, self.verdict) != (outcome.who, outcome.flow, outcome.verdict):
            return False
        if self.reason not in (None, outcome.reason):
            return False
        if self.withheld is not None and sorted(self.withheld) != sorted(outcome.withheld):
            return False
        had = plain(outcome.value or {})
        return all(name in had and had[name] == said for name, said in plain(self.value or {}).items())


class Refused(_Part):
    """One dead letter of the agents."""

    rule: str | None = None
    """None: a record that no rule can read."""
    reason: Refusal


class Step(_Part):
    """One thing that happens, or one look at what came of it."""

    publish: Publish | None = None
    give: Say | None = None
    refuse: Say | None = None
    defer: Say | None = None
    withdraw: Say | None = None
    object: Say | None = None
    clock: AwareDatetime | None = None
    """Time passes until then."""
    expect: list[Expected] | None = None
    dead_letters: list[Refused] | None = None
    """What the agents refused since this was last asked, in any order."""

    @model_validator(mode="after")
    def _one_thing(self) -> "Step":
        if len(self.model_fields_set) != 1:
            raise ValueError(f"a step is one of {', '.join(type(self).model_fields)}")
        return self

    @property
    def said(self) -> tuple[Say, Action] | None:
        """What a citizen says in this step."""
        said = ((getattr(self, action.value), action) for action in SAYABLE)
        return next(((say, action) for say, action in said if say is not None), None)


class Scenario(_Part):
    """A scenario file."""

    scenario: str = Field(min_length=1, max_length=200)
    people: dict[Name, Someone] = Field(max_length=PEOPLE_MAX)
    flows: tuple[str, ...] | None = Field(default=None, min_length=1)
    """Of which flows it speaks, whatever else the city makes of its events; otherwise of all."""
    steps: list[Step] = Field(min_length=1, max_length=STEPS_MAX)

    @model_validator(mode="after")
    def _everybody_is_known(self) -> "Scenario":
        for step in self.steps:
            said = step.said
            asked = [e.who for e in step.expect or ()] + ([said[0].who] if said else [])
            if said and said[0].by is not None and said[0].by not in self.people:
                raise ValueError(f"nobody is called {said[0].by}")
            for who in asked:
                if who not in self.people and not self._published(who):
                    raise ValueError(f"nobody is called {who}")
        return self

    @model_validator(mode="after")
    def _guardians_are_known(self) -> "Scenario":
        for who, someone in self.people.items():
            for guardian in someone.guardians:
                if guardian not in self.people or guardian == who:
                    raise ValueError(f"{guardian} cannot be {who}'s guardian: name another of the people")
        return self

    @property
    def rules(self) -> frozenset[str | None] | None:
        """Whose dead letters it speaks of, where it does not speak of all."""
        named = frozenset(one.rule for step in self.steps for one in step.dead_letters or ())
        return None if self.flows is None else named

    def _published(self, who: str) -> bool:
        """Of somebody whom the bus does not know, a department may publish all the same: it is denied."""
        return any(step.publish is not None and step.publish.who == who for step in self.steps)


class Stage(Protocol):
    """Where a scenario is played."""

    def citizen(
        self, who: str, *, minor_until_ms: int | None, protection: Protection | None, guardians: Sequence[str]
    ) -> None:
        """Make somebody known, after their guardians."""

    def say(self, who: str, agreement: str, action: Action, *, by: str | None) -> None:
        """Return when it is in force. Raises `NotSaid` when the consent service refuses, or would."""

    def publish(self, event: str, who: str, *, at: str | None = None, **value: Any) -> None:
        """Return when it is accepted. ``at``, RFC 3339, is when it happened."""

    def move_clock(self, at: str) -> None:
        """Let time pass. Raises `Fault` where it cannot be moved."""

    def outcomes(self, expected: int) -> Sequence[Outcome]:
        """Return what was decided since this was last asked, when nothing more is under way.

        ``expected`` are awaited at least, for a time.
        """

    def refused(self, expected: int) -> Sequence[DeadLetter]:
        """Return the agents' dead letters since this was last asked; awaited as `outcomes`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """An expectation that was not met, or something that nobody expected."""

    where: str
    what: str


def read_scenario(path: Path) -> tuple[Document, Scenario]:
    """Raises `DocumentFault` with every problem and its line."""
    document = Document(path)
    return document, document.parse(Scenario)


def play(document: Document, scenario: Scenario, stage: Stage) -> Iterator[Finding]:
    """Play it to its end. Raises `Fault`, with file and line, for a step that cannot be done."""
    for who, someone in sorted(scenario.people.items(), key=lambda one: bool(one[1].guardians)):
        stage.citizen(
            who,
            minor_until_ms=someone.minor_until_ms,
            protection=someone.protection,
            guardians=someone.guardians,
        )
    for number, step in enumerate(scenario.steps):
        try:
            what = _do(step, stage)
        except Fault as fault:
            raise Fault(document.problem(("steps", number), str(fault)), hint=fault.hint) from None
        if what is not None:
            yield Finding(where=f"{document.path}:{document.line(('steps', number))}", what=what)
        if step.expect is not None:
            about = scenario.flows
            outcomes = [o for o in stage.outcomes(len(step.expect)) if about is None or o.flow in about]
            for at, what in _compared(step.expect, outcomes):
                line = document.line(("steps", number, "expect", *at))
                yield Finding(where=f"{document.path}:{line}", what=what)
        if step.dead_letters is not None:
            rules = scenario.rules
            letters = [le for le in stage.refused(len(step.dead_letters)) if rules is None or le.rule in rules]
            if what is None and (what := _refused_otherwise(step.dead_letters, letters)) is not None:
                yield Finding(where=f"{document.path}:{document.line(('steps', number))}", what=what)


def _refused_otherwise(wanted: Sequence[Refused], letters: Sequence[DeadLetter]) -> str | None:
    said = Counter((letter.rule, letter.reason) for letter in letters)
    if said == Counter((one.rule, one.reason.value) for one in wanted):
        return None
    told = ", ".join(f"{reason} of {rule or 'no rule'}" for rule, reason in said.elements())
    return f"the dead letters were: {told or 'none'}"


def _do(step: Step, stage: Stage) -> str | None:
    """Do it; tell what went otherwise than expected."""
    if step.publish is not None:
        said = step.publish
        at = None if said.at is None else said.at.astimezone(UTC).isoformat()
        stage.publish(said.event, said.who, at=at, **said.value)
    elif step.clock is not None:
        stage.move_clock(step.clock.astimezone(UTC).isoformat())
    elif step.said is not None:
        return _said(*step.said, stage)
    return None


def _said(say: Say, action: Action, stage: Stage) -> str | None:
    try:
        stage.say(say.who, say.agreement, action, by=say.by)
    except NotSaid as no:
        if say.refused is None:
            raise
        return None if no.problem == say.refused else f"it was refused as {no.problem}, not as {say.refused}"
    return None if say.refused is None else f"{action} was taken, not refused as {say.refused}"


def _compared(expected: Sequence[Expected], outcomes: Sequence[Outcome]) -> Iterator[tuple[tuple[int, ...], str]]:
    left = list(outcomes)
    for number, wanted in enumerate(expected):
        met = next((o for o in left if wanted.met_by(o)), None)
        if met is not None:
            left.remove(met)
            continue
        near = [o for o in left if (o.who, o.flow) == (wanted.who, wanted.flow)]
        was = f"it was {_told(near[0])}" if near else "nothing was decided"
        if near:
            left.remove(near[0])
        yield (number,), f"{wanted.flow} for {wanted.who}: {was}, not {_wanted(wanted)}"
    for outcome in left:
        yield (), f"nobody expected {outcome.flow} for {outcome.who}: {_told(outcome)}"


def _told(outcome: Outcome) -> str:
    withheld = f", without {', '.join(outcome.withheld)}" if outcome.withheld else ""
    value = f", with {json.dumps(plain(outcome.value), ensure_ascii=False)}" if outcome.value is not None else ""
    return f"{outcome.verdict} ({outcome.reason}{withheld}{value})"


def _wanted(expected: Expected) -> str:
    parts = [str(expected.reason)] if expected.reason else []
    if expected.withheld is not None:
        parts.append(f"without {', '.join(expected.withheld) or 'nothing'}")
    if expected.value:
        parts.append(f"with {json.dumps(plain(expected.value), ensure_ascii=False)}")
    more = ", ".join(parts)
    return f"{expected.verdict} ({more})" if more else str(expected.verdict)


def plain(value: Mapping[str, Any]) -> dict[str, Any]:
    """As JSON has it, so that a day written in a file equals a day that was read."""
    read: dict[str, Any] = json.loads(json.dumps(value, default=_text))
    return read


def _text(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
