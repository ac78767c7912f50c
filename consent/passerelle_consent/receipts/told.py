"""What a receipt says, in plain words and in its own language."""

from collections.abc import Mapping
from typing import Any

LABELS: Mapping[str, tuple[str, str]] = {
    "state": ("Ce qui a été dit", "What was said"),
    "at": ("Quand", "When"),
    "by": ("Par", "By"),
    "source": ("Données de", "Data of"),
    "recipient": ("Transmises à", "Shared with"),
    "purpose": ("Pour", "For"),
    "basis": ("Base légale", "Legal basis"),
    "data": ("Quelles données", "Which data"),
    "kept": ("Conservées", "Kept for"),
    "until": ("Jusqu’au", "Until"),
    "effect": ("Effectif à", "In effect at"),
    "contact": ("Qui contacter", "Whom to ask"),
}
"""French, English."""

STATES: Mapping[str, tuple[str, str]] = {
    "dpv:ConsentUnknown": ("rien", "nothing"),
    "dpv:ConsentRequested": ("accord demandé", "consent requested"),
    "dpv:ConsentRequestDeferred": ("réponse remise à plus tard", "answer put off"),
    "dpv:ConsentGiven": ("accord donné", "consent given"),
    "dpv:RenewedConsentGiven": ("accord renouvelé", "consent renewed"),
    "dpv:ConsentRefused": ("accord refusé", "consent refused"),
    "dpv:ConsentExpired": ("accord arrivé à son terme", "consent expired"),
    "dpv:ConsentWithdrawn": ("accord retiré", "consent withdrawn"),
    "dpv:ConsentRevoked": ("accord annulé", "consent revoked"),
    "dpv:ConsentInvalidated": ("accord devenu sans objet", "consent invalidated"),
    "passerelle:Objected": ("opposition", "objection"),
    "passerelle:Resumed": ("partage repris", "sharing resumed"),
}


def told(receipt: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return (label, words) line by line. Of a receipt that `seal.open_sealed` returned."""
    english = receipt["dct:language"] == "en"
    record, process = receipt["dpv:hasRecordOfActivity"], receipt["dpv:hasRecordOfActivity"]["dpv:hasProcess"]
    status = record["dpv:hasConsentStatus"]
    source, recipient = record["dpv:hasDataController"]
    lines = {
        "state": STATES[status["@type"]][english],
        "at": status["dpv:isIndicatedAtTime"]["@value"],
        "by": status["dpv:isIndicatedBy"]["@id"].rpartition(":")[2],
        "source": source["schema:name"]["@value"],
        "recipient": recipient["schema:name"]["@value"],
        "purpose": process["dpv:hasPurpose"]["dct:description"]["@value"],
        "basis": ", ".join(basis["@id"] for basis in process["dpv:hasLegalBasis"]),
        "data": ", ".join(data["schema:name"] for data in process["dpv:hasPersonalData"]),
        "kept": process["dpv:hasStorageCondition"]["dpv:hasDuration"]["@value"],
        "until": status.get("dct:valid", {}).get("@value", ""),
        "effect": status.get("passerelle:inEffectAt", {}).get("@value", ""),
        "contact": record["dpv:hasConsentControl"]["schema:email"],
    }
    return [(LABELS[name][english], words) for name, words in lines.items() if words]
