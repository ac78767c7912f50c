"""What the citizens of Lutèce have said before the day begins, and which of them may change their minds."""

import asyncio
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from lutece.citizens import Citizen
from lutece.day import DayEvent
from lutece.voices import Choice, Desk
from passerelle.pseudonyms import Keyring
from passerelle_consent.policy.agreements import Agreement, Basis, Guardians
from passerelle_consent.policy.bundle import PolicyBundle
from passerelle_consent.policy.days import majority_ms
from passerelle_consent.policy.standing import Standing
from passerelle_consent.policy.voice import Relation, Voice, terms_of, voice_of_subject
from passerelle_schemas.topics import partition_of

CALLS_AT_ONCE = 24
"""Requests on their way to the consent service: enough to keep its one writer busy."""

SAYS_YES = 0.6
CONTACTED_BY = ("cleanliness", "police", "roads")
"""Whom citizens let call them back about a report; the others' reports always go without the contact."""
OBJECTS = 0.15
OVERRIDDEN = 0.7
OVERRIDE_HOURS = 48
GUARDIANS_SINCE = "2020-01-01T00:00:00Z"
"""Before the day: a parent's authority begins with a birth, and ends in the records at majority."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Opinion:
    """One citizen's word on one agreement."""

    citizen: Citizen
    agreement: Agreement
    word: str
    speakers: tuple[int, ...]
    """Who says it, by number: the citizen, or those who speak for a child."""


@dataclass(frozen=True, kw_only=True)
class Opinions:
    """All that is said before the day, and whom an override concerns."""

    opinions: Sequence[Opinion] = field(repr=False)
    overrides: Sequence[tuple[Citizen, str]] = field(repr=False)
    """(citizen, agreement)"""

    def without(self, numbers: frozenset[int]) -> "Opinions":
        """Leave out the words of these people, and those about them."""
        kept = [o for o in self.opinions if o.citizen.number not in numbers and numbers.isdisjoint(o.speakers)]
        return Opinions(opinions=kept, overrides=self.overrides)


def form(
    events: Iterable[DayEvent], reporters: Iterable[Citizen], bundle: PolicyBundle, *, seed: int, now_ms: int
) -> Opinions:
    """Let the people concerned by the day's events speak: consent, objection; officers open overrides."""
    rng = random.Random(f"opinions/{seed}")
    concerned: dict[str, dict[int, Citizen]] = {}
    for event in events:
        concerned.setdefault(event.type, {})[event.citizen.number] = event.citizen
    contact = dict(sorted({c.number: c for c in reporters}.items()))
    spoken: list[Opinion] = []
    overrides: list[tuple[Citizen, str]] = []
    for agreement in bundle.agreements:
        people = _people(agreement, concerned, contact)
        if agreement.basis is Basis.VITAL_INTERESTS:
            overrides += [(c, agreement.id) for c in people if rng.random() < OVERRIDDEN]
        else:
            spoken += _opinions(rng, agreement, people, now_ms)
    return Opinions(opinions=spoken, overrides=overrides)


def _people(
    agreement: Agreement, concerned: Mapping[str, Mapping[int, Citizen]], contact: Mapping[int, Citizen]
) -> list[Citizen]:
    if agreement.id.startswith("street-contact-"):
        return list(contact.values()) if agreement.recipient in CONTACTED_BY else []
    found: dict[int, Citizen] = {}
    for type_ in agreement.events:
        found |= concerned.get(type_, {})
    return list(dict(sorted(found.items())).values())


def _opinions(rng: random.Random, agreement: Agreement, people: Iterable[Citizen], now_ms: int) -> Iterator[Opinion]:
    for citizen in people:
        if agreement.basis is Basis.CONSENT and rng.random() < SAYS_YES:
            if speakers := who_gives(citizen, agreement, now_ms):
                yield Opinion(citizen=citizen, agreement=agreement, word="give", speakers=speakers)
        # Nobody objects to street reports: a pothole is mended whoever saw it.
        elif agreement.id.startswith("move-") and agreement.basis.can_be_objected and rng.random() < OBJECTS:
            speaker = citizen.guardians[0] if citizen.guardians else citizen.number
            yield Opinion(citizen=citizen, agreement=agreement, word="object", speakers=(speaker,))


