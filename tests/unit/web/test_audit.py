"""What auditors find, over a real consent service and ledger: entries, counts, exports, one person, alarms."""

import io
import json
import os
import re
from datetime import UTC, datetime
from zipfile import ZipFile
from zoneinfo import ZoneInfo

import pytest

from passerelle.web.audit.alarms import MonitorFiles, parse
from passerelle.web.audit.chart import HEIGHT, SLOT, chart, totals
from passerelle.web.audit.labels import ALARMS, READERS, REASONS, TYPES, VERDICTS
from passerelle.web.audit.query import Criterion, Search
from passerelle.web.audit.routes import PAGE
from passerelle.web.visit import FORM_TOKEN
from passerelle_consent.ledger.audit.scan import Answer
from passerelle_consent.ledger.audit.watch import Kind
from passerelle_consent.ledger.log.entries import EntryType
from passerelle_consent.ledger.query.export import verify_export
from passerelle_consent.policy.decide import Reason, Verdict
from passerelle_consent.records.ports import Role
from unit.ledger.fakes import SIGNER
from unit.web.audited import MANDATE, auditor, decided, denied, withdrawn
from unit.web.town import form_token, people

PARIS = ZoneInfo("Europe/Paris")
PERSON = f"/audit/personne?mandat={MANDATE}&personne="


def test_every_code_of_the_ledger_has_its_words():
    assert set(TYPES) == set(EntryType)
    assert set(REASONS) == set(Reason)
    assert set(VERDICTS) == set(Verdict)
    assert set(ALARMS) == set(Kind)
    assert set(READERS) == set(Role) - {Role.CITIZEN}


def test_a_search_is_its_address():
    said = {"resultat": "deny", "accord": "home@1", "du": "2026-11-01", "mandat": MANDATE, "par": "flux", "x": "1"}
    asked = Search.of(said)
    assert not asked.wrong(PARIS)
    assert asked.asked(PARIS) == {"since": "2026-11-01T00:00:00+01:00", "agreement": "home@1", "verdict": "deny"}
    assert Search.of(asked.kept) == asked


def test_criteria_are_added_and_removed_and_nothing_is_asked_meanwhile():
    added = Search.of({"resultat": "deny", "champ": "motif", "ajouter": "1"})
    assert (added.criteria, added.composing) == ({Criterion.VERDICT: "deny", Criterion.REASON: ""}, True)
    assert Criterion.REASON not in added.addable
    assert Search.of({"resultat": "deny", "motif": "", "retirer": "motif"}).criteria == {Criterion.VERDICT: "deny"}


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"du": "2026-02-30"}, "du"),
        ({"du": "2026-03-02", "au": "2026-03-01T10:00"}, "au"),
        ({"motif": ""}, "motif"),
        ({"resultat": "maybe"}, "resultat"),
        ({"flux": "Not A Flow"}, "flux"),
        ({"decision": "12"}, "decision"),
        ({"mandat": "no mandate!"}, "mandat"),
    ],
)
def test_what_cannot_be_asked_is_said_at_its_field(said, field):
    assert [one.field for one in Search.of(said).wrong(PARIS)] == [field]


def counts(*said):
    return [{"start": f"{start}T00:00:00.000Z", "value": value, "count": count} for start, value, count in said]


def test_bars_stand_at_their_days_and_are_as_high_as_their_counts():
    drawn = chart(counts(("2026-11-01", "permit", 3), ("2026-11-01", None, 1), ("2026-11-04", "deny", 2)), "day")
    assert [(bar.x, bar.total) for bar in drawn.bars] == [(0, 4), (3 * SLOT, 2)]
    assert [part.verdict for part in drawn.bars[0].parts] == ["permit", ""]
    assert drawn.bars[0].parts[-1].y == 0
    assert drawn.bars[1].parts[0].height == HEIGHT / 2
    assert chart([], "day").bars == []


def test_months_stand_side_by_side_and_values_are_added_up():
    drawn = chart(counts(("2025-12-01", "deny", 3), ("2026-01-01", "deny", 4)), "month")
    assert (drawn.every, [(bar.x, bar.total) for bar in drawn.bars]) == ("month", [(0, 3), (SLOT, 4)])
    assert totals(counts(("2026-01-02", "a", 1), ("2026-01-03", "b", 3), ("2026-01-04", None, 9))) == [
        ("b", 3),
        ("a", 1),
    ]


