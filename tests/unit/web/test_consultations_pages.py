"""Consultations: a voice given, changed, taken back; an argument read before it is shown; an answer with its leaf."""

import hashlib
import re
from datetime import UTC, datetime
from html import unescape

import pytest

from passerelle.web.consultations.view import DAY_MS, Proposed, days_left, parted, sides
from passerelle.web.languages import Language, typeset
from passerelle.web.visit import FORM_TOKEN
from passerelle_consent.ledger.audit.prove import InclusionProof
from passerelle_consent.wire import JournalType
from unit.ledger.fakes import SIGNER
from unit.records.fakes import until
from unit.web.audited import auditor
from unit.web.consulting import ID, OFFICER, PATH, QUESTION, TAX, a_consultation, argue, close
from unit.web.town import form_token, people

PAGE = f"/consultations/{ID}"


def test_arguments_of_the_department_come_first():
    published = {"arguments_for": [{"fr": "Oui.", "en": "Yes."}], "arguments_against": []}
    said = [
        {"side": "for", "text": "Mais oui.", "language": "fr"},
        {"side": "against", "text": "Non.", "language": "fr"},
    ]
    shown = sides(published, said, "en")
    assert [(a.text, a.official) for a in shown.pros] == [("Yes.", True), ("Mais oui.", False)]
    assert [a.text for a in shown.cons] == ["Non."]


@pytest.mark.parametrize(("left_ms", "days"), [(1, 1), (DAY_MS, 1), (DAY_MS + 1, 2), (-5, 0)])
def test_the_day_that_has_begun_counts(left_ms, days):
    now_ms = 1_780_000_000_000
    until = datetime.fromtimestamp((now_ms + left_ms) / 1000, UTC).isoformat(timespec="milliseconds")
    assert days_left(until, now_ms) == days


def test_what_closes_first_is_shown_first():
    at = {"opens_at": "2026-05-01T00:00:00Z", "phase": "open"}
    shown = parted([{**at, "id": "b", "closes_at": "2026-07"}, {**at, "id": "a", "closes_at": "2026-06"}])
    assert [c["id"] for c in shown["open"]] == ["a", "b"]


@pytest.mark.parametrize(
    ("form", "wrong"),
    [
        ({}, ["cote", "argument"]),
        ({"cote": "pour", "argument": " \r\n "}, ["argument"]),
        ({"cote": "peut-être", "argument": "a" * 1_001}, ["cote", "longueur"]),
        ({"cote": "contre", "argument": "a" * 1_000}, []),
    ],
)
def test_what_cannot_be_taken_is_said_by_its_field(form, wrong):
    assert Proposed.of(form).wrong == wrong


@pytest.fixture
async def consulted(town):
    await a_consultation(town)
    return town


async def sent(visitor, path, **fields):
    """Send the form of the page as a browser does; return the page that one is sent to."""
    shown = await visitor.get(PAGE)
    answer = await visitor.post(path, data={**fields, FORM_TOKEN: form_token(shown)})
    if answer.status_code == 303:
        return await visitor.get(answer.headers["location"])
    return answer


@pytest.mark.parametrize("prefix", ["", "/en"])
async def test_anybody_reads_a_draft_in_plain_words(consulted, prefix):
    language = "en" if prefix else "fr"
    async with consulted.visitor() as visitor:
        listed = (await visitor.get(f"{prefix}/consultations")).text
        shown = (await visitor.get(prefix + PAGE)).text
    assert typeset(QUESTION[language], Language(language)) in listed
    assert typeset(QUESTION[language], Language(language)) in shown
    changed = shown.partition('id="change"')[2].partition("</section>")[0]
    assert re.search(r"12\s(mois|months)", changed)
    assert re.search(r"24\s(mois|months)", changed)


async def test_a_voice_is_given_changed_and_taken_back(consulted):
    async with consulted.visitor(await consulted.citizen()) as visitor:
        assert "vous soutenez ce projet" in (await sent(visitor, f"{PAGE}/voix", voix="soutenir")).text
        assert "vous êtes contre ce projet" in (await sent(visitor, f"{PAGE}/voix", voix="opposer")).text
        assert "votre avis est retiré" in (await sent(visitor, f"{PAGE}/voix", voix="retirer")).text
        assert "Vous n’avez pas donné d’avis" in (await visitor.get(PAGE)).text


async def test_an_argument_is_read_before_it_is_shown_and_shows_no_author(consulted):
    text = "Deux ans, c’est trop <long>."
    async with consulted.visitor(await consulted.citizen()) as citizen, consulted.visitor(OFFICER) as officer:
        told = await sent(citizen, f"{PAGE}/arguments", cote="contre", argument=text)
        assert "Votre argument est envoyé" in told.text
        assert "trop &lt;long&gt;" not in told.text
        waiting = await officer.get(f"{PAGE}/moderation")
        assert "trop &lt;long&gt;" in waiting.text
        assert "Claire" not in waiting.text.partition("<main")[2]
        said = {"decision": "published", FORM_TOKEN: form_token(waiting)}
        assert (await officer.post(f"{PAGE}/moderation/arguments/1", data=said)).status_code == 303
    async with consulted.visitor() as anybody:
        consulted.site.consent._public.clear()  # as some seconds later
        assert "trop &lt;long&gt;" in (await anybody.get(PAGE)).text


