"""Whether anything was ever written of a contract, as far as this home's broker knows."""

from passerelle.city import cluster
from passerelle.city.broker import Broker
from passerelle.config import Settings
from passerelle_schemas.contract import Contract
from passerelle_schemas.faults import Fault
from passerelle_schemas.topics import EXCHANGE, outbox


def ever_written(here: Settings, contract: Contract) -> bool:
    """Ask the broker for the end of the topic that the event travels on. Raises `Fault` when it does not answer.

    What was written and deleted since counts: an end never goes back. A home without a broker has written nothing.
    """
    if not here.home.kafka.is_dir():
        return False
    broker = Broker.find(here.home)
    if broker is None or not broker.alive:
        raise Fault("its broker is down: nobody can tell what was written", hint="passerelle kafka up")
    topic = EXCHANGE if contract.derived else outbox(contract.department, contract.event)
    return any(end > 0 for end in cluster.ends(broker.access(), topic))