def test_a_line_that_is_no_alarm_is_counted_and_not_left_out():
    alarm = json.dumps({"at": "2026-11-26T10:00:00Z", "alarm": "invalid", "index": None, "what": "x"})
    found, unreadable = parse([alarm, '{"at": 1}', "", alarm.replace("invalid", "unheard-of")])
    assert ([a.kind for a in found], unreadable) == ([ALARMS["invalid"]], 3)


@pytest.fixture
async def claire(town):
    return await town.citizen("Morel")


@pytest.fixture
async def visitor(town):
    async with town.visitor(auditor(town)) as visitor:
        yield visitor


@pytest.mark.parametrize("path", ["", "/personne", "/alertes", "/export/csv", "/preuve/0"])
async def test_pages_are_for_auditors(town, path):
    async with town.visitor(people()["operator"]) as operator, town.visitor() as stranger:
        assert (await operator.get(f"/audit{path}")).status_code == 403
        assert (await stranger.get(f"/en/audit{path}")).headers["location"].startswith("/en/connexion")


@pytest.mark.parametrize(("prefix", "word"), [("", "Consentement retiré"), ("/en", "Consent withdrawn")])
async def test_entries_are_found_by_what_they_say(town, visitor, claire, prefix, word):
    ids = denied(town, claire)
    decided(town, claire)
    shown = await visitor.get(f"{prefix}/audit?resultat=deny&mandat={MANDATE}")
    assert shown.status_code == 200
    assert shown.text.count('<tr role="row" id="l-') == 3
    assert word in shown.text
    assert MANDATE in shown.text
    assert all(ident in shown.text for ident in ids)
    one = await visitor.get(f"{prefix}/audit?decision={ids[0]}")
    assert one.text.count('<tr role="row" id="l-') == 1


async def test_what_is_shown_is_what_was_hashed(town, visitor, claire):
    (ident,) = decided(town, claire)
    shown = (await visitor.get(f"/audit?decision={ident}")).text
    index = int(re.search(r'id="l-(\d+)"', shown)[1])
    text = re.search(r"data-hashed>([^<]*)<", shown)[1].replace("&#34;", '"')
    assert text.encode() == town.told.town.bodies()[index]
    assert (await visitor.get(f"/audit/preuve/{index}")).text.startswith("c2sp.org/tlog-proof@v1\n")


async def test_pages_of_a_long_list_follow_each_other(town, visitor, claire):
    denied(town, claire, count=30)
    first = await visitor.get("/audit?resultat=deny")
    following = re.search(r'href="(/audit\?[^"]*suite=[^"]*)"', first.text)[1].replace("&amp;", "&")
    second = await visitor.get(following)
    assert (first.text.count('id="l-'), second.text.count('id="l-')) == (PAGE, 30 - PAGE)
    elsewhere = await visitor.get(following.replace("deny", "permit"))
    assert (elsewhere.status_code, elsewhere.headers["location"].count("suite")) == (303, 0)


async def test_an_error_comes_back_in_a_summary_with_a_link(visitor):
    shown = await visitor.get("/audit?motif=&du=2026-02-30")
    assert shown.status_code == 422
    assert re.search(r'role="alert".*href="#du".*href="#motif"', shown.text, re.DOTALL)
    assert 'id="e-motif"' in shown.text
    assert 'id="resultats"' not in shown.text


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
async def test_an_export_has_its_proof(town, visitor, claire, form):
    denied(town, claire)
    answer = await visitor.get(f"/audit/export/{form}?resultat=deny")
    assert answer.headers["content-type"] == "application/zip"
    with ZipFile(io.BytesIO(answer.content)) as archive:
        rows, proof = (io.BytesIO(archive.read(name)) for name in archive.namelist())
    assert verify_export(rows, proof, SIGNER.verifier).head.entries == 3
    assert (await visitor.get(f"/audit/export/{form}?resultat=")).status_code == 404


