"""axe-core finds nothing: every page, both languages, both themes, phone and desktop.

Each theme is seen at one width, which is each colour and each layout once; `PASSERELLE_AXE=all` sees all four ways.
"""

import os

import pytest

from browser.conftest import DESKTOP, PHONE, violations

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

PUBLIC = ["/", "/aide", "/accessibilite", "/connexion", "/deconnexion/faite", "/nulle-part"]
ALL = [(width, theme) for width in (PHONE, DESKTOP) for theme in ("light", "dark")]
SEEN = ALL if os.environ.get("PASSERELLE_AXE") == "all" else [(PHONE, "light"), (DESKTOP, "dark")]


async def found_on(browser, served, paths, *, cookies=()):
    """What axe finds on some pages, in every way that they are seen."""
    found = {}
    for viewport, theme in SEEN:
        context = await browser.new_context(viewport=viewport, base_url=served.site.public_url, bypass_csp=True)
        names = [{"name": "theme", "value": theme}, *cookies]
        await context.add_cookies([{**c, "url": served.site.public_url} for c in names])
        tab = await context.new_page()
        for path in paths:
            for prefix in ("", "/en"):
                await tab.goto(prefix + path)
                if seen := await violations(tab):
                    found[prefix + path, viewport["width"], theme] = seen
                wide = await tab.evaluate("document.documentElement.scrollWidth - innerWidth")
                if wide > 0:
                    found[prefix + path, viewport["width"], theme, "scrolls sideways"] = wide
        await context.close()
    return found


async def test_public_pages(browser, served):
    assert await found_on(browser, served, PUBLIC) == {}
