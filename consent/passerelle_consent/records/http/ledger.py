"""The whole log for auditors: its entries by what they say, how many there are, and the proof of each.

Entries name nobody. Who an entry is about tells the subject's key alone: `disclosures` has what is about a person.
"""

from dataclasses import replace
from typing import Annotated, Any, Self

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import PlainTextResponse, StreamingResponse
from pydantic import AfterValidator, AwareDatetime, BaseModel

from passerelle_consent.policy.decide import Reason, Verdict
from passerelle_consent.records import problems
from passerelle_consent.records.http.access import GuardedRoute
from passerelle_consent.records.http.answers import refuses
from passerelle_consent.records.http.bodies import DepartmentId, Hex16, epoch_ms, rfc3339
from passerelle_consent.records.http.calls import principal_of, records_of
from passerelle_consent.records.http.pages import Page, paged
from passerelle_consent.records.http.parameters import only_known
from passerelle_consent.records.log import (
    TYPES,
    CountedBy,
    CountedEvery,
    ExportFormat,
    ExportsBusy,
    Extent,
    FormatUnavailable,
    LogFilter,
    Logged,
    TooLong,
    TooMany,
)
from passerelle_consent.records.problems import Problem

PLACE_MAX = 2**53 - 1
"""What JSON's numbers can say exactly (RFC 8259, 6)."""


async def told(request: Request) -> None:
    """Let the ledger tell that an auditor reads it, before anything is read."""
    await records_of(request).tell_audit(principal_of(request))


router = APIRouter(route_class=GuardedRoute, dependencies=[Depends(only_known), Depends(told)])


def _one_of(*known: str) -> Any:
    """A parameter of a closed set."""

    def check(value: str) -> str:
        if value not in known:
            raise ValueError("unknown")
        return value

    return AfterValidator(check)


EntryType = Annotated[str, _one_of(*TYPES), Query(json_schema_extra={"enum": list(TYPES)})]


class EntryOut(BaseModel):
    """An entry, its place in the log, and where its proof is. The leaf is `entry` in canonical form (RFC 8785)."""

    index: int
    entry: dict[str, Any]
    proof: str

    @classmethod
    def of(cls, logged: Logged) -> Self:
        """Write it out."""
        return cls(index=logged.index, entry=dict(logged.entry), proof=f"/v1/ledger/entries/{logged.index}/proof")


class ExtentOut(BaseModel):
    """How far an answer goes: the first `indexed` entries, of the `size` under the checkpoint."""

    indexed: int
    size: int

    @classmethod
    def of(cls, extent: Extent) -> Self:
        """Write it out."""
        return cls(indexed=extent.indexed, size=extent.size)


class EntriesOut(BaseModel):
    """Newest first."""

    extent: ExtentOut
    entries: list[EntryOut]


class CountOut(BaseModel):
    """So many entries of this value, from this time on; null counts those that have none."""

    start: str
    value: str | None
    count: int


class CountsOut(BaseModel):
    """By time, then by value; what there is none of is left out."""

    extent: ExtentOut
    every: CountedEvery
    since: str
    until: str
    counts: list[CountOut]


async def said(
    *,
    since: Annotated[AwareDatetime | None, Query(description="Not before this time (RFC 3339).")] = None,
    until: Annotated[AwareDatetime | None, Query(description="Before this time (RFC 3339).")] = None,
    type: Annotated[EntryType | None, Query(description="Of this type.")] = None,  # noqa: A002 - its name on the wire
    verdict: Annotated[Verdict | None, Query(description="Decided so.")] = None,
    reason: Annotated[Reason | None, Query(description="Decided for this reason.")] = None,
    flow: Annotated[str | None, Query(pattern=r"^[a-z][a-z0-9.-]{0,127}$", description="Of this flow.")] = None,
    recipient: Annotated[DepartmentId | None, Query(description="To this department.")] = None,
    department: Annotated[DepartmentId | None, Query(description="To this department, or by it.")] = None,
    agreement: Annotated[
        str | None,
        Query(
            pattern=r"^[a-z][a-z0-9-]{0,127}(@[1-9][0-9]{0,5})?$",
            description="Under this agreement: `id@version`, or `id` for all of its versions.",
        ),
    ] = None,
) -> LogFilter:
    """Gather what entries are asked to say."""
    return LogFilter(
        since_ms=None if since is None else epoch_ms(since),
        until_ms=None if until is None else epoch_ms(until),
        type=type,
        verdict=verdict,
        reason=reason,
        flow=flow,
        recipient=recipient,
        department=department,
        agreement=agreement,
    )


