"""What travels over HTTP, and nothing else: pydantic at the edge. Parsed strictly, unknown members refused."""

from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from passerelle_consent.policy.agreements import Slug
from passerelle_consent.policy.standing import Standing
from passerelle_consent.records.changes import Change
from passerelle_consent.records.history import Said
from passerelle_consent.records.ports import Identity

IDENTITIES_MAX = 1_000
"""One call is one transaction of some 100 ms; a register of 200,000 people is 200 calls."""

OVERRIDE_HOURS_MAX = 72
"""DESIGN §5: an override for vital interests is in force for 72 hours at most."""

OVERRIDE_AGREEMENTS_MAX = 8
"""Of one recipient: more than these is no emergency."""

AgreementId = Annotated[Slug, StringConstraints(max_length=100)]
DepartmentId = Annotated[Slug, StringConstraints(max_length=64)]
Hex16 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]
NoticeVersion = Annotated[int, Field(ge=1, le=2**31 - 1)]
Code = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{1,39}$")]


class In(BaseModel):
    """A request body: unknown members are refused, and no error repeats what was sent."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


def example(said: dict[str, Any]) -> ConfigDict:
    """Return the setting by which a body's schema shows an example: `class SayIn(In, **example({…}))`."""
    return ConfigDict(json_schema_extra={"examples": [said]})


_SOMEBODY = {
    "given_names": ["Marie", "Ève"],
    "family_name": "Durand",
    "birth_date": "1980-02-29",
    "gender": "female",
    "birth_place": "75056",
    "birth_country": "99100",
}


class IdentityIn(In, **example(_SOMEBODY)):
    """FranceConnect's pivot identity."""

    given_names: list[Name] = Field(min_length=1, max_length=20)
    family_name: Name
    birth_date: date
    gender: Literal["female", "male"]
    birth_place: str = Field(pattern=r"^([0-9][0-9AB][0-9]{3})?$")
    birth_country: str = Field(pattern=r"^[0-9]{5}$")

    def identity(self) -> Identity:
        """Return the value that the register takes."""
        return Identity(
            given_names=tuple(self.given_names),
            family_name=self.family_name,
            birth_date=self.birth_date,
            gender=self.gender,
            birth_place=self.birth_place,
            birth_country=self.birth_country,
        )


class LinkIn(In, **example({"identities": [_SOMEBODY]})):
    """Identities to link to the caller's department."""

    identities: list[IdentityIn] = Field(min_length=1, max_length=IDENTITIES_MAX)


class AtTheCounter(In):
    """Who stands at an office's counter; a citizen's token says it itself.

    A guardian is named, by the office's own pseudonym: what is said counts only if the guardianship is on record.
    """

    by: Literal["subject", "guardian"] | None = None
    guardian: Hex16 | None = None


class EndIn(AtTheCounter, **example({"by": "guardian", "guardian": "5c0f3a9e7b1d4286a0e4c97f1b62d83a"})):
    """To end a sharing needs no notice."""

    notice: NoticeVersion | None = None


class SayIn(AtTheCounter, **example({"notice": 1})):
    """On which notice: the version that was shown."""

    notice: NoticeVersion


class EraseIn(AtTheCounter, **example({"by": "subject"})):
    """Nothing more is to be said."""


class OfficeIn(In, **example({})):
    """What an office does about an agreement needs no more words than the path has."""


class OverrideIn(In, **example({"agreements": ["heat-plan"], "reason_code": "heat-wave", "hours": 24})):
    """Vital interests: which agreements are opened, a reason by its code (never free text about a person), and hours.

    The officer is whose token it is.
    """

    agreements: list[AgreementId] = Field(min_length=1, max_length=OVERRIDE_AGREEMENTS_MAX)
    reason_code: Code
    hours: int = Field(ge=1, le=OVERRIDE_HOURS_MAX)


_STANDING = {
    "linked": True,
    "revision": 2,
    "restricted_since": None,
    "minor_until": None,
    "protection": None,
    "agreements": [
        {
            "agreement": "meal-tariff-income",
            "state": "given",
            "notice": 1,
            "at": "2026-11-25T08:30:00.000Z",
            "until": "2027-11-25T08:30:00.000Z",
            "by": "subject",
        }
    ],
    "overrides": [],
}
_CHANGE = {
    "acknowledgement": "0b9c1f52a7d84e3fb2c6d1905e7a4c38",
    "status": "in-effect",
    "state": "withdrawn",
    "agreement": "meal-tariff-income@1",
    "recipient": "schools",
    "recorded_at": "2026-11-25T08:31:00.000Z",
    "acknowledged_at": "2026-11-25T08:31:00.061Z",
    "consent_partition": 3,
    "consent_offset": 1187,
    "standing": None,
}
_LINKS = {"pseudonyms": ["5c0f3a9e7b1d4286a0e4c97f1b62d83a"], "status": "in-effect"}


