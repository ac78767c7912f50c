"""Every decision about me: when, who, which fields, why, under which law; each with its proof."""

import asyncio
from collections.abc import Iterator, Mapping
from datetime import datetime, time, timedelta
from functools import partial
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.responses import Response

from passerelle.web.citizen import family
from passerelle.web.citizen.sharings import Ident
from passerelle.web.citizen.whose import WARDS, About
from passerelle.web.rendering import page
from passerelle.web.visit import Visit

PAGE = 25

own, wards = APIRouter(prefix="/historique"), APIRouter(prefix=f"{WARDS}/historique")


class Asked(BaseModel):
    """What is looked for; what is empty is not asked."""

    accord: str = Field(default="", pattern=r"^([a-z][a-z0-9-]{0,99})?$")
    vers: str = Field(default="", pattern=r"^[a-z0-9-]{0,64}$")
    resultat: str = Field(default="", pattern=r"^(permit|redact|deny)?$")
    du: str = Field(default="", pattern=r"^(\d{4}-\d\d-\d\d)?$")
    au: str = Field(default="", pattern=r"^(\d{4}-\d\d-\d\d)?$")
    suite: str = Field(default="", max_length=500)

    def query(self, zone: ZoneInfo) -> dict[str, Any]:
        """As the consent service is asked."""
        return {
            "agreement": self.accord or None,
            "recipient": self.vers or None,
            "verdict": self.resultat or None,
            "since": _midnight(zone, self.du),
            "until": _midnight(zone, self.au, after=1),
            "cursor": self.suite or None,
        }

    @property
    def kept(self) -> dict[str, str]:
        """What the address of another page of the same list repeats."""
        return self.model_dump(exclude={"suite"})


@own.get("")
@wards.get("")
async def history(whose: About, asked: Annotated[Asked, Query()]) -> Response:
    """What happened to somebody's data."""
    visit = whose.visit
    query = asked.query(visit.site.zone)
    answer, relatives = await asyncio.gather(
        visit.site.consent.read(visit.who, whose.api("disclosures"), limit=PAGE, **query),
        family.read(visit, anew=whose.ward is not None),
    )
    spoken = visit.language.value
    base = "/historique" if whose.ward is None else f"{whose.home}/historique"
    return page(
        visit,
        "citizen/history.html",
        whose=whose,
        relatives=relatives,
        base=base,
        asked=asked,
        disclosures=answer.body["disclosures"],
        titles={flow.id: (flow, str(getattr(flow.description, spoken))) for flow in visit.site.policy.flows},
        choices={agreement: visit.site.sharings[spoken].titles[agreement] for agreement in _leading(visit)},
        laws=partial(laws, language=spoken),
        shown=shown,
        words_of=visit.site.sharings[spoken].words_of,
        first=visit.to(base, **asked.kept) if asked.suite else None,
        next=visit.to(base, **asked.kept, suite=answer.next_cursor) if answer.next_cursor else None,
    )


@own.get("/preuve/{decision}")
@wards.get("/preuve/{decision}")
async def proof(whose: About, decision: Ident) -> Response:
    """The proof of a decision (C2SP tlog-proof): a file that anybody can check without us."""
    visit = whose.visit
    answer = await visit.site.consent.read(visit.who, whose.api(f"proof/{decision}"))
    headers = {"Content-Disposition": f'attachment; filename="preuve-{decision[:8]}.tlog-proof"'}
    return Response(answer.text, media_type="text/plain; charset=utf-8", headers=headers)


def laws(disclosure: Mapping[str, Any], language: str) -> list[tuple[str, str]]:
    """Return on which basis and by which law, each pair once. ``disclosure``: as the consent service tells it."""
    under = [(agreement["basis"][language], agreement["law"] or "") for agreement in disclosure["agreements"]]
    return list(dict.fromkeys(under))


def shown(disclosure: Mapping[str, Any]) -> tuple[object, ...]:
    """Return all that a row says but its instant and its proof: what a policy says follows from its digest."""
    fields = (field["name"] for field in disclosure["fields"])
    return (
        disclosure["policy"],
        disclosure["flow"],
        disclosure["recipient"],
        disclosure["verdict"]["code"],
        disclosure["reason"]["code"],
        tuple(fields),
        tuple(disclosure["withheld"]),
        tuple(agreement["agreement"] for agreement in disclosure["agreements"]),
    )


def _leading(visit: Visit) -> Iterator[str]:
    """One agreement of each flow: a decision of the flow names all of them."""
    for flow in visit.site.policy.flows:
        yield flow.agreements[0].partition("@")[0]


def _midnight(zone: ZoneInfo, day: str, *, after: int = 0) -> str | None:
    """The beginning of a day in the city's time, as RFC 3339; None where there is no such day."""
    try:
        begun = datetime.combine(datetime.fromisoformat(day).date() + timedelta(days=after), time(), zone)
    except (ValueError, OverflowError):
        return None
    return begun.isoformat()
