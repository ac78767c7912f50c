"""Names of the topics (DESIGN §3) and the partitioner that every part of the bus shares."""

from struct import unpack_from

EXCHANGE = "exchange"
CONSENT = "consent"
JOURNAL = "consent.journal"
DECISIONS = "decisions"
MARKS = "marks"
FENCE = "fence"

SUBJECT_ERASED = "passerelle.subject-erased.v1"
"""The one CloudEvents type in an inbox that is no department's event: forget this pseudonym. It has no body."""


def outbox(department: str, event: str) -> str:
    """Where a department publishes one kind of event; versions of the event share it."""
    return f"outbox.{department}.{event}"


def outbox_writer(department: str) -> str:
    """The transactional id of the one relay that publishes a department's PostgreSQL outbox."""
    return f"outbox-{department}"


def relayed(department: str) -> str:
    """Which rows of its PostgreSQL outbox a department's relay committed last: known to that relay alone."""
    return f"relayed.{department}"


def inbox(department: str) -> str:
    """Where the gate alone delivers to a department."""
    return f"inbox.{department}"


def dead_letter(component: str) -> str:
    """Where a component leaves a reference to what it could not take."""
    return f"deadletter.{component}"


def join_log(app: str, join: str) -> str:
    """The log of which a join's state is the fold; ``app`` without the ``agents.`` prefix."""
    return f"agents.{app}.{join}.log"


_MASK = 0xFFFFFFFF
_M = 0x5BD1E995
_SEED = 0x9747B28C


def murmur2(key: bytes) -> int:
    """MurmurHash2 (A. Appleby), 32 bits, with Kafka's seed: what Java's and librdkafka's partitioners use."""
    length = len(key)
    h = _SEED ^ length
    whole = length & ~3
    for word in unpack_from(f"<{length // 4}I", key):
        k = word * _M & _MASK
        h = h * _M & _MASK ^ (k ^ k >> 24) * _M & _MASK
    if length != whole:
        h = (h ^ int.from_bytes(key[whole:], "little")) * _M & _MASK
    h = (h ^ h >> 13) * _M & _MASK
    return h ^ h >> 15


def partition_of(key: bytes, partitions: int) -> int:
    """The partition of a keyed record: ``murmur2_random`` in librdkafka, the default in Java and aiokafka."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions
