"""The people of Lutèce: invented, in households of real proportions, the same at every run of the same seed."""

import random
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cached_property
from pathlib import Path

from faker import Faker

from lutece import households
from lutece.households import AGES, SIZES, HouseholdKind, Proportions
from passerelle.pseudonyms import PivotIdentity
from passerelle_consent.policy.agreements import SubjectClass
from passerelle_schemas.faults import Fault

SEED = 20_261_123
TODAY = date(2026, 11, 23)
"""The demonstration's day: ages are counted from it, so that the same seed makes the same people next year."""

CITIZENS_MAX = 10_000
"""Telephone numbers come from 06 39 98, which the regulator keeps for fiction: it has 10,000 of them."""

MAJORITY_YEARS = 18
LEAVES_HOME_YEARS = 30
"""Children older than this have left, whatever their parents' age."""
PROTECTED_SHARE = 0.015
"""Adults under guardianship or curatorship: about 1.5 % of French adults."""
BORN_ABROAD_SHARE = 0.1
HOUSEHOLDS_PER_DRAW = 256

FRANCE = "99100"
BIRTH_PLACES = ("44109", "44162", "44143", "44184", "35238", "49007", "29019", "85191", "56260", "72181", "37261")
"""INSEE codes: Nantes, Saint-Herblain, Rezé, Saint-Nazaire, Rennes, Angers, Brest, La Roche-sur-Yon, Vannes…"""
BIRTH_COUNTRIES = ("99352", "99350", "99351", "99139", "99109", "99134", "99341", "99208")
"""INSEE codes: Algeria, Morocco, Tunisia, Portugal, Germany, Spain, Senegal, Türkiye."""

CITY = "Lutèce"
POSTCODES = ("99001", "99002", "99003", "99004", "99005")
"""No French department has the number 99: these are nobody's postcodes."""
STREETS = (
    "quai des Tanneurs", "rue du Vieux-Pont", "rue des Lavandières", "place du Marché", "rue de la Passerelle",
    "boulevard des Bateliers", "impasse du Puits", "rue des Trois-Moulins", "avenue de la Gare", "rue du Lycée",
    "allée des Platanes", "rue de l'Écluse", "chemin des Vignes", "rue Haute", "rue Basse", "cours des Marronniers",
)  # fmt: skip


class CitizenFault(Fault):
    """A population that cannot be made as asked."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Address:
    """Where a household lives."""

    street: str
    postcode: str
    city: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Citizen:
    """One person. ``number`` is the position in the population; ``guardians`` are numbers too."""

    number: int
    identity: PivotIdentity
    household: int
    subject_class: SubjectClass
    email: str | None = field(repr=False)
    """None for a minor, as ``phone``: a child is reached through a guardian."""
    phone: str | None = field(repr=False)
    guardians: tuple[int, ...]

    @property
    def display_name(self) -> str:
        """First given name and family name, as on a letter."""
        return f"{self.identity.given_names[0]} {self.identity.family_name}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Household:
    """People who live together; ``members`` are numbers, adults first."""

    number: int
    address: Address = field(repr=False)
    members: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Population:
    """A city's people and their households."""

    citizens: tuple[Citizen, ...]
    households: tuple[Household, ...]
    today: date

    @cached_property
    def adults(self) -> tuple[Citizen, ...]:
        """Everybody of age, protected or not."""
        return tuple(c for c in self.citizens if c.subject_class is not SubjectClass.MINOR)

    @cached_property
    def minors(self) -> tuple[Citizen, ...]:
        """Everybody under age."""
        return tuple(c for c in self.citizens if c.subject_class is SubjectClass.MINOR)

    def household_of(self, citizen: Citizen) -> Household:
        """Where the citizen lives."""
        return self.households[citizen.household]

    def age_of(self, citizen: Citizen) -> int:
        """Age in whole years."""
        return years_between(citizen.identity.birth_date, self.today)


def years_between(born: date, today: date) -> int:
    """Whole years of age."""
    return today.year - born.year - ((today.month, today.day) < (born.month, born.day))


def generate(count: int, *, seed: int = SEED, today: date = TODAY, household_file: Path | None = None) -> Population:
    """Invent ``count`` citizens. Raises `CitizenFault` beyond `CITIZENS_MAX`, `HouseholdFault` for a bad file."""
    if not 1 <= count <= CITIZENS_MAX:
        raise CitizenFault(f"between 1 and {CITIZENS_MAX} citizens can be invented, {count} were asked for")
    proportions = households.read(household_file) if household_file else households.written_down()
    return _Register(seed, today).fill(proportions, count)


