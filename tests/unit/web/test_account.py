"""The account: who one is, what the city told, restriction, erasure, a copy; and the same for a ward."""

import dataclasses
import io
import json
import re
import zipfile
from datetime import UTC, datetime, timedelta
from html import unescape

import pytest

from passerelle_consent.receipts.keys import KeySet
from passerelle_consent.receipts.seal import open_sealed
from unit.records.fakes import citizen, until
from unit.web.people import SECOND, family, opened
from unit.web.town import form_token, people


def said(answer):
    return unescape(answer.text)


def fields(shown):
    """The hidden fields of a page's last form of its own: what a browser sends besides what is chosen."""
    form = re.findall(r'<form[^>]*method="post".*?</form>', shown.text.partition("<footer")[0], re.DOTALL)[-1]
    return {name: unescape(value) for name, value in re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', form)}


async def test_the_account_says_who_one_is_and_that_the_name_is_kept_nowhere(town):
    async with town.visitor(await town.citizen(), name="Claire Morel") as visitor:
        shown = await visitor.get("/compte")
    assert shown.status_code == 200, shown.text
    assert "Claire Morel" in shown.text
    assert "Il n’est écrit nulle part ici" in said(shown)
    assert "Majeur" in shown.text


async def test_somebody_of_the_city_sees_their_rights_and_nobody_is_asked_to_sign_in(town):
    async with town.visitor(people()["officer"], name="Lucie Amar") as officer, town.visitor() as nobody:
        assert "Responsable" in (await officer.get("/compte")).text
        assert "/connexion" in (await nobody.get("/compte")).headers["location"]


async def test_an_opening_for_ones_life_is_told_with_who_why_and_where_to_contest(town):
    who = await town.citizen()
    at_desk, override = await opened(town)
    async with town.visitor(who) as visitor:
        shown = await visitor.get("/compte")
        assert "Un responsable du service Cellule de crise" in said(shown)
        assert "forte chaleur" in said(shown)
        assert "Un autre responsable doit encore vérifier" in said(shown)
        assert f"mailto:{town.site.dpo}" in shown.text
        token = {"form-token": form_token(shown)}
        for _ in range(2):
            assert (await visitor.post(f"/compte/messages/{override}", data=token)).status_code == 303
        await town.city.call(
            "POST", f"/v1/subjects/{at_desk}/overrides/{override}/review", {"outcome": "justified"}, SECOND
        )
        again = said(await visitor.get("/compte"))
    assert "Message lu" in again or "1 message lu" in again
    assert "c’était justifié" in again


async def test_a_restriction_is_asked_for_with_a_reason_and_lifted(town):
    async with town.visitor(await town.citizen()) as visitor:
        form = await visitor.get("/compte/limitation")
        lacking = await visitor.post("/compte/limitation", data=fields(form))
        assert lacking.status_code == 422
        assert "Il manque une réponse" in lacking.text
        asked = await visitor.post("/compte/limitation", data={**fields(form), "motif": "18-1-a"})
        shown = await visitor.get(asked.headers["location"])
        assert "Limitation enregistrée" in shown.text
        assert "Effectif le" in shown.text
        lifted = await visitor.post("/compte/limitation/levee", data=fields(shown))
        assert "Limitation levée" in (await visitor.get(lifted.headers["location"])).text


async def test_a_form_of_another_tab_changes_nothing_and_says_what_holds_now(town):
    async with town.visitor(await town.citizen()) as visitor:
        old = fields(await visitor.get("/compte/limitation"))
        now = fields(await visitor.get("/compte/limitation"))
        await visitor.post("/compte/limitation", data={**now, "motif": "18-1-a"})
        stale = await visitor.post("/compte/limitation", data={**old, "motif": "18-1-c"})
        assert stale.status_code == 409
        assert "Quelque chose a changé entre-temps" in said(stale)
        assert "Lever la limitation" in stale.text


async def test_a_change_of_somebody_else_is_nobodys_to_look_at(town):
    async with town.visitor(await town.citizen("Durand")) as one, town.visitor(await town.citizen("Morel")) as other:
        form = await one.get("/compte/limitation")
        asked = await one.post("/compte/limitation", data={**fields(form), "motif": "18-1-a"})
        assert (await other.get(asked.headers["location"])).status_code == 404
        assert (await one.get("/compte/limitation?recu=x")).status_code == 404


async def test_erasure_takes_a_tick_and_signs_out_everywhere(town):
    who = await town.citizen()
    async with town.visitor(who) as visitor, town.visitor(who) as elsewhere:
        form = await visitor.get("/compte/effacement")
        assert "Ce que la loi garde" in form.text
        lacking = await visitor.post("/compte/effacement", data=fields(form))
        assert (lacking.status_code, "Rien n’a été effacé" in said(lacking)) == (422, True)
        done = await visitor.post("/compte/effacement", data={**fields(form), "compris": "oui"})
        assert done.status_code == 303, done.text
        shown = await visitor.get(done.headers["location"])
        assert "C’est effacé" in said(shown)
        assert "Se connecter" in shown.text
        for browser in (visitor, elsewhere):
            assert "/connexion" in (await browser.get("/compte")).headers["location"]
    standing = await town.city.call("GET", "/v1/subjects/me/standing", None, citizen(who.pseudonym.hex()))
    assert standing.status_code == 404


async def test_what_an_erasure_did_is_for_the_browser_that_asked_and_for_a_quarter_of_an_hour(town):
    async with town.visitor(await town.citizen()) as visitor, town.visitor() as stranger:
        form = await visitor.get("/compte/effacement")
        done = await visitor.post("/compte/effacement", data={**fields(form), "compris": "oui"})
        assert (await stranger.get(done.headers["location"])).headers["location"] == "/"
        town.city.clock.now_ms += 16 * 60_000
        assert (await visitor.get(done.headers["location"])).headers["location"] == "/"


async def test_a_copy_holds_signed_parts_that_check_with_the_keys_beside_them(town):
    async with town.visitor(await town.citizen()) as visitor:
        form = await visitor.get("/compte/limitation")
        await visitor.post("/compte/limitation", data={**fields(form), "motif": "18-1-a"})
        copy = await visitor.get("/en/compte/copie/passerelle.zip")
    assert copy.headers["content-disposition"] == 'attachment; filename="passerelle.zip"'
    with zipfile.ZipFile(io.BytesIO(copy.content)) as folder:
        held = {name: folder.read(name).decode() for name in folder.namelist()}
    opened = open_sealed(held["passerelle-export-1.jws"], KeySet.read(held["keys.json"]))
    assert opened.content["changes"][0]["said"]["state"] == "restricted"
    assert json.loads(held["passerelle-export-1.json"])["changes"] == opened.content["changes"]
    assert "passerelle receipt verify" in held["LISEZ-MOI.txt"]


async def test_a_ward_is_called_as_the_guardianship_says_or_as_the_guardian_does(town):
    kid, mother, father = await family(town)
    async with town.visitor(mother) as visitor, town.visitor(father) as other:
        shown = await visitor.get("/compte/proches")
        assert "Enfant, 8 ans" in shown.text
        assert "14 mars 2036" in said(shown)
        await visitor.post(f"/compte/proches/{kid}/nom", data={**fields(shown), "nom": "  Inès "})
        assert "Inès" in (await visitor.get("/compte/proches")).text
        assert "Inès" not in (await other.get("/compte/proches")).text
    async with town.visitor(mother) as later:
        assert "Inès" not in (await later.get("/compte/proches")).text


async def test_a_guardian_restricts_for_a_ward_and_nobody_else_sees_the_ward(town):
    kid, mother, _ = await family(town)
    async with town.visitor(mother) as visitor, town.visitor(await town.citizen("Inconnu")) as stranger:
        form = await visitor.get(f"/compte/proches/{kid}/limitation")
        asked = await visitor.post(f"/compte/proches/{kid}/limitation", data={**fields(form), "motif": "18-1-a"})
        assert "Limitation enregistrée" in (await visitor.get(asked.headers["location"])).text
        assert "Oui, depuis le" in (await visitor.get(f"/compte/proches/{kid}")).text
        assert "Oui, depuis le" not in (await visitor.get("/compte")).text
        for page in ("", "/limitation", "/effacement", "/copie", "/copie/passerelle.zip"):
            assert (await stranger.get(f"/compte/proches/{kid}{page}")).status_code == 404


async def test_a_guardian_erases_a_ward_and_stays_signed_in(town):
    kid, mother, _ = await family(town)
    async with town.visitor(mother) as visitor:
        form = await visitor.get(f"/compte/proches/{kid}/effacement")
        done = await visitor.post(f"/compte/proches/{kid}/effacement", data={**fields(form), "compris": "oui"})
        assert "ne connaît plus cette personne" in said(await visitor.get(done.headers["location"]))
        assert (await visitor.get("/compte")).status_code == 200
        assert (await visitor.get(f"/compte/proches/{kid}")).status_code == 404


async def test_whoever_looked_is_listed_and_a_ward_sees_the_guardian_look(town):
    kid, mother, _ = await family(town)
    async with town.visitor(mother) as visitor:
        await visitor.get(f"/compte/proches/{kid}")
        await until(lambda: any(e.reader == "guardian" for e in town.city.broker.journal()))
        town.told.integrate()
        town.told.index_all()
        own = said(await visitor.get("/historique/lecteurs"))
        of_kid = said(await visitor.get(f"/mes-partages/pour/{kid}/lecteurs"))
    assert "Personne d’autre n’a regardé" in own
    assert "Votre représentant" in of_kid
    assert 'aria-current="page"' in of_kid


async def test_a_minor_is_told_why_there_is_no_button_to_lift(town):
    kid, mother, _ = await family(town)
    own = dataclasses.replace(mother, pseudonym=bytes.fromhex(kid))
    async with town.visitor(own) as visitor:
        form = await visitor.get("/compte/limitation")
        asked = await visitor.post("/compte/limitation", data={**fields(form), "motif": "18-1-a"})
        shown = await visitor.get(asked.headers["location"])
        assert "Il n’y a donc pas de bouton ici" in said(shown)
        forced = await visitor.post("/compte/limitation/levee", data={"form-token": fields(form)["form-token"]})
        assert (forced.status_code, "Rien n’a été changé" in said(forced)) == (409, True)
        assert "Qui répond pour vous" in (await visitor.get("/compte")).text


@pytest.mark.parametrize("days", [0, 1])
async def test_a_child_is_a_year_older_on_the_birthday(town, days):
    start = datetime.fromtimestamp(town.site.clock() / 1000, UTC).date()
    born = (start + timedelta(days=days)).replace(year=start.year - 6)
    _, mother, _ = await family(town, born=born.isoformat())
    async with town.visitor(mother) as visitor:
        assert f"Enfant, {5 if days else 6} ans" in (await visitor.get("/compte/proches")).text
