"""For auditors: the ledger's entries by what they say, their proofs, exports, and what waits to be looked at."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response, StreamingResponse

from passerelle.web.audit.alarms import MonitorFiles
from passerelle.web.audit.chart import chart, totals
from passerelle.web.audit.entries import Row
from passerelle.web.audit.labels import REASONS, TYPES, VERDICTS
from passerelle.web.audit.query import COUNTED, Criterion, Search, mandate_problem
from passerelle.web.rendering import page
from passerelle.web.service import Answer, Refused
from passerelle.web.visit import Auditor, Visit

PAGE = 20
OVERRIDES = 50
PLACE_MAX = 2**53 - 1

Choices = Mapping[Criterion, Sequence[tuple[str, str]]]
"""Values, each with its word."""

router = APIRouter(prefix="/audit")


@router.get("")
async def search(visit: Auditor) -> Response:
    """Look for entries of the ledger. What is only being composed is not asked."""
    zone = visit.site.zone
    asked = Search.of(visit.request.query_params)
    wrong = [] if asked.composing else asked.wrong(zone)
    choices = _choices(visit)
    found: dict[str, Any] = {}
    if not asked.composing and not wrong:
        try:
            found = await _found(visit, asked)
        except Refused as refused:
            if refused.kind not in ("bad-cursor", "cursor-of-another-query"):
                raise
            # The place in the list belongs to another search: its start.
            return RedirectResponse(visit.to("/audit", **asked.kept), status_code=303)
    return page(
        visit,
        "audit/search.html",
        status=422 if wrong else 200,
        mandate=_mandate(asked.mandate),
        asked=asked,
        wrong=wrong,
        errors={one.field: one.said for one in wrong},
        choices=choices,
        said={c: _words_of(choices, c, value) for c, value in asked.criteria.items() if value},
        counted=COUNTED,
        **found,
    )


async def _found(visit: Visit, asked: Search) -> dict[str, Any]:
    """What the search page shows besides its form."""
    consent, zone = visit.site.consent, visit.site.zone
    query = asked.asked(zone)
    counted = {name: value for name, value in query.items() if name != "decision"}
    listed, by_verdict, by_other = await asyncio.gather(
        consent.read(visit.who, "/v1/ledger/entries", limit=PAGE, cursor=asked.cursor or None, **query),
        _counts(visit, by="verdict", **counted),
        _counts(visit, by=asked.by.asked_as, **counted),
    )
    # A count knows nothing of ids: of one decision there is nothing to draw.
    one = "decision" in query
    return {
        "extent": listed.body["extent"],
        "rows": [Row.of(shown) for shown in listed.body["entries"]],
        "chart": None if one or by_verdict is None else chart(by_verdict.body["counts"], by_verdict.body["every"]),
        "totals": () if one or by_other is None else totals(by_other.body["counts"]),
        "first": visit.to("/audit", **asked.kept) if asked.cursor else None,
        "next": visit.to("/audit", **asked.kept, suite=listed.next_cursor) if listed.next_cursor else None,
        "exports": {}
        if one
        else {f: visit.to(f"/audit/export/{f}", **asked.kept) for f in ("jsonl", "csv", "parquet")},
    }


async def _counts(visit: Visit, **query: Any) -> Answer | None:
    """None for a time that is too long to be counted."""
    try:
        return await visit.site.consent.read(visit.who, "/v1/ledger/counts", **query)
    except Refused as refused:
        if refused.kind == "too-long-a-time":
            return None
        raise


@router.get("/preuve/{index}")
async def proof(visit: Auditor, index: Annotated[int, Path(ge=0, le=PLACE_MAX)]) -> Response:
    """The proof of an entry (C2SP tlog-proof): the page checks it, and so can anybody without us."""
    answer = await visit.site.consent.read(visit.who, f"/v1/ledger/entries/{index}/proof")
    headers = {"Content-Disposition": f'attachment; filename="{index}.tlog-proof"'}
    return Response(answer.text, media_type="text/plain; charset=utf-8", headers=headers)


@router.get("/export/{form}")
async def export(visit: Auditor, form: Literal["jsonl", "csv", "parquet"]) -> Response:
    """Everything that was found, with one proof for all of it."""
    zone = visit.site.zone
    asked = Search.of(visit.request.query_params)
    if asked.wrong(zone) or Criterion.DECISION in asked.criteria:
        raise HTTPException(404)
    file = await visit.site.consent.download(visit.who, "/v1/ledger/export", format=form, **asked.asked(zone))
    name = f"passerelle-registre-{form}.zip"
    # It is compressed already.
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Content-Encoding": "identity"}
    return StreamingResponse(
        file.parts, media_type="application/zip", headers=headers, background=BackgroundTask(file.close)
    )


@router.get("/alertes")
async def alerts(visit: Auditor) -> Response:
    """What waits for somebody: overrides that nobody reviewed, what is late, what a monitor sounded."""
    monitor = visit.site.extras.get(MonitorFiles)
    overrides, attention, heard = await asyncio.gather(
        visit.site.consent.read(visit.who, "/v1/overrides", limit=OVERRIDES),
        visit.site.consent.read(visit.who, "/v1/operations/attention"),
        asyncio.to_thread(monitor.heard) if isinstance(monitor, MonitorFiles) else _nothing(),
    )
    return page(
        visit,
        "audit/alerts.html",
        mandate=_mandate(visit.request.query_params.get("mandat", "")),
        overrides=overrides.body["overrides"],
        more=overrides.next_cursor is not None,
        attention=attention.body,
        heard=heard,
    )


async def _nothing() -> None:
    return None


def _mandate(text: str) -> str:
    """A mandate as every page of an investigation repeats it; one that is none is not shown as one."""
    return "" if mandate_problem(text) else text


def _choices(visit: Visit) -> Choices:
    """The values of each criterion that the page knows: code and word."""
    departments = sorted(((d, visit.department(d)) for d in visit.site.departments), key=lambda pair: pair[1])
    spoken = visit.language.value
    policy = visit.site.policy
    return {
        Criterion.FLOW: [(flow.id, str(getattr(flow.description, spoken))) for flow in policy.flows],
        Criterion.AGREEMENT: [(ref, ref) for ref in sorted({a.ref for a in policy.agreements})],
        Criterion.DEPARTMENT: departments,
        Criterion.RECIPIENT: departments,
        Criterion.VERDICT: _said(visit, VERDICTS),
        Criterion.REASON: _said(visit, REASONS),
        Criterion.TYPE: _said(visit, TYPES),
        Criterion.DECISION: (),
    }


def _said(visit: Visit, codes: Mapping[str, str]) -> list[tuple[str, str]]:
    return sorted(((code, visit.say(word)) for code, word in codes.items()), key=lambda pair: pair[1])


def _words_of(choices: Choices, criterion: Criterion, value: str) -> str:
    """A value in words, for the sentence that says what is looked for."""
    word = dict(choices[criterion]).get(value)
    return value if word in (None, value) else f"{word} ({value})"
