"""Keep the index in step with the published log.

What is indexed is hashed on the way, and the tree that it makes must have the root that was signed: an index is of one
history. It lags behind the log by what was published since the last look; whoever asks is told how far it is.
"""

from collections.abc import Callable
from threading import Event

import structlog

from passerelle_consent.ledger.audit.published import PublishedLog
from passerelle_consent.ledger.faults import Invalid, Unclear
from passerelle_consent.ledger.log import tiles, tree
from passerelle_consent.ledger.log.checkpoint import Checkpoint
from passerelle_consent.ledger.log.note import Verifier
from passerelle_consent.ledger.log.tiles import TILE_HEIGHT, TILE_WIDTH, RightEdge, Tile
from passerelle_consent.ledger.query.index import Batch, Index
from passerelle_consent.ledger.query.places import Reached

ENTRIES_MAX = 64 * TILE_WIDTH
"""Of one transaction: some 20 MB while they are written."""

LOOK_S = 0.5
"""Between two looks at the checkpoint."""

_log = structlog.get_logger()


class Follower:
    """Reads a log forward into its index. Any number may run: a step that another has done is not done twice."""

    def __init__(self, log: PublishedLog, verifier: Callable[[], Verifier], index: Index) -> None:
        """``verifier`` is asked at each look: the log's key is published with it."""
        self._log = log
        self._verifier = verifier
        self._index = index
        self._done: Checkpoint | None = None

    def run(self, stop: Event, ready: Callable[[], None] = lambda: None) -> None:
        """Follow until ``stop``. A log that is not there yet is waited for. Raises `Invalid`."""
        ready()
        told = ""
        while not stop.is_set():
            try:
                self.catch_up(stop)
            except Unclear as unclear:  # no log yet; or a file that the publisher has just taken away
                if told != str(unclear):
                    told = str(unclear)
                    _log.warning("not indexed", why=told)
            stop.wait(LOOK_S)

    def catch_up(self, stop: Event | None = None) -> int:
        """Index all below the checkpoint, or what can be done until ``stop``; return the size that is reached.

        Raises `Invalid` when the index or the entries are not of the history that was signed; `Unclear`.
        """
        checkpoint, _ = self._log.checkpoint(self._verifier())
        while checkpoint != self._done:
            with self._index.reading() as db:
                reached, known = db.reached(), db.known()
            edge = self._edge(checkpoint, reached)
            if reached.size == checkpoint.size:
                self._done = checkpoint
            elif stop is not None and stop.is_set():
                return reached.size
            else:
                self._step(checkpoint, reached, edge, Batch(known=known))
        return checkpoint.size

    def _edge(self, checkpoint: Checkpoint, reached: Reached) -> RightEdge:
        """The tree as far as it is indexed: it must be the beginning of the one that was signed."""

        def read(level: int, index: int) -> bytes:
            width = min(TILE_WIDTH, (checkpoint.size >> TILE_HEIGHT * level) - index * TILE_WIDTH)
            return self._log.hashes(Tile(level=level, index=index, width=width))

        if reached.size > checkpoint.size or (edge := RightEdge.of(reached.size, read)).root() != reached.root:
            hint = "remove the index: it is made anew from the log"
            raise Invalid(f"the index of {reached.size} entries is of another history", hint=hint)
        return edge

    def _step(self, checkpoint: Checkpoint, reached: Reached, edge: RightEdge, batch: Batch) -> None:
        size = min(checkpoint.size, reached.size - reached.size % TILE_WIDTH + ENTRIES_MAX)
        for bundle in tiles.bundles(size, reached.size):
            start = max(bundle.start, reached.size)
            entries = self._log.bundle(bundle)[start - bundle.start :]
            for index, raw in enumerate(entries, start):
                batch.add(index, raw)
            edge.append(tree.leaf_hashes(entries))
        after = Reached(size=size, root=edge.root())
        if size == checkpoint.size and after.root != checkpoint.root:
            raise Invalid("the entries are not those that were signed", hint="run: passerelle ledger verify")
        self._index.extend(batch, before=reached, after=after)
        _log.info("indexed", size=size, of=checkpoint.size)
