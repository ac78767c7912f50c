"""Street reports of Lutèce: from a file with the columns of the Paris "Dans Ma Rue" open data, or invented alike."""

import csv
import random
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

from lutece.citizens import POSTCODES, SEED, STREETS, TODAY, Citizen, Population
from passerelle.publish.rows import BrokenOff, Rejected, Row, read_rows
from passerelle.publish.subjects import draw

COLUMNS = (
    "id_dmr", "type", "soustype", "adresse", "code_postal", "arrondissement", "conseilquartier", "datedecl",
    "prefixe", "intervenant", "lon", "lat",
)  # fmt: skip
MAPPING = Path(__file__).parent / "mappings" / "street-reports.yaml"

CONTACT_PERCENT = 60
"""Reporters who leave a contact: an assumption, as open data does not say."""
MONTH_LETTERS = "ABCDEFGHIJKL"
"""A report's id holds its month as a letter, as in the Paris file."""

CATEGORIES: tuple[tuple[int, str, str, str], ...] = (
    (2150, "Graffitis, tags, affiches et autocollants", "Graffitis et autocollants sur mur", "graffitis"),
    (1780, "Objets abandonnés", "Autres objets encombrants abandonnés", "Ramen"),
    (1271, "Propreté", "Déchets et/ou salissures divers", "DPE-STPP-DT"),
    (451, "Objets abandonnés", "Cartons ou sacs de déchets ménagers", "DPE-STPP-DT"),
    (271, "Graffitis, tags, affiches et autocollants", "Affiches sur mur ou pont", "DPE-STPP-Fonctionnelle"),
    (297, "Autos, motos, vélos, trottinettes...", "Automobile en stationnement gênant", "DPMP-Divisions"),
    (142, "Activités commerciales et professionnelles", "Étalage excessif, gêne à la circulation", "DPMP-Divisions"),
    (298, "Voirie et espace public", "Trottoirs : Affaissement, trou, bosse, pavé arraché", "DVD"),
    (140, "Mobiliers urbains", "Protection : Potelet, barrière ou garde-corps détérioré", "SMEP"),
    (109, "Éclairage / Électricité", "Éclairage public éteint la nuit", "CIELIS"),
    (72, "Arbres, végétaux et animaux", "Arbuste ou jardinière en mauvais état", "DEVE"),
    (20, "Arbres, végétaux et animaux", "Arbre : branche cassée", "DEVE-SAB"),
    (32, "Arbres, végétaux et animaux", "Présence de rats", "DASES"),
    (39, "Propreté", "Propreté des équipements de collecte", "TRILIB'"),
    (30, "Objets abandonnés", "Bac roulant à ordures ménagères", "DERICHEBOURG"),
    (28, "Graffitis, tags, affiches et autocollants", "Boîte aux lettres (La Poste)", "La Poste"),
    (23, "Autos, motos, vélos, trottinettes...", "Épave de vélo", "LIME"),
)
"""(how often in the Paris file of 2023-24, type, subtype, operator), the last three operators being no department's."""

CHANNELS = {"Android": 5345, "IOPage DMR Paris.fr application": 2339, "Page DMR Paris.fr": 251, "Back Office": 65}
"""How often each in the Paris file."""

NEIGHBOURHOODS = ("LES TANNERIES", "VIEUX PONT", "LA GARE", "LES VIGNES", "ILE HAUTE", "LES ECLUSES")


class Reporters:
    """Who filed which report: drawn from the report's id, so that the same file has the same reporters every time."""

    def __init__(self, population: Population, *, seed: int = SEED) -> None:
        self._adults = population.adults
        self._seed = f"lutece-reporters/{seed}"

    def of(self, report_id: str) -> Citizen:
        """Return the adult who filed the report."""
        return self._adults[draw(self._seed, report_id, len(self._adults))]

    def leaves_contact(self, report_id: str) -> bool:
        """Whether the reporter left a way to be called back."""
        return draw(f"{self._seed}/contact", report_id, 100) < CONTACT_PERCENT

    def contact(self, report_id: str) -> dict[str, str | None]:
        """Return the optional group of fields of `citizen-desk.report-filed.v1`; all null when none was left."""
        reporter = self.of(report_id) if self.leaves_contact(report_id) else None
        return {
            "reporter_name": reporter.display_name if reporter else None,
            "reporter_email": reporter.email if reporter else None,
            "reporter_phone": reporter.phone if reporter else None,
        }

    def complete(self, cells: Mapping[str, str], value: dict[str, Any]) -> dict[str, Any]:
        """Add the contact to the value made from a row (a `passerelle.publish.csv_import.Complete`)."""
        return value | self.contact(cells["id_dmr"])


def read_reports(path: Path) -> Iterator[Row | Rejected | BrokenOff]:
    """Yield the rows of a report file, its header checked. Raises `CsvFault`."""
    return read_rows(path, COLUMNS)


def invent_reports(count: int, *, seed: int = SEED, day: date = TODAY) -> Iterator[dict[str, str]]:
    """Yield ``count`` invented rows with the columns of the Paris file, filed on ``day``."""
    rng = random.Random(f"reports/{seed}/{day}")
    weights = [frequency for frequency, *_ in CATEGORIES]
    for number, (_, type_, subtype, operator) in enumerate(rng.choices(CATEGORIES, weights=weights, k=count), 1):
        place = rng.randrange(len(POSTCODES))
        yield {
            "id_dmr": f"L{day.year}{MONTH_LETTERS[day.month - 1]}{day.day:02d}{number:05d}",
            "type": type_,
            "soustype": subtype,
            "adresse": f"{rng.randint(1, 98)} {rng.choice(STREETS)}, {POSTCODES[place]} LUTECE",
            "code_postal": POSTCODES[place],
            "arrondissement": str(place + 1),
            "conseilquartier": rng.choice((*NEIGHBOURHOODS, "")),
            "datedecl": day.isoformat(),
            "prefixe": rng.choices(list(CHANNELS), weights=list(CHANNELS.values()))[0],
            "intervenant": operator,
            "lon": f"{rng.uniform(2.30, 2.40):.6f}",
            "lat": f"{rng.uniform(48.82, 48.90):.6f}",
        }


def write_reports(path: Path, rows: Iterable[dict[str, str]]) -> int:
    """Write rows as CSV. Returns how many."""
    written = 0
    with path.open("w", encoding="utf-8", newline="") as text:
        writer = csv.DictWriter(text, COLUMNS)
        writer.writeheader()
        for row in rows:
            writer.writerow(row)
            written += 1
    return written
