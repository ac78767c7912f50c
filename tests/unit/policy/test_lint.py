"""`passerelle city lint`: what it refuses and what it warns of, by file and line."""

import shutil
from datetime import date
from pathlib import Path

import pytest

from passerelle.city.lint import checked, lock, reviews
from passerelle.city.manifest import Manifest
from passerelle_consent.policy.agreements import Agreement
from passerelle_consent.policy.lock import LOCK, digest_of
from passerelle_schemas.contract_files import ContractFiles
from passerelle_schemas.documents import DocumentFault
from passerelle_schemas.published import LOCK as CONTRACTS_LOCK
from unit.policy.city import agreement

PROJECT = Path(__file__).parents[3]
AGREEMENTS = "consent/agreements"
TAX, SCHOOLS = f"{AGREEMENTS}/civil-registry/move-tax.v1.yaml", f"{AGREEMENTS}/civil-registry/move-schools.v1.yaml"
NURSERY, BADGE = f"{AGREEMENTS}/civil-registry/birth-nursery.v1.yaml", f"{AGREEMENTS}/social-action/heat-plan.v1.yaml"
FLOW = "schemas/flows/birth.nursery.yaml"
OFFER = "schemas/contracts/social-action/frail-registered.v1.avsc"
TODAY = date(2026, 11, 23)


@pytest.fixture
def city(tmp_path):
    """The demonstration city's files, to be broken."""
    for folder in ("schemas/contracts", "schemas/flows", AGREEMENTS):
        shutil.copytree(PROJECT / folder, tmp_path / folder)
    (tmp_path / "deploy").mkdir()
    shutil.copy(PROJECT / "deploy/city.yaml", tmp_path / "deploy")
    return tmp_path


def manifest(city):
    return Manifest.load(city / "deploy/city.yaml")


