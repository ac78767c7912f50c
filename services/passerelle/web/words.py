"""Codes of the consent service in words, as filters of the templates. What is said is a message of the catalogues."""

import re
from datetime import UTC, datetime
from typing import Any

from passerelle.web.languages import Language
from passerelle.web.visit import Visit


def N_(message: str) -> str:  # noqa: N802 - gettext's mark for a message that is said later
    """Mark a message for the catalogues."""
    return message


_UNITS = {
    "Y": (N_("%(n)s an"), "%(n)s ans"),
    "M": (N_("%(n)s mois"), "%(n)s mois"),
    "W": (N_("%(n)s semaine"), "%(n)s semaines"),
    "D": (N_("%(n)s jour"), "%(n)s jours"),
}

STATES = {
    "requested": N_("La question vous est posée"),
    "deferred": N_("Vous répondrez plus tard"),
    "given": N_("Vous avez dit oui"),
    "renewed": N_("Vous avez renouvelé votre oui"),
    "refused": N_("Vous avez dit non"),
    "expired": N_("Votre oui est arrivé à son terme"),
    "withdrawn": N_("Vous avez retiré votre oui"),
    "revoked": N_("Votre oui a été annulé"),
    "invalidated": N_("Votre oui ne vaut plus : le partage a changé"),
    "unknown": N_("Vous n’avez rien dit"),
    "objected": N_("Vous vous êtes opposé"),
    "resumed": N_("Votre opposition a reçu une réponse : le partage reprend"),
}


def state_words(code: str, visit: Visit) -> str:
    """Where an agreement stands, said to the person."""
    return visit.say(STATES[code]) if code in STATES else code


def period(duration: str, visit: Visit) -> str:
    """An ISO 8601 duration in words: `P12M` is twelve months."""
    parts = []
    for n, unit in re.findall(r"(\d+)([YMWD])", duration):
        one, many = _UNITS[unit]
        parts.append(visit.say_count(one, many, int(n)))
    return ", ".join(parts)


def article(code: str, visit: Visit) -> str:
    """An article of the GDPR as the page's language cites it: `6-1-a`, in English `6(1)(a)`."""
    first, *rest = code.split("-")
    return code if visit.language is Language.FR else first + "".join(f"({part})" for part in rest)


def instant(at_ms: int) -> datetime:
    """Milliseconds since 1970 as an instant."""
    return datetime.fromtimestamp(at_ms / 1000, UTC)


def lower_first(text: str) -> str:
    """Within a sentence; an acronym stays as it is."""
    return text[:1].lower() + text[1:] if text[1:2].islower() else text


def department(name: str, visit: Visit) -> str:
    """A department as people call it."""
    return visit.department(name)


FILTERS: dict[str, Any] = {
    "state_words": state_words,
    "article": article,
    "period": period,
    "instant": instant,
    "lower_first": lower_first,
    "department": department,
}
