"""The receipt of one thing that somebody said: the file that the city signed (JWS), and a paper of it (PDF)."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Path
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from passerelle.web.citizen.paper import paper_of
from passerelle.web.citizen.receipt_pdf import receipt_pdf
from passerelle.web.citizen.whose import OWN, WARDS, About, Whose
from passerelle.web.service import Answer, ServiceAway
from passerelle_consent.receipts.keys import KeySet, UnknownKeys
from passerelle_consent.receipts.seal import BadReceipt, Opened, open_sealed

SEALED = "application/jose"

own, wards = APIRouter(prefix=f"{OWN}/recu"), APIRouter(prefix=f"{WARDS}/recu")

Change = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$")]


@own.get("/{change}.jws")
@wards.get("/{change}.jws")
async def signed(whose: About, change: Change) -> Response:
    """Hand out the receipt as the city signed it, for `passerelle receipt verify`."""
    sealed = await _sealed(whose, change)
    return _file(sealed.text.encode(), SEALED, f"{_name(change)}.jws")


@own.get("/{change}.pdf")
@wards.get("/{change}.pdf")
async def paper(whose: About, change: Change) -> Response:
    """Hand it out for reading and printing. It is made of what the signature covers, and carries the signed file."""
    visit = whose.visit
    sealed, keys = await asyncio.gather(_sealed(whose, change), visit.site.consent.public("/v1/keys"))
    opened = _opened(sealed.text, keys)
    words_of = visit.site.sharings[visit.language.value].words_of
    told = paper_of(opened.content, whose, words_of, attachment=f"{_name(change)}.jws")
    return _file(await run_in_threadpool(receipt_pdf, told, sealed.text), "application/pdf", f"{_name(change)}.pdf")


async def _sealed(whose: Whose, change: str) -> Answer:
    """Read it, in the page's language. Raises `Refused` of what has no receipt."""
    visit = whose.visit
    headers = {"Accept": SEALED, "Accept-Language": visit.language.value}
    return await visit.site.consent.read(visit.who, whose.api(f"changes/{change}/receipt"), headers=headers)


def _opened(sealed: str, keys: Answer) -> Opened:
    """Nothing is printed that the city's own keys do not vouch for. Raises `ServiceAway`."""
    try:
        return open_sealed(sealed, KeySet(entries=tuple(keys.body["keys"])))
    except (BadReceipt, UnknownKeys):
        raise ServiceAway("a receipt that its own keys do not open") from None


def _name(change: str) -> str:
    return f"recu-{change[:8]}"


def _file(content: bytes, media_type: str, name: str) -> Response:
    return Response(content, media_type=media_type, headers={"Content-Disposition": f'attachment; filename="{name}"'})
