"""Publish, and have witnesses cosign what is published: each on a thread of its own, none of which the log waits for.

A checkpoint is public at once under the log's signature; each cosignature is added as it comes, unless the log is
further by then. A log that stands still is cosigned anew now and then, so that the newest time on its checkpoint says
that it is current. A witness that is down costs nothing; one that refuses is told in the log lines, for it knows of
another history.
"""

import threading
import time
from collections.abc import Callable, Sequence

import structlog

from passerelle_consent.ledger.audit.folder import LogFolder
from passerelle_consent.ledger.database.reader import Head
from passerelle_consent.ledger.faults import Invalid, Unclear
from passerelle_consent.ledger.integrator.ask import Refusal, WitnessClient
from passerelle_consent.ledger.integrator.publish import FolderPublisher, PublishFault, Source

REFRESH_S = 60.0
"""How old the newest cosignature of a log that stands still may become."""
REST_S = 10.0
"""After a witness that did not answer, or refused."""
STOP_S = 10.0
"""How long the end waits for requests that are under way: longer than their tries last."""

_log = structlog.get_logger()


class WitnessedPublisher:
    """A folder's publisher with witnesses. ``close`` ends its threads."""

    def __init__(self, publisher: FolderPublisher, log: LogFolder, clients: Sequence[WitnessClient]) -> None:
        self._publisher = publisher
        self._askers = [_Asker(client, publisher, log) for client in clients]
        for asker in self._askers:
            asker.start()

    def publish(self, source: Source, head: Head) -> None:
        """Publish, and leave the checkpoint to be cosigned. Raises as `FolderPublisher.publish` does."""
        self._publisher.publish(source, head)
        for asker in self._askers:
            asker.hand(head)

    def close(self) -> None:
        """Ask nobody any more."""
        for asker in self._askers:
            asker.stop()
        for asker in self._askers:
            asker.join(STOP_S)


class _Asker(threading.Thread):
    """Asks one witness, always about the newest checkpoint."""

    def __init__(
        self,
        client: WitnessClient,
        publisher: FolderPublisher,
        log: LogFolder,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(name=f"witness {client.name}", daemon=True)
        self._client, self._publisher, self._log, self._clock = client, publisher, log, clock
        self._changed = threading.Condition()
        self._newest: Head | None = None
        self._stopped = False
        self._not_before = 0.0

    def hand(self, head: Head) -> None:
        with self._changed:
            self._newest = head
            self._changed.notify()

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify()

    def run(self) -> None:
        head: Head | None = None
        try:
            while (head := self._next(head)) is not None:
                self._ask(head)
        finally:
            self._client.close()

    def _next(self, last: Head | None) -> Head | None:
        """Wait for a newer checkpoint, or until it is time to ask about the last again; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or self._newest is not last, timeout=REFRESH_S)
            while not self._stopped and (rest := self._not_before - self._clock()) > 0:
                self._changed.wait(rest)
            self._changed.wait_for(lambda: self._stopped or self._newest is not None)
            return None if self._stopped else self._newest

    def _ask(self, head: Head) -> None:
        try:
            line = self._client.cosign(head.note, head.checkpoint, self._log.source(head.checkpoint.size))
            self._publisher.add(head.checkpoint, line)
        except Refusal as refusal:
            _log.error("witness refuses", witness=self._client.name, why=str(refusal), size=head.checkpoint.size)
            self._rest()
        except (Invalid, Unclear, PublishFault) as fault:
            _log.warning("not cosigned", witness=self._client.name, why=str(fault), size=head.checkpoint.size)
            self._rest()

    def _rest(self) -> None:
        self._not_before = self._clock() + REST_S
