"""The demonstration city's agents, as a city would test its own."""

import csv
import gzip
from collections import Counter
from pathlib import Path

import pytest

from lutece.agents import badges, births, city, department_of, frail, households, incomes, moves, reports, tariff_band
from passerelle.testkit.bus import Bus
from passerelle_schemas.topics import partition_of

TABLE = {
    "DPE-STPP-DT": "cleanliness",
    "graffitis": "cleanliness",
    "Ramen": "cleanliness",
    "TRILIB'": "cleanliness",
    "textiles": "cleanliness",
    "Corbeilles compactantes": "cleanliness",
    "PAV déchets alimentaires": "cleanliness",
    "DVD": "roads",
    "DVD-STV": "roads",
    "SUBDI_HORO": "roads",
    "SMEP": "roads",
    "DPMP-Divisions": "police",
    "DEVE": "parks",
    "DEVE-SAB": "parks",
    "CIELIS": "lighting",
    "DASES": "social-action",
    "DVDX": None,
    "Graffitis": None,
    "DPE": None,
    "DASES-X": None,
    "LIME": None,
    "": None,
}


def example(outbox, **changed):
    return {**outbox.contract.decode(outbox.contract.encode(outbox.contract.example)), **changed}


@pytest.mark.parametrize(("operator", "department"), TABLE.items())
def test_an_operator_belongs_to_the_department_of_the_table(operator, department):
    assert department_of(operator) == department


def test_a_report_goes_as_it_is_to_its_department_or_to_the_dead_letters():
    bus = Bus(city)
    for operator in TABLE:
        bus.publish(reports, "anna", **example(reports, operator=operator))
    by_flow = Counter(p.flow for p in bus.proposals())
    assert by_flow == Counter(f"street-report.{d}" for d in TABLE.values() if d)
    letters = bus.dead_letters()
    assert len(letters) == Counter(TABLE.values())[None]
    assert {(d.reason, d.rule, d.component) for d in letters} == {
        ("no-recipient", "lutece.street-report", "agents.lutece")
    }


def test_a_passed_event_keeps_its_bytes_and_its_person():
    bus = Bus(city)
    sent = bus.publish(reports, "anna", **example(reports))
    bus.run()
    (record,) = [r for (topic, _), log in bus.topics.items() if topic == "exchange" for r in log]
    assert record.value == sent.value
    assert record.key == bus.keyring.subject("citizen-desk", sent.key)
    assert record.partition == partition_of(record.key, 4)


def test_a_move_tells_each_recipient_its_own_fields():
    bus = Bus(city)
    bus.publish(moves, "anna", at="2026-10-03T08:00:00Z", **example(moves))
    assert {p.flow: set(p.value) for p in bus.proposals()} == {
        "move.tax": {
            "moved_on",
            "previous_street",
            "previous_postcode",
            "previous_city",
            "new_street",
            "new_postcode",
            "new_city",
        },
        "move.schools": {"moved_on", "street", "postcode", "city"},
        "move.cleanliness": {"moved_on", "street", "postcode", "residents"},
    }
    assert {p.time for p in bus.proposals()} == {"2026-10-03T08:00:00Z"}


def test_a_birth_reaches_nursery_and_schools():
    bus = Bus(city)
    bus.publish(births, "zoe", **example(births))
    offers = {p.flow: p.value for p in bus.proposals()}
    assert offers["birth.nursery"]["guardian_email"] == "parent@example.org"
    assert offers["birth.schools"] == {"entry_year": 2029, "postcode": "99001"}


def test_heat_plan_and_disability_badge():
    bus = Bus(city)
    bus.publish(frail, "jean", **example(frail))
    bus.publish(badges, "jean", **example(badges))
    assert {p.flow for p in bus.proposals()} == {"heat-plan.emergency-desk", "disability-badge.police"}


def test_the_schools_get_a_letter_when_household_and_income_are_known():
    bus = Bus(city)
    bus.publish(households, "anna", **example(households, adults=2, dependants=2))
    bus.publish(households, "ben", **example(households))
    assert bus.proposals() == []
    bus.publish(incomes, "anna", **example(incomes, reference_income_cents=31_842_00))
    assert [(p.who, p.value) for p in bus.proposals()] == [("anna", {"tariff_band": "C"})]
    bus.publish(households, "anna", **example(households, adults=1, dependants=0))
    assert [p.value["tariff_band"] for p in bus.proposals()] == ["C", "F"]


@pytest.mark.parametrize(
    ("adults", "dependants", "income", "band"),
    [
        (1, 0, 0, "A"),
        (1, 0, 12 * 400_00 - 12, "A"),
        (1, 0, 12 * 400_00, "B"),
        (2, 2, 12 * 3 * 1_000_00, "D"),
        (0, 0, 1, "A"),
    ],
)
def test_bands_begin_where_the_scale_says(adults, dependants, income, band):
    assert tariff_band(adults, dependants, income) == band


def test_the_paris_file_goes_where_an_independent_count_says():
    path = Path(__file__).parents[4] / "shared" / "data" / "dans-ma-rue.csv.gz"
    if not path.exists():
        pytest.skip("the street-report file is not beside this checkout")
    with gzip.open(path, "rt", encoding="utf-8", newline="") as text:
        operators = [row["intervenant"] for row in csv.DictReader(text)]
    prefixes = {"DPE-": "cleanliness", "DVD-": "roads", "DPMP-": "police", "DEVE-": "parks"}
    counted = Counter(
        TABLE.get(o) or next((d for p, d in prefixes.items() if o.startswith(p)), None) for o in operators
    )
    assert Counter(map(department_of, operators)) == counted
    assert sum(counted.values()) == 8000
