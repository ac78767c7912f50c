"""People of the demonstration whose story is worth seeing: who they are (pure), and what they and the offices say."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from lutece.citizens import Citizen, Population
from lutece.day import DayEvent
from lutece.voices import Desk
from passerelle_consent.policy.agreements import SubjectClass
from passerelle_consent.policy.voice import Relation

MOVED = "civil-registry.address-changed.v1"
FRAIL = "social-action.frail-registered.v1"
SCHOOLS, BINS, SCHOOL_START = "move-schools", "move-cleanliness", "birth-schools"
GUARDIANS_SINCE = "2020-01-01T00:00:00Z"
JUDGMENT = "TJ-RG-24/01188"


@dataclass(frozen=True, kw_only=True, slots=True)
class Stories:
    """Who lives which story; all of them different people, found by the same rule at each run of a seed."""

    mother: Citizen
    father: Citizen
    children: tuple[Citizen, ...]
    protected: Citizen
    tutor: Citizen
    withdrew: Citizen
    objected: Citizen
    rescued: Citizen
    silent: Citizen

    @property
    def own(self) -> frozenset[int]:
        """Whose words are the story's alone: they say nothing at random, and nobody takes their words back."""
        told = (self.mother, self.father, *self.children, self.protected, self.tutor, self.withdrew, self.objected)
        return frozenset(c.number for c in (*told, self.silent))


def find(people: Population, events: Iterable[DayEvent]) -> Stories:
    """Return who lives them. Raises `StopIteration` for a city too small to have them."""
    types: dict[int, set[str]] = defaultdict(set)
    for event in events:
        types[event.citizen.number].add(event.type)
    taken: set[int] = set()

    def first(candidates: Iterable[Citizen], fits: Callable[[Citizen], bool]) -> Citizen:
        found = next(c for c in candidates if c.number not in taken and fits(c))
        taken.add(found.number)
        return found

    couples = Counter(minor.guardians[:2] for minor in people.minors if len(minor.guardians) > 1)
    two = next(guardians for guardians, n in couples.items() if n > 1)
    parents = [people.citizens[n] for n in two]
    mother, father = sorted(parents, key=lambda p: p.identity.gender != "female")
    taken |= set(two)
    adults = [c for c in people.adults if c.subject_class is SubjectClass.ADULT]
    alone = {h.members[0] for h in people.households if len(h.members) == 1}
    return Stories(
        mother=mother,
        father=father,
        children=tuple(
            sorted((m for m in people.minors if m.guardians[:2] == two), key=lambda m: m.identity.birth_date)
        ),
        protected=first(people.adults, lambda c: c.subject_class is SubjectClass.PROTECTED_ADULT),
        tutor=first(adults, lambda c: not types[c.number]),
        withdrew=first(adults, lambda c: MOVED in types[c.number]),
        objected=first(adults, lambda c: MOVED in types[c.number]),
        rescued=first(adults, lambda c: FRAIL in types[c.number]),
        silent=first(adults, lambda c: not types[c.number] and c.number in alone),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Offices:
    """Ways to the consent service, and the pseudonyms that each goes by, by citizen number."""

    desk: Desk
    at_desk: Sequence[bytes]
    registry: Desk
    at_registry: Sequence[bytes]
    notices: Mapping[str, int]
    """Agreement → the version of its notice."""


async def tell(stories: Stories, offices: Offices) -> None:
    """Say it all. Raises `VoiceFault`."""

    async def represents(guardian: Citizen, ward: Citizen, relation: Relation, evidence: str) -> None:
        answer = await offices.registry.guardian(
            offices.at_registry[ward.number],
            guardian=offices.at_registry[guardian.number].hex(),
            relation=relation.value,
            evidence=evidence,
            valid_from=GUARDIANS_SINCE,
        )
        await offices.registry.acknowledged(answer)

    async def says(who: Citizen, word: str, agreement: str, about: Citizen | None = None) -> None:
        more = {"notice": offices.notices[agreement]} if word == "give" else {}
        at = offices.at_desk
        subject = at[(about or who).number]
        answer = await offices.desk.say(subject, agreement, word, speaker=at[who.number], **more)
        await offices.desk.acknowledged(answer)

    for child in stories.children:
        for parent in (stories.mother, stories.father):
            await represents(parent, child, Relation.PARENT, f"EC-{child.number:06d}")
    elder, younger = stories.children[:2]
    await says(stories.mother, "give", SCHOOLS, elder)
    await says(stories.mother, "give", SCHOOL_START, younger)  # the law asks for both parents: it waits for the father
    await represents(stories.tutor, stories.protected, Relation.TUTOR, JUDGMENT)
    await says(stories.tutor, "give", SCHOOLS, stories.protected)
    await says(stories.withdrew, "give", SCHOOLS)
    await says(stories.withdrew, "withdraw", SCHOOLS)
    await says(stories.objected, "object", BINS)
    await offices.registry.uphold(offices.at_registry[stories.objected.number])