def change(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def line_of(path, text):
    return 1 + next(i for i, line in enumerate(path.read_text().splitlines()) if text in line)


def test_a_version_keeps_the_parties_of_those_before_it(city):
    later = city / AGREEMENTS / "civil-registry/move-tax.v2.yaml"
    later.write_text((city / TAX).read_text())
    change(later, "version: 1", "version: 2")
    change(later, "recipient: tax", "recipient: schools")
    relock(city)
    (problem,) = problems(city)
    assert problem.endswith(":4: recipient: move-tax@1 has tax: another recipient is another agreement")


def relock(city):
    """As if it had always been so: the digests are not what these tests are about."""
    (city / AGREEMENTS / LOCK).unlink()
    lock(manifest(city))


def republish(city):
    """The same for contracts."""
    contracts = city / "schemas/contracts"
    (contracts / CONTRACTS_LOCK).unlink()
    ContractFiles.read(contracts).publish()


def problems(city):
    with pytest.raises(DocumentFault) as caught:
        checked(manifest(city))
    return caught.value.problems


NO_NEED = (
    '        fr: "Connaître la date d\'entrée possible en crèche."\n        en: "Know from when the child can come."\n',
    "",
)
NOTICE_EN = "  en: \"With your consent as parent or guardian, the nursery service learns of your child's birth"

TERMS = "consent:\n  valid_for: P1Y\n  guardians: one\n"


@pytest.mark.parametrize(
    ("file", "edit", "at", "said"),
    [
        (NURSERY, NO_NEED, "born_on:", "should be a valid dictionary"),
        (NURSERY, ('        fr: "Prévoir assez', '        fr: ""\n        x: "'), "multiple:", "fields.multiple"),
        (NURSERY, ("basis: 6-1-a\nlaw: null", "basis: 6-1-c\nlaw: null"), "law:", "needs the law"),
        (NURSERY, ("basis: 6-1-a\nlaw: null", 'basis: 6-1-e\nlaw: " "'), "law:", "needs the law"),
        (NURSERY, ("basis: 6-1-a", "basis: 6-1-f"), "basis:", "6-1-f is not for the tasks of a public authority"),
        (BADGE, ("special_category: 9-2-c", "special_category: null"), "mobility:", "is health data"),
        (NURSERY, ("special_category: null", "special_category: 9-6"), "special_category:", "should match pattern"),
        (NURSERY, (NOTICE_EN, '  de: "'), "notice:", "notice.en: Field required"),
        (NURSERY, ("      multiple:", "      several:"), "several:", "has no such field"),
        (NURSERY, ("birth-registered.v1:", "birth-announced.v1:"), "birth-announced.v1:", "no contract"),
        (BADGE, ("review:", "consent: {valid_for: P1Y}\nreview:"), "consent:", "not for 6-1-d"),
        (NURSERY, ("  guardians: one\n", ""), "consent:", "must say whether one guardian gives it or both"),
        (NURSERY, (TERMS, ""), "subjects:", "must say whether one"),
        (NURSERY, ("guardians: one", "guardians: some"), "guardians:", "should be 'one' or 'both'"),
        (NURSERY, ("subjects: [minor]", "subjects: [adult]"), "guardians:", "is about minors"),
        (NURSERY, ("valid_for: P1Y", "valid_for: one year"), "valid_for:", "is no duration"),
        (NURSERY, ("valid_for: P1Y", "valid_for: P0D"), "valid_for:", "is no duration"),
        (SCHOOLS, ('    law: "Loi n° 78-17 du 6 janvier 1978, article 45"\n', ""), "own_voice:", "law: Field required"),
        (SCHOOLS, ("    age: 15", "    age: 18"), "age:", "should be less than 18"),
        (FLOW, ("  - birth-nursery@1", "  - birth-schools@1"), "agreements:", "is for schools, not nursery"),
    ],
)
def test_what_is_not_said_or_not_allowed_is_refused(city, file, edit, at, said):
    path = city / file
    change(path, *edit)
    found = [p for p in problems(city) if said in p]
    line = line_of(path, at)
    # YAML gives a value the line where it begins: its key's, or the next for a block.
    assert found
    assert any(p.startswith((f"{path}:{line}: ", f"{path}:{line + 1}: ")) for p in found), found


def test_legitimate_interests_pass_where_it_is_no_public_task(city):
    words = "outside_public_tasks:\n  fr: Boutique du musée.\n  en: The museum's shop.\n"
    change(city / NURSERY, "basis: 6-1-a\n", f"basis: 6-1-f\n{words}")
    change(city / NURSERY, TERMS, "")
    relock(city)
    assert checked(manifest(city)).agreements


def test_a_flow_whose_sources_are_not_all_covered_is_refused(city):
    path = city / NURSERY
    change(path, '      multiple:\n        fr: "Prévoir assez de places pour des jumeaux."\n', "")
    change(path, '        en: "Plan enough places for twins."\n', "")
    relock(city)
    flow = city / FLOW
    assert any("covers civil-registry.birth-registered.v1#multiple" in p for p in problems(city))
    assert any(p.startswith(f"{flow}:{line_of(flow, 'agreements:') + 1}: ") for p in problems(city))


def test_a_required_field_that_can_be_withheld_is_refused(city):
    flow = city / "schemas/flows/disability-badge.police.yaml"
    change(flow, "  - valid_until", "  - valid_until\n  - badge_number")
    found = problems(city)
    line = line_of(flow, "optional:") + 1
    assert f"{flow}:{line}: optional: field badge_number is required as well" in found
    assert (
        f"{flow}:{line}: optional: field badge_number may be withheld, so its type must be a union with null" in found
    )


def test_a_withheld_field_must_be_null_by_default(city):
    contract = city / "schemas/contracts/social-action/disability-badge-issued.v1.avsc"
    text = contract.read_text()
    head, _, tail = text.partition('"valid_until"')
    contract.write_text(head + '"valid_until"' + tail.replace('"default": null,', "", 1))
    assert '"default": null' in tail
    republish(city)
    flow = city / "schemas/flows/disability-badge.police.yaml"
    said = "optional: field valid_until may be withheld, so null must be its first type and its default"
    assert f"{flow}:{line_of(flow, 'optional:') + 1}: {said}" in problems(city)


def test_a_special_field_that_agents_derive_needs_its_basis_too(city):
    contract = city / "schemas/contracts/nursery/birth-offer.v1.avsc"
    text = contract.read_text()
    contract.write_text(text.replace('"passerelle.class": "contact"', '"passerelle.class": "health"', 1))
    assert any("is health data, and birth-nursery@1 has no Art. 9(2) basis" in p for p in problems(city))
    assert all(p.startswith(f"{city / FLOW}:{line_of(city / FLOW, 'birth-nursery@1')}: ") for p in problems(city))


def test_a_published_version_that_was_edited_is_refused(city):
    path = city / SCHOOLS
    change(path, "retention: P", "retention: P1")
    said = "version: move-schools@1 was published, and edited since: a change is a new version"
    assert problems(city) == (f"{path}:{line_of(path, 'version: 1')}: {said}",)
    assert lock(manifest(city)) == []
    assert len(problems(city)) == 1, "locking again does not make it right"


def test_a_comment_may_be_mended(city):
    path = city / SCHOOLS
    path.write_text("# A better word.\n" + path.read_text())
    assert checked(manifest(city))


def test_a_new_version_is_refused_until_it_is_locked(city):
    path = city / AGREEMENTS / "civil-registry/move-schools.v2.yaml"
    shutil.copy(city / SCHOOLS, path)
    change(path, "version: 1", "version: 2")
    before = (city / AGREEMENTS / LOCK).read_text()
    [problem] = problems(city)
    assert problem.startswith(f"{path}:{line_of(path, 'id:')}: id: move-schools@2 is not in {LOCK}")
    assert lock(manifest(city)) == ["move-schools@2"]
    assert checked(manifest(city))
    after = (city / AGREEMENTS / LOCK).read_text().splitlines()
    assert [line for line in after if "move-schools@2" not in line] == before.splitlines()


def test_a_published_version_does_not_go_away(city):
    path = city / AGREEMENTS / LOCK
    path.write_text(path.read_text() + 'gone@1: "00"\n')
    said = "gone@1: no such agreement: a published version stays"
    assert problems(city) == (f"{path}:{line_of(path, 'gone@1')}: {said}",)


def test_a_lock_that_is_none_is_told(city):
    (city / AGREEMENTS / LOCK).write_text("move-tax@1: [1]\n")
    assert any(p.startswith(f"{city / AGREEMENTS / LOCK}:1: ") for p in problems(city))


def test_the_digest_does_not_hang_on_the_order_of_sets():
    one = agreement("a", "6-1-b", {"registry.moved.v1": ["street"]}, subjects=["minor", "adult"])
    assert digest_of(one) == digest_of(Agreement.model_validate(one.model_dump(by_alias=True)))
    assert digest_of(one) != digest_of(agreement("a", "6-1-b", {"registry.moved.v1": ["street"]}))


def test_a_consent_block_is_part_of_the_digest_and_its_absence_is_not():
    """Agreements that were published before there was such a block keep their digests."""
    without = agreement("a", "6-1-a", {"registry.moved.v1": ["street"]})
    its = agreement("a", "6-1-a", {"registry.moved.v1": ["street"]}, consent={"valid_for": "P1Y"})
    assert digest_of(without) == digest_of(agreement("a", "6-1-a", {"registry.moved.v1": ["street"]}, consent=None))
    assert digest_of(its) != digest_of(without)


@pytest.mark.parametrize(
    ("today", "said"),
    [
        (date(2026, 12, 10), None),
        (date(2026, 12, 11), "is to be reviewed on 2027-01-10"),
        (date(2027, 1, 10), "is to be reviewed on 2027-01-10"),
        (date(2027, 1, 11), "was to be reviewed on 2027-01-10"),
    ],
)
def test_a_review_near_or_past_is_a_warning(city, today, said):
    path = next(p for p in city.glob(f"{AGREEMENTS}/*/*.yaml") if "review: 2027-01-10" in p.read_text())
    found = [w for w in reviews(manifest(city), today) if w.startswith(f"{path}:{line_of(path, 'review:')}: review: ")]
    assert [said in w for w in found] == ([] if said is None else [True])
    assert checked(manifest(city)), "a warning refuses nothing"


def test_the_demonstration_city_has_neither_problems_nor_warnings():
    its = Manifest.load(PROJECT / "deploy/city.yaml")
    assert checked(its).agreements
    assert reviews(its, TODAY) == []
