"""Codes as the city's staff read them: the words come first, the code stands small behind. Filters of the templates."""

from collections.abc import Mapping
from typing import Any

from passerelle.agents.reading import Refusal
from passerelle.web.audit.labels import REASONS, TYPES
from passerelle.web.visit import Visit
from passerelle.web.words import N_
from passerelle_consent.wire import Cause

OPENINGS: Mapping[str, str] = {
    "heatwave": N_("forte chaleur"),
    "heat-wave": N_("forte chaleur"),
    "flood": N_("inondation"),
    "fire": N_("incendie"),
    "missing-person": N_("personne disparue"),
}
"""Why an officer opened something for somebody's life. Each city has codes of its own: these have words."""

REFUSALS: Mapping[str, str] = {
    Refusal.BAD_KEY: N_("Clé mal formée"),
    Refusal.BAD_ENVELOPE: N_("Enveloppe mal formée"),
    Refusal.UNKNOWN_SCHEMA: N_("Contrat inconnu"),
    Refusal.UNDECODABLE: N_("Contenu illisible"),
    Refusal.NO_RECIPIENT: N_("Aucun destinataire"),
    Refusal.RULE_ERROR: N_("La règle a échoué"),
    Refusal.TOO_SLOW: N_("La règle n’a pas fini à temps"),
    Refusal.TOO_LARGE: N_("Message trop long"),
    Refusal.STATE_TOO_LARGE: N_("La règle retiendrait trop"),
    Refusal.LATE: N_("Arrivé trop tard"),
    Refusal.BAD_ENTRY: N_("Ligne mal formée"),
}
"""Why the agents took something out; the gate's reasons are those of the ledger."""

CAUSES: Mapping[str, str] = {
    Cause.SOURCE_MENDED: N_("La source est réparée"),
    Cause.RECEIVER_MENDED: N_("Le service qui reçoit est réparé"),
    Cause.CONTRACT_MENDED: N_("Le contrat est corrigé"),
    Cause.RULE_MENDED: N_("La règle est corrigée"),
    Cause.SUPERSEDED: N_("Un message plus récent le remplace"),
    Cause.NOT_NEEDED: N_("Plus personne n’en a besoin"),
    Cause.NEVER_VALID: N_("Il n’a jamais été valable"),
}

STAFF: Mapping[str, str] = {**TYPES, **REASONS, **REFUSALS, **CAUSES}
"""No code has two meanings here: a test holds it."""


def code_words(code: str, visit: Visit) -> str:
    """A reason, an operator's cause, or a kind of entry. A recipient's own sentence stays as it is."""
    return visit.say(STAFF[code]) if code in STAFF else code


def opening_words(code: str, visit: Visit) -> str:
    """Why something was opened for somebody's life."""
    return visit.say(OPENINGS[code]) if code in OPENINGS else code


def agreement_words(ref: str, visit: Visit) -> str:
    """The title of the sharing that rests on an agreement; its reference where there is none in force."""
    return visit.site.sharings[visit.language.value].titles.get(ref.partition("@")[0], ref)


def flow_words(ident: str, visit: Visit) -> str:
    """The title of a flow; its id where it is not in force."""
    return visit.site.sharings[visit.language.value].flow_titles.get(ident, ident)


FILTERS: dict[str, Any] = {
    "code_words": code_words,
    "opening_words": opening_words,
    "agreement_words": agreement_words,
    "flow_words": flow_words,
}
