"""What signed-in citizens say in a public consultation, and what officers make of their arguments."""

from functools import partial
from typing import Annotated, Literal, Self

from fastapi import APIRouter, Depends, Path, Request
from pydantic import BaseModel, StringConstraints

from passerelle_consent.records import problems, voices
from passerelle_consent.records.consultations import Ruling
from passerelle_consent.records.http.access import GuardedRoute
from passerelle_consent.records.http.answers import refuses
from passerelle_consent.records.http.bodies import In, example
from passerelle_consent.records.http.calls import department_of, principal_of, records_of
from passerelle_consent.records.http.consultations import ConsultationId, own_consultation
from passerelle_consent.records.http.pages import Page, paged
from passerelle_consent.records.ports import SubjectRef
from passerelle_consent.records.problems import Problem
from passerelle_consent.records.voices import Argument, Side, Voice

TEXT_CHARACTERS_MAX = 1_000
"""Of one argument: half a page; longer ones are not read."""

router = APIRouter(route_class=GuardedRoute)

_PLAIN = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]*$"
"""Nothing that steers a terminal, and no NUL, which PostgreSQL does not keep."""
Words = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=TEXT_CHARACTERS_MAX, pattern=_PLAIN)
]


class VoiceIn(In, **example({"voice": "support"})):
    """One citizen's voice."""

    voice: Voice


class VoiceOut(BaseModel):
    """The caller's own voice; null when there is none, or when nobody can tell any more."""

    voice: Voice | None


class ArgumentIn(In, **example({"side": "for", "language": "fr", "text": "Une démarche de moins."})):
    """An argument in the words of a citizen; an officer reads it before it is published."""

    side: Side
    language: Literal["fr", "en"]
    text: Words


class RulingIn(In, **example({"ruling": "published"})):
    """What an officer makes of an argument."""

    ruling: Literal["published", "names-a-person", "insulting", "off-topic"]


class WaitingOut(BaseModel):
    """The number under which an argument waits for an officer."""

    n: int


class ArgumentOut(BaseModel):
    """An argument, without its author."""

    n: int
    side: Side
    language: str
    text: str

    @classmethod
    def of(cls, argument: Argument) -> Self:
        """Write it out."""
        return cls(n=argument.n, side=argument.side, language=argument.language, text=argument.text)


class ArgumentsOut(BaseModel):
    """A page of arguments, in the order in which they came."""

    arguments: list[ArgumentOut]


@router.get("/v1/consultations/{consultation}/voice")
async def voice(request: Request, consultation: ConsultationId) -> VoiceOut:
    """Return the caller's own voice."""
    script = partial(voices.voice_of, consultation_id=consultation, ref=_citizen(request))
    return VoiceOut(voice=await records_of(request).read(script))


@router.put("/v1/consultations/{consultation}/voice", status_code=204)
@refuses(problems.CONSULTATION_NOT_OPEN)
async def raise_voice(request: Request, consultation: ConsultationId, body: VoiceIn) -> None:
    """Support the draft or object to it; the last word before the closing counts."""
    await _raise(request, consultation, body.voice)


@router.delete("/v1/consultations/{consultation}/voice", status_code=204)
@refuses(problems.CONSULTATION_NOT_OPEN)
async def take_back(request: Request, consultation: ConsultationId) -> None:
    """Take one's voice back."""
    await _raise(request, consultation, None)


@router.post("/v1/consultations/{consultation}/arguments", status_code=202)
@refuses(problems.CONSULTATION_NOT_OPEN, problems.ENOUGH_ARGUMENTS)
async def argue(request: Request, consultation: ConsultationId, body: ArgumentIn) -> WaitingOut:
    """Put forward an argument. It waits for an officer; a second one for the same side replaces the first."""
    records = records_of(request)
    script = partial(
        voices.argue,
        consultation_id=consultation,
        ref=_citizen(request),
        side=body.side,
        language=body.language,
        text=body.text,
        at_ms=records.now_ms(),
    )
    return WaitingOut(n=await records.write(script))


@router.get("/v1/consultations/{consultation}/arguments")
async def arguments(
    request: Request, consultation: ConsultationId, page: Annotated[Page, Depends(paged)]
) -> ArgumentsOut:
    """Return the arguments that were published."""
    return await _arguments(request, consultation, page, Ruling.PUBLISHED)


@router.get("/v1/consultations/{consultation}/arguments/waiting")
@refuses(problems.NOT_THE_SOURCE)
async def waiting(
    request: Request, consultation: ConsultationId, page: Annotated[Page, Depends(paged)]
) -> ArgumentsOut:
    """Return the arguments that an officer of the department is still to read."""
    await own_consultation(request, consultation)
    return await _arguments(request, consultation, page, Ruling.WAITING)


@router.put("/v1/consultations/{consultation}/arguments/{n}/ruling", status_code=204)
@refuses(problems.NOT_THE_SOURCE, problems.CONSULTATION_ANSWERED, problems.UNKNOWN_ARGUMENT)
async def rule(
    request: Request, consultation: ConsultationId, n: Annotated[int, Path(ge=1, le=2**31 - 1)], body: RulingIn
) -> None:
    """Publish an argument, or say why not."""
    await own_consultation(request, consultation)
    script = partial(voices.moderate, consultation_id=consultation, n=n, ruling=Ruling(body.ruling))
    await records_of(request).write(script)


def _citizen(request: Request) -> SubjectRef:
    """Whose voice it is: the caller's own, and nobody's in another's name."""
    pseudonym = principal_of(request).pseudonym
    if pseudonym is None:
        raise Problem(problems.NOT_A_CITIZEN)
    return records_of(request).register.ref(department_of(request), pseudonym)


async def _raise(request: Request, consultation: str, said: Voice | None) -> None:
    records = records_of(request)
    script = partial(voices.raise_voice, consultation_id=consultation, ref=_citizen(request), voice=said)
    await records.write(partial(script, at_ms=records.now_ms()))


async def _arguments(request: Request, consultation: str, page: Page, ruling: Ruling) -> ArgumentsOut:
    (after,) = page.after(int) or (0,)
    script = partial(voices.arguments, consultation_id=consultation, ruling=ruling, after=after, limit=page.rows)
    shown = page.cut(await records_of(request).read(script), lambda argument: (argument.n,))
    return ArgumentsOut(arguments=[ArgumentOut.of(argument) for argument in shown])
