"""Guardians before the sharings of those for whom they speak: who is heard, who is waited for, and what stops it."""

import dataclasses
import re
from datetime import UTC, datetime

from passerelle.web.citizen.family import WARDS_KEPT_MS, age_at, relatives
from unit.records.fakes import identity
from unit.web.people import appoint, family, linked
from unit.web.test_account import said
from unit.web.test_citizen import fields

SCHOOLS = "birth-schools"
"""Asks both guardians (Code civil, art. 372-2)."""


def page_of(kid):
    return f"/mes-partages/pour/{kid}/accord/{SCHOOLS}"


async def answers(visitor, kid, word):
    shown = await visitor.get(page_of(kid))
    return await visitor.get((await visitor.post(page_of(kid), data=fields(shown, word))).headers["location"])


async def test_both_guardians_say_yes_and_one_no_stops_it(town):
    kid, mother, father = await family(town)
    async with town.visitor(mother) as she, town.visitor(father) as he:
        assert "Il faut le oui des deux" in said(await she.get(page_of(kid)))
        waits = said(await answers(she, kid, "give"))
        assert "il manque le oui de l’autre représentant" in waits
        assert "<title>Vous avez dit oui, l’autre représentant pas encore" in waits
        assert "Vous avez dit oui. Il manque le oui de l’autre" in said(await she.get(page_of(kid)))
        assert "L’autre représentant a dit oui. Il manque le vôtre." in said(await he.get(page_of(kid)))
        assert "le partage est permis" in said(await answers(he, kid, "give"))
        assert 'aria-checked="true"' in (await she.get(page_of(kid))).text
        assert "plus rien n’est envoyé" in said(await answers(she, kid, "withdraw"))
        assert 'aria-checked="false"' in (await he.get(page_of(kid))).text


async def test_a_guardian_takes_back_a_yes_that_still_waits(town):
    kid, mother, father = await family(town)
    async with town.visitor(mother) as she, town.visitor(father) as he:
        await answers(she, kid, "give")
        await answers(she, kid, "refuse")
        assert "Il manque le vôtre" not in said(await he.get(page_of(kid)))
        assert "il manque le oui de l’autre" in said(await answers(he, kid, "give"))


async def test_whoever_is_not_heard_sees_why_and_no_switch(town):
    kid, mother, _ = await family(town)
    child = dataclasses.replace(mother, pseudonym=bytes.fromhex(kid))
    async with town.visitor(child) as visitor:
        shown = await visitor.get(f"/mes-partages/accord/{SCHOOLS}")
    assert "Un parent ou un tuteur décide ici." in said(shown)
    assert 'role="switch"' not in shown.text
    async with town.visitor(mother) as visitor:
        shown = await visitor.get(f"/mes-partages/accord/{SCHOOLS}")
    assert "Ce partage ne vise pas les personnes dans cette situation." in said(shown)


async def test_a_curator_assists_and_a_tutor_decides(town):
    adult = identity("Protégé")
    pseudonym = await linked(town, town.manifest.desk, adult)
    helper = await town.citizen("Aide")
    await appoint(town, identity("Aide"), adult, "curator")
    async with town.visitor(helper) as visitor:
        home = await visitor.get(f"/mes-partages/pour/{pseudonym}")
        assert "cette personne décide, vous l’assistez" in said(home)
        assert 'role="switch"' not in home.text
        await appoint(town, identity("Aide"), adult, "tutor", valid_from="2018-06-02T00:00:00Z")
        assert "Adulte que vous représentez" in said(await visitor.get(f"/mes-partages/pour/{pseudonym}"))


async def test_tabs_are_a_minute_old_at_most_and_a_wards_pages_are_not(town):
    adult, helper = identity("Protégé"), await town.citizen("Aide")
    pseudonym = await linked(town, town.manifest.desk, adult)
    async with town.visitor(helper) as visitor:
        assert pseudonym not in (await visitor.get("/mes-partages")).text
        await appoint(town, identity("Aide"), adult, "tutor")
        assert pseudonym not in (await visitor.get("/mes-partages")).text
        assert "Adulte que vous représentez" in said(await visitor.get("/compte/proches"))
        assert pseudonym in (await visitor.get("/mes-partages")).text
    async with town.visitor(helper) as visitor:
        await visitor.get("/mes-partages")
        await appoint(town, identity("Aide"), adult, "curator", valid_from="2018-06-02T00:00:00Z")
        town.city.clock.now_ms += WARDS_KEPT_MS
        assert "Adulte que vous assistez" in said(await visitor.get("/mes-partages"))


async def test_the_tabs_go_to_each_ward_on_every_page(town):
    kid, mother, _ = await family(town)
    async with town.visitor(mother) as visitor:
        for own, rest in (("/mes-partages", ""), ("/historique", "/historique"), ("/historique/lecteurs", "/lecteurs")):
            assert f'href="/mes-partages/pour/{kid}{rest}"' in (await visitor.get(own)).text
            there = await visitor.get(f"/mes-partages/pour/{kid}{rest}")
            assert f'href="/mes-partages/pour/{kid}{rest}" aria-current="page"' in there.text
            assert re.search(r"<h1[^>]*>[^<]*\s:\sEnfant,\s8\sans</h1>", there.text), "whose page it is"


WARD = {"pseudonym": "a" * 32, "relation": "parent", "until": "2036-03-13T23:00:00.000Z", "minor_until": None}


def test_two_who_would_be_called_the_same_are_numbered():
    now = datetime(2026, 5, 1, tzinfo=UTC)
    twins = [{**WARD, "pseudonym": c * 32, "minor_until": WARD["until"]} for c in "ba"]
    shown = relatives(twins, {}, now, lambda words, **values: words % values if values else words)
    assert [one.label for one in shown] == ["Enfant, 8 ans (1)", "Enfant, 8 ans (2)"]
    assert age_at(datetime(2044, 4, 30, tzinfo=UTC), now) == 0


def test_whoever_is_a_guardian_twice_sees_the_person_once():
    """By two judgments, say: the newest counts, which the consent service names first and judges by."""
    now = datetime(2026, 5, 1, tzinfo=UTC)
    again = [{**WARD, "relation": "curator", "until": None}, WARD]
    (shown,) = relatives(again, {}, now, lambda words, **values: words % values if values else words)
    assert (shown.relation, shown.until, shown.label) == ("curator", None, "Adulte que vous assistez")


async def test_ones_own_pseudonym_is_no_ward(town):
    """The consent service takes it as oneself: so does the page, and names nobody."""
    own = await town.citizen("Durand")
    async with town.visitor(own) as visitor:
        shown = await visitor.get(f"/mes-partages/pour/{own.pseudonym.hex()}/historique")
    assert shown.status_code == 200
    assert "Chaque envoi, et chaque refus" in shown.text


async def test_a_childs_page_begins_with_what_is_about_the_child(town):
    kid, mother, _ = await family(town)
    async with town.visitor(mother) as visitor:
        shown = said(await visitor.get(f"/mes-partages/pour/{kid}"))
        own = said(await visitor.get("/mes-partages"))
    first, _, folded = shown.partition('id="autres"')
    assert "prévoir une place à l'école" in first
    assert "Vos signalements dans la rue" not in first
    assert "Vos signalements dans la rue, pour la voirie" in folded
    assert "Vos signalements dans la rue" in own.partition('id="autres"')[0]
