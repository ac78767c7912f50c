"""Citizens in memory: their standings, and what the consent service would let them say.

The rules are the service's own (`records.sayable`, `records.transitions`, `policy.voice`); only its store is not there.
What it would refuse is refused here, with the same problem, so that a scenario that holds in memory holds on the bus.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from passerelle.saying import NotSaid, hint_of, refusal
from passerelle_consent.policy.agreements import Agreement
from passerelle_consent.policy.bundle import PolicyBundle
from passerelle_consent.policy.standing import Actor, Protection, Stance, Standing, State
from passerelle_consent.policy.standings import CONSENTED
from passerelle_consent.policy.voice import Guardianship, Relation, Voice, terms_of, voice_of_guardian, voice_of_subject
from passerelle_consent.records import problems
from passerelle_consent.records.problems import Problem
from passerelle_consent.records.sayable import WAIT_MS, admit, shown, state_after, state_of
from passerelle_consent.records.transitions import Action


@dataclass(kw_only=True, slots=True)
class _Person:
    """Somebody known."""

    standing: Standing
    guardians: Mapping[str, Guardianship]
    waiting: dict[str, dict[str, tuple[int, int]]] = field(default_factory=dict)
    """Agreement → guardian → the notice on which they consented, and until when that waits for the other's."""


class Citizens:
    """Whoever is known, by name."""

    def __init__(self, bundle: PolicyBundle) -> None:
        self._versions: dict[str, list[Agreement]] = {}
        for agreement in sorted(bundle.agreements, key=lambda a: a.version):
            self._versions.setdefault(agreement.id, []).append(agreement)
        self._people: dict[str, _Person] = {}

    def meet(
        self,
        who: str,
        *,
        minor_until_ms: int | None = None,
        protection: Protection | None = None,
        guardians: Sequence[str] = (),
    ) -> Standing:
        """Make somebody known, with their guardians of record; return the standing."""
        known = self._people.get(who)
        standing = Standing(
            linked=True,
            revision=known.standing.revision + 1 if known else 0,
            minor_until_ms=minor_until_ms,
            protection=protection,
        )
        relation = relation_of(protection)
        office = Guardianship(relation=relation, first_ms=0, end_ms=None if protection else minor_until_ms)
        self._people[who] = _Person(standing=standing, guardians=dict.fromkeys(guardians, office))
        return standing

    def say(self, who: str, agreement: str, action: Action, now_ms: int, *, by: str | None = None) -> Standing:
        """Say it on the notice in force, oneself or as a guardian; return the standing after. Raises `NotSaid`."""
        try:
            return self._say(who, agreement, action, now_ms, by)
        except Problem as problem:
            words = problem.document("")
            told = refusal(words)
            raise NotSaid(
                f"{who}: {agreement} {action}: {told}", problem=problem.kind.slug, hint=hint_of(words)
            ) from None

    def _say(self, who: str, agreement: str, action: Action, now_ms: int, by: str | None) -> Standing:
        terms = shown(self._versions.get(agreement, ()), now_ms)
        if terms is None:
            raise Problem(problems.UNKNOWN_AGREEMENT)
        admit(terms, action, terms.notice.version, now_ms)
        person = self._people.get(who)
        if person is None:
            raise Problem(problems.UNKNOWN_SUBJECT)
        voice = self._voice(person, terms, action, now_ms, by)
        after = state_after(person.standing, terms, action, now_ms)
        held = person.standing.stances.get(agreement)
        if voice is Voice.TOGETHER and not _completed(person, terms, by or "", now_ms):
            if held is not None and state_of(person.standing, agreement, now_ms) in CONSENTED:
                return person.standing  # what stood stands until the other has spoken
            after = State.REQUESTED
        else:
            person.waiting.pop(agreement, None)
        notice = terms.notice.version if not action.takes_away else held.notice if held else None
        stance = Stance(
            agreement=agreement,
            state=after,
            notice=notice,
            at_ms=now_ms,
            until_ms=terms_of(terms).until_ms(now_ms) if after in CONSENTED else None,
            by=Actor.SUBJECT if by is None else Actor.GUARDIAN,
        )
        stances = {**person.standing.stances, agreement: stance}
        person.standing = replace(person.standing, revision=person.standing.revision + 1, stances=stances)
        return person.standing

    def _voice(self, person: _Person, terms: Agreement, action: Action, now_ms: int, by: str | None) -> Voice:
        if by is None:
            heard = voice_of_subject(terms, person.standing, now_ms, gives=action.gives)
        elif by not in person.guardians:
            raise Problem(problems.NOT_GUARDIAN)
        else:
            own = person.guardians[by]
            if own.end_ms is not None and own.end_ms <= now_ms:
                raise Problem(problems.GUARDIANSHIP_OVER)
            others = [g for name, g in person.guardians.items() if name != by]
            heard = voice_of_guardian(terms, person.standing, own, now_ms, gives=action.gives, others=others)
        if not heard.heard:
            raise Problem(problems.CANNOT_SPEAK, why=heard.value)
        return heard


def _completed(person: _Person, terms: Agreement, by: str, now_ms: int) -> bool:
    """Note a guardian's consent; whether the other has given theirs, on the same notice and not too long ago."""
    given = person.waiting.setdefault(terms.id, {})
    notice = terms.notice.version
    others = [waits for name, waits in given.items() if name != by]
    given[by] = notice, now_ms + WAIT_MS
    return any(on == notice and until_ms > now_ms for on, until_ms in others)


def relation_of(protection: Protection | None) -> Relation:
    """What somebody's guardians are to them: a minor's parents, or what an adult's protection says."""
    return {
        None: Relation.PARENT,
        Protection.ASSISTANCE: Relation.CURATOR,
        Protection.REPRESENTATION: Relation.TUTOR,
    }[protection]
