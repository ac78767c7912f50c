"""Who signs in to look at the demonstration: citizens whose day is worth seeing, and people of the city. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lutece.citizens import Citizen
from lutece.stories import Stories


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


def cast(stories: Stories) -> tuple[Part, ...]:
    """Return citizens with a story, each of another kind, and the city's own people."""
    told = (
        (stories.mother, "Mère de deux enfants, garde partagée : l’un de ses oui attend celui du père"),
        (stories.father, "L’autre parent : une question attend sa réponse"),
        (stories.protected, "Adulte sous tutelle : une autre personne répond, mais le non reste le sien"),
        (stories.tutor, "Tutrice ou tuteur d’un adulte protégé : répond pour cette personne"),
        (stories.withdrew, "A déménagé, a dit oui à l’école, puis a retiré son oui"),
        (stories.objected, "S’est opposé à un partage : la ville a répondu"),
        (stories.rescued, "Inscrite au plan canicule : un message dit qui a pu ouvrir sa fiche"),
        (stories.silent, "N’a jamais rien dit, et rien n’a jamais été partagé"),
    )
    return (*(Part(id=f"citizen-{c.number}", story=story, claims=_claims(c)) for c, story in told), *STAFF)


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
