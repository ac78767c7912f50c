import re

import pytest

from passerelle.web.languages import Language
from passerelle.web.rendering import TEMPLATES
from passerelle.web.sessions import Audience
from passerelle.web.signing_in.provider import SignInFailed
from passerelle.web.signing_in.routes import ASKED_COOKIE, BACK
from passerelle.web.visit import NeedsSignIn


@pytest.mark.parametrize("path", ["/", "/aide", "/accessibilite", "/connexion", "/deconnexion/faite"])
@pytest.mark.parametrize(("prefix", "language"), [("", "fr"), ("/en", "en")])
async def test_public_pages_are_there_in_both_languages(town, path, prefix, language):
    async with town.visitor() as visitor:
        answer = await visitor.get(prefix + path)
    assert answer.status_code == 200
    assert f'<html lang="{language}"' in answer.text
    assert answer.headers["cache-control"] == "no-store"


async def test_nothing_inline_is_allowed_and_nothing_inline_is_there(town):
    async with town.visitor() as visitor:
        answer = await visitor.get("/")
    policy = answer.headers["content-security-policy"]
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    assert "style-src 'self';" in policy


def test_no_template_has_an_inline_script_or_style():
    for path in TEMPLATES.rglob("*.html"):
        text = path.read_text()
        assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=|hx-on|javascript:", text), path


async def test_an_unknown_page_says_so_in_the_readers_language(town):
    async with town.visitor() as visitor:
        french, english = await visitor.get("/nulle-part"), await visitor.get("/en/nowhere")
    assert (french.status_code, english.status_code) == (404, 404)
    assert "n’existe pas" in french.text
    assert 'lang="en"' in english.text


async def test_the_theme_is_kept_and_one_goes_back_to_our_pages_alone(town):
    async with town.visitor() as visitor:
        there = await visitor.get("/affichage?theme=dark&retour=/aide")
        assert there.headers["location"] == "/aide"
        assert 'data-color-scheme="dark"' in (await visitor.get("/")).text
        for elsewhere in ("https://evil.example/", "//evil.example/", "/\\evil.example"):
            away = await visitor.get("/affichage", params={"theme": "dark", "retour": elsewhere})
            assert away.headers["location"] == "/"


async def test_a_form_that_was_not_made_for_this_session_changes_nothing(town):
    async with town.visitor(await town.citizen()) as visitor:
        answer = await visitor.post("/deconnexion", data={"form-token": "00" * 32})
    assert answer.status_code == 403
    assert "Rien n’a été changé" in answer.text


async def test_a_form_of_somebody_who_is_no_longer_signed_in_is_kept(town):
    @town.app.post("/essai")
    async def _needs():
        raise NeedsSignIn(Audience.CITIZEN)

    async with town.visitor() as visitor:
        answer = await visitor.post("/essai", data={"reason": "parce que", "form-token": "x"})
        assert answer.status_code == 303
        assert answer.headers["location"].startswith("/connexion")
        kept = town.site.kept.form(visitor.cookies["kept-form"])
    assert kept.path == "/essai"
    assert kept.fields == [("reason", "parce que")]


async def test_a_body_that_is_too_long_is_refused(town):
    async with town.visitor() as visitor:
        answer = await visitor.post("/deconnexion", data={"x": "a" * 70_000})
    assert answer.status_code == 413


async def test_assets_are_compressed_and_kept_for_ever(town):
    async with town.visitor() as visitor:
        answer = await visitor.get(town.site.assets.url("site.css"))
    assert answer.headers["content-encoding"] == "gzip"
    assert "immutable" in answer.headers["cache-control"]


@pytest.mark.parametrize(
    ("path", "language"),
    [("/", "fr"), ("/en", "en"), ("/en?q=x", "en"), ("/en/aide", "en"), ("/entree", "fr"), ("/aide?q=/en/", "fr")],
)
def test_an_address_tells_its_language(path, language):
    assert Language.of(path) == language


class NobodyConfirmed:
    """A provider whose answers are never good."""

    async def answer(self, *_):
        raise SignInFailed("test")


@pytest.mark.parametrize(("prefix", "language"), [("", "fr"), ("/en", "en")])
async def test_whoever_comes_back_from_the_provider_is_spoken_to_as_before(town, prefix, language):
    town.site.providers[Audience.CITIZEN] = NobodyConfirmed()
    token, asked = town.site.kept.ask(Audience.CITIZEN, f"{prefix}/mes-partages", None)
    async with town.visitor() as visitor:
        visitor.cookies.set(ASKED_COOKIE, token)
        answer = await visitor.get(BACK, params={"state": asked.state, "code": "x"})
    assert (answer.status_code, f'<html lang="{language}"' in answer.text) == (400, True)
