"""Which kind of data a field is: a closed set, since a class that nobody knows would pass for an ordinary one."""

from collections.abc import Mapping

from passerelle_schemas.words import Text

SPECIAL: Mapping[str, Text] = {
    "health": Text(fr="Santé", en="Health"),
    "ethnic": Text(fr="Origine ethnique", en="Ethnic origin"),
    "political": Text(fr="Opinions politiques", en="Political opinions"),
    "religious": Text(fr="Convictions religieuses ou philosophiques", en="Religious or philosophical beliefs"),
    "trade-union": Text(fr="Appartenance syndicale", en="Trade union membership"),
    "genetic": Text(fr="Données génétiques", en="Genetic data"),
    "biometric": Text(fr="Données biométriques", en="Biometric data"),
    "sex-life": Text(fr="Vie ou orientation sexuelle", en="Sex life or orientation"),
}
"""Special categories (GDPR Art. 9(1)): shared on a basis of Art. 9(2) alone."""

CLASSES: Mapping[str, Text] = {
    "operational": Text(fr="Fonctionnement du service", en="How a service works"),
    "location": Text(fr="Lieu", en="A place"),
    "personal": Text(fr="Fait sur la personne", en="A fact about the person"),
    "identity": Text(fr="Numéro ou nom qui désigne", en="A number or name that singles out"),
    "contact": Text(fr="Moyen de joindre", en="A way to reach somebody"),
    "family": Text(fr="Foyer et famille", en="Household and family"),
    "financial": Text(fr="Argent", en="Money"),
    "minor": Text(fr="Fait sur un enfant", en="A fact about a child"),
    **SPECIAL,
}
"""Class → what it is."""

ABOUT_NOBODY = "operational"
"""The one class that may stand in a log."""
