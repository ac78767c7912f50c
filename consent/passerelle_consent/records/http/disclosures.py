"""What became of a subject's data, who looked at it, and the proof of each decision (GDPR Art. 15)."""

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache, partial
from typing import Annotated, Self

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import PlainTextResponse
from pydantic import AwareDatetime, BaseModel

from passerelle_consent.policy.agreements import Agreement
from passerelle_consent.policy.decide import Verdict
from passerelle_consent.records import problems
from passerelle_consent.records.disclosures import MEANINGS_KEPT, POLICIES_KEPT, KeptPolicies, Meaning, explain
from passerelle_consent.records.http.access import GuardedRoute
from passerelle_consent.records.http.answers import refuses
from passerelle_consent.records.http.bodies import AgreementId, DepartmentId, Hex16, rfc3339
from passerelle_consent.records.http.calls import Mandate, PseudonymPath, admitted, records_of
from passerelle_consent.records.http.pages import Page, paged
from passerelle_consent.records.ports import Decided, DisclosureFilter, Looked, Role
from passerelle_consent.records.problems import Problem
from passerelle_consent.records.words import WORDS, Said, What
from passerelle_schemas.catalogue import Text

router = APIRouter(route_class=GuardedRoute)


class WordsOut(BaseModel):
    """A code, and what it says in French and in English."""

    code: str
    fr: str
    en: str


class TextOut(BaseModel):
    """The same in both languages."""

    fr: str
    en: str


class FieldOut(BaseModel):
    """A field that was shared, and why the recipient needs it."""

    name: str
    needs: list[TextOut]


class UnderOut(BaseModel):
    """Under which agreement, on which basis, and by which law."""

    agreement: str
    source: str
    basis: WordsOut
    law: str | None

    @classmethod
    def of(cls, agreement: Agreement) -> Self:
        """Write it out."""
        return cls(
            agreement=agreement.ref,
            source=agreement.source,
            basis=_words(agreement.basis.value, WORDS[agreement.basis]),
            law=agreement.law,
        )


