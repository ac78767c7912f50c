"""Who speaks for somebody, as it is of record, and the end of it: for officers whose department records it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Path
from starlette.responses import RedirectResponse, Response

from passerelle.web.citizen.sharing import epoch_ms
from passerelle.web.rendering import page
from passerelle.web.service import Refused
from passerelle.web.visit import Form, Officer, Visit

router = APIRouter(prefix="/representants/fin")

Hex16 = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$")]
PSEUDONYM = re.compile(r"[0-9a-f]{32}")
EVIDENCE_CHARS_MAX = 64
TOLD = frozenset(
    {"unknown-subject", "unknown-guardianship", "guardianship-not-valid", "malformed-request", "not-a-registrar"}
)
"""What the page says in words; anything else is a problem's own page."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OfRecord:
    """What is known of a person's guardians: those that are not over, then those that are."""

    current: Sequence[Mapping[str, Any]]
    over: Sequence[Mapping[str, Any]]

    @classmethod
    def of(cls, listed: Sequence[Mapping[str, Any]], now_ms: int) -> "OfRecord":
        """Part what the consent service lists."""
        ended = [one for one in listed if one["until"] is not None and epoch_ms(one["until"]) <= now_ms]
        return cls(current=[one for one in listed if one not in ended], over=ended)


@router.get("")
async def look(visit: Officer) -> Response:
    """Ask whose, then show who speaks for them."""
    said = visit.request.query_params
    return await _shown(visit, said.get("personne", "").strip().lower(), ended="fini" in said)


@router.post("/{pseudonym}/{guardianship}")
async def end(visit: Officer, form: Form, pseudonym: Hex16, guardianship: Hex16) -> Response:
    """End a guardianship now, on a record or judgment that is named, once the officer has said so twice."""
    evidence = str(form.get("piece", "")).strip()[:EVIDENCE_CHARS_MAX]
    trouble = "" if evidence and form.get("compris") == "oui" else "lacking"
    if not trouble:
        path = f"/v1/subjects/{pseudonym}/guardians/{guardianship}/end"
        key = str(form.get("form-key", "")) or None
        try:
            await visit.site.consent.change(visit.who, "POST", path, {"evidence": evidence}, key=key)
        except Refused as refused:
            if refused.kind not in TOLD:
                raise
            trouble = refused.kind
    if not trouble:
        return RedirectResponse(visit.to("/agents/representants/fin", personne=pseudonym, fini="1"), status_code=303)
    return await _shown(visit, pseudonym, status=422, trouble=trouble, at=guardianship, evidence=evidence)


async def _shown(
    visit: Visit,
    pseudonym: str,
    *,
    status: int = 200,
    trouble: str = "",
    at: str = "",
    evidence: str = "",
    ended: bool = False,
) -> Response:
    """``at``: the guardianship whose form was sent, with the ``evidence`` that was written there."""
    listed = None
    if pseudonym and not PSEUDONYM.fullmatch(pseudonym):
        status, trouble = 422, "malformed-request"
    elif pseudonym:
        try:
            listed = (await visit.site.consent.read(visit.who, f"/v1/subjects/{pseudonym}/guardians")).body["guardians"]
        except Refused as refused:
            if refused.kind not in TOLD:
                raise
            status, trouble = 422, trouble or refused.kind
    return page(
        visit,
        "office/guardians.html",
        status=status,
        pseudonym=pseudonym,
        of_record=None if listed is None else OfRecord.of(listed, visit.site.clock()),
        trouble=trouble,
        at=at,
        evidence=evidence,
        ended=ended,
    )