async def filtered(
    says: Annotated[LogFilter, Depends(said)],
    decision: Annotated[Hex16 | None, Query(description="Of this id: a decision's, or any other entry's.")] = None,
) -> LogFilter:
    """Gather what is asked for."""
    return replace(says, ident=None if decision is None else bytes.fromhex(decision))


@router.get("/v1/ledger/entries")
@refuses(problems.LEDGER_UNAVAILABLE)
async def entries(
    request: Request,
    page: Annotated[Page, Depends(paged)],
    wanted: Annotated[LogFilter, Depends(filtered)],
) -> EntriesOut:
    """List entries of the log, newest first. `extent` says how far the answer goes."""
    (before,) = page.after(int) or (None,)
    found, extent = await records_of(request).from_log(lambda log: log.entries(wanted, before=before, limit=page.rows))
    shown = page.cut(found, lambda logged: (logged.index,))
    return EntriesOut(extent=ExtentOut.of(extent), entries=[EntryOut.of(logged) for logged in shown])


@router.get("/v1/ledger/counts")
@refuses(problems.LEDGER_UNAVAILABLE, problems.TOO_LONG_A_TIME)
async def counts(
    request: Request,
    wanted: Annotated[LogFilter, Depends(said)],
    by: Annotated[CountedBy, Query(description="What is told apart.")],
    every: Annotated[
        CountedEvery | None,
        Query(description="How long a time is counted together, of UTC: unless told, the shortest with 92 at most."),
    ] = None,
) -> CountsOut:
    """Count entries over time. `since` and `until` are taken to whole hours, days or months; the answer says which."""
    try:
        told, extent = await records_of(request).from_log(lambda log: log.counts(wanted, by=by, every=every))
    except TooLong as beyond:
        raise Problem(problems.TOO_LONG_A_TIME, most=beyond.most) from None
    return CountsOut(
        extent=ExtentOut.of(extent),
        every=told.every,
        since=rfc3339(told.since_ms),
        until=rfc3339(told.until_ms),
        counts=[CountOut(start=rfc3339(c.start_ms), value=c.value, count=c.count) for c in told.counts],
    )


class Zip(StreamingResponse):
    """An archive, written as it is sent."""

    media_type = "application/zip"


@router.get("/v1/ledger/export", response_class=Zip)
@refuses(problems.LEDGER_UNAVAILABLE, problems.OVERLOADED, problems.TOO_MANY_ENTRIES, problems.FORMAT_UNAVAILABLE)
async def export(
    request: Request,
    wanted: Annotated[LogFilter, Depends(said)],
    format: Annotated[ExportFormat, Query(description="Of the rows.")] = "jsonl",  # noqa: A002 - its name on the wire
    start: Annotated[int, Query(ge=0, le=PLACE_MAX, description="From this place in the log on.")] = 0,
    end: Annotated[int | None, Query(ge=0, le=PLACE_MAX, description="Before this place.")] = None,
) -> Zip:
    """Export entries in an archive, with one proof for all of them: `passerelle ledger verify-export` checks it.

    With no filter the proof also shows that nothing between the places was left out.
    """
    try:
        archive = await records_of(request).from_log(
            lambda log: log.export(wanted, format_=format, start=start, end=end)
        )
    except TooMany as beyond:
        raise Problem(problems.TOO_MANY_ENTRIES, most=beyond.most) from None
    except ExportsBusy:
        raise Problem(problems.OVERLOADED) from None
    except FormatUnavailable:
        raise Problem(problems.FORMAT_UNAVAILABLE) from None
    headers = {"Content-Disposition": 'attachment; filename="passerelle-ledger.zip"', "Cache-Control": "no-store"}
    return Zip(archive, headers=headers)


@router.get("/v1/ledger/entries/{index}/proof", response_class=PlainTextResponse)
@refuses(problems.LEDGER_UNAVAILABLE, problems.UNKNOWN_ENTRY)
async def proof(
    request: Request, index: Annotated[int, Path(ge=0, le=PLACE_MAX, description="Its place in the log.")]
) -> PlainTextResponse:
    """Prove that an entry is in the log: a C2SP tlog-proof, which `ledger` tools check offline."""
    proved = await records_of(request).from_log(lambda log: log.proof(index))
    if proved is None:
        raise Problem(problems.UNKNOWN_ENTRY)
    return PlainTextResponse(proved, headers={"Content-Disposition": f'attachment; filename="{index}.tlog-proof"'})
