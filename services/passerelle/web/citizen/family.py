"""For whom somebody speaks here: their children, and adults whom a judgment has them represent. Pure but for `read`.

The bus holds no names. What a guardian is shown of a ward is what the guardianship says: the relation, its end and, of
a minor, the age that follows from majority. A guardian may write a name of their own choosing: it stays in the session.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Depends
from starlette.exceptions import HTTPException

from passerelle.web.sessions import Wards
from passerelle.web.visit import Citizen, Visit
from passerelle_consent.policy.days import MAJORITY_YEARS, reached_ms

ME = "me"
OF_WARD = "/compte/proches/{pseudonym}"
"""What the account's pages of a ward begin with."""
LABEL_CHARS_MAX = 40
WARDS_KEPT_MS = 60_000
"""A guardianship begins and ends at a counter, some times in a life."""
Say = Callable[..., str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Relative:
    """Somebody for whom the person who is signed in speaks."""

    pseudonym: str
    relation: str
    """`parent`, `tutor` or `curator`."""
    label: str
    """What the pages call them: the guardian's own word, or what the guardianship says."""
    named: bool
    """Whether the label is the guardian's own."""
    until: str | None
    """The end of the guardianship (RFC 3339)."""
    minor_until: str | None
    """A minor's majority or emancipation; None of an adult."""
    age: int | None
    """Of a minor, in whole years."""

    @property
    def minor(self) -> bool:
        """Whether it is a child."""
        return self.age is not None

    @property
    def ends_early(self) -> bool:
        """Whether the guardianship ends before majority does it."""
        return self.until != self.minor_until

    @property
    def only_assisted(self) -> bool:
        """Whether this adult decides, and the guardian stands beside (French Civil Code, art. 467)."""
        return self.relation == "curator"


@dataclass(frozen=True, kw_only=True, slots=True)
class Whom:
    """Whom a page is about: oneself, or one of those for whom one speaks."""

    relative: Relative | None = None

    @property
    def subject(self) -> str:
        """What stands in the consent service's paths."""
        return ME if self.relative is None else self.relative.pseudonym

    @property
    def account(self) -> str:
        """The path of the account page."""
        return "/compte" if self.relative is None else f"/compte/proches/{self.relative.pseudonym}"

    @property
    def sharings(self) -> str:
        """The path of the sharings."""
        return "/mes-partages" if self.relative is None else f"/mes-partages/pour/{self.relative.pseudonym}"

    @property
    def readers(self) -> str:
        """The path of the list of readers."""
        own = self.relative is None
        return "/historique/lecteurs" if own else f"{self.sharings}/lecteurs"


def relatives(wards: Sequence[Mapping[str, Any]], labels: Mapping[str, str], now: datetime, say: Say) -> list[Relative]:
    """Return the consent service's wards as pages show them: children first, the youngest before.

    ``labels``: the guardian's own words, by pseudonym. Two who would be called the same are numbered. Whoever is
    somebody's guardian by two records, of birth and of a judgment, say, is shown them once.
    """
    found = [_relative(ward, labels, now, say) for ward in _each_once(wards)]
    found.sort(key=lambda one: (one.age is None, one.age or 0, one.pseudonym))
    called = Counter(one.label for one in found)
    seen: Counter[str] = Counter()
    shown = []
    for one in found:
        seen[one.label] += 1
        again = called[one.label] > 1
        shown.append(replace(one, label=f"{one.label} ({seen[one.label]})") if again else one)
    return shown


def _each_once(wards: Sequence[Mapping[str, Any]]) -> Iterable[Mapping[str, Any]]:
    """Return one record of each ward: the newest, which comes first, and by which the consent service judges too."""
    return {ward["pseudonym"]: ward for ward in reversed(wards)}.values()


def _relative(ward: Mapping[str, Any], labels: Mapping[str, str], now: datetime, say: Say) -> Relative:
    majority = None if ward["minor_until"] is None else datetime.fromisoformat(ward["minor_until"])
    age = None if majority is None or majority <= now else age_at(majority, now)
    own = labels.get(ward["pseudonym"])
    return Relative(
        pseudonym=ward["pseudonym"],
        relation=ward["relation"],
        label=own or _label(ward["relation"], age, say),
        named=own is not None,
        until=ward["until"],
        minor_until=ward["minor_until"] if age is not None else None,
        age=age,
    )


def _label(relation: str, age: int | None, say: Say) -> str:
    if age is not None:
        years = {0: say("moins d’un an"), 1: say("1 an")}.get(age) or say("%(age)s ans", age=age)
        return say("Enfant, %(age)s", age=years)
    return say("Adulte que vous assistez") if relation == "curator" else say("Adulte que vous représentez")


def age_at(majority: datetime, now: datetime) -> int:
    """Return a minor's age in whole years, counted back from majority, since no birth date is kept."""
    minor_until_ms, now_ms = (int(at.timestamp() * 1000) for at in (majority, now))
    return next((age for age in range(MAJORITY_YEARS - 1, 0, -1) if reached_ms(minor_until_ms, age) <= now_ms), 0)


async def read(visit: Visit, *, anew: bool = False) -> list[Relative]:
    """Say for whom this person speaks, as the consent service told it a moment ago, or ``anew``.

    Nearly every page has their tabs: these may be a minute old. A ward's own pages ask anew, and what is said for one
    is refused by the service when somebody speaks for them no longer.
    """
    session, now_ms = visit.session, visit.site.clock()
    held = None if session is None else session.wards
    if held is None or anew or not 0 <= now_ms - held.at_ms < WARDS_KEPT_MS:
        answer = await visit.site.consent.read(visit.who, f"/v1/subjects/{ME}/wards")
        held = Wards(told=answer.body["wards"], at_ms=now_ms)
        if session is not None:
            session.wards = held
    labels = {} if session is None else session.labels
    return relatives(held.told, labels, datetime.fromtimestamp(now_ms / 1000, UTC), visit.say)


async def _whom(visit: Citizen) -> Whom:
    pseudonym = visit.request.path_params.get("pseudonym")
    if pseudonym is None:
        return Whom()
    for relative in await read(visit, anew=True):
        if relative.pseudonym == pseudonym:
            return Whom(relative=relative)
    raise HTTPException(404)


AboutWhom = Annotated[Whom, Depends(_whom)]
"""By the path's `{pseudonym}`, oneself where there is none. Answers 404 for somebody for whom one does not speak."""