class LinksOut(BaseModel, **example(_LINKS)):
    """The department's pseudonyms, in the order of the identities."""

    pseudonyms: list[str]
    status: Literal["in-effect", "taking-effect"]


class StanceOut(BaseModel):
    """What was last said about one agreement."""

    agreement: str
    state: str
    notice: int | None
    at: str
    until: str | None
    by: str


class OverrideOut(BaseModel):
    """An agreement opened for vital interests."""

    agreement: str
    until: str


class StandingOut(BaseModel, **example(_STANDING)):
    """One subject's standing."""

    linked: bool
    revision: int
    restricted_since: str | None
    minor_until: str | None
    protection: str | None
    agreements: list[StanceOut]
    overrides: list[OverrideOut]

    @classmethod
    def of(cls, standing: Standing) -> Self:
        """Times as RFC 3339."""
        stances = [
            StanceOut(
                agreement=s.agreement,
                state=s.state.value,
                notice=s.notice,
                at=rfc3339(s.at_ms),
                until=maybe_rfc3339(s.until_ms),
                by=s.by.value,
            )
            for s in standing.stances.values()
        ]
        return cls(
            linked=standing.linked,
            revision=standing.revision,
            restricted_since=maybe_rfc3339(standing.restricted_since_ms),
            minor_until=maybe_rfc3339(standing.minor_until_ms),
            protection=standing.protection and standing.protection.value,
            agreements=stances,
            overrides=[OverrideOut(agreement=o.agreement, until=rfc3339(o.until_ms)) for o in standing.overrides],
        )


class ChangeOut(BaseModel, **example(_CHANGE)):
    """A change and whether it is in effect. `status` is `in-effect` or `taking-effect`."""

    acknowledgement: str
    status: Literal["in-effect", "taking-effect"]
    state: str
    agreement: str | None
    recipient: str | None
    recorded_at: str
    acknowledged_at: str | None
    consent_partition: int
    consent_offset: int | None
    standing: StandingOut | None = None

    @classmethod
    def of(cls, change: Change, standing: Standing | None = None) -> Self:
        """Ids as hexadecimal, times as RFC 3339."""
        return cls(
            acknowledgement=change.id.hex(),
            status="in-effect" if change.in_effect else "taking-effect",
            state=change.state,
            agreement=change.agreement,
            recipient=change.recipient or None,
            recorded_at=rfc3339(change.at_ms),
            acknowledged_at=maybe_rfc3339(change.acknowledged_at_ms),
            consent_partition=change.consent_partition,
            consent_offset=change.consent_offset,
            standing=None if standing is None else StandingOut.of(standing),
        )


class SaidOut(BaseModel):
    """What was said once, by whom and at which department's counter or portal."""

    acknowledgement: str
    revision: int
    kind: str
    agreement: str | None
    recipient: str
    state: str
    notice: int | None
    by: str
    department: str
    recorded_at: str
    acknowledged_at: str | None

    @classmethod
    def of(cls, said: Said) -> Self:
        """Ids as hexadecimal, times as RFC 3339."""
        change = said.change
        return cls(
            acknowledgement=change.id.hex(),
            revision=change.revision,
            kind=change.kind,
            agreement=change.agreement,
            recipient=change.recipient,
            state=change.state,
            notice=said.notice,
            by=said.by,
            department=change.department,
            recorded_at=rfc3339(change.at_ms),
            acknowledged_at=maybe_rfc3339(change.acknowledged_at_ms),
        )


class HistoryOut(BaseModel):
    """A page of what was said, newest first."""

    changes: list[SaidOut]


def epoch_ms(instant: datetime) -> int:
    """Milliseconds since 1970, of an instant that has its offset."""
    return int(instant.timestamp() * 1000)


def rfc3339(at_ms: int) -> str:
    """UTC, milliseconds."""
    second, ms = divmod(at_ms, 1000)
    return f"{_second(second)}.{ms:03d}Z"


@lru_cache(maxsize=4_096)
def _second(at_s: int) -> str:
    return datetime.fromtimestamp(at_s, UTC).isoformat().removesuffix("+00:00")


def maybe_rfc3339(at_ms: int | None) -> str | None:
    """`rfc3339`, where there may be none."""
    return None if at_ms is None else rfc3339(at_ms)
