"""The public register: what may be shared, what was, and how anybody checks it. No sign-in.

Machines read the same under `donnees.json` and `donnees.jsonld`, from the pages' own address: one name to publish, one
certificate, and the consent service need not be reachable from everywhere. The commands that check the ledger read its
files from the consent service's public address (`Site.log_url`).
"""

import asyncio
import json
from datetime import UTC, date, datetime
from functools import lru_cache, partial
from typing import Annotated, Any

from fastapi import APIRouter, Path
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from passerelle.web.register import figures, reading
from passerelle.web.register.listing import BASES, State, Wanted, rows, state_of
from passerelle.web.register.sankey import PHONE, WIDE, Canvas, Drawing, Link, sankey
from passerelle.web.register.verifying import CHECKPOINT_FILE, INSTALL, KEY_FILE, Commands
from passerelle.web.register.versions import changes
from passerelle.web.rendering import page
from passerelle.web.shared import SharedPages
from passerelle.web.visit import Anybody, Visit

DRAWINGS_KEPT = 32
"""Of the months that people look at, on two canvases: counts change once a minute, readers are many."""

router = APIRouter(prefix="/registre")

AgreementId = Annotated[str, Path(pattern=r"^[a-z][a-z0-9-]{0,79}$")]
Version = Annotated[int, Path(ge=1, le=999_999)]


@router.get("")
async def register(visit: Anybody) -> Response:
    """Everything that is agreed, how much was sent, and how to check it."""
    return await _shared(visit).page(visit, partial(_register, visit))


async def _register(visit: Visit) -> Response:
    wanted = Wanted.of(visit.request.query_params, visit.site.departments)
    consent = visit.site.consent
    all_, found, flows, counts, checkpoint, consultations = await asyncio.gather(
        reading.agreements(consent),
        reading.agreements(consent, **wanted.asked),
        reading.flows(consent),
        reading.or_none(consent, "/v1/register/counts"),
        reading.or_none(consent, "/v1/ledger/checkpoint"),
        reading.or_none(consent, "/v1/consultations"),
    )
    today = _today(visit)
    return page(
        visit,
        "register/register.html",
        wanted=wanted,
        rows=rows(found, today, wanted.state),
        in_force=sum(row.state is State.IN_FORCE for row in rows(all_, today)),
        open=[c for c in (consultations or {}).get("consultations", []) if c["phase"] == "open"],
        states=list(State),
        bases=[basis for basis in BASES if any(a["basis"] == basis for a in all_)],
        departments=_named(visit, {d for a in all_ for d in (a["source"], a["recipient"])}),
        checkpoint=checkpoint,
        commands=checkpoint and Commands(log_url=visit.site.log_url, size=checkpoint["size"]),
        install=INSTALL,
        **_counted(visit, flows, all_, counts),
    )


@router.get("/donnees.json")
async def as_json(visit: Anybody) -> Response:
    """All agreements and flows, as JSON."""
    consent = visit.site.consent
    agreements, flows = await asyncio.gather(reading.agreements(consent), reading.flows(consent))
    return _file({"agreements": agreements, "flows": flows}, "application/json", "registre.json")


@router.get("/donnees.jsonld")
async def as_linked_data(visit: Anybody) -> Response:
    """All agreements as one graph, with the terms of the Data Privacy Vocabulary."""
    graph: dict[str, Any] = {"@graph": []}
    cursor = None
    for _ in range(reading.PAGES_MAX):
        answer = await reading.linked(
            visit.site.consent, "/v1/agreements", visit.language.value, limit=reading.PAGE, cursor=cursor
        )
        graph = {**answer.body, "@graph": graph["@graph"] + answer.body["@graph"]}
        cursor = answer.next_cursor
        if cursor is None:
            break
    return _file(graph, reading.LINKED, "registre.jsonld")


@router.get(f"/{CHECKPOINT_FILE}")
async def checkpoint(visit: Anybody) -> Response:
    """The ledger's signed head as it is now, to be kept (C2SP tlog-checkpoint)."""
    shown = await visit.site.consent.public("/v1/ledger/checkpoint")
    return _text(shown.body["note"], CHECKPOINT_FILE)


@router.get(f"/{KEY_FILE}")
async def key(visit: Anybody) -> Response:
    """The ledger's verifier key, as the city says it."""
    shown = await visit.site.consent.public("/v1/ledger/checkpoint")
    return _text(shown.body["vkey"] + "\n", KEY_FILE)


@router.get("/{agreement}")
async def newest(visit: Anybody, agreement: AgreementId) -> Response:
    """The version in force, else the newest."""
    found = await visit.site.consent.public(f"/v1/agreements/{agreement}")
    return RedirectResponse(visit.to(f"/registre/{agreement}/{found.body['signed']['version']}"), status_code=302)


@router.get("/{agreement}/{version}")
async def version_(visit: Anybody, agreement: AgreementId, version: Version) -> Response:
    """One version: what it allows, and what it changed."""
    return await _shared(visit).page(visit, partial(_version, visit, agreement, version))


async def _version(visit: Visit, agreement: str, version: int) -> Response:
    shown, flows, counts = await asyncio.gather(
        visit.site.consent.public(f"/v1/agreements/{agreement}/versions/{version}"),
        reading.flows(visit.site.consent),
        reading.or_none(visit.site.consent, "/v1/register/counts"),
    )
    signed = shown.body["signed"]
    earlier = [v for v in shown.body["versions"] if v < version]
    before = None
    if earlier:
        before = (await visit.site.consent.public(f"/v1/agreements/{agreement}/versions/{earlier[-1]}")).body
    spans = signed["in_force"]
    return page(
        visit,
        "register/agreement.html",
        shown=shown.body,
        signed=signed,
        state=state_of(spans["from"], spans.get("until"), _today(visit)),
        before=before,
        changes=changes(before["signed"], signed, visit.language.value) if before else [],
        described={**(before["described"] if before else {}), **shown.body["described"]},
        **_of_flows(shown.body["flows"], flows, counts),
    )


@router.get("/{agreement}/{version}/donnees.json")
async def version_as_json(visit: Anybody, agreement: AgreementId, version: Version) -> Response:
    """One version as it was signed, with its digest."""
    shown = await visit.site.consent.public(f"/v1/agreements/{agreement}/versions/{version}")
    return _file(shown.body, "application/json", f"{agreement}.v{version}.json")


@router.get("/{agreement}/{version}/donnees.jsonld")
async def version_as_linked_data(visit: Anybody, agreement: AgreementId, version: Version) -> Response:
    """One version as JSON-LD."""
    path = f"/v1/agreements/{agreement}/versions/{version}"
    shown = await reading.linked(visit.site.consent, path, visit.language.value)
    return _file(shown.body, reading.LINKED, f"{agreement}.v{version}.jsonld")


def _shared(visit: Visit) -> SharedPages:
    shared: SharedPages = visit.request.app.state.shared_pages
    return shared


def _counted(visit: Visit, flows: list[Any], agreements: list[Any], counts: Any) -> dict[str, Any]:
    """The month that is looked at, its drawings and its table; nothing where the ledger does not say."""
    if counts is None:
        return {"month": None, "months": [], "flows": [], "drawings": [], "fewer_than": 0}
    known = figures.months(counts)
    month = figures.chosen(known, visit.request.query_params.get("mois", ""))
    shown = [] if month is None else figures.flow_figures(flows, agreements, counts, month.month)
    links = tuple(figures.links(shown))
    return {
        "month": month,
        "months": known,
        "flows": shown,
        "drawings": [("wide", _drawing(links, WIDE)), ("phone", _drawing(links, PHONE))],
        "fewer_than": counts["fewer_than"],
    }


@lru_cache(maxsize=DRAWINGS_KEPT)
def _drawing(links: tuple[Link, ...], canvas: Canvas) -> Drawing:
    return sankey(links, canvas)


def _of_flows(ids: list[str], flows: list[Any], counts: Any) -> dict[str, Any]:
    """An agreement's flows, and what each carried by month."""
    months = [] if counts is None else counts["months"]
    by_month = [(m["month"] + "-01", [flow for flow in m["flows"] if flow["flow"] in ids]) for m in months]
    return {
        "flows": [flow for flow in flows if flow["id"] in ids],
        "by_month": [(day, shown) for day, shown in by_month if shown],
        "fewer_than": 0 if counts is None else counts["fewer_than"],
        "counted": counts is not None,
    }


def _named(visit: Visit, departments: set[str]) -> list[tuple[str, str]]:
    """Departments with their names, by their names."""
    return sorted(((each, visit.department(each)) for each in departments), key=lambda pair: pair[1].casefold())


def _today(visit: Visit) -> date:
    """Agreements begin and end at midnight UTC."""
    return datetime.fromtimestamp(visit.site.clock() / 1000, UTC).date()


def _file(document: Any, media_type: str, name: str) -> Response:
    body = json.dumps(document, ensure_ascii=False, indent=1) + "\n"
    return Response(body, media_type=media_type, headers={"Content-Disposition": f'attachment; filename="{name}"'})


def _text(text: str, name: str) -> Response:
    return PlainTextResponse(text, headers={"Content-Disposition": f'attachment; filename="{name}"'})
