"""A day in Lutèce: what each department has to say about its citizens, the same for the same seed."""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from lutece.citizens import SEED, Citizen, Household, Population
from lutece.reports import MAPPING, Reporters, invent_reports
from passerelle.publish.mapping import CsvMapping
from passerelle_schemas.documents import load

OPENS = time(7, 0)
OPEN_HOURS = 12
"""Offices write between 07:00 and 19:00 UTC."""

HEAT_NEEDS = (
    "Oxygène à domicile, à garder au frais",
    "Boire toutes les deux heures, le rappeler",
    "Ne peut pas ouvrir les volets",
    "Médicaments à garder au frais",
    "Vit sous les toits, lieu frais à proposer",
    "Malentendante, frapper fort",
)
MOBILITIES = ("WALKS", "WALKS_WITH_HELP", "BEDRIDDEN")
FRAIL_FROM_YEARS = 65
"""The heat plan's register is open from 65 on (and to disabled adults, whom the demonstration leaves out)."""
BIRTH_UNTIL_YEARS = 3
"""Children born up to this age ago stand for newborns when a small city has too few of them."""
BADGE_DAYS = 5 * 365
MEDIAN_INCOME_CENTS = 2_300_000
"""About the yearly standard of living of half the French; households are spread around it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DayCounts:
    """How many events of each kind, at most: fewer when the city has not the people for them."""

    reports: int = 200
    moves: int = 60
    canteen: int = 80
    """Families whose household and income are both published: two events each."""
    births: int = 20
    frail: int = 30
    badges: int = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class DayEvent:
    """One event before it is published. ``time`` is aware; ``event_id`` names it for ever."""

    department: str
    type: str
    citizen: Citizen
    value: Mapping[str, Any] = field(repr=False)
    time: datetime
    event_id: str


Make = Callable[[Citizen], Mapping[str, Any]]


def events_of(
    population: Population, *, day: date | None = None, counts: DayCounts | None = None, seed: int = SEED
) -> Iterator[DayEvent]:
    """Yield the day's events in the order of their times; the day is the population's unless given."""
    return iter(sorted(_Day(population, day or population.today, counts or DayCounts(), seed).all(), key=_when))


def _when(event: DayEvent) -> tuple[datetime, str]:
    return event.time, event.event_id


class _Day:
    def __init__(self, population: Population, day: date, counts: DayCounts, seed: int) -> None:
        self._people = population
        self._day = day
        self._counts = counts
        self._seed = seed
        self._rng = random.Random(f"day/{seed}/{day}")

    def all(self) -> Iterator[DayEvent]:
        people, counts = self._people, self._counts
        families = [people.citizens[h.members[0]] for h in people.households if self._dependants(h)]
        yield from self._reports()
        yield from self._some("civil-registry.address-changed.v1", self._pick(people.adults, counts.moves), self._move)
        canteen = self._pick(families, counts.canteen)
        yield from self._some("civil-registry.household-changed.v1", canteen, self._household)
        yield from self._some("tax.income-assessed.v1", canteen, self._income)
        yield from self._some("civil-registry.birth-registered.v1", self._newborns(), self._birth)
        old = [c for c in people.adults if people.age_of(c) >= FRAIL_FROM_YEARS]
        yield from self._some("social-action.frail-registered.v1", self._pick(old, counts.frail), self._frail)
        badges = self._pick(people.adults, counts.badges)
        yield from self._some("social-action.disability-badge-issued.v1", badges, self._badge)

    def _reports(self) -> Iterator[DayEvent]:
        mapping = load(MAPPING, CsvMapping)
        reporters = Reporters(self._people, seed=self._seed)
        for row in invent_reports(self._counts.reports, seed=self._seed, day=self._day):
            value = reporters.complete(row, mapping.value(row))
            yield self._event(mapping.event, reporters.of(row["id_dmr"]), value, row["id_dmr"])

    def _some(self, type_: str, citizens: Sequence[Citizen], make: Make) -> Iterator[DayEvent]:
        for citizen in citizens:
            yield self._event(type_, citizen, make(citizen), str(citizen.number))

    def _event(self, type_: str, citizen: Citizen, value: Mapping[str, Any], number: str) -> DayEvent:
        department, event, _ = type_.split(".")
        seconds = self._rng.randrange(OPEN_HOURS * 3600)
        return DayEvent(
            department=department,
            type=type_,
            citizen=citizen,
            value=value,
            time=datetime.combine(self._day, OPENS, UTC) + timedelta(seconds=seconds),
            # A citizen's number is the generator's own: it leads to nobody outside the invented city.
            event_id=f"{event}-{self._day:%Y%m%d}-{self._seed}-{number}",
        )

    def _pick(self, citizens: Sequence[Citizen], count: int) -> list[Citizen]:
        return self._rng.sample(citizens, min(count, len(citizens)))

    def _newborns(self) -> list[Citizen]:
        young = [c for c in self._people.minors if self._people.age_of(c) < BIRTH_UNTIL_YEARS and c.guardians]
        return sorted(young, key=lambda c: c.identity.birth_date, reverse=True)[: self._counts.births]

    def _dependants(self, household: Household) -> int:
        return sum(1 for n in household.members if self._people.citizens[n].guardians)

    def _move(self, citizen: Citizen) -> Mapping[str, Any]:
        old = self._people.household_of(citizen)
        new = self._rng.choice(self._people.households).address
        return {
            "moved_on": self._day - timedelta(days=self._rng.randint(1, 30)),
            "previous_street": old.address.street,
            "previous_postcode": old.address.postcode,
            "previous_city": old.address.city,
            "new_street": new.street,
            "new_postcode": new.postcode,
            "new_city": new.city,
            "household_size": len(old.members),
        }

    def _household(self, citizen: Citizen) -> Mapping[str, Any]:
        household = self._people.household_of(citizen)
        dependants = self._dependants(household)
        adults = len(household.members) - dependants
        return {
            "changed_on": self._day - timedelta(days=self._rng.randint(0, 60)),
            "adults": adults,
            "dependants": dependants,
            "lone_parent": adults == 1,
        }

    def _income(self, citizen: Citizen) -> Mapping[str, Any]:
        household = self._people.household_of(citizen)
        dependants = self._dependants(household)
        adults = len(household.members) - dependants
        return {
            "income_year": self._day.year - 1,
            "reference_income_cents": round(self._rng.lognormvariate(0, 0.6) * MEDIAN_INCOME_CENTS * min(adults, 2)),
            "parts_hundredths": tax_parts_hundredths(adults, dependants),
            "assessed_on": self._day - timedelta(days=self._rng.randint(30, 120)),
        }

    def _birth(self, citizen: Citizen) -> Mapping[str, Any]:
        guardian = self._people.citizens[citizen.guardians[0]]
        born = citizen.identity.birth_date
        siblings = [self._people.citizens[n] for n in self._people.household_of(citizen).members if n != citizen.number]
        return {
            "born_on": born,
            "postcode": self._people.household_of(citizen).address.postcode,
            "multiple": any(s.identity.birth_date == born for s in siblings),
            "guardian_email": guardian.email,
            "guardian_phone": guardian.phone,
        }

    def _frail(self, citizen: Citizen) -> Mapping[str, Any]:
        household = self._people.household_of(citizen)
        relatives = [self._people.citizens[n].phone for n in household.members if n != citizen.number]
        return {
            "registered_on": self._day,
            "street": household.address.street,
            "postcode": household.address.postcode,
            "floor": self._rng.randint(0, 8),
            "lift": self._rng.random() < 0.5,  # noqa: PLR2004
            "phone": citizen.phone,
            "lives_alone": len(household.members) == 1,
            "mobility": self._rng.choice(MOBILITIES),
            "heat_needs": self._rng.choice(HEAT_NEEDS),
            "relative_phone": next((p for p in relatives if p), None),
        }

    def _badge(self, citizen: Citizen) -> Mapping[str, Any]:
        starts = self._day - timedelta(days=self._rng.randint(0, 30))
        permanent = self._rng.random() < 0.3  # noqa: PLR2004
        return {
            "badge_number": f"99CMI{self._day:%y}{citizen.number:05d}",
            "valid_from": starts,
            "valid_until": None if permanent else starts + timedelta(days=BADGE_DAYS),
        }


def tax_parts_hundredths(adults: int, dependants: int) -> int:
    """Shares of the French income tax: one for each of two adults, a half for each of two children, then one each."""
    lone_parent = 50 if adults == 1 and dependants else 0
    return 100 * min(adults, 2) + 50 * min(dependants, 2) + 100 * max(0, dependants - 2) + lone_parent
