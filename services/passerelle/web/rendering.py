"""HTML: Jinja templates, one environment for each language; everything is escaped, nothing is inline."""

import secrets
from collections.abc import Callable
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.responses import HTMLResponse

from passerelle.web.languages import Language, words
from passerelle.web.visit import Visit
from passerelle.web.words import FILTERS

TEMPLATES = Path(__file__).parent / "templates"
MESSAGES_KEPT = 4_096
"""Of a language: twice as many as there are."""


@cache
def environment(language: Language) -> Environment:
    """Return the templates of one language."""
    env = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        extensions=["jinja2.ext.i18n"],
    )
    env.policies["ext.i18n.trimmed"] = True
    spoken = words(language)
    env.install_gettext_callables(spoken.gettext, spoken.ngettext, newstyle=True)  # type: ignore[attr-defined]
    env.globals["gettext"] = env.globals["_"] = _saying(spoken.gettext)
    env.filters.update(FILTERS)
    env.globals["colon"] = "\u00a0: " if language is Language.FR else ": "
    env.globals["form_key"] = lambda: secrets.token_urlsafe(16)
    return env


def compile_all() -> None:
    """Compile every template: else whoever is first at a page waits for it, and everybody behind them."""
    for language in Language:
        env = environment(language)
        for name in env.list_templates(extensions=["html"]):
            env.get_template(name)


def _saying(gettext: Callable[[str], str]) -> Callable[..., Markup]:
    """What Jinja's own new-style gettext does, once for each message: a page says some two hundred."""

    @lru_cache(maxsize=MESSAGES_KEPT)
    def said(message: str) -> Markup:
        return Markup(gettext(message))  # noqa: S704 - messages are ours, and what is filled in is escaped

    @lru_cache(maxsize=MESSAGES_KEPT)
    def whole(message: str) -> Markup:
        return said(message) % {}

    def saying(message: str, **values: object) -> Markup:
        return said(message) % values if values else whole(message)

    return saying


def page(visit: Visit, template: str, *, status: int = 200, **context: Any) -> HTMLResponse:
    """Render a page. In every template: ``visit``, ``site``, ``f`` (formats), ``to`` (addresses), ``form_key()``."""
    html = (
        environment(visit.language)
        .get_template(template)
        .render(visit=visit, site=visit.site, f=visit.formats, to=visit.to, **context)
    )
    return HTMLResponse(html, status_code=status, headers={"Content-Language": visit.language.value})
