"""How the households of a French city are made: census proportions, from a file or as written down here.

The figures are counts of the 157,647 households of Nantes (INSEE census of 2015, re-weighted; Licence Ouverte).
"""

import csv
import gzip
import random
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import BinaryIO, TextIO

from passerelle_schemas.faults import Fault

COLUMNS = ("household_id", "age", "size", "ownership", "family_comp")

AGES: Mapping[str, tuple[int, int]] = {
    "0_29": (18, 29),
    "30_39": (30, 39),
    "40_49": (40, 49),
    "50_59": (50, 59),
    "60_74": (60, 74),
    "75_or_more": (75, 98),
}
"""Band of the reference person → first and last age, in years. Nobody below 18 heads a household here."""

SIZES: Mapping[str, int] = {"1_pers": 1, "2_pers": 2, "3_pers": 3, "4_pers": 4, "5_pers_or_more": 5}
"""Band → people; the last is the least that the band holds."""

AGE_COUNTS: Mapping[str, tuple[int, int, int, int, int, int]] = {
    "Single_wom": (15_098, 4_552, 3_408, 5_004, 8_550, 8_680),
    "Single_man": (14_814, 7_086, 5_250, 4_178, 3_437, 1_647),
    "Couple_without_child": (7_708, 4_515, 1_446, 3_870, 8_622, 4_630),
    "Couple_with_child": (1_656, 8_447, 9_314, 5_439, 1_615, 203),
    "Single_parent": (933, 2_719, 4_414, 2_705, 879, 562),
    "complex_hh": (3_917, 871, 450, 446, 346, 236),
}
"""Composition → households by age band of the reference person, in the order of `AGES`."""

SIZE_COUNTS: Mapping[str, tuple[int, int, int, int, int]] = {
    "Single_wom": (45_292, 0, 0, 0, 0),
    "Single_man": (36_412, 0, 0, 0, 0),
    "Couple_without_child": (0, 30_263, 365, 120, 43),
    "Couple_with_child": (0, 0, 10_619, 10_066, 5_989),
    "Single_parent": (0, 6_989, 3_586, 1_168, 469),
    "complex_hh": (0, 4_926, 915, 299, 126),
}
"""Composition → households by size band, in the order of `SIZES`."""

FIRST_ROW = 2
"""Row 1 is the header, as a spreadsheet counts."""


class HouseholdFault(Fault):
    """The household file is not one. Names the row and the column, never the cell."""

    exit_code = 1


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class HouseholdKind:
    """One cell of the census table."""

    age: str
    size: str
    composition: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Proportions:
    """How often each kind of household occurs; ``kinds`` and ``weights`` go together."""

    kinds: tuple[HouseholdKind, ...]
    weights: tuple[int, ...]

    @classmethod
    def of(cls, counts: Mapping[HouseholdKind, int]) -> "Proportions":
        """Sort, so that the same counts draw the same city whatever order they were read in."""
        kept = sorted(kind for kind, n in counts.items() if n > 0)
        return cls(kinds=tuple(kept), weights=tuple(counts[kind] for kind in kept))

    def draw(self, rng: random.Random, count: int) -> list[HouseholdKind]:
        """Return ``count`` kinds, drawn with replacement."""
        return rng.choices(self.kinds, weights=self.weights, k=count)


def written_down() -> Proportions:
    """Return the proportions of the tables above; within a composition, age and size are taken as independent."""
    counts: Counter[HouseholdKind] = Counter()
    for composition, by_age in AGE_COUNTS.items():
        for age, in_band in zip(AGES, by_age, strict=True):
            for size, of_size in zip(SIZES, SIZE_COUNTS[composition], strict=True):
                counts[HouseholdKind(age=age, size=size, composition=composition)] = in_band * of_size // sum(by_age)
    return Proportions.of(counts)


def read(path: Path) -> Proportions:
    """Count the households of a CSV file, plain or gzip. Raises `HouseholdFault`."""
    counts: Counter[HouseholdKind] = Counter()
    try:
        with path.open("rb") as raw, _text(path, raw) as text:
            counts.update(_kinds(path, csv.DictReader(text)))
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as exc:
        raise HouseholdFault(f"cannot be read: {type(exc).__name__}", where=str(path)) from None
    if not counts:
        raise HouseholdFault("holds no household", where=str(path))
    return Proportions.of(counts)


def _text(path: Path, raw: BinaryIO) -> TextIO:
    unzipped = gzip.GzipFile(fileobj=raw) if path.suffix == ".gz" else raw
    return TextIOWrapper(unzipped, encoding="utf-8", newline="")


def _kinds(path: Path, rows: "csv.DictReader[str]") -> Iterable[HouseholdKind]:
    missing = [c for c in COLUMNS if c not in (rows.fieldnames or ())]
    if missing:
        raise HouseholdFault(f"column {missing[0]} is missing", where=f"{path}: row 1")
    known = {"age": AGES, "size": SIZES, "family_comp": AGE_COUNTS}
    for number, row in enumerate(rows, FIRST_ROW):
        for column, values in known.items():
            if row[column] not in values:
                raise HouseholdFault(f"column {column}: not a known band", where=f"{path}: row {number}")
        yield HouseholdKind(age=row["age"], size=row["size"], composition=row["family_comp"])
