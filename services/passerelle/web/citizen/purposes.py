"""Why things are shared, as headings of a page: DPV purposes in citizens’ words. Pure."""

from collections.abc import Sequence

from passerelle.web.citizen.sharing import Sharing
from passerelle.web.words import N_

HEADINGS = {
    "dpv:PersonalisedBenefits": N_("Pour vos droits et vos tarifs"),
    "dpv:ServiceProvision": N_("Pour vous rendre un service"),
    "dpv:RecordManagement": N_("Pour tenir vos dossiers à jour"),
    "dpv:LegalCompliance": N_("Parce que la loi le demande"),
    "dpv:ImprovePublicServices": N_("Pour préparer les services de demain"),
    "dpv:PublicBenefit": N_("Pour vous porter secours"),
}
"""In the order of the page. A city may sign agreements for other purposes: they come last."""
OTHER = N_("Pour d’autres raisons")


def by_purpose(sharings: Sequence[Sharing]) -> list[tuple[str, list[Sharing]]]:
    """Return (heading, sharings), each heading once; sharings keep their order."""
    groups: dict[str, list[Sharing]] = {heading: [] for heading in (*HEADINGS.values(), OTHER)}
    for sharing in sharings:
        groups[HEADINGS.get(sharing.flow.purpose, OTHER)].append(sharing)
    return [(heading, found) for heading, found in groups.items() if found]
