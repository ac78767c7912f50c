"""A scenario tells what came of it: what was expected, what was not, and where in the file."""

from pathlib import Path

import pytest

from lutece.agents import city as agents
from passerelle.city.manifest import Manifest
from passerelle.testkit.memory import MemoryCity
from passerelle.testkit.scenario import play, read_scenario
from passerelle_schemas.documents import DocumentFault
from passerelle_schemas.faults import Fault

ROOT = Path(__file__).parents[3]
BUNDLE = Manifest.load(ROOT / "deploy/city.yaml").policy_bundle()
MOVED = "  - publish: {who: anna, event: civil-registry.address-changed.v1}"
TAX = "      - {who: anna, flow: move.tax, verdict: permit}"
SCHOOLS = "      - {who: anna, flow: move.schools, verdict: deny, reason: consent-not-given}"
CLEANLINESS = "      - {who: anna, flow: move.cleanliness, verdict: permit}"


def played(tmp_path, *steps, people="{anna: {}}"):
    path = tmp_path / "scenario.yaml"
    path.write_text("\n".join(("scenario: one", f"people: {people}", "steps:", *steps)))
    document, scenario = read_scenario(path)
    return [
        (finding.where.rpartition(":")[2], finding.what)
        for finding in play(document, scenario, MemoryCity(agents, BUNDLE))
    ]


@pytest.mark.parametrize("path", sorted((ROOT / "services/lutece/scenarios").glob("*.yaml")), ids=lambda p: p.stem)
def test_the_scenarios_of_the_demonstration_city_come_true(path):
    document, scenario = read_scenario(path)
    assert list(play(document, scenario, MemoryCity(agents, BUNDLE))) == []


def test_all_that_was_expected_came(tmp_path):
    assert played(tmp_path, MOVED, "  - expect:", CLEANLINESS, TAX, SCHOOLS) == []


def test_what_is_missing_is_named_with_its_line(tmp_path):
    steps = (MOVED, "  - expect:", TAX, SCHOOLS, CLEANLINESS, TAX)
    assert played(tmp_path, *steps) == [("9", "move.tax for anna: nothing was decided, not permit")]


def test_what_is_too_much_is_named(tmp_path):
    ((line, what),) = played(tmp_path, MOVED, "  - expect:", TAX, CLEANLINESS)
    assert (line, what) == ("6", "nobody expected move.schools for anna: deny (consent-not-given)")


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        ("{who: anna, flow: move.schools, verdict: permit}", "it was deny (consent-not-given), not permit"),
        (
            "{who: anna, flow: move.schools, verdict: deny, reason: objected}",
            "it was deny (consent-not-given), not deny (objected)",
        ),
    ],
)
def test_what_is_otherwise_is_told(tmp_path, wrong, what):
    findings = played(tmp_path, MOVED, "  - expect:", TAX, CLEANLINESS, f"      - {wrong}")
    assert findings == [("8", f"move.schools for anna: {what}")]


def test_a_delivered_value_is_compared_in_the_fields_that_are_named(tmp_path):
    steps = (MOVED, "  - expect:", SCHOOLS, CLEANLINESS)
    same = "      - {who: anna, flow: move.tax, verdict: permit, value: {moved_on: 2026-10-02}}"
    other = "      - {who: anna, flow: move.tax, verdict: permit, value: {moved_on: 2026-10-03}}"
    assert played(tmp_path, *steps, same) == []
    ((line, what),) = played(tmp_path, *steps, other)
    assert line == "8"
    assert '"moved_on": "2026-10-02"' in what


INCOME = "  - publish: {who: anna, event: tax.income-assessed.v1, at: %s, value: {reference_income_cents: %s}}"
HOUSEHOLD = "  - publish: {who: anna, event: civil-registry.household-changed.v1, at: 2026-10-02T08:00:00Z}"
TARIFF = "      - {who: anna, flow: meal-tariff.schools, verdict: permit%s}"


def test_what_happened_before_is_heard_later(tmp_path):
    given = [f"  - give: {{who: anna, agreement: meal-tariff-{side}}}" for side in ("household", "income")]
    newer, older = INCOME % ("2026-10-02T10:00:00Z", 0), INCOME % ("2026-10-02T09:00:00Z", 9_000_000)
    steps = (*given, HOUSEHOLD, newer, "  - expect:", TARIFF % ", value: {tariff_band: A}", older, "  - expect: []")
    assert played(tmp_path, *steps) == []
    assert played(tmp_path, *given, HOUSEHOLD, older, newer, "  - expect:", TARIFF % "", TARIFF % "") == []


NOBODYS = "  - publish: {who: anna, event: citizen-desk.report-filed.v1, value: {operator: LIME}}"
LETTER = "  - dead_letters: [{rule: lutece.street-report, reason: %s}]"


def test_what_the_agents_refuse_is_expected_too(tmp_path):
    assert played(tmp_path, NOBODYS, LETTER % "no-recipient", "  - dead_letters: []") == []
    for steps, line in (((LETTER % "late",), "5"), (("  - dead_letters: []",), "5"), ((MOVED, LETTER % "late"), "6")):
        assert played(tmp_path, NOBODYS, *steps) == [
            (line, "the dead letters were: no-recipient of lutece.street-report")
        ]
    assert played(tmp_path, LETTER % "late") == [("4", "the dead letters were: none")]


