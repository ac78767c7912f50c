"""Codes of the ledger as an auditor reads them: the word first, the code beside it. They are in the catalogues."""

from collections.abc import Mapping

from passerelle.web.words import N_

VERDICTS: Mapping[str, str] = {"permit": N_("Transmis"), "redact": N_("Réduit"), "deny": N_("Non transmis")}

REASONS: Mapping[str, str] = {
    "valid-basis": N_("Base légale valable"),
    "consent-not-given": N_("Consentement jamais donné"),
    "consent-refused": N_("Consentement refusé"),
    "consent-withdrawn": N_("Consentement retiré"),
    "consent-expired": N_("Consentement expiré"),
    "notice-superseded": N_("Information remplacée depuis"),
    "objected": N_("Opposition de la personne"),
    "restricted": N_("Limitation demandée"),
    "no-override": N_("Pas d’urgence vitale déclarée"),
    "agreement-not-in-force": N_("Accord pas en vigueur"),
    "subject-not-covered": N_("Personne hors de l’accord"),
    "unknown-subject": N_("Personne inconnue"),
    "unknown-flow": N_("Flux inconnu"),
    "wrong-type": N_("Autre type de message"),
    "unreadable": N_("Message illisible"),
}

TYPES: Mapping[str, str] = {
    "decision": N_("Décision"),
    "given": N_("Consentement donné"),
    "refused": N_("Consentement refusé"),
    "withdrawn": N_("Consentement retiré"),
    "fenced": N_("Retrait effectif partout"),
    "objected": N_("Opposition de la personne"),
    "override": N_("Urgence vitale déclarée"),
    "reviewed": N_("Urgence vitale contrôlée"),
    "linked": N_("Personne rattachée"),
    "erased": N_("Effacement"),
    "policy": N_("Règles changées"),
    "agreement": N_("Accord publié"),
    "key": N_("Clé changée"),
    "read": N_("Lecture"),
    "requested": N_("Consentement demandé"),
    "revoked": N_("Consentement annulé"),
    "expired": N_("Consentement expiré"),
    "restricted": N_("Limitation demandée"),
    "lifted": N_("Limitation levée"),
    "answered": N_("Opposition traitée"),
    "guardian": N_("Représentant enregistré"),
    "consulted": N_("Consultation close"),
    "replayed": N_("Message rejoué"),
    "discarded": N_("Message jeté"),
}
"""Complete over the ledger's types and reasons: a test holds both to them."""

ALARMS: Mapping[str, str] = {
    "two-histories": N_("Deux histoires du même registre"),
    "not-canonical": N_("Ligne mal écrite"),
    "override-unreviewed": N_("Urgence vitale non contrôlée"),
    "permit-after-fence": N_("Envoi après un retrait effectif"),
    "permit-without-standing": N_("Envoi sans nouvelle autorisation"),
    "checkpoint-late": N_("Point de contrôle en retard"),
    "invalid": N_("Registre faux"),
    "unclear": N_("Registre illisible pour l’instant"),
}

READERS: Mapping[str, str] = {
    "guardian": N_("Représentant"),
    "department": N_("Agent du service"),
    "officer": N_("Responsable du service"),
    "auditor": N_("Auditeur sous mandat"),
    "operator": N_("Exploitant"),
}
