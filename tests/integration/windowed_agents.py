"""An app of agents with windows, and with one rule that goes wrong in every way. Run by workers of `test_windows`."""

import sys
import time
from datetime import timedelta
from pathlib import Path

from passerelle.agents import AgentApp, derived, folded
from passerelle.city.manifest import Manifest
from passerelle.config import settings
from passerelle_consent.policy.flows import load_flows
from passerelle_schemas.catalogue import Catalogue

SLOW_S = 1.5
WINDOW, GRACE = timedelta(hours=2), timedelta(hours=1)
DAY, DAY_GRACE = timedelta(days=1), timedelta(hours=2)
LOOPS = "loop"
"""An operator and a postcode from which a rule does not come back."""

_manifest = Manifest.load(Path(__file__).with_name("city.yaml"))
city = AgentApp(
    "windows",
    catalogue=Catalogue.load(_manifest.contracts),
    flows=[flow for _, flow in load_flows(_manifest.flows)],
    keyring=lambda: _manifest.keyring(settings().home),
    slow_s=SLOW_S,
)
app = city.app

households = city.outbox("civil-registry.household-changed.v1")
incomes = city.outbox("tax.income-assessed.v1")
births = city.outbox("civil-registry.birth-registered.v1")
reports = city.outbox("citizen-desk.report-filed.v1")


@city.join(
    households,
    incomes,
    flow="meal-tariff.schools",
    fields={
        "tariff_band": derived(
            lambda adults, dependants, cents: "ABCDEFG"[(adults + 2 * dependants + cents) % 7],
            households.adults,
            households.dependants,
            incomes.reference_income_cents,
        )
    },
    window=WINDOW,
    grace=GRACE,
)
def near(_household, _income):
    return True


def newest(_, code):
    if code == LOOPS:
        time.sleep(600)
    return 7 if code == "number" else code


@city.aggregate(
    births,
    flow="birth.schools",
    fields={
        "entry_year": folded(lambda n, _: n + 1, births.born_on, start=0),
        "postcode": folded(newest, births.postcode, start=""),
    },
    window=DAY,
    grace=DAY_GRACE,
)
def births_of_day(_so_far):
    return True


@city.route(reports, flow="street-report.roads", reads=[reports.operator])
def troubled(report):
    if report.operator == "raises":
        raise KeyError(report.operator)
    if report.operator == "wrong-type":
        return 7
    if report.operator == "no-such-flow":
        return "move.tax"
    if report.operator == "undeclared":
        return report.street == "12 rue du Port"
    if report.operator == "exits":
        sys.exit(0)
    while report.operator == LOOPS:
        pass
    return True
