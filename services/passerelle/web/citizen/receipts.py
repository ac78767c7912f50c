"""Receipts of what was said: the signed file that proves it, and a page to print (PDF/UA-1: it can be heard)."""

import asyncio
import json
from pathlib import Path
from typing import Annotated, Any

import typst
from fastapi import APIRouter
from fastapi import Path as InPath
from starlette.responses import Response

from passerelle.web.citizen.whose import OWN, WARDS, About
from passerelle.web.visit import Visit
from passerelle_consent.receipts.told import told

TEMPLATE = Path(__file__).with_name("receipt.typ")
SEALED, PLAIN = "application/jose", "application/ld+json"
AT_ONCE = asyncio.Semaphore(2)
"""A page takes some 100 ms of a core: more at a time would keep everybody waiting."""

Change = Annotated[str, InPath(pattern=r"^[0-9a-f]{32}$")]

own, wards = APIRouter(prefix=f"{OWN}/recu"), APIRouter(prefix=f"{WARDS}/recu")


@own.get("/{change}.jws")
@wards.get("/{change}.jws")
async def sealed(whose: About, change: Change) -> Response:
    """The signed receipt, which `passerelle receipt verify` checks without us."""
    visit = whose.visit
    headers = {"Accept": SEALED, "Accept-Language": visit.language.value}
    answer = await visit.site.consent.read(visit.who, whose.api(f"changes/{change}/receipt"), headers=headers)
    return _file(answer.text.encode("ascii"), SEALED, f"recu-{change[:8]}.jws")


@own.get("/{change}.pdf")
@wards.get("/{change}.pdf")
async def printed(whose: About, change: Change) -> Response:
    """The same in words."""
    visit = whose.visit
    headers = {"Accept": PLAIN, "Accept-Language": visit.language.value}
    answer = await visit.site.consent.read(visit.who, whose.api(f"changes/{change}/receipt"), headers=headers)
    said = json.dumps(_said(visit, answer.body), ensure_ascii=False)
    async with AT_ONCE:
        pdf = await asyncio.to_thread(_pdf, said)
    return _file(pdf, "application/pdf", f"recu-{change[:8]}.pdf")


def _said(visit: Visit, receipt: Any) -> dict[str, Any]:
    """What the template fills in."""
    language = visit.language.value
    return {
        "language": language,
        "city": str(getattr(visit.site.city, language)),
        "title": visit.say("Reçu"),
        "lead": visit.say("Ce que vous avez dit, et ce qui en suit."),
        "head": [visit.say("Quoi"), visit.say("Réponse")],
        "lines": [[label, words] for label, words in told(receipt, language)],
        "check": [
            visit.say("Vérifier ce reçu"),
            visit.say(
                "Cette page est une copie lisible. La preuve est le fichier signé (.jws) : "
                "« passerelle receipt verify » le vérifie sur votre ordinateur, sans demander à la ville."
            ),
        ],
        "footer": f"{visit.site.public_url}{visit.to('/registre')}",
    }


def _pdf(said: str) -> bytes:
    pdf: bytes = typst.compile(str(TEMPLATE), sys_inputs={"receipt": said}, pdf_standards=["ua-1"])
    return pdf


def _file(content: bytes, media_type: str, name: str) -> Response:
    return Response(content, media_type=media_type, headers={"Content-Disposition": f'attachment; filename="{name}"'})
