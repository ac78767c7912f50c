"""One person, under a mandate: decisions, readers, and whether anything was sent after a withdrawal.

An auditor names a person as their department does: by its pseudonym. Every look is an entry of the ledger about the
person, who sees it with the mandate among their readers; so each view asks for what it shows and nothing else.
"""

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from starlette.datastructures import FormData
from starlette.responses import Response

from passerelle.web.audit.entries import Row
from passerelle.web.audit.labels import READERS as READERS_SAID
from passerelle.web.audit.person import judged
from passerelle.web.audit.query import MANDATE, PSEUDONYM, Wrong, mandate_problem
from passerelle.web.rendering import page
from passerelle.web.service import Answer, Refused, ServiceAway
from passerelle.web.visit import Auditor, Form, Visit
from passerelle.web.words import N_
from passerelle_consent.ledger.faults import Invalid

PAGE = 25
ENTRIES_PAGE = 200
ENTRIES_MAX = 2_000
"""About one person. More is judged from the log itself, with their key."""

DECISIONS, READERS, ABSENCE = "decisions", "lecteurs", "absence"
VIEWS = {DECISIONS: N_("Décisions"), READERS: N_("Qui a regardé"), ABSENCE: N_("Preuve d’absence")}

router = APIRouter(prefix="/audit/personne")


@dataclass(frozen=True, kw_only=True, slots=True)
class Inquiry:
    """Who is looked at, and under what."""

    visit: Visit
    mandate: str
    pseudonym: str
    view: str
    cursor: str

    @property
    def begun(self) -> bool:
        """Whether somebody is named at all."""
        return bool(self.pseudonym)

    @property
    def wrong(self) -> list[Wrong]:
        """What cannot be asked."""
        found = []
        if not self.mandate:
            said = N_("Une lecture sur une personne exige un mandat.")
            found.append(Wrong(field="mandat", label=N_("Mandat"), said=said))
        elif problem := mandate_problem(self.mandate):
            found.append(Wrong(field="mandat", label=N_("Mandat"), said=problem))
        if not PSEUDONYM.fullmatch(self.pseudonym):
            said = N_("Un pseudonyme a 32 caractères, de 0 à 9 et de a à f.")
            found.append(Wrong(field="personne", label=N_("Pseudonyme"), said=said))
        return found

    @property
    def kept(self) -> dict[str, str]:
        """What the address of another view repeats."""
        return {"mandat": self.mandate, "personne": self.pseudonym}

    async def read(self, what: str, **query: Any) -> Answer:
        """Read about the person; the ledger tells of it."""
        path = f"/v1/subjects/{self.pseudonym}/{what}"
        return await self.visit.site.consent.read(self.visit.who, path, headers={"Mandate": self.mandate}, **query)


async def _asked(visit: Auditor) -> Inquiry:
    said = visit.request.query_params
    view = said.get("vue", "")
    return Inquiry(
        visit=visit,
        mandate=said.get("mandat", "").strip()[:200],
        pseudonym=said.get("personne", "").strip().lower()[:200],
        view=view if view in VIEWS else DECISIONS,
        cursor=said.get("suite", "")[:400],
    )


Asked = Annotated[Inquiry, Depends(_asked)]


@router.get("")
async def person(inquiry: Asked) -> Response:
    """Ask whom, then show one view."""
    visit = inquiry.visit
    wrong = inquiry.wrong if inquiry.begun else []
    found: dict[str, Any] = {}
    if inquiry.begun and not wrong and visit.who.department is not None:
        try:
            found = await _READ[inquiry.view](inquiry)
        except Refused as refused:
            wrong = [_refused(refused)]
    return _shown(inquiry, wrong, found)


@router.post("/cle")
async def key(visit: Auditor, form: Form) -> Response:
    """The person's key to their entries, for `passerelle ledger scan`: the proof that needs nobody's word."""
    inquiry = _posted(visit, form)
    wrong = inquiry.wrong
    if not wrong:
        try:
            answer = await inquiry.read("ledger-key")
        except Refused as refused:
            wrong = [_refused(refused)]
        else:
            headers = {"Content-Disposition": 'attachment; filename="subject.key"'}
            return Response(answer.text, media_type="text/plain; charset=utf-8", headers=headers)
    return _shown(inquiry, wrong, {})


def _posted(visit: Visit, form: FormData) -> Inquiry:
    mandate, pseudonym = str(form.get("mandat", ""))[:200], str(form.get("personne", ""))[:200]
    return Inquiry(visit=visit, mandate=mandate, pseudonym=pseudonym, view=ABSENCE, cursor="")


def _shown(inquiry: Inquiry, wrong: list[Wrong], found: dict[str, Any]) -> Response:
    visit = inquiry.visit
    return page(
        visit,
        "audit/person.html",
        status=422 if wrong else 200,
        inquiry=inquiry,
        mandate=inquiry.mandate if MANDATE.fullmatch(inquiry.mandate) else "",
        department=visit.who.department,
        readers_said=READERS_SAID,
        views={name: (label, visit.to("/audit/personne", **inquiry.kept, vue=name)) for name, label in VIEWS.items()},
        wrong=wrong,
        errors={one.field: one.said for one in wrong},
        **{"rows": None, "fences": None, "first": None, "next": None, **found},
    )


async def _decisions(inquiry: Inquiry) -> dict[str, Any]:
    answer = await inquiry.read("disclosures", limit=PAGE, cursor=inquiry.cursor or None)
    return {"rows": answer.body["disclosures"], **_pages(inquiry, answer)}


async def _readers(inquiry: Inquiry) -> dict[str, Any]:
    answer = await inquiry.read("readers", limit=PAGE, cursor=inquiry.cursor or None)
    return {"rows": answer.body["readers"], **_pages(inquiry, answer)}


async def _absence(inquiry: Inquiry) -> dict[str, Any]:
    """Each withdrawal that took effect, and what followed: judged from all entries about the person."""
    listed: list[Any] = []
    cursor = None
    while len(listed) < ENTRIES_MAX:
        answer = await inquiry.read("entries", limit=ENTRIES_PAGE, cursor=cursor)
        listed += answer.body["entries"]
        cursor = answer.next_cursor
        if cursor is None:
            break
    try:
        fences = judged(listed)
    except Invalid as fault:
        raise ServiceAway(fault.what) from None
    return {"fences": fences, "entries": len(listed), "cut": cursor is not None, "newest": _newest(listed)}


_READ = {DECISIONS: _decisions, READERS: _readers, ABSENCE: _absence}


def _newest(listed: list[Any]) -> Row | None:
    return Row.of(listed[0]) if listed else None


def _pages(inquiry: Inquiry, answer: Answer) -> dict[str, Any]:
    to, kept = inquiry.visit.to, {**inquiry.kept, "vue": inquiry.view}
    return {
        "first": to("/audit/personne", **kept) if inquiry.cursor else None,
        "next": to("/audit/personne", **kept, suite=answer.next_cursor) if answer.next_cursor else None,
    }


def _refused(refused: Refused) -> Wrong:
    """What the service says no to, at the field that it is about. Raises what is nothing that can be put right."""
    said = _REFUSALS.get(refused.kind)
    if said is None:
        raise refused
    return Wrong(field="personne", label=N_("Pseudonyme"), said=said)


_REFUSALS = {
    "unknown-subject": N_("Personne n’a ce pseudonyme dans votre service."),
    "no-entries": N_("Le registre ne dit rien de cette personne."),
    "bad-cursor": N_("Cette suite de liste n’existe plus : recommencez la recherche."),
    "cursor-of-another-query": N_("Cette suite de liste n’existe plus : recommencez la recherche."),
}
