"""HTML: Jinja templates, one environment for each language; everything is escaped, nothing is inline."""

import secrets
from collections.abc import Callable
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, nodes
from jinja2.visitor import NodeTransformer
from markupsafe import Markup
from starlette.responses import HTMLResponse

from passerelle.web import codes
from passerelle.web.languages import Language, Words, words
from passerelle.web.visit import Visit
from passerelle.web.words import FILTERS

TEMPLATES = Path(__file__).parent / "templates"
MESSAGES_KEPT = 4_096
"""Of a language: twice as many as there are."""


class _Speaking(Environment):
    """Templates of one language: what stands in them to be said is said when they are compiled.

    A page says some two hundred messages; asked for each time, they were a third of its making.
    """

    spoken: Words

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        template: nodes.Template = _Said(self.spoken).visit(super()._parse(source, name, filename))
        return template


class _Said(NodeTransformer):
    """Puts the translation in the place of each call that translates a constant."""

    def __init__(self, spoken: Words) -> None:
        self._spoken = spoken

    def visit_Call(self, call: nodes.Call) -> nodes.Node:  # noqa: N802 - named by the visitor
        """Of `_("…")` and `{% trans %}…{% endtrans %}`: those that nothing is filled into."""
        self.generic_visit(call)
        named = isinstance(call.node, nodes.Name) and call.node.name in ("_", "gettext")
        filled = call.kwargs or call.dyn_args or call.dyn_kwargs
        if not named or filled or len(call.args) != 1 or not isinstance(call.args[0], nodes.Const):
            return call
        said = Markup(self._spoken.gettext(call.args[0].value)) % {}  # noqa: S704 - messages are ours
        return nodes.MarkSafe(nodes.Const(said), lineno=call.lineno)


@cache
def environment(language: Language) -> Environment:
    """Return the templates of one language."""
    env = _Speaking(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        extensions=["jinja2.ext.i18n"],
    )
    env.policies["ext.i18n.trimmed"] = True
    env.spoken = words(language)
    # The extension adds this method to the environment, which its type does not know.
    env.install_gettext_callables(env.spoken.gettext, env.spoken.ngettext, newstyle=True)  # type: ignore[attr-defined]
    env.globals["gettext"] = env.globals["_"] = _saying(env.spoken.gettext)
    env.filters.update(FILTERS | codes.FILTERS)
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
    """What Jinja's own new-style gettext does, with each message made safe once."""

    @lru_cache(maxsize=MESSAGES_KEPT)
    def said(message: str) -> Markup:
        return Markup(gettext(message))  # noqa: S704 - messages are ours, and what is filled in is escaped

    return lambda message, **values: said(message) % values


def page(visit: Visit, template: str, *, status: int = 200, **context: Any) -> HTMLResponse:
    """Render a page. In every template: ``visit``, ``site``, ``f`` (formats), ``to`` (addresses), ``form_key()``."""
    html = (
        environment(visit.language)
        .get_template(template)
        .render(visit=visit, site=visit.site, f=visit.formats, to=visit.to, **context)
    )
    return HTMLResponse(html, status_code=status, headers={"Content-Language": visit.language.value})
