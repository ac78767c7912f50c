"""The account: who one is here, what the city has told, and what can be asked. Also of those for whom one speaks."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path
from starlette.responses import RedirectResponse, Response

from passerelle.web.citizen import family, notices
from passerelle.web.citizen.family import OF_WARD, AboutWhom, Relative, Whom
from passerelle.web.rendering import page
from passerelle.web.sessions import Audience
from passerelle.web.visit import Anybody, Citizen, Form, NeedsSignIn

router = APIRouter()

NoticeId = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$")]


@dataclass(frozen=True, kw_only=True, slots=True)
class Person:
    """What the service holds about somebody besides what they say."""

    minor_until: str | None
    """A minor's majority; None of an adult."""
    protection: str | None
    restricted_since: str | None
    answers: int
    """About how many agreements something was said."""

    @classmethod
    def of(cls, standing: Mapping[str, Any], now: datetime) -> "Person":
        """Read a standing as the service tells it."""
        until = standing["minor_until"]
        minor = until is not None and datetime.fromisoformat(until) > now
        return cls(
            minor_until=until if minor else None,
            protection=standing["protection"],
            restricted_since=standing["restricted_since"],
            answers=len(standing["agreements"]),
        )

    def lifted_by(self, whom: Relative | None) -> bool:
        """Whether a restriction is for this person to lift: to let data be used again takes whoever gives.

        ``whom``: the ward, where a guardian asks. `policy.voice` decides; this only spares a button that cannot act.
        """
        if whom is None:
            return self.minor_until is None and self.protection != "representation"
        if self.minor_until is not None:
            return not whom.only_assisted
        return self.protection == "representation" and whom.relation == "tutor"


@router.get("/compte")
async def own(visit: Anybody) -> Response:
    """Of a citizen the overview; of somebody of the city, what they may do here."""
    if visit.person is not None and visit.person.audience is Audience.STAFF:
        return page(visit, "account/staff.html")
    if visit.person is None:
        raise NeedsSignIn(Audience.CITIZEN)
    return await overview(visit, Whom())


@router.get(OF_WARD)
async def overview(visit: Citizen, whom: AboutWhom) -> Response:
    """What is known, what was told, and what can be done."""
    subject = whom.subject
    standing, told, opened, guardians, wards = await asyncio.gather(
        visit.site.consent.read(visit.who, f"/v1/subjects/{subject}/standing"),
        notices.read(visit, subject),
        notices.read_overrides(visit, subject),
        visit.site.consent.read(visit.who, f"/v1/subjects/{subject}/guardians"),
        family.read(visit),
    )
    return page(
        visit,
        "account/overview.html",
        whom=whom,
        person=Person.of(standing.body, datetime.fromtimestamp(visit.site.clock() / 1000, UTC)),
        told=notices.told(told.body["notices"], opened.body["overrides"], visit.department, visit.say),
        guardians=[one for one in guardians.body["guardians"] if one["in_office"]],
        relatives=wards,
    )


@router.post("/compte/messages/{notice}")
@router.post(OF_WARD + "/messages/{notice}")
async def read_one(visit: Citizen, whom: AboutWhom, _: Form, notice: NoticeId) -> Response:
    """Note that a notice was read. Doing it twice is doing it once."""
    await visit.site.consent.change(visit.who, "PUT", f"/v1/subjects/{whom.subject}/notices/{notice}/read")
    return RedirectResponse(visit.to(whom.account) + "#avis", status_code=303)
