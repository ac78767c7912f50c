"""Who it is that a provider signed in: a citizen by the pivot identity, somebody of the city by roles. Pure.

The pivot identity is what FranceConnect hands over (its scopes `given_name family_name birthdate gender birthplace
birthcountry`). It is used once, to find the citizen's pseudonym, and not kept.
"""

from collections.abc import Mapping
from typing import Any

from passerelle.issuer import Bearing

PIVOT_SCOPES = ("given_name", "family_name", "preferred_username", "birthdate", "gender", "birthplace", "birthcountry")
ROLES_CLAIM = "passerelle_roles"
DEPARTMENT_CLAIM = "passerelle_department"
ROLES = frozenset({"officer", "auditor", "operator"})
UNBOUND = frozenset({"auditor", "operator"})
"""Roles that speak for no department."""


class NoIdentity(Exception):
    """The provider's claims do not say who this is. Names the claim, never its value."""

    def __init__(self, claim: str) -> None:
        super().__init__(claim)
        self.claim = claim


def pivot(claims: Mapping[str, Any]) -> dict[str, Any]:
    """Return a citizen's identity as the consent service takes it (`POST /v1/links`). Raises `NoIdentity`."""
    return {
        "given_names": _text(claims, "given_name").split(),
        "family_name": _text(claims, "family_name"),
        "birth_date": _text(claims, "birthdate"),
        "gender": _text(claims, "gender"),
        "birth_place": _text(claims, "birthplace", may_be_empty=True),
        "birth_country": _text(claims, "birthcountry"),
    }


def greeting(claims: Mapping[str, Any]) -> str:
    """How to call a citizen: the first given name and the name in use."""
    names = _text(claims, "given_name").split()
    return f"{names[0]} {claims.get('preferred_username') or _text(claims, 'family_name')}"


def staff(claims: Mapping[str, Any], departments: frozenset[str]) -> Bearing:
    """Return whom a member of the staff speaks for. Raises `NoIdentity` for one without a role of ours."""
    said = claims.get(ROLES_CLAIM)
    scopes = sorted(ROLES.intersection(said)) if isinstance(said, list) else []
    if not scopes:
        raise NoIdentity(ROLES_CLAIM)
    department = claims.get(DEPARTMENT_CLAIM)
    if department is None and UNBOUND.issuperset(scopes):
        return Bearing(scopes=scopes, subject=_text(claims, "sub"))
    if department not in departments:
        raise NoIdentity(DEPARTMENT_CLAIM)
    return Bearing(scopes=scopes, department=department, subject=_text(claims, "sub"))


def _text(claims: Mapping[str, Any], name: str, *, may_be_empty: bool = False) -> str:
    said = claims.get(name)
    if not isinstance(said, str) or not (said.strip() or may_be_empty):
        raise NoIdentity(name)
    return said.strip()
