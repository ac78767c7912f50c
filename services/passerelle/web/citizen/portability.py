"""Take out what one said to the city (GDPR Art. 20): the service's signed parts in one archive, with the city's keys.

Whoever takes it in checks it with those files alone:
`passerelle receipt verify passerelle-export-1.jws --keys keys.json`.
"""

import io
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from passerelle.web.citizen.family import OF_WARD, AboutWhom, Whom
from passerelle.web.rendering import page
from passerelle.web.service import ServiceAway
from passerelle.web.visit import Citizen, Visit

router = APIRouter()

SEALED, PLAIN = "application/jose", "application/json"
PARTS_MAX = 50
"""10,000 things said: more than a life has, and some 150 MB before they are compressed."""


@router.get("/compte/copie")
@router.get(OF_WARD + "/copie")
async def about(visit: Citizen, whom: AboutWhom) -> Response:
    """Say what the copy holds, and where it is had."""
    return page(visit, "account/copy.html", whom=whom)


@router.get("/compte/copie/passerelle.zip")
@router.get(OF_WARD + "/copie/passerelle.zip")
async def download(visit: Citizen, whom: AboutWhom) -> Response:
    """Hand it out."""
    parts = await _parts(visit, whom, SEALED)
    first = await visit.site.consent.read(visit.who, _path(whom), headers=_headers(visit, PLAIN))
    keys = await visit.site.consent.public("/v1/keys")
    files = archive_files(parts, first.body, keys.body, readme(visit.say))
    headers = {"Content-Disposition": 'attachment; filename="passerelle.zip"'}
    return Response(await run_in_threadpool(archive, files), media_type="application/zip", headers=headers)


def readme(say: Callable[..., str]) -> str:
    """Say what the archive holds, and how to check it without us."""
    lines = (
        say("Ce que vous avez dit à la ville, et les messages qu’elle vous a envoyés (RGPD, article 20)."),
        "",
        "passerelle-export-1.jws …",
        say("Vos réponses, chacune avec son reçu, signées par la ville. Un autre service peut les vérifier."),
        "",
        "passerelle-export-1.json",
        say("Le début du même contenu, lisible sans outil."),
        "",
        "keys.json",
        say("Les clés publiques de la ville, pour vérifier les signatures."),
        "",
        say("Pour vérifier un fichier :"),
        "passerelle receipt verify passerelle-export-1.jws --keys keys.json",
    )
    return "\n".join(lines) + "\n"


def archive_files(parts: Sequence[str], readable: object, keys: object, about: str) -> Mapping[str, str]:
    """Name what goes into the archive. The readable file holds the first part: what is signed is in the others."""
    signed = {f"passerelle-export-{n}.jws": part for n, part in enumerate(parts, 1)}
    plain = {"keys.json": keys, "passerelle-export-1.json": readable}
    written = {name: json.dumps(held, ensure_ascii=False, indent=1) for name, held in plain.items()}
    return {"LISEZ-MOI.txt": about, **signed, **written}


def archive(files: Mapping[str, str]) -> bytes:
    """Pack text files."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as folder:
        for name, text in files.items():
            folder.writestr(name, text)
    return packed.getvalue()


async def _parts(visit: Visit, whom: Whom, media_type: str) -> list[str]:
    """Ask for each part in turn. Raises `ServiceAway` when there is no end of it."""
    parts: list[str] = []
    cursor = None
    while len(parts) < PARTS_MAX:
        answer = await visit.site.consent.read(
            visit.who, _path(whom), headers=_headers(visit, media_type), cursor=cursor
        )
        parts.append(answer.text)
        cursor = answer.next_cursor
        if cursor is None:
            return parts
    raise ServiceAway("export without end")


def _path(whom: Whom) -> str:
    return f"/v1/subjects/{whom.subject}/export"


def _headers(visit: Visit, media_type: str) -> dict[str, str]:
    return {"Accept": media_type, "Accept-Language": visit.language.value}
