"""Who a token is, and how identities become refs in the composition root."""

from dataclasses import replace
from datetime import date

import pytest

from passerelle.cli.consent import Register, file_tokens
from passerelle.config import Home
from passerelle.pseudonyms import Keyring
from passerelle_consent.records.ports import BadIdentity, Identity, Role

DURAND = Identity(
    given_names=("Marie", "Ève"),
    family_name="Du Rand",
    birth_date=date(1980, 2, 29),
    gender="female",
    birth_place="75056",
    birth_country="99100",
)


def test_tokens_are_made_once_and_belong_to_one_principal(tmp_path):
    home = Home(root=tmp_path)
    authenticate = file_tokens(home, ["citizen-desk", "tax"])
    files = {f.stem: f for f in (home.keys / "tokens").iterdir()}
    assert files.keys() == {"citizen-desk", "tax", "officer.citizen-desk", "officer.tax"}
    assert {f.stat().st_mode & 0o777 for f in files.values()} == {0o600}
    who = {name: authenticate(f.read_text().strip()) for name, f in files.items()}
    assert who["citizen-desk"].roles == {Role.PORTAL, Role.DEPARTMENT}
    assert who["tax"].roles == {Role.DEPARTMENT}
    assert (who["officer.tax"].roles, who["officer.tax"].department) == ({Role.OFFICER}, "tax")
    assert authenticate("") is None
    assert file_tokens(home, ["tax"])(files["tax"].read_text().strip()) == who["tax"]


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
