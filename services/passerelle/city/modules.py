"""A city's own Python: the modules of its agents, beside its manifest or wherever Python finds them."""

import importlib
import sys
from pathlib import Path
from types import ModuleType


def imported(name: str, manifest: Path) -> ModuleType:
    """Import a module of the city that ``manifest`` describes. Raises `ImportError`, and whatever the module does."""
    beside = str(manifest.parent)
    if beside not in sys.path:
        sys.path.append(beside)  # last: a city's file hides no library
    return importlib.import_module(name)
