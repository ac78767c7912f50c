"""Who looks at a page, and how: language, theme, session. A dependency of every route.

@router.get("/mes-partages")
async def home(visit: Citizen) -> Response:
    standing = await visit.site.consent.read(visit.who, "/v1/subjects/me/standing")
    return page(visit, "citizen/home.html", …)

@router.post("/mes-partages/{agreement}")
async def answer(visit: Citizen, form: Form, agreement: str) -> Response: …
"""

from collections.abc import Awaitable, Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import Depends, Request
from markupsafe import Markup
from starlette.datastructures import FormData

from passerelle.issuer import Bearing
from passerelle.web.formats import Formats
from passerelle.web.fragments import Macro
from passerelle.web.languages import Language, typeset, words
from passerelle.web.sessions import Audience, Person, Session, form_token, is_form_token
from passerelle.web.site import Site

SESSION_COOKIE = "session"
THEME_COOKIE = "theme"
THEMES = ("auto", "light", "dark")
FORM_TOKEN = "form-token"  # noqa: S105 - the field's name
FIELDS_MAX = 60


class NeedsSignIn(Exception):
    """The page is for somebody who is signed in. What was posted is kept until they are."""

    def __init__(self, audience: Audience) -> None:
        super().__init__(audience.value)
        self.audience = audience


class NotForYou(Exception):
    """Somebody is signed in who may not see this page."""


class StaleForm(Exception):
    """The form was not made for this session: of before the sign-in, or of another site."""


@dataclass(frozen=True, kw_only=True)
class Visit:
    """One request for a page."""

    request: Request
    site: Site
    language: Language
    theme: str
    session: Session | None

    @property
    def path(self) -> str:
        """Of the page, without its language."""
        return self.request.url.path.removeprefix(self.language.prefix) or "/"

    @property
    def person(self) -> Person | None:
        """Who is signed in."""
        return None if self.session is None else self.session.person

    @property
    def who(self) -> Bearing:
        """Whom the consent service is asked for. Raises `NeedsSignIn`."""
        if self.session is None:
            raise NeedsSignIn(Audience.CITIZEN)
        return self.session.person.bearing

    @property
    def formats(self) -> Formats:
        """How its language writes times and numbers."""
        return Formats(language=self.language, zone=self.site.zone)

    def say(self, message: str, **values: object) -> str:
        """A French message in the page's language, with `%(name)s` filled in."""
        said = words(self.language).gettext(message)
        return said % values if values else said

    def say_count(self, one: str, many: str, n: int) -> str:
        """The same with a number `n`."""
        return words(self.language).ngettext(one, many, n) % {"n": self.formats.number(n)}

    def to(self, path: str, **query: object) -> str:
        """The address of one of our pages in the page's language."""
        asked = {name: value for name, value in query.items() if value not in (None, "")}
        return self.language.prefix + path + (f"?{urlencode(asked, doseq=True)}" if asked else "")

    @property
    def elsewhere(self) -> str:
        """The address of this same page in the other language. What is there by posting has no address: its start."""
        if self.request.method != "GET":
            return self.language.other.prefix + "/"
        query = self.request.url.query
        return self.language.other.prefix + self.path + (f"?{query}" if query else "")

    def form_token(self) -> str:
        """What a form carries, so that no other site can send it for this person."""
        return "" if self.session is None else form_token(self.session)

    def kept(self, macro: Macro, *args: Any, key: Hashable = None) -> Markup:
        """What a macro writes for a key, by default its arguments, in the page's language (`fragments`)."""
        return self.site.fragments.kept(macro, args, (self.language, args if key is None else key))

    def text(self, text: Mapping[str, str]) -> str:
        """Of a text in both languages, as the service gives it, the page's own."""
        return typeset(text[self.language.value], self.language)

    def department(self, name: str) -> str:
        """A department as people call it."""
        return self.site.department(name, self.language.value)


async def visiting(request: Request) -> Visit:
    """Gather who looks: a dependency, for pages that everybody may see."""
    site: Site = request.app.state.site
    theme = request.cookies.get(THEME_COOKIE, THEMES[0])
    return Visit(
        request=request,
        site=site,
        # What goes wrong outside of the language's middleware is told in French.
        language=getattr(request.state, "language", Language.FR),
        theme=theme if theme in THEMES else THEMES[0],
        session=site.sessions.find(request.cookies.get(SESSION_COOKIE)),
    )


Anybody = Annotated[Visit, Depends(visiting)]


async def _citizen(visit: Anybody) -> Visit:
    if visit.person is None or visit.person.audience is not Audience.CITIZEN:
        raise NeedsSignIn(Audience.CITIZEN)
    return visit


Citizen = Annotated[Visit, Depends(_citizen)]
"""Somebody who looks at what is shared about them, or about those that they answer for."""


def staff(*scopes: str) -> Callable[[Visit], Awaitable[Visit]]:
    """Return a dependency: somebody of the city with one of these scopes. Raises `NeedsSignIn` and `NotForYou`."""

    async def admitted(visit: Anybody) -> Visit:
        if visit.person is None or visit.person.audience is not Audience.STAFF:
            raise NeedsSignIn(Audience.STAFF)
        if not visit.person.may(*scopes):
            raise NotForYou
        return visit

    return admitted


Officer = Annotated[Visit, Depends(staff("officer"))]
Auditor = Annotated[Visit, Depends(staff("auditor"))]
Operator = Annotated[Visit, Depends(staff("operator"))]


async def _form(request: Request, visit: Anybody) -> FormData:
    form = await request.form(max_fields=FIELDS_MAX, max_files=0)
    if visit.session is not None and not is_form_token(visit.session, str(form.get(FORM_TOKEN, ""))):
        raise StaleForm
    return form


Form = Annotated[FormData, Depends(_form)]
"""A form of ours, which nobody else sent. Declared after `Citizen` and the like. Raises `StaleForm`."""
