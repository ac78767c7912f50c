"""What was decided here since an instant, with what stood then: both databases, opened for reading alone."""

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from passerelle.config import Settings
from passerelle.masters import MasterFiles
from passerelle.replay import Replaying
from passerelle_consent.ledger.database.store import Store, StoreAway
from passerelle_consent.records.past import looking_back
from passerelle_schemas.faults import Fault


@contextmanager
def opened(here: Settings, since_ms: int) -> Iterator[Replaying]:
    """Open both, for as long as the block lasts. Raises `Fault`."""
    store = Store(here.ledger_store_url(), read_only=True)
    try:
        with looking_back(here.consent_store_url()) as consent:
            masters = MasterFiles(here.home.keys)  # before the ledger's state, whose keys they open
            with store.reading() as ledger:
                yield Replaying(ledger, consent, masters, since_ms)
    except (sa.exc.SQLAlchemyError, StoreAway):
        hint = "was this city ever started? passerelle consent serve; passerelle ledger integrate"
        raise Fault("a database cannot be read", where=str(here.home.store), hint=hint) from None
    finally:
        store.close()
