"""An integrator in a process of its own that kills itself (SIGKILL) at a named place: `test_killed` runs it.

Everything but the place is the ledger's own code; Kafka is the topics that the test wrote down.
"""

import os
import pickle
import signal
import sys
from pathlib import Path

if not __package__:  # run as a script: its siblings are found from the folder above
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from passerelle_consent.ledger.database.writer import Writer
from passerelle_consent.ledger.integrator.files import Files
from passerelle_consent.ledger.integrator.integrate import Integrator
from passerelle_consent.ledger.integrator.publish import FolderPublisher
from passerelle_consent.ledger.integrator.sealing_process import SealingProcess
from unit.ledger.fakes import LedgerTown

PLACES = {
    "before it polls": (Integrator, "_take", "before"),
    "polled": (Integrator, "_take", "after"),
    "prepared": (Integrator, "_prepare", "after"),
    "shown that it leads": (Writer, "renew", "after"),
    "inserted": (Writer, "add_entries", "after"),
    "before the commit": (Writer, "put_positions", "after"),
    "committed": (Integrator, "_publish", "before"),
    "among the tiles": (Files, "replace", "after"),
    "before the checkpoint": (FolderPublisher, "_write_tiles", "after"),
    "published": (FolderPublisher, "_drop_outgrown", "before"),
    "the whole step done": (Integrator, "_publish", "after"),
}


def die_at(place: str, occasion: int) -> None:
    """At the so-manieth time that it gets there, counted over its threads."""
    owner, name, when = PLACES[place]
    real, left = getattr(owner, name), [occasion]

    def counted(*args, **kwargs):
        left[0] -= 1
        if left[0] == 0 and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = real(*args, **kwargs)
        if left[0] <= 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, counted)


def main(folder: str, url: str, place: str, occasion: str) -> None:
    town = LedgerTown(Path(folder), store_url=url, seed=int.from_bytes(os.urandom(4)))
    town.decisions, town.journal = pickle.loads((Path(folder) / "topics").read_bytes())  # noqa: S301 - the test's own
    town.now_ms += 60_000  # whoever led before has died long ago
    integrator = town.started(holder="dying", sealing=SealingProcess())
    die_at(place, int(occasion))
    while True:
        integrator.step(ahead=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