class _Register:
    """Fills a population household by household."""

    def __init__(self, seed: int, today: date) -> None:
        self._rng = random.Random(seed)
        self._names = Faker("fr_FR")
        self._names.seed_instance(seed)
        self._today = today
        self._citizens: list[Citizen] = []
        self._households: list[Household] = []
        self._taken: set[tuple[str, str, date]] = set()

    def fill(self, proportions: Proportions, count: int) -> Population:
        for kind in self._kinds(proportions):
            self._settle(kind, room=count - len(self._citizens))
            if len(self._citizens) == count:
                break
        return Population(citizens=tuple(self._citizens), households=tuple(self._households), today=self._today)

    def _kinds(self, proportions: Proportions) -> Iterator[HouseholdKind]:
        while True:
            yield from proportions.draw(self._rng, HOUSEHOLDS_PER_DRAW)

    def _settle(self, kind: HouseholdKind, room: int) -> None:
        """Invent one household; only ``room`` of its people, adults first, when the city is nearly full."""
        number, first = len(self._households), len(self._citizens)
        ages, adults = _ages(self._rng, kind)
        family = self._names.last_name()
        for position, age in enumerate(ages[:room]):
            guardians = range(first, first + min(adults, room)) if age < MAJORITY_YEARS else ()
            shares_name = position == 0 or position >= adults or self._rng.random() < 0.5  # noqa: PLR2004
            name = family if shares_name else self._names.last_name()
            self._add(number, name, age, _gender(self._rng, kind, position), tuple(guardians))
        members = tuple(range(first, len(self._citizens)))
        self._households.append(Household(number=number, address=self.address(), members=members))

    def address(self) -> Address:
        street = f"{self._rng.randint(1, 98)} {self._rng.choice(STREETS)}"
        return Address(street=street, postcode=self._rng.choice(POSTCODES), city=CITY)

    def _add(self, household: int, family: str, age: int, gender: str, guardians: tuple[int, ...]) -> None:
        number = len(self._citizens)
        identity = self._identity(family, age, gender)
        minor = age < MAJORITY_YEARS
        citizen = Citizen(
            number=number,
            identity=identity,
            household=household,
            subject_class=self._subject_class(minor=minor),
            email=None if minor else f"{_plain(identity.given_names[0])}.{_plain(family)}.{number}@example.org",
            phone=None if minor else f"063998{number:04d}",
            guardians=guardians,
        )
        self._citizens.append(citizen)

    def _subject_class(self, *, minor: bool) -> SubjectClass:
        if minor:
            return SubjectClass.MINOR
        return SubjectClass.PROTECTED_ADULT if self._rng.random() < PROTECTED_SHARE else SubjectClass.ADULT

    def _identity(self, family: str, age: int, gender: str) -> PivotIdentity:
        given = self._given(gender)
        born = self._birth_date(age)
        # Two people with one identity would be one subject on the bus: a day's difference keeps them apart.
        while (given, family, born) in self._taken:
            born -= timedelta(days=1)
        self._taken.add((given, family, born))
        abroad = self._rng.random() < BORN_ABROAD_SHARE
        return PivotIdentity(
            given_names=(given, self._given(gender)),
            family_name=family,
            birth_date=born,
            gender=gender,
            birth_place="" if abroad else self._rng.choice(BIRTH_PLACES),
            birth_country=self._rng.choice(BIRTH_COUNTRIES) if abroad else FRANCE,
        )

    def _given(self, gender: str) -> str:
        name: str = self._names.first_name_female() if gender == "female" else self._names.first_name_male()
        return name

    def _birth_date(self, age: int) -> date:
        """Return a day on which somebody of this age, in whole years, may have been born."""
        return _years_before(self._today, age) - timedelta(days=self._rng.randrange(365))


def _years_before(day: date, years: int) -> date:
    """Return the same day ``years`` earlier; 28 February stands for the 29th."""
    return day.replace(year=day.year - years, day=28 if (day.month, day.day) == (2, 29) else day.day)


def _ages(rng: random.Random, kind: HouseholdKind) -> tuple[list[int], int]:
    """Return ages of a household's people, adults first, and how many of them are parents or partners."""
    first, last = AGES[kind.age]
    # The last band thins out with age; within the others all ages are as likely.
    head = int(rng.triangular(first, last, first)) if kind.age == "75_or_more" else rng.randint(first, last)
    size = SIZES[kind.size] + (_beyond_five(rng) if kind.size == "5_pers_or_more" else 0)
    if kind.composition == "Couple_with_child":
        return [head, _partner(rng, head), *(_child(rng, head) for _ in range(size - 2))], 2
    if kind.composition == "Single_parent":
        return [head, *(_child(rng, head) for _ in range(size - 1))], 1
    return [head, *(_partner(rng, head) for _ in range(size - 1))], size


def _beyond_five(rng: random.Random) -> int:
    """Return people above five in the open band: an assumption, as the census file does not say."""
    return rng.choices((0, 1, 2), weights=(75, 18, 7))[0]


def _partner(rng: random.Random, head: int) -> int:
    return max(MAJORITY_YEARS, head + round(rng.gauss(0, 4)))


def _child(rng: random.Random, head: int) -> int:
    # Born when the reference person was between 22 and 40, or since, for those who are younger than that.
    return min(LEAVES_HOME_YEARS, rng.randint(max(0, head - 40), max(0, head - 22)))


def _gender(rng: random.Random, kind: HouseholdKind, position: int) -> str:
    if kind.composition in ("Single_wom", "Single_man"):
        return "female" if kind.composition == "Single_wom" else "male"
    if kind.composition.startswith("Couple") and position < 2:  # noqa: PLR2004 - the couple's two
        return ("female", "male")[position]
    return rng.choice(("female", "male"))


def _plain(name: str) -> str:
    """Return a name as an e-mail address may hold it."""
    decomposed = unicodedata.normalize("NFKD", name.lower())
    return "".join(c for c in decomposed if c.isascii() and c.isalnum())
