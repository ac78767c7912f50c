"""Consultations: a draft agreement, what people make of it, and what the department answers. Reading needs no sign-in.

A voice and an argument are told to the service as the citizen's own; whose they are is not shown to anybody.
"""

import asyncio
import hashlib
from typing import Annotated, Any

import rfc8785
from fastapi import APIRouter, Path
from starlette.responses import RedirectResponse, Response

from passerelle.web.consultations.view import DONE, SIDES, VOICES, Proposed, Said, days_left, last_moment, parted, sides
from passerelle.web.register.reading import PAGE, everything
from passerelle.web.register.versions import changes
from passerelle.web.rendering import page
from passerelle.web.service import Answer, Refused
from passerelle.web.sessions import Audience
from passerelle.web.visit import Anybody, Citizen, Form, Visit

router = APIRouter(prefix="/consultations")

ConsultationId = Annotated[str, Path(pattern=r"^[a-z][a-z0-9-]{2,79}$")]
TOO_LATE = ("consultation-not-open", "enough-arguments")


@router.get("")
async def consultations(visit: Anybody) -> Response:
    """What is asked now, what will be, and what was."""
    found = await everything(visit.site.consent, "/v1/consultations", "consultations")
    left = {c["id"]: days_left(c["closes_at"], visit.site.clock()) for c in found if c["phase"] == "open"}
    return page(visit, "consultations/consultations.html", parted=parted(found), left=left, last_moment=last_moment)


@router.get("/{consultation}")
async def show(visit: Anybody, consultation: ConsultationId) -> Response:
    """One consultation: the draft, the arguments, one's own voice, and what came of it."""
    return await _shown(visit, consultation, said=visit.request.query_params.get("fait", ""))


@router.get("/{consultation}/resultat.json")
async def result(visit: Anybody, consultation: ConsultationId) -> Response:
    """The result, byte for byte as the ledger holds its digest (RFC 8785)."""
    held = await visit.site.consent.public(f"/v1/consultations/{consultation}/result")
    headers = {"Content-Disposition": f'attachment; filename="{consultation}.json"'}
    return Response(rfc8785.dumps(held.body), media_type="application/json", headers=headers)


@router.get("/{consultation}/preuve")
async def proof(visit: Anybody, consultation: ConsultationId) -> Response:
    """What shows that the result is in the ledger (tlog-proof): a moment after it was given."""
    found = await visit.site.consent.public(f"/v1/consultations/{consultation}/result/proof")
    headers = {"Content-Disposition": f'attachment; filename="{consultation}.tlog-proof"'}
    return Response(found.text, media_type="text/plain; charset=utf-8", headers=headers)


@router.post("/{consultation}/voix")
async def raise_voice(visit: Citizen, form: Form, consultation: ConsultationId) -> Response:
    """Support, object, or take one's voice back; the last word counts."""
    said = VOICES.get(str(form.get("voix", "")), "")
    if said == "":
        return await _shown(visit, consultation, status=422)
    path = f"/v1/consultations/{consultation}/voice"
    try:
        if said is None:
            await visit.site.consent.change(visit.who, "DELETE", path)
        else:
            await visit.site.consent.change(visit.who, "PUT", path, {"voice": said})
    except Refused as refused:
        if refused.kind not in TOO_LATE:
            raise
        return await _shown(visit, consultation, status=409, refused=refused.kind)
    return _back(visit, consultation, DONE[said])


@router.post("/{consultation}/arguments")
async def argue(visit: Citizen, form: Form, consultation: ConsultationId) -> Response:
    """Propose an argument. An officer reads it before it is shown."""
    proposed = Proposed.of(dict(form))
    if proposed.wrong:
        return await _shown(visit, consultation, status=422, proposed=proposed)
    body = {"side": SIDES[proposed.side], "language": visit.language.value, "text": proposed.text.strip()}
    try:
        await visit.site.consent.change(visit.who, "POST", f"/v1/consultations/{consultation}/arguments", body)
    except Refused as refused:
        if refused.kind not in TOO_LATE:
            raise
        return await _shown(visit, consultation, status=409, refused=refused.kind, proposed=proposed)
    return _back(visit, consultation, Said.PROPOSED)


def _back(visit: Visit, consultation: str, said: Said) -> Response:
    return RedirectResponse(visit.to(f"/consultations/{consultation}", fait=said.value) + "#avis", status_code=303)


async def _shown(
    visit: Visit,
    consultation: str,
    *,
    status: int = 200,
    said: str = "",
    refused: str = "",
    proposed: Proposed | None = None,
) -> Response:
    consent = visit.site.consent
    cursor = visit.request.query_params.get("suite")
    held, arguments, voice = await asyncio.gather(
        consent.public(f"/v1/consultations/{consultation}"),
        consent.public(f"/v1/consultations/{consultation}/arguments", limit=PAGE, cursor=cursor),
        _voice(visit, consultation),
    )
    shown = held.body
    draft = shown["published"]["draft"]
    before = await _in_force(visit, draft)
    return page(
        visit,
        "consultations/consultation.html",
        status=status,
        c=shown,
        draft=draft,
        last=last_moment(shown),
        left=days_left(shown["closes_at"], visit.site.clock()),
        sides=sides(shown["published"], arguments.body["arguments"], visit.language.value),
        more=arguments.next_cursor,
        continued=cursor is not None,
        voice=voice,
        may_speak=visit.person is None or visit.person.audience is Audience.CITIZEN,
        officer=_is_officer(visit, shown["department"]),
        said=said if said in set(Said) else "",
        refused=refused,
        proposed=proposed or Proposed(side="", text=""),
        wrong=proposed.wrong if proposed else [],
        before=before,
        changes=changes(before["signed"], draft, visit.language.value) if before else [],
        described={**(before["described"] if before else {}), **shown["described"]},
        digest=hashlib.sha256(rfc8785.dumps(shown["result"])).hexdigest() if shown["result"] else None,
    )


async def _voice(visit: Visit, consultation: str) -> str | None:
    """Of whoever is signed in, as the service has it; None without one, or without a voice."""
    if visit.person is None or visit.person.audience is not Audience.CITIZEN:
        return None
    held: Answer = await visit.site.consent.read(visit.who, f"/v1/consultations/{consultation}/voice")
    said: str | None = held.body["voice"]
    return said


async def _in_force(visit: Visit, draft: Any) -> Any:
    """The agreement that the draft would follow, None when it is a new one."""
    if draft["version"] == 1:
        return None
    try:
        return (await visit.site.consent.public(f"/v1/agreements/{draft['id']}")).body
    except Refused:
        return None


def _is_officer(visit: Visit, department: str) -> bool:
    person = visit.person
    return person is not None and person.may("officer") and person.bearing.department == department
