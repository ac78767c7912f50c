"""The agents of Lutèce: which event goes to whom, and the one join (DESIGN §5a).

``faust -A lutece.agents worker`` and ``passerelle agents run lutece.agents`` run them. Nothing connects at import: the
manifest's contracts and flows are read, since every rule is checked against them before anything runs.
"""

from bisect import bisect_right
from datetime import date

from passerelle.agents import AgentApp, NoRecipient, View, derived
from passerelle.city.manifest import Manifest
from passerelle.config import settings
from passerelle_consent.policy.flows import load_flows
from passerelle_schemas.catalogue import Catalogue

_manifest = Manifest.load(settings().manifest_path)
city = AgentApp(
    "lutece",
    catalogue=Catalogue.load(_manifest.contracts),
    flows=[flow for _, flow in load_flows(_manifest.flows)],
    keyring=lambda: _manifest.keyring(settings().home),
)
app = city.app

# -- street reports: to the department that the operator belongs to (public task) -----------------------------------

OPERATORS = {
    "cleanliness": (
        "DPE-*",
        "graffitis",
        "Ramen",
        "TRILIB'",
        "textiles",
        "Corbeilles compactantes",
        "PAV déchets alimentaires",
    ),
    "roads": ("DVD", "DVD-*", "SUBDI_HORO", "SMEP"),
    "police": ("DPMP-*",),
    "parks": ("DEVE", "DEVE-*"),
    "lighting": ("CIELIS",),
    "social-action": ("DASES",),
}
"""Department → operators of the street-report file (`intervenant`): exact, unless it ends in ``*``."""

_EXACT = {name: department for department, names in OPERATORS.items() for name in names if not name.endswith("*")}
_PREFIXES = tuple((name[:-1], d) for d, names in OPERATORS.items() for name in names if name.endswith("*"))


def department_of(operator: str) -> str | None:
    """The department that an operator belongs to; None for a company or a body outside the city."""
    return _EXACT.get(operator) or next((d for prefix, d in _PREFIXES if operator.startswith(prefix)), None)


reports = city.outbox("citizen-desk.report-filed.v1")


@city.route(reports, to=[f"street-report.{department}" for department in OPERATORS], reads=[reports.operator])
def street_report(report: View) -> str:
    """Raises `NoRecipient` for a report that no department of the city works on."""
    department = department_of(report.operator)
    if department is None:
        raise NoRecipient
    return f"street-report.{department}"


# -- a move: the same event, to each recipient what its agreement allows --------------------------------------------

moves = city.outbox("civil-registry.address-changed.v1")


@city.route(
    moves,
    flow="move.tax",
    fields={
        "moved_on": moves.moved_on,
        "previous_street": moves.previous_street,
        "previous_postcode": moves.previous_postcode,
        "previous_city": moves.previous_city,
        "new_street": moves.new_street,
        "new_postcode": moves.new_postcode,
        "new_city": moves.new_city,
    },
)
def move_tax(_move: View) -> bool:
    """Every move."""
    return True


@city.route(
    moves,
    flow="move.schools",
    fields={
        "moved_on": moves.moved_on,
        "street": moves.new_street,
        "postcode": moves.new_postcode,
        "city": moves.new_city,
    },
)
def move_schools(_move: View) -> bool:
    """Every move: who has a pupil is for the schools to know, and not for this rule to find out."""
    return True


@city.route(
    moves,
    flow="move.cleanliness",
    fields={
        "moved_on": moves.moved_on,
        "street": moves.new_street,
        "postcode": moves.new_postcode,
        "residents": moves.household_size,
    },
)
def move_cleanliness(_move: View) -> bool:
    """Every move."""
    return True


# -- a birth: offers, with a guardian's consent ---------------------------------------------------------------------

SCHOOL_AGE = 3
"""A child starts school in September of the year in which it turns three (Code de l'éducation, art. L131-1)."""

births = city.outbox("civil-registry.birth-registered.v1")


@city.route(
    births,
    flow="birth.nursery",
    fields={
        "born_on": births.born_on,
        "postcode": births.postcode,
        "multiple": births.multiple,
        "guardian_email": births.guardian_email,
        "guardian_phone": births.guardian_phone,
    },
)
def birth_nursery(_birth: View) -> bool:
    """Every birth."""
    return True


def school_year(born_on: date) -> int:
    """The year in which a child starts school."""
    return born_on.year + SCHOOL_AGE


@city.route(
    births,
    flow="birth.schools",
    fields={"entry_year": derived(school_year, births.born_on), "postcode": births.postcode},
)
def birth_schools(_birth: View) -> bool:
    """Every birth."""
    return True


# -- social action: the heat plan (vital interests), the disability badge (legal obligation) ------------------------

frail = city.outbox("social-action.frail-registered.v1")
badges = city.outbox("social-action.disability-badge-issued.v1")


@city.route(frail, flow="heat-plan.emergency-desk")
def heat_plan(_frail: View) -> bool:
    """Every entry: the gate lets it pass only while an officer's override is in force."""
    return True


@city.route(badges, flow="disability-badge.police")
def disability_badge(_badge: View) -> bool:
    """Every badge."""
    return True


# -- the canteen tariff: household ⋈ income → a letter --------------------------------------------------------------

BANDS = "ABCDEFG"
BAND_STARTS_CENTS = (400_00, 700_00, 1_000_00, 1_500_00, 2_200_00, 3_200_00)
"""Monthly income per part at which bands B to G begin: Lutèce's own scale, of the kind that French cities vote."""

households = city.outbox("civil-registry.household-changed.v1")
incomes = city.outbox("tax.income-assessed.v1")


def tariff_band(adults: int, dependants: int, reference_income_cents: int) -> str:
    """The letter: yearly income / 12 / parts, one part for an adult and half a one for a dependant."""
    halves = max(2 * adults + dependants, 1)
    return BANDS[bisect_right(BAND_STARTS_CENTS, reference_income_cents * 2 // (12 * halves))]


@city.join(
    households,
    incomes,
    flow="meal-tariff.schools",
    fields={
        "tariff_band": derived(tariff_band, households.adults, households.dependants, incomes.reference_income_cents)
    },
)
def meal_tariff(_household: View, _income: View) -> bool:
    """Whenever the household or the income changes and both are known: the schools get the letter, and nothing else."""
    return True
