"""A page for everybody is made once in a while; whoever is signed in gets their own."""

from types import SimpleNamespace

import pytest
from starlette.responses import HTMLResponse

from passerelle.web import shared
from passerelle.web.languages import Language
from passerelle.web.shared import SharedPages


class Making:
    """Makes a page that tells how often it was made."""

    def __init__(self, status=200):
        self.times, self.status = 0, status

    async def __call__(self):
        self.times += 1
        return HTMLResponse(f"no. {self.times}", status_code=self.status, headers={"Content-Language": "fr"})


def visit(path="/registre", *, query="", language=Language.FR, theme="auto", session=None):
    request = SimpleNamespace(url=SimpleNamespace(path=path, query=query))
    return SimpleNamespace(request=request, language=language, theme=theme, session=session)


async def test_it_is_made_once_for_all_who_are_not_signed_in():
    pages, make = SharedPages(), Making()
    first, second = [await pages.page(visit(), make) for _ in range(2)]
    assert first.body == second.body == b"no. 1"
    assert second.headers["content-language"] == "fr"
    first.headers["set-cookie"] = "of one answer"
    assert "set-cookie" not in (await pages.page(visit(), make)).headers


@pytest.mark.parametrize(
    "other", [{"query": "q=x"}, {"path": "/registre/a/1"}, {"language": Language.EN}, {"theme": "dark"}]
)
async def test_another_address_language_or_theme_is_another_page(other):
    pages, make = SharedPages(), Making()
    await pages.page(visit(), make)
    assert (await pages.page(visit(**other), make)).body == b"no. 2"


async def test_whoever_is_signed_in_gets_their_own_and_leaves_nothing_to_others():
    pages, make = SharedPages(), Making()
    await pages.page(visit(session=object()), make)
    assert (await pages.page(visit(), make)).body == b"no. 2"
    assert (await pages.page(visit(session=object()), make)).body == b"no. 3"


async def test_what_is_old_or_went_wrong_is_made_anew(monkeypatch):
    pages, make, wrong = SharedPages(), Making(), Making(status=404)
    for _ in range(2):
        await pages.page(visit("/registre/x/1"), wrong)
    assert wrong.times == 2
    await pages.page(visit(), make)
    monkeypatch.setattr(shared, "KEPT_S", 0.0)
    assert (await pages.page(visit(), make)).body == b"no. 2"


async def test_it_keeps_so_many():
    pages, make = SharedPages(), Making()
    for n in range(shared.KEPT_MAX + 1):
        await pages.page(visit(query=f"q={n}"), make)
    await pages.page(visit(query="q=0"), make)
    assert make.times == shared.KEPT_MAX + 2
