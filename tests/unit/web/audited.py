"""A ledger for auditors to look at: a withdrawal that took effect, and decisions before and after it."""

from passerelle.issuer import Bearing
from passerelle_consent.policy.decide import Reason, Verdict
from passerelle_consent.wire import JournalType
from unit.records.fakes import until

MANDATE = "ENQ-2026-031"
CANTEEN = "meal-tariff-income"


def auditor(town):
    """One of the citizens' desk: pseudonyms are that department's."""
    return Bearing(scopes=["auditor"], department=town.manifest.desk, subject="dpo")


def canteen(town):
    """The flow that needs the consent, as `decide` names it: its place."""
    return next(i for i, flow in enumerate(town.told.flows) if any(CANTEEN in ref for ref in flow.agreements))


def decided(town, who, **said):
    """Decide about somebody, and let the ledger's index follow; return the ids."""
    ids = town.told.decide(who.pseudonym.hex(), flow=canteen(town), **said)
    town.told.index_all()
    return ids


def denied(town, who, count=3):
    return decided(town, who, verdict=Verdict.DENY, reason=Reason.CONSENT_WITHDRAWN, count=count)


async def withdrawn(town, who):
    """Say yes and take it back; wait until nothing passes any more."""
    for word in ("give", "withdraw"):
        path = f"/v1/subjects/me/agreements/{CANTEEN}/{word}"
        await town.site.consent.change(who, "POST", path, {"notice": 1})
    await until(lambda: town.city.broker.journal()[-1].type is JournalType.FENCED)
    town.told.integrate()
    town.told.index_all()