def who_gives(citizen: Citizen, agreement: Agreement, now_ms: int) -> tuple[int, ...]:
    """Return who gives this consent by the law, by number; nobody where the agreement does not cover the citizen."""
    of_age_ms = majority_ms(citizen.identity.birth_date)
    standing = Standing(linked=True, minor_until_ms=of_age_ms if of_age_ms > now_ms else None)
    heard = voice_of_subject(agreement, standing, now_ms, gives=True)
    if heard is Voice.ALONE:
        return (citizen.number,)
    if heard is not Voice.GUARDIAN_SPEAKS:
        return ()
    return citizen.guardians[: 2 if terms_of(agreement).guardians is Guardians.BOTH else 1]


@dataclass(frozen=True, kw_only=True)
class Speaker:
    """Someone's way to the consent service, and the pseudonyms that it goes by there, by citizen number."""

    desk: Desk
    pseudonyms: Sequence[bytes] = field(repr=False)


async def record_guardians(opinions: Opinions, registrar: Speaker) -> None:
    """Record who speaks for the children that something is said about, as a civil registry would."""
    free = asyncio.Semaphore(CALLS_AT_ONCE)
    wards = {o.citizen.number: o.citizen for o in opinions.opinions if o.citizen.guardians}

    async def one(ward: Citizen) -> None:
        async with free:
            for guardian in ward.guardians[:2]:
                answer = await registrar.desk.guardian(
                    registrar.pseudonyms[ward.number],
                    guardian=registrar.pseudonyms[guardian].hex(),
                    relation=Relation.PARENT.value,
                    evidence=f"EC-{ward.number:06d}",
                    valid_from=GUARDIANS_SINCE,
                )
                await registrar.desk.acknowledged(answer)

    async with asyncio.TaskGroup() as group:
        for ward in wards.values():
            group.create_task(one(ward))


async def speak(opinions: Opinions, citizens: Speaker, officers: Speaker, done: Callable[[], None]) -> None:
    """Say all of it, some at once: citizens and guardians by tokens of their own, officers by theirs."""
    free = asyncio.Semaphore(CALLS_AT_ONCE)

    async def one(opinion: Opinion) -> None:
        async with free:
            for speaker in opinion.speakers:
                answer = await citizens.desk.say(
                    citizens.pseudonyms[opinion.citizen.number],
                    opinion.agreement.id,
                    opinion.word,
                    speaker=citizens.pseudonyms[speaker],
                    notice=opinion.agreement.notice.version,
                )
                await citizens.desk.acknowledged(answer)
            done()

    async def override(citizen: Citizen, agreement: str) -> None:
        async with free:
            await officers.desk.override(
                officers.pseudonyms[citizen.number],
                agreements=[agreement],
                reason_code="heatwave",
                hours=OVERRIDE_HOURS,
            )
            done()

    async with asyncio.TaskGroup() as group:
        for opinion in opinions.opinions:
            group.create_task(one(opinion))
        for citizen, agreement in opinions.overrides:
            group.create_task(override(citizen, agreement))


def choices(opinions: Opinions, at_desk: Sequence[bytes], keyring: Keyring, desk: str, partitions: int) -> list[Choice]:
    """Every consent that was given and may be taken back."""
    found = []
    for opinion in opinions.opinions:
        if opinion.word == "give":
            pseudonym = at_desk[opinion.citizen.number]
            ref = keyring.subject(desk, pseudonym)
            recipient = opinion.agreement.recipient
            found.append(
                Choice(
                    at_desk=pseudonym,
                    speakers=tuple(at_desk[number] for number in opinion.speakers),
                    agreement=opinion.agreement.id,
                    notice=opinion.agreement.notice.version,
                    recipient=recipient,
                    at_recipient=keyring.pseudonym(recipient, ref),
                    partition=partition_of(ref, partitions),
                )
            )
    return found
