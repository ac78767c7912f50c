"""A recipient's own program in a process of its own, which kills itself (SIGKILL) at a named place: `test_inbox_into`.

It writes down each delivery and notice that it is handed, in a table that takes the same one twice.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path

if not __package__:  # run as a script: its siblings are found from the folder above
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from passerelle.city.manifest import Manifest
from passerelle.cli.into import database_of
from passerelle.config import settings
from passerelle.receive import positions
from passerelle.receive.consumer import InboxConsumer
from passerelle.receive.transactional import TransactionalInbox

NOTED = "INSERT INTO noted VALUES (:partition, :at, :reader)"
PLACES = ("moved on", "handed one", "before the commit", "committed", "hinted", "never")


class Dying:
    """Dies at the so-manieth time that it gets to a place."""

    def __init__(self, place, occasion):
        self.place, self.left = place, occasion

    def at(self, place):
        if place == self.place:
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def after(self, owner, name, place):
        real = getattr(owner, name)

        async def counted(*args, **kwargs):
            result = await real(*args, **kwargs)
            self.at(place)
            return result

        setattr(owner, name, counted)


async def read(url, place, occasion, group):
    here = settings()
    manifest = Manifest.load(here.manifest_path)
    dying, database = Dying(place, occasion), database_of(url)
    dying.after(positions, "advance", "moved on")
    dying.after(InboxConsumer, "commit", "hinted")
    real = database.transaction

    class Committing:
        async def __aenter__(self):
            self.open = real()
            self.session = await self.open.__aenter__()
            return self.session

        async def __aexit__(self, *raised):
            dying.at("before the commit")
            kept = await self.open.__aexit__(*raised)
            dying.at("committed")
            return kept

    database.transaction = Committing

    async def note(one, session):
        values = {"partition": one.partition, "at": one.offset, "reader": os.getpid()}
        await database.run(session, NOTED, values)
        dying.at("handed one")

    # A group of its own has no committed offset, waits for nobody's end, and shares no partition out: both read all.
    access = here.access("schools" if group == "own" else "admin")
    inbox = TransactionalInbox(access, "schools", manifest.policy_bundle().catalogue, database)
    if group != "own":
        inbox._consumer._group = f"another-{os.getpid()}"
    async with inbox:
        await inbox.apply(note, on_erased=note, follow=False)


if __name__ == "__main__":
    asyncio.run(read(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]))
