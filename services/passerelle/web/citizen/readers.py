"""Who else looked at what the platform holds about somebody (GDPR Art. 15)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from passerelle.web.citizen import family
from passerelle.web.citizen.family import AboutWhom
from passerelle.web.rendering import page
from passerelle.web.visit import Citizen, Visit

router = APIRouter()

OWN, OF_WARD = "/historique/lecteurs", "/mes-partages/pour/{pseudonym}/lecteurs"

SHOWN = 30


@dataclass(frozen=True, kw_only=True, slots=True)
class Looked:
    """Somebody looked: when, as what, of which department, at what, and its line in the ledger."""

    at: str
    department: str | None
    reader: str | None
    what: str | None
    mandate: str | None
    index: int


def looked(readers: Sequence[Mapping[str, Any]], visit: Visit) -> list[Looked]:
    """Return the service's list with names in the place of ids."""
    return [
        Looked(
            at=one["at"],
            department=None if one["department"] is None else visit.department(one["department"]),
            reader=None if one["reader"] is None else visit.text(one["reader"]),
            what=None if one["what"] is None else visit.text(one["what"]),
            mandate=one["mandate"],
            index=one["index"],
        )
        for one in readers
    ]


@router.get(OWN)
@router.get(OF_WARD)
async def readers(visit: Citizen, whom: AboutWhom) -> Response:
    """List them, newest first. What one reads oneself is no line here."""
    cursor = visit.request.query_params.get("suite") or None
    answer = await visit.site.consent.read(
        visit.who, f"/v1/subjects/{whom.subject}/readers", limit=SHOWN, cursor=cursor
    )
    following = answer.next_cursor and visit.to(whom.readers, suite=answer.next_cursor)
    return page(
        visit,
        "account/readers.html",
        whom=whom,
        readers=looked(answer.body["readers"], visit),
        relatives=await family.read(visit),
        first=visit.to(whom.readers) if cursor else None,
        next=following,
    )
