"""What officers of the department that asks do with a consultation: they read arguments, and answer when it is over."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Path
from starlette.responses import RedirectResponse, Response

from passerelle.web.consultations.routes import ConsultationId
from passerelle.web.consultations.view import OUTCOMES, RULINGS, last_moment
from passerelle.web.rendering import page
from passerelle.web.service import Refused
from passerelle.web.visit import Form, NotForYou, Officer, Visit

WAITING_SHOWN = 50
ANSWER_CHARS_MAX = 4_000

router = APIRouter(prefix="/consultations/{consultation}/moderation")

Number = Annotated[int, Path(ge=1, le=2**31 - 1)]


@router.get("")
async def moderation(visit: Officer, consultation: ConsultationId) -> Response:
    """Arguments that wait to be read, and the answer once it is over."""
    return await _shown(visit, consultation)


@router.post("/arguments/{n}")
async def rule(visit: Officer, form: Form, consultation: ConsultationId, n: Number) -> Response:
    """Publish an argument, or say why not."""
    ruling = str(form.get("decision", ""))
    if ruling not in RULINGS:
        return await _shown(visit, consultation, status=422)
    path = f"/v1/consultations/{consultation}/arguments/{n}/ruling"
    try:
        await visit.site.consent.change(visit.who, "PUT", path, {"ruling": ruling})
    except Refused as refused:
        if refused.kind != "unknown-argument":
            raise
        # Its author replaced it while it was read: the new one waits.
        return await _shown(visit, consultation, status=409, said="remplace")
    return _back(visit, consultation, "publie" if ruling == "published" else "ecarte")


@router.post("/reponse")
async def answer(visit: Officer, form: Form, consultation: ConsultationId) -> Response:
    """Answer what people said. It is done once: its result becomes a leaf of the ledger."""
    written = {name: str(form.get(name, "")).strip() for name in ("issue", "fr", "en")}
    fits = all(0 < len(written[name]) <= ANSWER_CHARS_MAX for name in ("fr", "en"))
    if written["issue"] not in OUTCOMES or not fits:
        return await _shown(visit, consultation, status=422, said="incomplet", written=written)
    body = {"outcome": written["issue"], "answer": {"fr": written["fr"], "en": written["en"]}}
    try:
        await visit.site.consent.change(visit.who, "POST", f"/v1/consultations/{consultation}/answer", body)
    except Refused as refused:
        if refused.kind not in ("consultation-still-open", "consultation-answered"):
            raise
        said = "ouverte" if refused.kind == "consultation-still-open" else "deja"
        return await _shown(visit, consultation, status=409, said=said, written=written)
    return _back(visit, consultation, "repondu")


def _back(visit: Visit, consultation: str, said: str) -> Response:
    return RedirectResponse(visit.to(f"/consultations/{consultation}/moderation", fait=said), status_code=303)


async def _shown(
    visit: Visit,
    consultation: str,
    *,
    status: int = 200,
    said: str = "",
    written: dict[str, str] | None = None,
) -> Response:
    query = visit.request.query_params
    path = f"/v1/consultations/{consultation}"
    try:
        held, waiting = await asyncio.gather(
            visit.site.consent.read(visit.who, path),
            visit.site.consent.read(
                visit.who, f"{path}/arguments/waiting", limit=WAITING_SHOWN, cursor=query.get("suite")
            ),
        )
    except Refused as refused:
        if refused.kind == "not-the-source":
            raise NotForYou from None
        raise
    return page(
        visit,
        "consultations/moderation.html",
        status=status,
        c=held.body,
        last=last_moment(held.body),
        waiting=waiting.body["arguments"],
        more=waiting.next_cursor,
        rulings=RULINGS,
        outcomes=OUTCOMES,
        said=said or query.get("fait", ""),
        written=written or {"issue": "", "fr": "", "en": ""},
        chars_max=ANSWER_CHARS_MAX,
    )
