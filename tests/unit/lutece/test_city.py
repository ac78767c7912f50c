"""The invented city: the same every time, in real proportions, with nobody real in it."""

import csv
import gzip
from collections import Counter
from datetime import date
from pathlib import Path

import pytest

from lutece import households
from lutece.citizens import CITIZENS_MAX, CitizenFault, generate, years_between
from lutece.day import DayCounts, events_of, tax_parts_hundredths
from lutece.households import HouseholdFault
from lutece.reports import COLUMNS, MAPPING, Reporters, invent_reports, read_reports, write_reports
from passerelle.pseudonyms import canonical
from passerelle.publish.mapping import load_mapping
from passerelle.publish.rows import CsvFault, Row
from passerelle_consent.policy.agreements import SubjectClass
from passerelle_schemas.catalogue import Catalogue

CATALOGUE = Catalogue.load(Path(__file__).parents[3] / "schemas" / "contracts")
CITY = generate(3000)


def test_the_same_seed_makes_the_same_city():
    assert generate(300) == generate(300)
    assert generate(300) != generate(300, seed=2)


@pytest.mark.parametrize("count", [1, 2, 7, 300])
def test_as_many_as_asked_for_and_no_child_without_a_guardian(count):
    city = generate(count)
    assert len(city.citizens) == count
    assert [c.number for c in city.citizens] == list(range(count))
    assert sorted(n for h in city.households for n in h.members) == list(range(count))
    for minor in city.minors:
        assert minor.guardians
        guardians = [city.citizens[g] for g in minor.guardians]
        assert all(g.household == minor.household and g.subject_class is not SubjectClass.MINOR for g in guardians)


def test_no_two_citizens_are_one_subject():
    assert len({canonical(c.identity) for c in CITY.citizens}) == len(CITY.citizens)
    phones = [c.phone for c in CITY.adults]
    assert len(set(phones)) == len(phones)
    assert all(p.startswith("063998") for p in phones), "numbers that the regulator keeps for fiction"
    assert all(c.email.endswith("@example.org") for c in CITY.adults)


def test_ages_and_classes_agree():
    for citizen in CITY.citizens:
        minor = citizen.subject_class is SubjectClass.MINOR
        assert minor == (CITY.age_of(citizen) < 18)
        assert minor == (citizen.email is None)
    assert years_between(date(2000, 2, 29), date(2026, 2, 28)) == 25
    assert years_between(date(2000, 2, 29), date(2026, 3, 1)) == 26


def test_nobody_shows_in_a_repr():
    citizen = CITY.adults[0]
    assert citizen.identity.family_name not in repr(citizen)
    assert citizen.phone not in repr(CITY.citizens[:3])
    assert "rue" not in repr(CITY.households)


def test_households_come_in_the_proportions_of_the_census():
    sizes = Counter(min(len(h.members), 5) for h in generate(8000).households)
    total = sum(sizes.values())
    expected = {1: 81_704, 2: 42_178, 3: 15_485, 4: 11_653, 5: 6_627}
    for size, count in expected.items():
        assert sizes[size] / total == pytest.approx(count / 157_647, abs=0.02)


def test_proportions_from_a_file(tmp_path):
    path = tmp_path / "h.csv.gz"
    lines = ["household_id,age,size,ownership,family_comp", *["1,30_39,4_pers,Tenant,Couple_with_child"] * 3]
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    city = generate(40, household_file=path)
    assert {len(h.members) for h in city.households} == {4}
    assert len(city.minors) == 20


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("household_id,age\n1,30_39\n", "row 1: column size is missing"),
        ("household_id,age,size,ownership,family_comp\n1,30_39,Claire,Owner,Single_wom\n", "row 2: column size: not a"),
        ("household_id,age,size,ownership,family_comp\n", "holds no household"),
    ],
)
def test_a_bad_household_file_is_named(tmp_path, content, says):
    path = tmp_path / "h.csv"
    path.write_text(content)
    with pytest.raises(HouseholdFault, match=says) as fault:
        households.read(path)
    assert "Claire" not in str(fault.value)


def test_a_city_has_a_largest_size():
    with pytest.raises(CitizenFault):
        generate(CITIZENS_MAX + 1)


def test_the_day_fits_its_contracts_and_repeats_itself():
    events = list(events_of(CITY))
    assert events == list(events_of(CITY))
    assert [e.time for e in events] == sorted(e.time for e in events)
    assert len({e.event_id for e in events}) == len(events)
    for event in events:
        contract = CATALOGUE.by_type(event.type)
        assert contract.department == event.department
        assert not contract.derived
        contract.encode(event.value)
    assert {e.type for e in events} == {c.type for c in CATALOGUE if not c.derived}


def test_the_day_is_as_large_as_asked_for():
    counts = DayCounts(reports=3, moves=2, canteen=4, births=1, frail=2, badges=1)
    found = Counter(e.type.split(".")[1] for e in events_of(CITY, counts=counts))
    assert found == {
        "report-filed": 3, "address-changed": 2, "household-changed": 4, "income-assessed": 4, "birth-registered": 1,
        "frail-registered": 2, "disability-badge-issued": 1,
    }  # fmt: skip


def test_canteen_families_are_the_same_on_both_sides_of_the_join():
    events = list(events_of(CITY))
    sides = [{e.citizen.number for e in events if e.type == t} for t in
             ("civil-registry.household-changed.v1", "tax.income-assessed.v1")]  # fmt: skip
    assert sides[0] == sides[1]
    assert len(sides[0]) == 80


def test_the_subject_of_a_birth_is_a_child():
    births = [e for e in events_of(CITY) if e.type == "civil-registry.birth-registered.v1"]
    assert births
    assert all(e.citizen.subject_class is SubjectClass.MINOR for e in births)
    assert all(e.value["guardian_phone"] for e in births)


@pytest.mark.parametrize(
    ("adults", "dependants", "parts"), [(1, 0, 100), (2, 0, 200), (1, 1, 200), (2, 2, 300), (2, 3, 400), (3, 1, 250)]
)
def test_tax_parts(adults, dependants, parts):
    assert tax_parts_hundredths(adults, dependants) == parts


def test_reports_are_drawn_from_their_ids():
    reporters = Reporters(CITY)
    ids = [row["id_dmr"] for row in invent_reports(400)]
    assert [reporters.of(i).number for i in ids] == [reporters.of(i).number for i in reversed(ids)][::-1]
    assert 0.5 < sum(map(reporters.leaves_contact, ids)) / len(ids) < 0.7
    for report in ids:
        contact = reporters.contact(report)
        left = reporters.leaves_contact(report)
        assert contact["reporter_phone"] == (reporters.of(report).phone if left else None)


def test_invented_reports_read_back_like_the_paris_file(tmp_path):
    path = tmp_path / "r.csv"
    assert write_reports(path, invent_reports(50)) == 50
    mapping, contract = load_mapping(MAPPING, CATALOGUE)
    rows = list(read_reports(path))
    assert all(isinstance(row, Row) for row in rows)
    for row in rows:
        contract.encode(mapping.value(row.cells))
    assert [r.cells for r in rows] == list(invent_reports(50))


def test_a_report_file_with_other_columns_is_refused(tmp_path):
    path = tmp_path / "r.csv"
    with path.open("w", newline="") as text:
        csv.writer(text).writerow(COLUMNS[:-1])
    with pytest.raises(CsvFault, match="row 1, column lat: is missing"):
        list(read_reports(path))