def test_time_passes(tmp_path):
    """A consent ends."""
    given = ("  - give: {who: anna, agreement: move-schools}", MOVED, "  - expect:", TAX, CLEANLINESS)
    over = ("  - clock: 2040-01-01T00:00:00Z", MOVED, "  - expect:", TAX, CLEANLINESS)
    schools = "      - {who: anna, flow: move.schools, verdict: %s}"
    assert played(tmp_path, *given, schools % "permit", *over, schools % "deny, reason: consent-expired") == []


@pytest.mark.parametrize(
    ("step", "what"),
    [
        ("  - give: {who: anna, agreement: no-such}", "no-such give: There is no such agreement"),
        ("  - give: {who: anna, agreement: move-tax}", "basis does not know this action .6-1-"),
        ("  - object: {who: anna, agreement: move-tax}", "basis does not know this action .6-1-c"),
        ("  - publish: {who: anna, event: tax.no-such.v1}", "no contract"),
        ("  - publish: {who: anna, event: civil-registry.address-changed.v1, value: {moved_on: never}}", "moved_on"),
    ],
)
def test_a_step_that_cannot_be_done_is_named_with_its_line(tmp_path, step, what):
    with pytest.raises(Fault, match=rf"scenario\.yaml:4: .*{what}"):
        played(tmp_path, step)


MINOR = "{anna: {}, ben: {}, lou: {minor_until: 2040-06-01T00:00:00Z, guardians: [anna]}}"
OF_16 = "{anna: {}, lou: {minor_until: 2028-06-01T00:00:00Z, guardians: [anna]}}"
UNDER_TUTORSHIP = "{anna: {}, lou: {protection: representation, guardians: [anna]}}"


@pytest.mark.parametrize(
    ("people", "said", "refused"),
    [
        (MINOR, "give: {who: lou, agreement: move-schools", "cannot-speak"),
        (MINOR, "give: {who: lou, agreement: move-schools, by: anna", None),
        (MINOR, "give: {who: lou, agreement: move-schools, by: ben", "not-guardian"),
        (OF_16, "give: {who: lou, agreement: move-schools", None),
        (OF_16, "give: {who: lou, agreement: move-schools, by: anna", "cannot-speak"),
        (UNDER_TUTORSHIP, "give: {who: lou, agreement: move-schools", "cannot-speak"),
        (MINOR, "give: {who: anna, agreement: birth-nursery", "cannot-speak"),
        (MINOR, "withdraw: {who: anna, agreement: move-schools", "illegal-transition"),
        (MINOR, "defer: {who: anna, agreement: move-schools", "illegal-transition"),
        (MINOR, "object: {who: anna, agreement: move-schools", "wrong-basis"),
    ],
)
def test_nobody_says_what_the_consent_service_would_refuse(tmp_path, people, said, refused):
    """Neither is a refusal that was expected and did not come passed over, nor the other way round."""
    expected = f", refused: {refused}" if refused else ""
    assert played(tmp_path, f"  - {said}{expected}}}", people=people) == []
    if refused:
        with pytest.raises(Fault, match=r"scenario\.yaml:4"):
            played(tmp_path, f"  - {said}}}", people=people)
        other = played(tmp_path, f"  - {said}, refused: stale-notice}}", people=people)
        assert other == [("4", f"it was refused as {refused}, not as stale-notice")]
    else:
        ((_, what),) = played(tmp_path, f"  - {said}, refused: cannot-speak}}", people=people)
        assert what == "give was taken, not refused as cannot-speak"


@pytest.mark.parametrize(
    "people",
    [
        "{anna: {guardians: [ben]}, ben: {}}",
        "{lou: {minor_until: 2040-06-01T00:00:00Z, guardians: [nobody]}}",
        "{lou: {minor_until: 2040-06-01T00:00:00Z, guardians: [lou]}}",
    ],
)
def test_guardians_are_people_of_the_scenario_and_of_those_who_have_some(tmp_path, people):
    with pytest.raises(DocumentFault, match=r"scenario\.yaml:"):
        played(tmp_path, MOVED, people=people)


@pytest.mark.parametrize(
    "step",
    [
        "  - {}",
        "  - {clock: 2026-01-01T00:00:00Z, expect: []}",
        "  - give: {who: nobody, agreement: move-schools}",
        "  - expect: [{who: anna, flow: move.tax, verdict: perhaps}]",
        "  - clock: 2026-01-01T00:00:00",
        "  - publish: {who: anna, event: civil-registry.address-changed.v1, at: 2026-01-01T00:00:00}",
        "  - dead_letters: [{reason: perhaps}]",
        "  - whatever: 1",
    ],
)
def test_a_scenario_that_is_none_is_refused(tmp_path, step):
    with pytest.raises(DocumentFault, match=r"scenario\.yaml:"):
        played(tmp_path, step)


def test_a_seeded_city_decides_the_same_however_its_agents_take_turns():
    decided = []
    for seed in (None, 1, 2, 3):
        city = MemoryCity(agents, BUNDLE, seed=seed)
        for who in ("anna", "ben", "chloé"):
            city.citizen(who)
            for event in ("civil-registry.household-changed.v1", "tax.income-assessed.v1"):
                city.publish(event, who)
        decided.append(sorted((o.who, o.flow, o.verdict) for o in city.outcomes()))
    assert decided[0] != []
    assert decided == [decided[0]] * 4
