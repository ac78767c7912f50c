"""Receipts of what was said (ISO/IEC TS 27560), and the keys to check them with."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Path, Request, Response
from fastapi.responses import JSONResponse

from passerelle_consent.receipts.document import Issue
from passerelle_consent.records import problems
from passerelle_consent.records.history import one
from passerelle_consent.records.http.access import GuardedRoute
from passerelle_consent.records.http.answers import refuses
from passerelle_consent.records.http.bodies import Hex16
from passerelle_consent.records.http.calls import PseudonymPath, department_of, reading_of, records_of, subject_of
from passerelle_consent.records.http.languages import Language, asked_for
from passerelle_consent.records.ports import SubjectRef
from passerelle_consent.records.receipting import Writer
from passerelle_consent.records.words import What

SEALED, PLAIN = "application/jose", "application/ld+json"

router = APIRouter(route_class=GuardedRoute)


@router.get("/v1/subjects/{pseudonym}/changes/{change}/receipt", response_class=Response)
@refuses(problems.UNKNOWN_CHANGE, problems.NO_RECEIPT, problems.UNKNOWN_AGREEMENT, problems.UNKNOWN_VERSION)
async def receipt(
    request: Request,
    pseudonym: PseudonymPath,  # noqa: ARG001 - `subject_of` reads it
    change: Annotated[Hex16, Path()],
    language: Annotated[Language, Depends(asked_for)],
    accept: Annotated[str, Header(max_length=200)] = SEALED,
) -> Response:
    """Return the receipt of something that was said: signed (JWS), or as bare JSON-LD where that is asked for."""
    records, subject = records_of(request), subject_of(request)
    await records.admit_reading(subject.ref, subject.guardian, reading_of(request, subject, What.CHANGES))
    said = await records.read(partial(one, ref=subject.ref, change=bytes.fromhex(change)))
    document = writer_of(request, subject.ref, language).document(said)
    headers = {"Content-Language": language, "Vary": "Accept, Accept-Language"}
    if PLAIN in accept:
        return JSONResponse(document, media_type=PLAIN, headers=headers)
    return Response(records.seal.sign(document), media_type=SEALED, headers=headers)


@router.get("/v1/keys")
async def keys(request: Request) -> dict[str, list[dict[str, str]]]:
    """Return the public keys that receipts are checked with, as a JWK set: those of old receipts too."""
    return {"keys": records_of(request).receipt_keys.public()}


def writer_of(request: Request, ref: SubjectRef, language: Language) -> Writer:
    """Return who writes a subject's receipts for the caller's portal."""
    records, portal = records_of(request), department_of(request)
    (own,) = records.register.pseudonyms(portal, [ref])
    return Writer(
        issue=Issue(controller=records.controller, catalogue=records.catalogue, policy=records.policy),
        book=records.book,
        seal=records.seal,
        portal=portal,
        pseudonym=own.hex(),
        language=language,
        now_ms=records.now_ms(),
    )