async def test_an_argument_that_cannot_be_taken_is_kept_and_its_fault_named(consulted):
    async with consulted.visitor(await consulted.citizen()) as visitor:
        told = await sent(visitor, f"{PAGE}/arguments", argument="Sans dire si c’est pour ou contre")
    assert told.status_code == 422
    assert 'href="#cote-pour"' in told.text
    assert "Sans dire si c’est pour ou contre</textarea>" in told.text


async def test_whoever_is_not_signed_in_signs_in_and_loses_nothing(consulted):
    async with consulted.visitor() as visitor:
        answer = await visitor.post(f"{PAGE}/voix", data={"voix": "soutenir"})
        assert answer.headers["location"].startswith("/connexion")
        assert consulted.site.kept.form(visitor.cookies["kept-form"]).fields == [("voix", "soutenir")]


async def test_a_voice_that_comes_too_late_is_said(consulted):
    await close(consulted)
    async with consulted.visitor(await consulted.citizen()) as visitor:
        told = await sent(visitor, f"{PAGE}/voix", voix="soutenir")
    assert told.status_code == 409
    assert "C’est trop tard, rien n’a été changé." in told.text


async def test_only_officers_of_the_department_moderate(consulted):
    await argue(consulted, await consulted.citizen(), "Non.")
    for who, status in ((OFFICER, 200), (people()["officer"], 403), (people()["auditor"], 403)):
        async with consulted.visitor(who) as visitor:
            assert (await visitor.get(f"{PAGE}/moderation")).status_code == status
    async with consulted.visitor(await consulted.citizen()) as visitor:
        assert (await visitor.get(f"{PAGE}/moderation")).headers["location"].startswith("/connexion")


async def test_an_argument_that_was_replaced_meanwhile_is_not_ruled_on(consulted):
    author = await consulted.citizen()
    n = await argue(consulted, author, "Non.")
    async with consulted.visitor(OFFICER) as officer:
        seen = await officer.get(f"{PAGE}/moderation")
        await argue(consulted, author, "Toujours non.")
        said = {"decision": "published", FORM_TOKEN: form_token(seen)}
        answer = await officer.post(f"{PAGE}/moderation/arguments/{n}", data=said)
    assert answer.status_code == 409
    assert "Toujours non." in answer.text


async def test_the_answer_is_shown_with_the_votes_and_the_leafs_digest(consulted):
    citizen = await consulted.citizen()
    voice = {"scope": "citizen", "department": consulted.manifest.desk, "pseudonym": citizen.pseudonym.hex()}
    await consulted.city.call("PUT", f"{PATH}/voice", {"voice": "object"}, voice)
    await close(consulted)
    reply = {"issue": "amended", "fr": "Un an suffit.", "en": "One year is enough."}
    async with consulted.visitor(OFFICER) as officer:
        await consulted.city.call("POST", f"{PATH}/answer", {"outcome": "x"}, TAX)
        seen = await officer.get(f"{PAGE}/moderation")
        token = {FORM_TOKEN: form_token(seen)}
        assert (await officer.post(f"{PAGE}/moderation/reponse", data={**reply, "en": " ", **token})).status_code == 422
        answered = await officer.post(f"{PAGE}/moderation/reponse", data={**reply, **token})
        assert answered.headers["location"].endswith("fait=repondu")
    async with consulted.visitor() as anybody:
        shown = (await anybody.get(PAGE)).text
        result = await anybody.get(f"{PAGE}/resultat.json")
    assert "Le projet est modifié" in shown
    assert "Un an suffit." in shown
    assert hashlib.sha256(result.content).hexdigest() in shown
    (entry,) = [e for e in consulted.city.broker.journal() if e.digest == hashlib.sha256(result.content).digest()]
    assert entry.department == "tax"


async def test_everybody_takes_the_proof_that_the_result_is_in_the_ledger(consulted):
    await close(consulted)
    answered = {"outcome": "amended", "answer": {"fr": "Un an.", "en": "One year."}}
    async with consulted.visitor() as anybody, consulted.visitor(auditor(consulted)) as dpo:
        assert (await anybody.get(f"{PAGE}/preuve")).status_code == 404
        await consulted.city.call("POST", f"{PATH}/answer", answered, TAX)
        await until(lambda: any(e.type is JournalType.CONSULTED for e in consulted.city.broker.journal()))
        consulted.site.consent._public.clear()  # as some seconds later
        assert (await anybody.get(f"{PAGE}/preuve")).status_code == 404, "nothing is signed yet"
        consulted.told.integrate()
        consulted.told.index_all()
        proof = await anybody.get(f"{PAGE}/preuve")
        result = await anybody.get(f"{PAGE}/resultat.json")
        assert "tlog-proof" in proof.headers["content-disposition"]
        entry, _ = InclusionProof.parse(proof.content).check(SIGNER.verifier)
        assert entry.digest == hashlib.sha256(result.content).digest()
        assert "type=consulted" not in (await anybody.get(PAGE)).text
        (link,) = re.findall(r'href="(/audit\?type=consulted[^"]+)"', unescape((await dpo.get(PAGE)).text))
        assert "Consultation close" in (await dpo.get(link)).text


async def test_what_nobody_sees_in_an_argument_is_left_out(consulted):
    async with consulted.visitor(await consulted.citizen()) as visitor:
        told = await sent(visitor, f"{PAGE}/arguments", cote="contre", argument="Non\x1b[2J.\r\nJamais.")
        assert "Votre argument est envoyé" in told.text
    async with consulted.visitor(OFFICER) as officer:
        assert "Non[2J.\nJamais." in (await officer.get(f"{PAGE}/moderation")).text
