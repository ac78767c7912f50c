"""About whom a page is: the person who looks, or somebody whom they answer for. Pure."""

import re
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from starlette.exceptions import HTTPException

from passerelle.web.visit import Citizen, Visit

OWN, WARDS = "/mes-partages", "/mes-partages/pour/{ward}"
WARD = r"[0-9a-f]{32}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Whose:
    """Whose sharings, and where their pages are."""

    visit: Visit
    ward: str | None = None
    """The pseudonym of a ward; None: one's own."""

    @property
    def home(self) -> str:
        """Path of their sharings."""
        return OWN if self.ward is None else f"/mes-partages/pour/{self.ward}"

    def at(self, agreement: str) -> str:
        """Path of one sharing."""
        return f"{self.home}/accord/{agreement}"

    def api(self, rest: str) -> str:
        """Path at the consent service."""
        return f"/v1/subjects/{self.ward or 'me'}/{rest}"


async def _whose(visit: Citizen, request: Request) -> Whose:
    ward = request.path_params.get("ward")
    if ward is not None and not re.fullmatch(WARD, ward):
        raise HTTPException(404)
    return Whose(visit=visit, ward=ward)


About = Annotated[Whose, Depends(_whose)]
"""A dependency of routes that are there twice: for oneself, and below `WARDS` for somebody whom one answers for."""
