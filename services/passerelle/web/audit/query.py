"""What an auditor looks for, as the page's address says it, and as the consent service is asked. Pure.

Each criterion is a parameter of its own name, so that an address can be read and passed on; one that is there but
empty was added and is not filled in yet. `ajouter` and `retirer` are what the buttons of the form send.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Self
from zoneinfo import ZoneInfo

from passerelle.web.audit.labels import REASONS, TYPES, VERDICTS
from passerelle.web.words import N_

CHARS_MAX = 200
MANDATE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,63}")
PSEUDONYM = re.compile(r"[0-9a-f]{32}")


class Criterion(StrEnum):
    """What can be looked for, by the name of its parameter."""

    FLOW = "flux"
    DEPARTMENT = "service"
    RECIPIENT = "vers"
    AGREEMENT = "accord"
    VERDICT = "resultat"
    REASON = "motif"
    TYPE = "type"
    DECISION = "decision"

    @property
    def label(self) -> str:
        """As a message."""
        return _LABELS[self]

    @property
    def asked_as(self) -> str:
        """The parameter's name at the consent service."""
        return _ASKED[self]

    def problem(self, value: str) -> str | None:
        """What is wrong with a value, as a message; None if it can be asked for."""
        if not value:
            return N_("Donnez une valeur, ou retirez le critère.")
        if codes := _CODES.get(self):
            return None if value in codes else N_("Choisissez une valeur de la liste.")
        return None if _GRAMMAR[self].fullmatch(value) else _HINTS[self]


_LABELS = {
    Criterion.FLOW: N_("Flux"),
    Criterion.DEPARTMENT: N_("Service qui reçoit ou agit"),
    Criterion.RECIPIENT: N_("Service qui reçoit"),
    Criterion.AGREEMENT: N_("Accord"),
    Criterion.VERDICT: N_("Résultat"),
    Criterion.REASON: N_("Motif"),
    Criterion.TYPE: N_("Type de ligne"),
    Criterion.DECISION: N_("Numéro de décision"),
}
_ASKED = {
    Criterion.FLOW: "flow",
    Criterion.DEPARTMENT: "department",
    Criterion.RECIPIENT: "recipient",
    Criterion.AGREEMENT: "agreement",
    Criterion.VERDICT: "verdict",
    Criterion.REASON: "reason",
    Criterion.TYPE: "type",
    Criterion.DECISION: "decision",
}
_CODES: Mapping[Criterion, Mapping[str, str]] = {
    Criterion.VERDICT: VERDICTS,
    Criterion.REASON: REASONS,
    Criterion.TYPE: TYPES,
}
_GRAMMAR = {
    Criterion.FLOW: re.compile(r"[a-z][a-z0-9.-]{0,127}"),
    Criterion.DEPARTMENT: re.compile(r"[a-z][a-z0-9-]{0,63}"),
    Criterion.RECIPIENT: re.compile(r"[a-z][a-z0-9-]{0,63}"),
    Criterion.AGREEMENT: re.compile(r"[a-z][a-z0-9-]{0,127}(@[1-9][0-9]{0,5})?"),
    Criterion.DECISION: re.compile(r"[0-9a-f]{32}"),
}
_HINTS = {
    Criterion.FLOW: N_("Un flux s’écrit en minuscules, par exemple move.tax."),
    Criterion.DEPARTMENT: N_("Choisissez une valeur de la liste."),
    Criterion.RECIPIENT: N_("Choisissez une valeur de la liste."),
    Criterion.AGREEMENT: N_("Un accord s’écrit par exemple meal-tariff-income, ou meal-tariff-income@2."),
    Criterion.DECISION: N_("Un numéro de décision a 32 caractères, de 0 à 9 et de a à f."),
}

