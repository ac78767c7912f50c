"""Portability (GDPR Art. 20): what a citizen said to the city, in a form that another service can read.

The whole is signed (JWS, as receipts are), and each thing that was said comes as its own signed receipt besides, so
that whoever takes the export in can check it, and the citizen can pass on one of them alone. What became of the data is
no part of what the citizen provided: the export says where to read it (Art. 15).

A long history comes in parts, each signed: `next` leads on, within the document and as a `Link`.
"""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from pydantic import BaseModel, Field

from passerelle_consent.receipts.seal import Kind
from passerelle_consent.records import problems
from passerelle_consent.records.http.access import GuardedRoute
from passerelle_consent.records.http.answers import refuses
from passerelle_consent.records.http.bodies import SaidOut, StandingOut, rfc3339
from passerelle_consent.records.http.calls import PseudonymPath, reading_of, records_of, subject_of
from passerelle_consent.records.http.guardians import GuardianshipOut
from passerelle_consent.records.http.languages import Language, asked_for
from passerelle_consent.records.http.notices import NoticeOut
from passerelle_consent.records.http.overrides import OverriddenOut
from passerelle_consent.records.http.pages import CURSOR_CHARS_MAX, LIMIT_MAX, Page
from passerelle_consent.records.http.receipts import SEALED, writer_of
from passerelle_consent.records.portability import BESIDES_MAX, Held, held
from passerelle_consent.records.ports import Pseudonym
from passerelle_consent.records.receipting import Writer
from passerelle_consent.records.words import What

PART = LIMIT_MAX
"""Changes in a part: far more than most say in a life; some 3 MB with their receipts, signed in some 200 ms."""

PLAIN = "application/json"

router = APIRouter(route_class=GuardedRoute)


class ExportedOut(BaseModel):
    """What was said, and its receipt (JWS); null where it is about no agreement, or one that is kept no more."""

    said: SaidOut
    receipt: str | None


class ExportOut(BaseModel):
    """A part of an export. Changes and notices come newest first."""

    type: Literal["passerelle:Export"] = Field(default="passerelle:Export", serialization_alias="@type")
    exported_at: str
    language: Language
    portal: str
    pseudonym: str
    part: int
    complete: bool
    """Whether everything stands in this document: it has one part, and nothing was cut."""
    next: str | None
    """Where the next part is."""
    cut: dict[str, str]
    """A list that holds only the newest → where all of it is read."""
    standing: StandingOut
    changes: list[ExportedOut]
    guardianships: list[GuardianshipOut]
    """These and what follows stand in the first part."""
    overrides: list[OverriddenOut]
    notices: list[NoticeOut]
    disclosures: str
    keys: str


async def part_of(
    request: Request,
    response: Response,
    cursor: Annotated[
        str | None,
        Query(
            pattern=r"^[A-Za-z0-9_=-]+$",
            max_length=CURSOR_CHARS_MAX,
            description="Where the last part ended: as its `next` has it.",
        ),
    ] = None,
) -> Page:
    """Gather the place of a part."""
    return Page(limit=PART, request=request, response=response, cursor=cursor)


@router.get(
    "/v1/subjects/{pseudonym}/export",
    response_class=Response,
    responses={
        200: {
            "description": "A part of the export: signed (JWS), or as bare JSON where `Accept` asks for that.",
            "model": ExportOut,
            "content": {SEALED: {"schema": {"type": "string"}}},
        }
    },
)
@refuses(problems.BAD_CURSOR, problems.CURSOR_OF_ANOTHER_QUERY)
async def export(
    request: Request,
    pseudonym: PseudonymPath,
    page: Annotated[Page, Depends(part_of)],
    language: Annotated[Language, Depends(asked_for)],
    accept: Annotated[str, Header(max_length=200)] = SEALED,
) -> Response:
    """Export what was said, with a signed receipt of each."""
    records, subject = records_of(request), subject_of(request)
    before, number = page.after(int, int) or (None, 1)
    await records.admit_reading(subject.ref, subject.guardian, reading_of(request, subject, What.CHANGES))
    found = await records.read(partial(held, ref=subject.ref, before=before, rows=page.rows, now_ms=records.now_ms()))
    writer = writer_of(request, subject.ref, language)
    part = _Part(
        number=number,
        held=found,
        guardians=records.register.pseudonyms(writer.portal, [g.guardian for g in found.guardianships]),
        following=page.following(found.said, lambda said: (said.change.revision, number + 1)),
        about=f"/v1/subjects/{pseudonym}",
    )
    plain = PLAIN in accept
    # On a thread: it computes for as long as hundreds of requests wait.
    written = await asyncio.to_thread(part.plain if plain else part.sealed, writer)
    return Response(written, media_type=PLAIN if plain else SEALED, headers=part.headers(language, plain=plain))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Part:
    number: int
    held: Held
    guardians: Sequence[Pseudonym]
    following: str | None
    about: str

    def sealed(self, writer: Writer) -> str:
        return writer.seal.sign(self._document(writer), Kind.EXPORT)

    def plain(self, writer: Writer) -> str:
        return json.dumps(self._document(writer), ensure_ascii=False)

    def headers(self, language: Language, *, plain: bool) -> dict[str, str]:
        name = f"passerelle-export-{self.number}.{'json' if plain else 'jws'}"
        headers = {
            "Content-Language": language,
            "Vary": "Accept, Accept-Language",
            "Content-Disposition": f'attachment; filename="{name}"',
        }
        return headers if self.following is None else {**headers, "Link": f'<{self.following}>; rel="next"'}

    def _document(self, writer: Writer) -> dict[str, Any]:
        held, cut = self.held, self._cut()
        out = ExportOut(
            exported_at=rfc3339(writer.now_ms),
            language=writer.language,
            portal=writer.portal,
            pseudonym=writer.pseudonym,
            part=self.number,
            complete=self.number == 1 and self.following is None and not cut,
            next=self.following,
            cut=cut,
            standing=StandingOut.of(held.standing),
            changes=[ExportedOut(said=SaidOut.of(said), receipt=writer.sealed(said)) for said in held.said[:PART]],
            guardianships=[
                GuardianshipOut.of(recorded, guardian, writer.now_ms)
                for recorded, guardian in zip(held.guardianships, self.guardians, strict=True)
            ],
            overrides=[OverriddenOut.of(opened) for opened in held.overrides[:BESIDES_MAX]],
            notices=[NoticeOut.of(notice) for notice in held.notices[:BESIDES_MAX]],
            disclosures=f"{self.about}/disclosures",
            keys="/v1/keys",
        )
        return out.model_dump(mode="json", by_alias=True)

    def _cut(self) -> dict[str, str]:
        """Each list that is bounded, and was longer: where all of it is read."""
        lists: dict[str, tuple[Sequence[object], str]] = {
            "notices": (self.held.notices, f"{self.about}/notices"),
            "overrides": (self.held.overrides, f"{self.about}/changes"),
        }
        return {name: where for name, (rows, where) in lists.items() if len(rows) > BESIDES_MAX}
