"""The control room, for who is on call: no personal data on any of its pages."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, Request
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response, StreamingResponse

from passerelle.web.control.room import Room, Settling, Snapshot
from passerelle.web.control.view import board
from passerelle.web.control.whatif import WhatIf
from passerelle.web.rendering import page
from passerelle.web.service import Refused, ServiceAway
from passerelle.web.visit import Form, Operator, Visit
from passerelle_consent.wire import Cause
from passerelle_schemas.catalogue import Catalogue
from passerelle_schemas.faults import Fault

if TYPE_CHECKING:
    from passerelle.dead_letters import Waiting

EVERY_S = 2.0
STREAMS_MAX = 50
"""Browsers that hear of each second at once; others see the page as it was made, and its link to look again."""
STREAM_S_MAX = 1_800.0
LETTERS_SHOWN = 50
SINCE_DAYS = 7

router = APIRouter(prefix="/controle")


async def _room(visit: Operator) -> Room:
    room = visit.site.extras.get(Room)
    if not isinstance(room, Room):
        raise HTTPException(404)
    return room


HasRoom = Annotated[Room, Depends(_room)]


@router.get("")
async def overview(visit: Operator, room: HasRoom) -> Response:
    """How everything is, at one glance."""
    attention, checkpoint, ready, flows, letters = await asyncio.gather(
        _or_none(visit.site.consent.read(visit.who, "/v1/operations/attention")),
        _or_none(visit.site.consent.public("/v1/ledger/checkpoint")),
        _or_none(visit.site.consent.public("/readyz")),
        _or_none(visit.site.consent.public("/v1/flows", limit=200)),
        _letters(room),
    )
    shown = board(
        visit,
        room,
        attention=attention,
        checkpoint=checkpoint,
        consent_ready=ready is not None,
        flows=(flows or {}).get("flows", []),
        letters=letters,
    )
    return page(visit, "control/overview.html", board=shown)


@router.get("/flux")
async def stream(_visit: Operator, room: HasRoom, request: Request) -> Response:
    """Each look as it is made (server-sent events), for half an hour; the browser then asks again."""
    if room.streams >= STREAMS_MAX:
        raise HTTPException(503)
    headers = {"X-Accel-Buffering": "no", "Content-Encoding": "identity"}
    return StreamingResponse(_looks(room, request), media_type="text/event-stream", headers=headers)


@router.get("/messages")
async def letters(visit: Operator, room: HasRoom) -> Response:
    """What was not taken, whose it is and why: references, no payload, no person."""
    found = await _letters(room)
    said = visit.request.query_params.get("fait", "")
    return page(
        visit,
        "control/letters.html",
        letters=(found or ())[:LETTERS_SHOWN],
        total=len(found or ()),
        away=found is None,
        causes=list(Cause),
        said=said if said in ("rejoue", "jete", "revenu") else "",
    )


@router.post("/messages")
async def settle(visit: Operator, room: HasRoom, form: Form) -> Response:
    """Replay or discard one: the ledger is told before it is done."""
    settling = visit.site.extras[Settling]
    assert isinstance(settling, Settling)  # noqa: S101 - put there under its type
    try:
        cause = Cause(str(form.get("cause", "")))
        owner, reference = str(form["owner"]), str(form["reference"])
        act = settling.discard if form.get("faire") == "jeter" else settling.replay
        done = await asyncio.to_thread(act, owner, reference, cause, visit.who)
    except (ValueError, KeyError):
        raise HTTPException(400) from None
    except Fault as fault:
        return page(visit, "control/not-settled.html", status=409, fault=fault)
    finally:
        room.forget_letters()
    said = "revenu" if done.outcome.letters else "jete" if form.get("faire") == "jeter" else "rejoue"
    return RedirectResponse(visit.to("/controle/messages", fait=said), status_code=303)


@router.get("/contrats")
async def contracts(visit: Operator) -> Response:
    """The contracts, who reads each, and how compatible its versions are; the departments, and what each has."""
    catalogue = visit.site.extras.get(Catalogue)
    flows = await visit.site.consent.public("/v1/flows", limit=200)
    readers: dict[str, list[str]] = {}
    for flow in flows.body["flows"]:
        readers.setdefault(flow["event"], []).append(flow["recipient"])
    listed = sorted(catalogue, key=lambda c: c.type) if isinstance(catalogue, Catalogue) else []
    return page(visit, "control/contracts.html", contracts=listed, readers=readers)


@router.get("/essai")
async def what_if(visit: Operator) -> Response:
    """Choose an agreement, and change it: nothing of it is kept."""
    maker = _what_if(visit)
    ref = visit.request.query_params.get("accord", "")
    refs = maker.refs()
    draft = maker.agreement(*_parted(ref)) if ref in refs else ""
    since = datetime.now(UTC).date() - timedelta(days=SINCE_DAYS)
    return page(visit, "control/what-if.html", refs=refs, ref=ref, draft=draft, since=since, report=None, fault=None)


@router.post("/essai")
async def what_if_done(visit: Operator, form: Form) -> Response:
    """Decide again; the answer is a page, and nothing else came of it."""
    maker = _what_if(visit)
    ref, draft, refs = str(form.get("accord", "")), str(form.get("brouillon", "")), maker.refs()
    if ref not in refs:
        raise HTTPException(400)
    report = fault = None
    since = datetime.now(UTC).date()
    try:
        since = date.fromisoformat(str(form.get("depuis", "")))
        since_ms = int(datetime(since.year, since.month, since.day, tzinfo=UTC).timestamp() * 1000)
        report = await asyncio.to_thread(maker.run, ref, draft, since_ms)
    except ValueError:
        fault = Fault(visit.say("La date n’est pas une date : 2026-11-25."))
    except Fault as found:
        fault = found
    return page(
        visit,
        "control/what-if.html",
        status=200 if fault is None else 422,
        refs=refs,
        ref=ref,
        draft=draft,
        since=since,
        report=report,
        fault=fault,
    )


def _what_if(visit: Visit) -> WhatIf:
    maker = visit.site.extras.get(WhatIf)
    if not isinstance(maker, WhatIf):
        raise HTTPException(404)
    return maker


def _parted(ref: str) -> tuple[str, int]:
    ident, _, version = ref.partition("@")
    return ident, int(version)


async def _looks(room: Room, request: Request) -> AsyncIterator[bytes]:
    room.streams += 1
    try:
        until = asyncio.get_running_loop().time() + STREAM_S_MAX
        while asyncio.get_running_loop().time() < until and not await request.is_disconnected():
            yield b"data: " + json.dumps(_told(room.snapshot())).encode() + b"\n\n"
            await asyncio.sleep(EVERY_S)
    finally:
        room.streams -= 1


def _told(snapshot: Snapshot) -> dict[str, Any]:
    """The whole window each time: some 15 kB, and a browser that missed one has lost nothing."""
    return {
        "fresh": snapshot.fresh,
        "at": [second.at for second in snapshot.series],
        "permit": [second.permit for second in snapshot.series],
        "redact": [second.redact for second in snapshot.series],
        "deny": [second.deny for second in snapshot.series],
    }


async def _letters(room: Room) -> "list[Waiting] | None":
    """None: the broker does not say."""
    try:
        return list(await room.letters())
    except Fault:
        return None


async def _or_none(asked: Any) -> Any:
    """What a service says; None when it does not, which the page shows as such."""
    try:
        return (await asked).body
    except (ServiceAway, Refused):
        return None
