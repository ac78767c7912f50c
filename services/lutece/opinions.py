"""What the citizens of Lutèce have said before the day begins, and which of them may change their minds."""

import asyncio
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from lutece.citizens import Citizen
from lutece.day import DayEvent
from lutece.voices import Choice, Desk
from passerelle.pseudonyms import Keyring
from passerelle_consent.policy.agreements import Agreement, Basis
from passerelle_consent.policy.bundle import PolicyBundle
from passerelle_schemas.topics import partition_of

CALLS_AT_ONCE = 24
"""Requests on their way to the consent service: enough to keep its one writer busy."""

SAYS_YES = 0.6
CONTACTED_BY = ("cleanliness", "police", "roads")
"""Whom citizens let call them back about a report; the others' reports always go without the contact."""
OBJECTS = 0.15
OVERRIDDEN = 0.7
OVERRIDE_HOURS = 48


@dataclass(frozen=True, kw_only=True, slots=True)
class Opinion:
    """One citizen's word on one agreement."""

    citizen: Citizen
    agreement: Agreement
    word: str


@dataclass(frozen=True, kw_only=True)
class Opinions:
    """All that is said before the day, and whom an override concerns."""

    opinions: Sequence[Opinion] = field(repr=False)
    overrides: Sequence[tuple[Citizen, str]] = field(repr=False)
    """(citizen, recipient)"""


def form(events: Iterable[DayEvent], reporters: Iterable[Citizen], bundle: PolicyBundle, *, seed: int) -> Opinions:
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
            overrides += [(c, agreement.recipient) for c in people if rng.random() < OVERRIDDEN]
        else:
            spoken += _opinions(rng, agreement, people)
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


def _opinions(rng: random.Random, agreement: Agreement, people: Iterable[Citizen]) -> Iterator[Opinion]:
    for citizen in people:
        if agreement.basis is Basis.CONSENT and rng.random() < SAYS_YES:
            yield Opinion(citizen=citizen, agreement=agreement, word="give")
        # Nobody objects to street reports: a pothole is mended whoever saw it.
        elif agreement.id.startswith("move-") and agreement.basis.can_be_objected and rng.random() < OBJECTS:
            yield Opinion(citizen=citizen, agreement=agreement, word="object")


@dataclass(frozen=True, kw_only=True)
class Speaker:
    """Someone's way to the consent service, and the pseudonyms that it goes by there, by citizen number."""

    desk: Desk
    pseudonyms: Sequence[bytes] = field(repr=False)


async def speak(opinions: Opinions, citizens: Speaker, officers: Speaker, done: Callable[[], None]) -> None:
    """Say all of it, some at once: citizens by the desk that speaks for them, officers by their own."""
    free = asyncio.Semaphore(CALLS_AT_ONCE)

    async def one(opinion: Opinion) -> None:
        async with free:
            answer = await citizens.desk.say(
                citizens.pseudonyms[opinion.citizen.number],
                opinion.agreement.id,
                opinion.word,
                notice=opinion.agreement.notice.version,
            )
            await citizens.desk.acknowledged(answer)
            done()

    async def override(citizen: Citizen, recipient: str) -> None:
        async with free:
            await officers.desk.override(
                officers.pseudonyms[citizen.number],
                recipient=recipient,
                officer="officer-1",
                reason_code="heatwave",
                hours=OVERRIDE_HOURS,
            )
            done()

    async with asyncio.TaskGroup() as group:
        for opinion in opinions.opinions:
            group.create_task(one(opinion))
        for citizen, recipient in opinions.overrides:
            group.create_task(override(citizen, recipient))


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
                    agreement=opinion.agreement.id,
                    notice=opinion.agreement.notice.version,
                    recipient=recipient,
                    at_recipient=keyring.pseudonym(recipient, ref),
                    partition=partition_of(ref, partitions),
                )
            )
    return found
