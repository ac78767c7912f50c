"""What the city has told a citizen of its own accord, in plain words: what happened, who did it, what one can do."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from passerelle.web.codes import OPENINGS
from passerelle.web.service import Answer
from passerelle.web.visit import Visit

Say = Callable[..., str]
SHOWN_MAX = 20
VITAL = "override-opened"
CONTESTABLE = frozenset({VITAL, "override-justified", "override-not-justified"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Opening:
    """Who opened something for a citizen's life, why, until when, and what another officer found."""

    department: str
    recipient: str
    reason: str
    until: str
    agreements: Sequence[str]
    review: str | None
    reviewed_at: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """One notice. ``opening``: of one that tells of an override."""

    id: str
    code: str
    at: str
    read_at: str | None
    words: str
    agreement: str | None
    opening: Opening | None

    @property
    def vital(self) -> bool:
        """Whether something was opened without asking."""
        return self.code == VITAL

    @property
    def contestable(self) -> bool:
        """Whether to say where one complains."""
        return self.code in CONTESTABLE


def told(
    notices: Sequence[Mapping[str, Any]],
    overrides: Sequence[Mapping[str, Any]],
    department: Callable[[str], str],
    say: Say,
) -> list[Told]:
    """Return notices as pages show them: those that nobody has read first, then the newest.

    ``department`` names a department by its id.
    """
    opened = {one["id"]: _opening(one, department, say) for one in overrides}
    shown = [
        Told(
            id=notice["id"],
            code=notice["code"],
            at=notice["at"],
            read_at=notice["read_at"],
            words=_words(notice, department, say),
            agreement=notice["agreement"],
            opening=opened.get(notice["id"]),
        )
        for notice in notices
    ]
    return sorted(shown, key=lambda one: one.read_at is not None)


def _opening(one: Mapping[str, Any], department: Callable[[str], str], say: Say) -> Opening:
    return Opening(
        department=department(one["department"]),
        recipient=department(one["recipient"]),
        reason=say(OPENINGS.get(one["reason_code"], one["reason_code"])),
        until=one["until"],
        agreements=one["agreements"],
        review=one["review"],
        reviewed_at=one["reviewed_at"],
    )


def _words(notice: Mapping[str, Any], department: Callable[[str], str], say: Say) -> str:
    recipient = "" if notice["recipient"] is None else department(notice["recipient"])
    words = {
        VITAL: say("Votre vie pouvait être en danger. Vos informations ont été ouvertes à : %(to)s.", to=recipient),
        "override-justified": say("L’ouverture à %(to)s a été vérifiée. Elle était justifiée.", to=recipient),
        "override-not-justified": say(
            "L’ouverture à %(to)s a été vérifiée. Elle n’était pas justifiée : elle a pris fin.", to=recipient
        ),
        "objection-upheld": say("Votre opposition est acceptée. %(to)s ne reçoit plus rien.", to=recipient),
        "objection-resumed": say(
            "Votre opposition n’a pas été suivie : la loi permet l’envoi à %(to)s. Vous pouvez vous opposer encore.",
            to=recipient,
        ),
        "objection-moot": say(
            "La règle de cet envoi à %(to)s a changé. Votre opposition n’attend plus de réponse.", to=recipient
        ),
        "restriction-to-be-lifted": say(
            "La limitation que vous avez demandée sera levée dans 7 jours. Vous pouvez répondre avant."
        ),
        "consent-ending": say(
            "Votre accord pour %(to)s finit dans moins de 30 jours. Sans nouvelle réponse, plus rien n’est envoyé.",
            to=recipient,
        ),
        "consent-expired": say("Votre accord pour %(to)s est fini. Plus rien n’est envoyé.", to=recipient),
        "protection-over": say("Votre mesure de protection est finie. Vous décidez de nouveau seul."),
        "protection-eased": say("Votre mesure de protection est plus légère. Vous décidez, et vous êtes assisté."),
    }
    return words[notice["code"]]


async def read(visit: Visit, subject: str) -> Answer:
    """Ask for the newest notices."""
    return await visit.site.consent.read(visit.who, f"/v1/subjects/{subject}/notices", limit=SHOWN_MAX)


async def read_overrides(visit: Visit, subject: str) -> Answer:
    """Ask for what was opened for vital interests."""
    return await visit.site.consent.read(visit.who, f"/v1/subjects/{subject}/overrides", limit=SHOWN_MAX)
