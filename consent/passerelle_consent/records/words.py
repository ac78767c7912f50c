"""The words of closed sets, in French and in English: what a citizen reads in the place of a code."""

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

from passerelle_consent.policy.agreements import Basis
from passerelle_consent.policy.decide import Reason, Verdict
from passerelle_consent.records.ports import Role


class Said(NamedTuple):
    """The same in both languages."""

    fr: str
    en: str


class What(StrEnum):
    """Which of a subject's data somebody read. Closed: each has its words."""

    STANDING = "standing"
    CHANGES = "changes"
    DISCLOSURES = "disclosures"
    READERS = "readers"
    ENTRIES = "entries"
    PROOF = "proof"
    LEDGER_KEY = "ledger-key"
    GUARDIANS = "guardians"
    WARDS = "wards"
    NOTICES = "notices"
    OBJECTIONS = "objections"
    OVERRIDES = "overrides"


WORDS: Mapping[StrEnum, Said] = {
    Verdict.PERMIT: Said("Transmis", "Shared"),
    Verdict.REDACT: Said("Transmis en partie", "Shared in part"),
    Verdict.DENY: Said("Non transmis", "Not shared"),
    Reason.VALID_BASIS: Said("La loi ou votre accord le permettait.", "The law or your consent allowed it."),
    Reason.CONSENT_NOT_GIVEN: Said("Vous n’aviez pas donné votre accord.", "You had not given your consent."),
    Reason.CONSENT_REFUSED: Said("Vous aviez refusé.", "You had refused."),
    Reason.CONSENT_WITHDRAWN: Said("Vous aviez retiré votre accord.", "You had withdrawn your consent."),
    Reason.CONSENT_EXPIRED: Said("Votre accord était arrivé à son terme.", "Your consent had expired."),
    Reason.NOTICE_SUPERSEDED: Said(
        "Votre accord portait sur une information qui a changé depuis.",
        "You had consented on the strength of a notice that has changed since.",
    ),
    Reason.OBJECTED: Said("Vous vous y étiez opposé.", "You had objected to it."),
    Reason.RESTRICTED: Said(
        "L’usage de vos données était limité à votre demande.", "The use of your data was restricted at your request."
    ),
    Reason.NO_OVERRIDE: Said("Aucune urgence vitale n’avait été déclarée.", "No danger to life had been declared."),
    Reason.AGREEMENT_NOT_IN_FORCE: Said(
        "La convention entre les services n’était pas en vigueur.",
        "The agreement between the departments was not in force.",
    ),
    Reason.SUBJECT_NOT_COVERED: Said(
        "La convention ne vise pas les personnes dans votre situation (mineur, majeur protégé).",
        "The agreement does not cover people in your situation (minor, protected adult).",
    ),
    Reason.UNKNOWN_SUBJECT: Said(
        "Aucun service ne vous avait rattaché à la plateforme.", "No department had linked you to the platform."
    ),
    Reason.UNKNOWN_FLOW: Said("Aucune règle ne prévoyait cet envoi.", "No rule provided for this."),
    Reason.WRONG_TYPE: Said(
        "Ce n’était pas le type d’information prévu.", "It was not the kind of information provided for."
    ),
    Reason.UNREADABLE: Said("Le message était illisible.", "The message could not be read."),
    Basis.CONSENT: Said("Votre accord", "Your consent"),
    Basis.CONTRACT: Said("Un contrat avec vous", "A contract with you"),
    Basis.LEGAL_OBLIGATION: Said("Une obligation légale", "A legal obligation"),
    Basis.VITAL_INTERESTS: Said("La sauvegarde de la vie", "Vital interests"),
    Basis.PUBLIC_TASK: Said("Une mission de service public", "A public task"),
    Basis.LEGITIMATE_INTERESTS: Said("Un intérêt légitime", "Legitimate interests"),
    Role.CITIZEN: Said("Un habitant", "A citizen"),
    Role.GUARDIAN: Said("Votre représentant", "Your guardian"),
    Role.DEPARTMENT: Said("Un agent du service", "The department’s staff"),
    Role.OFFICER: Said("Un responsable du service", "An officer of the department"),
    Role.AUDITOR: Said("Un auditeur mandaté", "An auditor with a mandate"),
    Role.OPERATOR: Said("L’exploitant de la plateforme", "The platform’s operator"),
    What.STANDING: Said("Vos choix en vigueur", "Your choices in force"),
    What.CHANGES: Said("L’historique de vos choix", "The history of your choices"),
    What.DISCLOSURES: Said("Les transmissions de vos données", "The disclosures of your data"),
    What.READERS: Said("Qui a consulté vos données", "Who looked at your data"),
    What.LEDGER_KEY: Said("La clé de vos écritures au registre", "The key to your entries in the ledger"),
    What.ENTRIES: Said("Ce que le registre dit de vous", "What the ledger says about you"),
    What.PROOF: Said("La preuve d’une décision", "The proof of a decision"),
    What.GUARDIANS: Said("Qui vous représente", "Who speaks for you"),
    What.WARDS: Said("Qui vous représentez", "Whom you speak for"),
    What.NOTICES: Said("Les messages que vous avez reçus", "The notices that you were sent"),
    What.OBJECTIONS: Said("Votre opposition, à traiter", "Your objection, to be answered"),
    What.OVERRIDES: Said("L’urgence vitale déclarée pour vous", "The danger to your life that was declared"),
}
"""Complete over these sets: a test holds it to them."""
