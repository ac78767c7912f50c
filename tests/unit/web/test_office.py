"""The officers' office: what waits, what they say to it, and who they record as whose guardian."""

import re
from html import unescape

from passerelle.issuer import Bearing
from unit.records.fakes import citizen, identity
from unit.web.people import RESCUER, SECOND, child, family, linked, opened
from unit.web.test_account import fields, said
from unit.web.town import form_token, people


def officer(who):
    return Bearing(scopes=["officer"], department=who["department"], subject=who["sub"])


async def test_whoever_is_no_officer_begins_at_their_own_page(town):
    async with town.visitor(people()["auditor"]) as auditor, town.visitor(await town.citizen()) as somebody:
        assert (await auditor.get("/agents")).headers["location"] == "/audit"
        assert "/connexion" in (await somebody.get("/agents")).headers["location"]
        assert (await auditor.get("/agents/representants")).status_code == 403


async def test_another_officer_reviews_an_opening_once(town):
    await town.citizen()
    await opened(town)
    async with town.visitor(officer(RESCUER)) as first, town.visitor(officer(SECOND)) as second:
        own = said(await first.get("/agents"))
        assert "Vous l’avez ouverte" in own
        assert "C’était justifié" not in own
        shown = await second.get("/agents")
        (path,) = re.findall(r'action="(/agents/urgences/[^"]+)"', shown.text)
        assert (await second.post(path, data=fields(shown))).status_code == 422
        done = await second.post(path, data={**fields(shown), "verdict": "not-justified"})
        assert "Vérification enregistrée" in (await second.get(done.headers["location"])).text
        again = await second.post(path, data={"form-token": form_token(shown), "verdict": "justified"})
        assert (again.status_code, "déjà répondu" in said(again)) == (409, True)
        forced = await first.post(
            path, data={"form-token": form_token(await first.get("/agents")), "verdict": "justified"}
        )
        assert forced.status_code == 409


async def objected(town, agreement):
    who = await town.citizen()
    pseudonym = who.pseudonym.hex()
    answer = await town.city.call("POST", f"/v1/subjects/me/agreements/{agreement}/object", {}, citizen(pseudonym))
    assert answer.status_code == 200, answer.text


async def test_an_objection_is_followed_or_answered_with_a_ground_and_its_law(town):
    await objected(town, "move-cleanliness")
    async with town.visitor(people()["officer"]) as head:
        shown = await head.get("/agents")
        path = re.findall(r'action="(/agents/oppositions/[^"]+)"', shown.text)[0]
        token = {"form-token": form_token(shown), "reponse": "resumed"}
        assert (await head.post(path, data={**token, "motif": "meals"})).status_code == 422
        refused = await head.post(path, data={**token, "motif": "Des mots", "loi": "CGCT, article L. 2224-13"})
        assert (refused.status_code, "Le motif est un code" in said(refused)) == (409, True)
        done = await head.post(path, data={**token, "motif": "equal-access", "loi": "CGCT, article L. 2224-13"})
        assert "Réponse enregistrée" in (await head.get(done.headers["location"])).text
        assert "Aucune opposition n’attend" in said(await head.get("/agents"))


async def test_a_registrar_records_a_guardian_and_others_are_told_that_they_do_not(town):
    mother = await town.citizen("Mère")
    await linked(town, town.manifest.desk, child())
    kid, parent = [await linked(town, "civil-registry", who) for who in (child(), identity("Mère"))]
    asked = {"personne": kid, "qui": parent, "relation": "parent", "piece": "EC-2018/114", "du": "2018-06-01"}
    async with town.visitor(people()["officer"]) as registrar, town.visitor(officer(SECOND)) as other:
        form = await registrar.get("/agents/representants")
        for wrong in ({"du": "hier"}, {"qui": "0" * 32}, {"relation": "curator"}, {"qui": kid}, {"piece": "x"}):
            answer = await registrar.post("/agents/representants", data={**fields(form), **asked, **wrong})
            assert (answer.status_code, "Rien n’a été inscrit" in said(answer)) == (422, True), wrong
        done = await registrar.post("/agents/representants", data={**fields(form), **asked})
        assert "C’est inscrit" in said(await registrar.get(done.headers["location"]))
        form = await other.get("/agents/representants")
        refused = await other.post("/agents/representants", data={**fields(form), **asked})
        assert "La ville en a chargé un autre" in unescape(refused.text)
    async with town.visitor(mother) as visitor:
        assert "Enfant, 8 ans" in (await visitor.get("/compte/proches")).text


async def test_a_registrar_ends_a_guardianship_on_a_named_judgment_said_twice(town):
    _, mother, _ = await family(town)
    kid = await linked(town, "civil-registry", child())
    where = f"/agents/representants/fin?personne={kid}"
    async with town.visitor(people()["officer"]) as registrar, town.visitor(officer(SECOND)) as other:
        assert "forme" in said(await registrar.get("/agents/representants/fin?personne=x"))
        shown = await registrar.get(where)
        ends = re.findall(r'action="(/agents/representants/fin/[^"]+)"', shown.text)
        assert len(ends) == 2
        sent = {**fields(shown), "piece": "TJ-RG-26/0042", "compris": "oui"}
        for lacking in ({"compris": ""}, {"piece": ""}, {"piece": "lower"}):
            refused = await registrar.post(ends[0], data={**sent, **lacking})
            assert (refused.status_code, "Rien n’a été changé" in said(refused)) == (422, True), lacking
        assert (await registrar.post(ends[0], data={**sent, "form-token": "0" * 64})).status_code == 403
        assert "La ville en a chargé un autre" in said(
            await other.post(ends[0], data={**sent, **fields(await other.get("/agents/representants"))})
        )
        done = await registrar.post(ends[0], data=sent)
        assert "C’est fini" in said(await registrar.get(done.headers["location"]))
        left = await registrar.get(where)
        assert len(re.findall(r'action="/agents/representants/fin/', left.text)) == 1
        assert "1 représentation finie" in said(left)
        again = await registrar.post(ends[0], data={**sent, **fields(left)})
        assert "a déjà pris fin" in said(again)
        await registrar.post(ends[1], data={**sent, **fields(left)})
    async with town.visitor(mother) as visitor:
        assert "Enfant, 8 ans" not in (await visitor.get("/compte/proches")).text