async def test_one_person_is_read_under_a_mandate_that_they_see(town, visitor, claire):
    denied(town, claire)
    shown = await visitor.get(PERSON + claire.pseudonym.hex())
    assert shown.text.count('<tr role="row" id="l-') == 3
    (read,) = [e for e in town.city.broker.journal() if e.type == "read" and e.mandate]
    assert (read.what, read.mandate) == ("disclosures", MANDATE)
    town.told.integrate()
    readers = await visitor.get(f"{PERSON}{claire.pseudonym.hex()}&vue=lecteurs")
    assert readers.text.count('<tr role="row" id="l-') == 1


@pytest.mark.parametrize(
    "query", ["?personne={}", "?personne=x&mandat=M-1", "?personne=00000000000000000000000000000000&mandat=M-1"]
)
async def test_nobody_is_read_without_a_mandate_or_by_a_pseudonym_that_is_none(town, visitor, claire, query):
    shown = await visitor.get("/audit/personne" + query.format(claire.pseudonym.hex()))
    assert (shown.status_code, 'class="ds-error-summary"' in shown.text) == (422, True)
    assert [e for e in town.city.broker.journal() if e.type == "read"] == []


async def test_an_auditor_of_no_department_is_told_why_nobody_can_be_named(town):
    async with town.visitor(people()["auditor"]) as visitor:
        shown = await visitor.get(PERSON + "0" * 32)
    assert (shown.status_code, "Votre compte n’est d’aucun service" in shown.text) == (200, True)


@pytest.mark.parametrize(
    ("verdict", "said"),
    [
        (Verdict.DENY, "Aucun envoi complet ensuite"),
        (Verdict.PERMIT, "Un envoi a suivi, sans nouvelle autorisation"),
    ],
    ids=[Answer.HELD, Answer.BROKEN],
)
async def test_a_withdrawal_is_judged_by_what_followed(town, visitor, claire, verdict, said):
    await withdrawn(town, claire)
    decided(
        town,
        claire,
        verdict=verdict,
        reason=Reason.CONSENT_WITHDRAWN if verdict is Verdict.DENY else Reason.VALID_BASIS,
    )
    shown = await visitor.get(f"{PERSON}{claire.pseudonym.hex()}&vue=absence")
    assert said in shown.text


async def test_the_key_is_handed_out_under_the_mandate(town, visitor, claire):
    decided(town, claire)
    shown = await visitor.get(f"{PERSON}{claire.pseudonym.hex()}&vue=absence")
    asked = {FORM_TOKEN: form_token(shown), "mandat": MANDATE, "personne": claire.pseudonym.hex()}
    answer = await visitor.post("/audit/personne/cle", data=asked)
    assert re.fullmatch(r"[0-9a-f]{64}\n", answer.text)
    assert (await visitor.post("/audit/personne/cle", data={**asked, "mandat": ""})).status_code == 422


async def test_what_is_to_be_watched_says_when_a_monitor_looked_and_that_none_did(town, visitor, tmp_path):
    assert "ne peut donc pas dire que tout va bien" in (await visitor.get("/audit/alertes")).text
    files = MonitorFiles(state=tmp_path / "state", alarms=tmp_path / "alarms")
    town.site.extras[MonitorFiles] = files
    files.state.write_text("{}")
    at = datetime(2026, 11, 26, 9, tzinfo=UTC).timestamp()
    os.utime(files.state, (at, at))
    shown = (await visitor.get("/audit/alertes")).text
    assert "Dernier passage fini le 26 nov. 2026 à 10:00:00" in shown
    assert "Aucune alarme" in shown
    files.alarms.write_text(
        json.dumps({"at": "2026-11-26T08:59:00Z", "alarm": "permit-after-fence", "index": 7, "what": "permit follows"})
        + "\n"
    )
    assert "Envoi après un retrait effectif" in (await visitor.get("/audit/alertes")).text


async def test_an_override_that_nobody_reviewed_is_shown_without_its_person(town, visitor):
    officer = people()["officer"]
    (pseudonym,) = await town.city.link("Durand", token={"scope": "department", "department": officer.department})
    vital = next(a.id for a in town.site.policy.agreements if a.basis == "6-1-d")
    body = {"agreements": [vital], "reason_code": "heat-wave", "hours": 24}
    await town.site.consent.change(officer, "POST", f"/v1/subjects/{pseudonym}/overrides", body)
    shown = (await visitor.get("/audit/alertes")).text
    assert f"/registre/{vital}" in shown
    assert "heat-wave" in shown
    assert pseudonym not in shown
