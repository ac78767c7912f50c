"""Change the master key under every stored subject key, a batch at a time, beside an integrator.

Each batch is a transaction that holds the leader's row: an integrator commits before it or after it, so that a key it
destroys is either not seen here or destroyed afterwards, and never written again. Ended between two batches, nothing
is lost: all that is stored opens under one master or the other, and the next run goes on.
"""

from collections.abc import Callable

from passerelle_consent.ledger.database.store import Store
from passerelle_consent.ledger.log.commitments import MasterKey, Random
from passerelle_consent.ledger.log.masters import Masters
from passerelle_consent.ledger.sealing.vault import WrappedKey

BATCH_ROWS = 500
"""Of one transaction: some 10 ms, for which an integrator waits."""


def waiting(store: Store, current: MasterKey) -> int:
    """Count the keys that another master wraps. Raises `StoreAway`."""
    with store.reading() as db:
        return db.count_not_under(current.id)


def rewrap(store: Store, masters: Masters, random: Random, done: Callable[[int], bool]) -> bool:
    """Wrap by the current master what others wrap, in one pass; return whether it was gone through.

    ``done`` hears of the keys of each batch once it is committed, and says whether to go on. What an integrator stores
    under the old one meanwhile may stand behind where the pass is: `retire` tells whether another is needed.
    Raises `Unclear` for a key of a master that is not there, `Invalid`, `StoreAway`.
    """
    after = b""
    while some := _rewrap_batch(store, masters, random, after):
        if not done(len(some)):
            return False
        after = some[-1]
    return True


def _rewrap_batch(store: Store, masters: Masters, random: Random, after: bytes) -> list[bytes]:
    """Return whose keys were wrapped anew, in order."""
    current = masters.current()
    with store.writing() as db:
        db.hold_leader()
        stored = db.not_under(current.id, after, BATCH_ROWS)
        db.rewrap_keys({subject: _rewrapped(subject, key, masters, current, random) for subject, key in stored})
    return [subject for subject, _ in stored]


def _rewrapped(subject: bytes, key: WrappedKey, masters: Masters, current: MasterKey, random: Random) -> WrappedKey:
    return WrappedKey(master=current.id, wrapped=current.wrap(subject, key.open(subject, masters).secret, random))


def retire(store: Store, current: MasterKey, destroy: Callable[[], None]) -> bool:
    """``destroy`` the other masters if no key needs them; return whether that was so. Raises `StoreAway`.

    No integrator commits meanwhile, and one that commits afterwards sees which master is current (`integrate`).
    """
    with store.writing() as db:
        db.hold_leader()
        if db.not_under(current.id, b"", 1):
            return False
        destroy()
    store.sweep()
    return True
