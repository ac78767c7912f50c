"""Public consultations: published and answered by a department's officers, read by anybody."""

import hashlib
import json
import secrets
from datetime import datetime
from functools import partial
from typing import Annotated, Any, Self

from fastapi import APIRouter, Depends, Path, Request, Response
from fastapi.responses import PlainTextResponse
from pydantic import AwareDatetime, BaseModel, Field, model_validator

from passerelle_consent.policy.agreements import Agreement
from passerelle_consent.policy.rules import problems_of_agreement
from passerelle_consent.records import consultations, problems
from passerelle_consent.records.consultations import Announced, Answer, Consultation, Outcome
from passerelle_consent.records.http.access import GuardedRoute
from passerelle_consent.records.http.answers import refuses
from passerelle_consent.records.http.bodies import In, epoch_ms, example, rfc3339
from passerelle_consent.records.http.calls import department_of, records_of
from passerelle_consent.records.http.pages import Page, paged
from passerelle_consent.records.http.registered import described
from passerelle_consent.records.log import LogFilter, PublishedLog
from passerelle_consent.records.problems import Problem
from passerelle_consent.records.service import Records
from passerelle_consent.wire import JournalType
from passerelle_schemas.catalogue import Text

ARGUMENTS_FIRST_MAX = 20
"""What the department itself puts for and against its draft."""
VOICE_KEY_BYTES = 32
CONSULTED_MAX = 50
"""Entries that are looked at for a result's digest: consultations about one version of an agreement."""

router = APIRouter(route_class=GuardedRoute)

ConsultationId = Annotated[str, Path(pattern=r"^[a-z][a-z0-9-]{2,79}$")]


_EXAMPLE: dict[str, Any] = {
    "draft": {
        "id": "meal-tariff-income",
        "version": 2,
        "source": "tax",
        "recipient": "schools",
        "purpose": {"code": "dpv:PersonalisedBenefits", "fr": "Calculer le tarif.", "en": "Work out the tariff."},
        "basis": "6-1-a",
        "events": {
            "tax.income-assessed.v1": {
                "fields": {"reference_income_cents": {"fr": "Calculer la tranche.", "en": "Work out the band."}}
            }
        },
        "subjects": ["adult"],
        "in_force": {"from": "2027-01-15"},
        "retention": "P12M",
        "notice": {"version": 2, "fr": "Avec votre accord, …", "en": "With your consent …"},
        "consent": {"valid_for": "P1Y"},
        "review": "2028-06-30",
        "signed": [{"by": "Direction des finances", "on": "2026-12-15"}],
    },
    "question": {"fr": "Partager la tranche de revenus ?", "en": "Share the income band?"},
    "arguments_for": [{"fr": "Une démarche de moins.", "en": "One form less."}],
    "arguments_against": [{"fr": "Un fichier de plus.", "en": "One more file."}],
    "opens": "2026-12-01T00:00:00+01:00",
    "closes": "2027-01-01T00:00:00+01:00",
}


class ConsultationIn(In, **example(_EXAMPLE)):
    """A consultation to publish. Its draft is a whole agreement, as it would be signed."""

    draft: Agreement
    question: Text
    arguments_for: list[Text] = Field(max_length=ARGUMENTS_FIRST_MAX)
    arguments_against: list[Text] = Field(max_length=ARGUMENTS_FIRST_MAX)
    opens: AwareDatetime
    closes: AwareDatetime

    @model_validator(mode="after")
    def _closes_after_it_opens(self) -> Self:
        if self.closes <= self.opens:
            raise ValueError("it closes after it opens")
        return self


class ResultIn(
    In, **example({"outcome": "amended", "answer": {"fr": "Nous retirons le revenu.", "en": "We drop the income."}})
):
    """What the department answers, and what becomes of the draft."""

    outcome: Outcome
    answer: Text


class VoicesOut(BaseModel):
    """How the voices fell."""

    support: int
    object: int


class ConsultationOut(BaseModel):
    """A consultation. `voices` is told once it is closed: until then a count would sway who has not spoken.

    `published` is what the department published, unchanged, and `digest` the SHA-256 of its RFC 8785 bytes.
    """

    id: str
    agreement: str
    department: str
    phase: str
    opens_at: str
    closes_at: str
    published_at: str
    published: dict[str, Any]
    described: dict[str, Text]
    """The draft's fields in the contracts' words for people: `<type>#<field>` to the words."""
    digest: str
    voices: VoicesOut | None
    result: dict[str, Any] | None

    @classmethod
    def of(cls, held: Consultation, records: Records) -> Self:
        """Times as RFC 3339."""
        published = json.loads(held.document)
        events = published["draft"]["events"]
        counted = held.supports is not None and held.objects is not None
        return cls(
            id=held.id,
            agreement=held.agreement,
            department=held.department,
            phase=held.phase(records.now_ms()).value,
            opens_at=rfc3339(held.opens_ms),
            closes_at=rfc3339(held.closes_ms),
            published_at=rfc3339(held.published_ms),
            published=published,
            described=described({t: said["fields"] for t, said in events.items()}, records.catalogue),
            digest=held.digest.hex(),
            voices=VoicesOut(support=held.supports or 0, object=held.objects or 0) if counted else None,
            result=None if held.result is None else json.loads(held.result),
        )


class ConsultationsOut(BaseModel):
    """A page of consultations, the latest to open first."""

    consultations: list[ConsultationOut]


