"""`passerelle publish outbox run` that kills itself (SIGKILL) at a named place: `test_outbox` runs it."""

import os
import signal
import sys

from confluent_kafka import Producer

from passerelle.cli import main
from passerelle.publish import steady
from passerelle.publish.outbox_table import OutboxTable

SECONDS_MAX = 30


def die(*_args, **_kwargs):
    os.kill(os.getpid(), signal.SIGKILL)


class Dying(Producer):
    """A producer that does not live through its transaction."""

    def commit_transaction(self, *_):
        assert self.flush(SECONDS_MAX) == 0  # the broker has every record, and waits for the commit
        die()


def before_it_sends():
    Dying.begin_transaction = die
    steady.Producer = Dying


def in_the_transaction():
    steady.Producer = Dying


def after_the_commit():
    OutboxTable.delete = die


PLACES = {place.__name__: place for place in (before_it_sends, in_the_transaction, after_the_commit)}

if __name__ == "__main__":
    PLACES[sys.argv.pop(1)]()
    main()
