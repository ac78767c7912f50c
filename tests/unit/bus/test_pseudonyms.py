"""Who a person is on the bus."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passerelle.pseudonyms import Keyring, NotAPseudonym, PivotIdentity, UnknownDepartment, normalised, subject_ref

CITY = bytes(range(32))
KEYRING = Keyring({"tax": b"t" * 16, "schools": b"s" * 16})


def person(**changes):
    fields = {
        "given_names": ("Anne-Marie", "Zoë"),
        "family_name": "L'Œillet d'Été",
        "birth_date": date(1984, 2, 29),
        "gender": "female",
        "birth_place": "2A004",
        "birth_country": "99100",
    }
    return PivotIdentity(**{**fields, **changes})


@pytest.mark.parametrize(
    "same",
    [
        person(given_names=("ANNE MARIE", "zoe")),
        person(given_names=("Anne", "Marie", "Zoë")),
        person(family_name="l oeillet  D’ETE"),
        person(family_name="L'Oeillet d'E\u0301te\u0301"),
    ],
)
def test_two_registers_that_write_a_name_differently_mean_one_subject(same):
    assert subject_ref(CITY, same) == subject_ref(CITY, person())


@pytest.mark.parametrize(
    "other",
    [
        person(birth_date=date(1984, 2, 28)),
        person(gender="male"),
        person(birth_place="75056"),
        person(given_names=("Anne-Marie",)),
    ],
)
def test_another_person_is_another_subject(other):
    assert subject_ref(CITY, other) != subject_ref(CITY, person())


def test_the_city_key_matters():
    assert subject_ref(bytes(32), person()) != subject_ref(CITY, person())


@given(st.text())
def test_normalising_twice_changes_nothing(name):
    assert normalised(normalised(name)) == normalised(name)


@given(st.binary(min_size=16, max_size=16))
def test_a_pseudonym_is_one_departments_and_leads_back(ref):
    at_tax, at_schools = KEYRING.pseudonym("tax", ref), KEYRING.pseudonym("schools", ref)
    assert at_tax != at_schools
    assert KEYRING.subject("tax", at_tax) == ref
    assert KEYRING.subject("schools", at_tax) != ref


@given(st.lists(st.binary(min_size=16, max_size=16)))
def test_a_batch_is_the_same_as_one_by_one(refs):
    batch = KEYRING.pseudonyms("tax", b"".join(refs))
    assert batch == b"".join(KEYRING.pseudonym("tax", r) for r in refs)


@pytest.mark.parametrize("bad", [None, b"", b"x" * 15, b"x" * 17, b"x" * 32])
def test_what_is_not_sixteen_bytes_is_refused(bad):
    with pytest.raises(NotAPseudonym):
        KEYRING.subject("tax", bad)


def test_an_unknown_department_is_refused():
    with pytest.raises(UnknownDepartment):
        KEYRING.pseudonym("water", bytes(16))


def test_an_identity_does_not_print_itself():
    assert "Marie" not in f"{person()!r} {person()}"
    with pytest.raises(ValueError, match="birth_country") as caught:
        person(birth_country="Atlantis-SECRET")
    assert "SECRET" not in str(caught.value)
