"""Who signs in to look at the demonstration: citizens whose day is worth seeing, and people of the city. Pure."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from lutece.citizens import Citizen, Population
from lutece.day import DayEvent

MOVED = "civil-registry.address-changed.v1"
FAMILY = "civil-registry.household-changed.v1"
FRAIL = "social-action.frail-registered.v1"
BADGE = "social-action.disability-badge-issued.v1"
REPORTED = "citizen-desk.report-filed.v1"


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """Somebody whom the identity provider knows."""

    id: str
    story: str
    """One line, shown where one chooses who to be."""
    claims: Mapping[str, Any] = field(repr=False)


STAFF = (
    Part(
        id="nadia",
        story="Déléguée à la protection des données : elle vérifie tout",
        claims={"name": "Nadia Lefort", "passerelle_roles": ["auditor"], "passerelle_department": "citizen-desk"},
    ),
    Part(
        id="yann",
        story="Équipe technique, d’astreinte ce soir",
        claims={"name": "Yann Kerbrat", "passerelle_roles": ["operator"]},
    ),
    Part(
        id="lucie",
        story="Officière d’état civil : tuteurs et oppositions",
        claims={"name": "Lucie Amar", "passerelle_roles": ["officer"], "passerelle_department": "civil-registry"},
    ),
    Part(
        id="omar",
        story="Action sociale : plan canicule",
        claims={"name": "Omar Benali", "passerelle_roles": ["officer"], "passerelle_department": "social-action"},
    ),
)


def cast(people: Population, events: Iterable[DayEvent]) -> tuple[Part, ...]:
    """Return citizens with a story, each of another kind, and the city's own people."""
    types: dict[int, set[str]] = defaultdict(set)
    for event in events:
        types[event.citizen.number].add(event.type)
    children = Counter(guardian for minor in people.minors for guardian in minor.guardians)
    return (*_citizens(people, types, children), *STAFF)


def _citizens(people: Population, types: Mapping[int, set[str]], children: Mapping[int, int]) -> Iterator[Part]:
    stories: tuple[tuple[str, Callable[[Citizen], bool]], ...] = (
        (
            "Deux enfants à la cantine : le tarif dépend de ce que deux services savent",
            lambda c: FAMILY in types[c.number] and children[c.number] > 1,
        ),
        ("Vient de déménager : qui reçoit la nouvelle adresse ?", lambda c: MOVED in types[c.number]),
        ("Inscrite au plan canicule : la cellule de crise a pu voir", lambda c: FRAIL in types[c.number]),
        ("A signalé un trou dans la rue", lambda c: REPORTED in types[c.number]),
        ("A reçu une carte mobilité inclusion", lambda c: BADGE in types[c.number]),
        ("Rien n’a jamais été partagé sur cette personne", lambda c: not types[c.number]),
    )
    taken: set[int] = set()
    for story, fits in stories:
        for citizen in people.adults:
            if citizen.number not in taken and fits(citizen):
                taken.add(citizen.number)
                yield Part(id=f"citizen-{citizen.number}", story=story, claims=_claims(citizen))
                break


def _claims(citizen: Citizen) -> Mapping[str, Any]:
    """The pivot identity, by FranceConnect's names."""
    identity = citizen.identity
    return {
        "given_name": " ".join(identity.given_names),
        "family_name": identity.family_name,
        "birthdate": identity.birth_date.isoformat(),
        "gender": identity.gender,
        "birthplace": identity.birth_place,
        "birthcountry": identity.birth_country,
    }