COUNTED = (Criterion.REASON, Criterion.FLOW, Criterion.RECIPIENT, Criterion.AGREEMENT, Criterion.TYPE)
"""By what entries are told apart in the second count."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Wrong:
    """A field that cannot be asked for: its id on the page, its label and what to do, as messages."""

    field: str
    label: str
    said: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Search:
    """What is looked for. Times are as the form has them, of the city's clock; ``until`` is not within."""

    mandate: str = ""
    since: str = ""
    until: str = ""
    criteria: Mapping[Criterion, str] = field(default_factory=dict)
    by: Criterion = Criterion.REASON
    cursor: str = ""
    composing: bool = False
    """A button changed the form: nothing is asked yet."""

    @classmethod
    def of(cls, said: Mapping[str, str]) -> Self:
        """Read an address. What is too long or unknown is left out."""
        said = {name: value.strip()[: 2 * CHARS_MAX] for name, value in said.items()}
        criteria = {c: said[c.value][:CHARS_MAX] for c in Criterion if c.value in said}
        if said.get("ajouter") and said.get("champ") in list(Criterion):
            criteria.setdefault(Criterion(said["champ"]), "")
        if said.get("retirer") in list(Criterion):
            criteria.pop(Criterion(said["retirer"]), None)
        by = said.get("par")
        return cls(
            mandate=said.get("mandat", "")[:CHARS_MAX],
            since=said.get("du", "")[:CHARS_MAX],
            until=said.get("au", "")[:CHARS_MAX],
            criteria=criteria,
            by=Criterion(by) if by in COUNTED else Criterion.REASON,
            cursor=said.get("suite", ""),
            composing="ajouter" in said or "retirer" in said,
        )

    @property
    def addable(self) -> Sequence[Criterion]:
        """What is not looked for yet: the service takes one value of each."""
        return [c for c in Criterion if c not in self.criteria]

    def wrong(self, zone: ZoneInfo) -> list[Wrong]:
        """Everything that cannot be asked for, in the form's order."""
        found = []
        if problem := mandate_problem(self.mandate):
            found.append(Wrong(field="mandat", label=N_("Mandat"), said=problem))
        bounds = {"du": (N_("Depuis"), self.since), "au": (N_("Avant"), self.until)}
        for name, (label, text) in bounds.items():
            if text and instant(text, zone) is None:
                said = N_("Cette date n’existe pas. Écrivez par exemple 2026-11-30T14:00.")
                found.append(Wrong(field=name, label=label, said=said))
        since, until = instant(self.since, zone), instant(self.until, zone)
        if since and until and since >= until:
            found.append(Wrong(field="au", label=N_("Avant"), said=N_("La fin doit être après le début.")))
        for criterion, value in self.criteria.items():
            if problem := criterion.problem(value):
                found.append(Wrong(field=criterion.value, label=criterion.label, said=problem))
        return found

    def asked(self, zone: ZoneInfo) -> dict[str, Any]:
        """As the consent service is asked. Only what has nothing `wrong`."""
        since, until = instant(self.since, zone), instant(self.until, zone)
        return {
            **({"since": since.isoformat()} if since else {}),
            **({"until": until.isoformat()} if until else {}),
            **{c.asked_as: value for c, value in self.criteria.items()},
        }

    @property
    def kept(self) -> dict[str, str]:
        """What the address of another page of the same search repeats."""
        times = {"mandat": self.mandate, "du": self.since, "au": self.until, "par": self.by.value}
        return {**times, **{c.value: value for c, value in self.criteria.items()}}


def mandate_problem(text: str) -> str | None:
    """What is wrong with the reference of a mandate; none at all is nothing wrong."""
    if not text or MANDATE.fullmatch(text):
        return None
    return N_("Une référence de mandat a des lettres, des chiffres et . _ / -, par exemple ENQ-2026-031.")


def instant(text: str, zone: ZoneInfo) -> datetime | None:
    """A time of a form in the city's own; None where there is none, or no such time."""
    try:
        return datetime.fromisoformat(text).replace(tzinfo=zone) if text else None
    except ValueError:
        return None
