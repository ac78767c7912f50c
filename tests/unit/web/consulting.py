"""A consultation in the town: the tax office asks about a second version of the agreement on canteen tariffs."""

from passerelle.issuer import Bearing
from unit.records.fakes import citizen

DAY_MS = 86_400_000
ID = "meal-tariff-2027"
PATH = f"/v1/consultations/{ID}"
TAX = {"scope": "officer", "department": "tax"}
OFFICER = Bearing(scopes=["officer"], department="tax", subject="tax-officer")
QUESTION = {
    "fr": "Faut-il garder deux ans la tranche du tarif de cantine ?",
    "en": "Should the canteen tariff band be kept for two years?",
}


def draft(town):
    """The next version: kept for longer, with one more field."""
    signed = town.city.records.book.agreement("meal-tariff-income", town.city.clock.now_ms)
    said = signed.model_dump(mode="json", by_alias=True, exclude_unset=True)
    (event,) = said["events"].values()
    event["fields"]["parts_hundredths"] = {
        "fr": "Tenir compte de la taille du foyer ; ce nombre ne passe pas.",
        "en": "Take the size of the household into account; the number itself is not shared.",
    }
    return {
        **said,
        "version": 2,
        "in_force": {"from": "2027-01-15", "until": None},
        "retention": "P24M",
        "consent": {"valid_for": "P1Y"},
        "review": "2028-06-30",
    }


async def a_consultation(town, *, opened=True):
    """Publish it; it lasts a month."""
    asked = {
        "draft": draft(town),
        "question": QUESTION,
        "arguments_for": [{"fr": "Vous n’apportez plus de papiers.", "en": "You bring no more papers."}],
        "arguments_against": [{"fr": "La ville garde un fichier de plus.", "en": "The city keeps one more file."}],
        "opens": "2026-05-02T00:00:00+02:00",
        "closes": "2026-06-02T00:00:00+02:00",
    }
    answer = await town.city.call("PUT", PATH, asked, TAX)
    assert answer.status_code == 200, answer.text
    if opened:
        town.city.clock.now_ms += 2 * DAY_MS


async def close(town):
    """Let it be over: what is due is counted."""
    town.city.clock.now_ms += 40 * DAY_MS


async def argue(town, bearing, text, *, side="against", published=False):
    """A citizen's argument; return its number."""
    who = citizen(bearing.pseudonym.hex())
    said = {"side": side, "language": "fr", "text": text}
    n = (await town.city.call("POST", f"{PATH}/arguments", said, who)).json()["n"]
    if published:
        await town.city.call("PUT", f"{PATH}/arguments/{n}/ruling", {"ruling": "published"}, TAX)
    return n