class DisclosureOut(BaseModel):
    """One decision about the subject. ``recipient``, ``flow`` and ``purpose`` are null where no rule was known."""

    decision: str
    at: str
    verdict: WordsOut
    reason: WordsOut
    recipient: str | None
    flow: str | None
    purpose: WordsOut | None
    fields: list[FieldOut]
    withheld: list[str]
    agreements: list[UnderOut]
    policy: str | None
    index: int
    proof: str

    @classmethod
    def of(cls, decided: Decided, meaning: Meaning, pseudonym: str) -> Self:
        """Write it out; ``pseudonym`` is the path's."""
        meant = _meant(meaning)
        return cls(
            decision=decided.id.hex(),
            at=rfc3339(decided.at_ms),
            verdict=_words(decided.verdict.value, WORDS[decided.verdict]),
            reason=_words(decided.reason.value, WORDS[decided.reason]),
            recipient=decided.recipient,
            flow=decided.flow,
            purpose=meant.purpose,
            fields=meant.fields,
            withheld=list(decided.withheld),
            agreements=meant.agreements,
            policy=None if decided.policy is None else decided.policy.hex(),
            index=decided.index,
            proof=f"/v1/subjects/{pseudonym}/proof/{decided.id.hex()}",
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Meant:
    """A meaning, written out."""

    purpose: WordsOut | None
    fields: list[FieldOut]
    agreements: list[UnderOut]


@lru_cache(maxsize=POLICIES_KEPT * MEANINGS_KEPT)
def _meant(meaning: Meaning) -> _Meant:
    return _Meant(
        purpose=_purpose(meaning),
        fields=[FieldOut(name=f.name, needs=[_text(n) for n in f.needs]) for f in meaning.fields],
        agreements=[UnderOut.of(a) for a in meaning.agreements],
    )


class DisclosuresOut(BaseModel):
    """Newest first."""

    disclosures: list[DisclosureOut]


class ReaderOut(BaseModel):
    """Somebody else looked: when, of which department, as what, at what, and for an auditor under which mandate."""

    at: str
    department: str | None
    reader: WordsOut | None
    what: WordsOut | None
    mandate: str | None
    index: int
    proof: str

    @classmethod
    def of(cls, looked: Looked, pseudonym: str) -> Self:
        """Write it out; ``pseudonym`` is the path's."""
        return cls(
            at=rfc3339(looked.at_ms),
            department=looked.department,
            reader=None if looked.reader is None else _words(looked.reader, WORDS[Role(looked.reader)]),
            what=None if looked.what is None else _words(looked.what, WORDS[What(looked.what)]),
            mandate=looked.mandate,
            index=looked.index,
            proof=f"/v1/subjects/{pseudonym}/proof/{looked.id.hex()}",
        )


class ReadersOut(BaseModel):
    """Newest first."""

    readers: list[ReaderOut]


async def filtered(
    agreement: Annotated[AgreementId | None, Query(description="Under this agreement only, in any version.")] = None,
    recipient: Annotated[DepartmentId | None, Query(description="To this department only.")] = None,
    verdict: Annotated[Verdict | None, Query(description="Decided so only.")] = None,
    since: Annotated[AwareDatetime | None, Query(description="Not before this time (RFC 3339).")] = None,
    until: Annotated[AwareDatetime | None, Query(description="Before this time (RFC 3339).")] = None,
) -> DisclosureFilter:
    """Gather what is asked for."""
    return DisclosureFilter(
        agreement=agreement, recipient=recipient, verdict=verdict, since_ms=_ms(since), until_ms=_ms(until)
    )


@router.get("/v1/subjects/{pseudonym}/disclosures")
@refuses(problems.MANDATE_NEEDED, problems.LEDGER_UNAVAILABLE)
async def disclosures(
    request: Request,
    pseudonym: PseudonymPath,
    page: Annotated[Page, Depends(paged)],
    wanted: Annotated[DisclosureFilter, Depends(filtered)],
    mandate: Mandate = None,
) -> DisclosuresOut:
    """List every decision about the subject's data, newest first: who received what, why, and what was not shared."""
    records = records_of(request)
    (before,) = page.after(int) or (None,)
    ref = await admitted(request, What.DISCLOSURES, mandate)
    decided = await records.from_ledger(lambda held: held.decisions(ref, wanted, before=before, limit=page.rows))
    shown: list[Decided] = list(page.cut(decided, lambda d: (d.index,)))
    kept: KeptPolicies = request.app.state.kept_policies
    policies = kept.of(shown)
    if policies is None:
        policies = await records.read(partial(kept.read, decided=shown))
    return DisclosuresOut(disclosures=[DisclosureOut.of(d, explain(d, policies), pseudonym) for d in shown])


@router.get("/v1/subjects/{pseudonym}/readers")
@refuses(problems.MANDATE_NEEDED, problems.LEDGER_UNAVAILABLE)
async def readers(
    request: Request,
    pseudonym: PseudonymPath,
    page: Annotated[Page, Depends(paged)],
    mandate: Mandate = None,
) -> ReadersOut:
    """List who else looked at the subject's data, newest first."""
    (before,) = page.after(int) or (None,)
    ref = await admitted(request, What.READERS, mandate)
    looked = await records_of(request).from_ledger(lambda held: held.readers(ref, before=before, limit=page.rows))
    shown = page.cut(looked, lambda read: (read.index,))
    return ReadersOut(readers=[ReaderOut.of(read, pseudonym) for read in shown])


@router.get("/v1/subjects/{pseudonym}/proof/{decision}", response_class=PlainTextResponse)
@refuses(problems.MANDATE_NEEDED, problems.LEDGER_UNAVAILABLE, problems.UNKNOWN_DECISION)
async def proof(
    request: Request,
    pseudonym: PseudonymPath,  # noqa: ARG001 - `subject_of` reads it
    decision: Annotated[Hex16, Path(description="Of the subject's own decisions or other entries.")],
    mandate: Mandate = None,
) -> PlainTextResponse:
    """Prove that an entry about the subject is in the log: a C2SP tlog-proof, which `ledger` tools check offline."""
    ref = await admitted(request, What.PROOF, mandate)
    proved = await records_of(request).from_ledger(lambda held: held.proof(ref, bytes.fromhex(decision)))
    if proved is None:
        raise Problem(problems.UNKNOWN_DECISION)
    return PlainTextResponse(proved, headers={"Content-Disposition": f'attachment; filename="{decision}.tlog-proof"'})


@router.get("/v1/subjects/{pseudonym}/ledger-key", response_class=PlainTextResponse)
@refuses(problems.MANDATE_NEEDED, problems.LEDGER_UNAVAILABLE, problems.NO_ENTRIES)
async def ledger_key(
    request: Request,
    pseudonym: PseudonymPath,  # noqa: ARG001 - `subject_of` reads it
    mandate: Mandate = None,
) -> PlainTextResponse:
    """Hand out k_subject: whoever has it finds the subject's entries in the published log (`passerelle ledger scan`).

    It opens the private parts too, for whoever has the ledger's database; it is the subject's own, and cannot be taken
    back but by erasure.
    """
    ref = await admitted(request, What.LEDGER_KEY, mandate)
    key = await records_of(request).from_ledger(lambda held: held.key(ref))
    if key is None:
        raise Problem(problems.NO_ENTRIES)
    headers = {"Content-Disposition": 'attachment; filename="subject.key"', "Cache-Control": "no-store"}
    return PlainTextResponse(f"{key.hex()}\n", headers=headers)


@lru_cache(maxsize=256)  # the words are a closed set
def _words(code: str, said: Said) -> WordsOut:
    return WordsOut(code=code, fr=said.fr, en=said.en)


def _text(text: Text) -> TextOut:
    return TextOut(fr=text.fr, en=text.en)


def _purpose(meaning: Meaning) -> WordsOut | None:
    """All agreements of a flow have its purpose; the first one's words stand for it."""
    if not meaning.agreements:
        return None
    purpose = meaning.agreements[0].purpose
    return WordsOut(code=purpose.code, fr=purpose.fr, en=purpose.en)


def _ms(time: datetime | None) -> int | None:
    return None if time is None else int(time.timestamp() * 1000)