@router.put("/v1/consultations/{consultation}")
@refuses(
    problems.NOT_THE_SOURCE, problems.BAD_DRAFT, problems.CONSULTATION_PUBLISHED, problems.CONSULTATION_IN_THE_PAST
)
async def publish(request: Request, consultation: ConsultationId, body: ConsultationIn) -> ConsultationOut:
    """Publish a consultation about a draft of the caller's department. It is never edited afterwards."""
    if body.draft.source != department_of(request):
        raise Problem(problems.NOT_THE_SOURCE)
    records = records_of(request)
    _check_draft(request, body.draft)
    announced = Announced(
        id=consultation,
        agreement=body.draft.ref,
        department=body.draft.source,
        document=_document(body),
        opens_ms=epoch_ms(body.opens),
        closes_ms=epoch_ms(body.closes),
    )
    key = secrets.token_bytes(VOICE_KEY_BYTES)
    script = partial(consultations.publish, announced=announced, at_ms=records.now_ms(), voice_key=key)
    return ConsultationOut.of(await records.write(script), records)


def _check_draft(request: Request, draft: Agreement) -> None:
    """What would be refused as an agreement is no draft to ask about; nor is what is in force already."""
    records = records_of(request)
    wrong = [{"where": list(at), "what": what} for at, what in problems_of_agreement(draft, records.catalogue, ())]
    if records.book.has(draft.ref):
        wrong.append({"where": ["version"], "what": "this version is published already"})
    if wrong:
        raise Problem(problems.BAD_DRAFT, errors=wrong)


def _document(body: ConsultationIn) -> dict[str, Any]:
    plain = body.model_dump(mode="json", by_alias=True)
    return {**plain, "opens": _utc(body.opens), "closes": _utc(body.closes)}


def _utc(instant: datetime) -> str:
    return rfc3339(epoch_ms(instant))


@router.get("/v1/consultations")
async def newest(request: Request, page: Annotated[Page, Depends(paged)]) -> ConsultationsOut:
    """Return consultations, the latest to open first."""
    records = records_of(request)
    script = partial(consultations.newest, before=page.after(int, str), limit=page.rows)
    shown = page.cut(await records.read(script), lambda held: (held.opens_ms, held.id))
    return ConsultationsOut(consultations=[ConsultationOut.of(held, records) for held in shown])


@router.get("/v1/consultations/{consultation}")
async def show(request: Request, consultation: ConsultationId) -> ConsultationOut:
    """Return one consultation: what was published, where it stands and, once closed, how the voices fell."""
    records = records_of(request)
    held = await records.read(partial(consultations.find, consultation_id=consultation))
    return ConsultationOut.of(held, records)


@router.get("/v1/consultations/{consultation}/result")
@refuses(problems.NO_RESULT)
async def result(request: Request, consultation: ConsultationId) -> Response:
    """Return the result as the bytes whose SHA-256 the ledger holds (RFC 8785)."""
    held = await records_of(request).read(partial(consultations.find, consultation_id=consultation))
    if held.result is None:
        raise Problem(problems.NO_RESULT)
    return Response(held.result, media_type="application/json")


@router.get("/v1/consultations/{consultation}/result/proof", response_class=PlainTextResponse)
@refuses(problems.NO_RESULT, problems.LEDGER_UNAVAILABLE, problems.UNKNOWN_ENTRY)
async def result_proof(request: Request, consultation: ConsultationId) -> PlainTextResponse:
    """Prove that the result's digest is in the log: a C2SP tlog-proof of its entry, which names nobody."""
    records = records_of(request)
    held = await records.read(partial(consultations.find, consultation_id=consultation))
    if held.result is None:
        raise Problem(problems.NO_RESULT)
    digest = hashlib.sha256(held.result).hexdigest()
    proved = await records.from_log(partial(_proof_of, agreement=held.agreement, digest=digest))
    if proved is None:
        raise Problem(problems.UNKNOWN_ENTRY)
    headers = {"Content-Disposition": f'attachment; filename="{consultation}.tlog-proof"'}
    return PlainTextResponse(proved, headers=headers)


def _proof_of(log: PublishedLog, agreement: str, digest: str) -> str | None:
    """None: no such entry is signed yet, or the index does not know it yet."""
    wanted = LogFilter(type=JournalType.CONSULTED.value, agreement=agreement)
    found, _ = log.entries(wanted, before=None, limit=CONSULTED_MAX)
    return next((log.proof(one.index) for one in found if one.entry["digest"] == digest), None)


@router.post("/v1/consultations/{consultation}/answer")
@refuses(problems.NOT_THE_SOURCE, problems.CONSULTATION_STILL_OPEN, problems.CONSULTATION_ANSWERED)
async def answer(request: Request, consultation: ConsultationId, body: ResultIn) -> ConsultationOut:
    """Answer a consultation that is over. Its result becomes a leaf of the ledger."""
    await own_consultation(request, consultation)
    said = Answer(outcome=body.outcome, fr=body.answer.fr, en=body.answer.en)
    records = records_of(request)
    script = partial(consultations.answer, consultation_id=consultation, said=said, entry_id=records.new_id())
    await records.write(partial(script, at_ms=records.now_ms(), partitions=records.partitions))
    return await show(request, consultation)


async def own_consultation(request: Request, consultation: str) -> None:
    """Raise `Problem` unless the consultation is the caller's department's."""
    held = await records_of(request).read(partial(consultations.find, consultation_id=consultation))
    if held.department != department_of(request):
        raise Problem(problems.NOT_THE_SOURCE)
