"""Children and protected relatives: for whom one speaks, until when, and what to call them here."""

from fastapi import APIRouter
from starlette.responses import RedirectResponse, Response

from passerelle.web.citizen import family
from passerelle.web.citizen.family import LABEL_CHARS_MAX, OF_WARD, AboutWhom
from passerelle.web.rendering import page
from passerelle.web.visit import Citizen, Form

router = APIRouter()

LABELS_MAX = 32
"""In one session: more than anybody has wards."""


@router.get("/compte/proches")
async def relatives(visit: Citizen) -> Response:
    """List them."""
    return page(visit, "account/relatives.html", relatives=await family.read(visit, anew=True))


@router.post(OF_WARD + "/nom")
async def call(visit: Citizen, whom: AboutWhom, form: Form) -> Response:
    """Call somebody by a name of one's own until the sign-out; by none, as the guardianship says."""
    if visit.session is not None:
        said = " ".join(str(form.get("nom", "")).split())[:LABEL_CHARS_MAX]
        labels = visit.session.labels
        labels.pop(whom.subject, None)
        if said:
            labels[whom.subject] = said
        while len(labels) > LABELS_MAX:
            labels.pop(next(iter(labels)))
    return RedirectResponse(visit.to("/compte/proches"), status_code=303)
