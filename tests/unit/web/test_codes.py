"""Whoever works for the city reads words; the code stands behind them."""

from passerelle.agents.reading import Refusal
from passerelle.web.audit.labels import REASONS, TYPES
from passerelle.web.codes import CAUSES, REFUSALS, STAFF
from passerelle_consent.wire import Cause
from unit.web.control_room import a_room
from unit.web.people import SECOND, opened
from unit.web.test_account import said
from unit.web.test_office import objected, officer
from unit.web.town import people


def test_every_reason_and_cause_has_words_and_no_code_has_two_meanings():
    assert {code.value for code in Refusal} <= set(STAFF)
    assert {code.value for code in Cause} == set(CAUSES)
    tables = (TYPES, REASONS, REFUSALS, CAUSES)
    assert {code: {t[code] for t in tables if code in t} for code in STAFF} == {c: {w} for c, w in STAFF.items()}


async def test_the_desk_says_what_was_opened_and_objected_to(town):
    await town.citizen()
    await opened(town)
    await objected(town, "move-cleanliness")
    async with town.visitor(officer(SECOND)) as second, town.visitor(people()["officer"]) as head:
        assert "Plan canicule, en cas de danger pour la vie" in said(await second.get("/agents"))
        shown = said(await head.get("/agents"))
    assert "forte chaleur" in shown
    assert "Votre nouvelle adresse, pour les bacs de tri" in shown


async def test_an_article_is_cited_as_the_language_does(town):
    async with town.visitor() as anybody:
        assert "RGPD, article 6-1-a" in said(await anybody.get("/registre/meal-tariff-income/1"))
        assert "GDPR, Article 6(1)(a)" in said(await anybody.get("/en/registre/meal-tariff-income/1"))


async def test_the_control_room_says_why(town, tmp_path):
    a_room(town, tmp_path)
    async with town.visitor(people()["operator"]) as on_call:
        assert "Consentement retiré" in said(await on_call.get("/controle"))
        shown = said(await on_call.get("/controle/messages"))
        assert '<option value="rule-mended">La règle est corrigée</option>' in shown
        assert "Message illisible</h2>" in shown
        assert "Tarif de cantine (meal-tariff-income@1)" in said(await on_call.get("/controle/essai"))
