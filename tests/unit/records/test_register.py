"""How identities become refs in the composition root."""

from dataclasses import replace
from datetime import date

import pytest

from passerelle.cli.consent import Register
from passerelle.pseudonyms import Keyring
from passerelle_consent.records.ports import BadIdentity, Identity

DURAND = Identity(
    given_names=("Marie", "Ève"),
    family_name="Du Rand",
    birth_date=date(1980, 2, 29),
    gender="female",
    birth_place="75056",
    birth_country="99100",
)


def test_the_register_hashes_what_two_clerks_would_write_alike_and_goes_back_and_forth():
    register = Register(bytes(32), Keyring({"tax": bytes(16), "schools": bytes(range(16))}))
    alike = replace(DURAND, family_name="DU-RAND", given_names=("Marie-Eve",))
    first, second = register.refs([DURAND, alike])
    assert first == second
    assert len(first) == 16
    for department in ("tax", "schools"):
        pseudonym, again = register.pseudonyms(department, [first, second])
        assert pseudonym == again != first
        assert register.ref(department, pseudonym) == first
    assert register.departments == {"tax", "schools"}


@pytest.mark.parametrize("change", [{"family_name": "--"}, {"given_names": ("'",)}, {"birth_place": "Paris"}])
def test_an_identity_that_cannot_be_normalised_is_placed(change):
    register = Register(bytes(32), Keyring({}))
    with pytest.raises(BadIdentity) as bad:
        register.refs([DURAND, replace(DURAND, **change)])
    assert bad.value.index == 1


def test_an_identity_never_shows_itself():
    assert "Rand" not in repr(DURAND)
