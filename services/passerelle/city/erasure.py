"""How long the broker may hold what a subject's erasure must reach (GDPR Art. 17; Art. 12(3): within one month). Pure.

Kafka deletes a closed segment when its newest record is older than `retention.ms`, and closes one that is written to
after `segment.ms`: a record is gone after both together, and the pauses of the cleaner. Every topic of records about
somebody is stamped by the broker (`LogAppendTime`), so nobody's clock makes one stay longer.

Compacted topics about somebody there is one of, `consent`; what erasure leaves of it is gone within a week
(records/0003-what-erasure-leaves.md). Dead letters, marks and the fence name nobody.
"""

from collections.abc import Iterator, Mapping, Sequence

from passerelle.city.manifest import DAY_MS, FOREVER_MS, Manifest, retention_ms
from passerelle_schemas.catalogue import Catalogue, Contract
from passerelle_schemas.documents import Document, Location
from passerelle_schemas.topics import DECISIONS, EXCHANGE, JOURNAL, outbox

ERASED_WITHIN_DAYS = 28
"""The shortest month."""

SEGMENT_MS = DAY_MS
"""How long a segment is written to. Shorter ones would be more files than a month of a large city is worth."""

PAUSES_MS = 3_600_000
"""Far more than the broker waits before it deletes: `log.retention.check.interval.ms` and `file.delete.delay.ms` are
six minutes together."""

KEPT_DAYS_MAX = (ERASED_WITHIN_DAYS * DAY_MS - SEGMENT_MS - PAUSES_MS) // DAY_MS
"""The longest retention of a topic about somebody: 26 days."""


def problems(manifest: Manifest, catalogue: Catalogue) -> Iterator[str]:
    """Name by file and line what would keep records about somebody for longer than an erasure may take."""
    document = Document(manifest.path)
    kept = manifest.retention
    of_the_bus = {"exchange": EXCHANGE, "decisions": DECISIONS, "journal": JOURNAL, "inbox": "every inbox"}
    for name, topic in of_the_bus.items():
        yield from _too_long(document, ("retention", name), topic, retention_ms(getattr(kept, name)))
    for contract in catalogue:
        if not contract.derived and _exceeds(retention_ms(contract.retention)):
            path = manifest.contracts / contract.department / f"{contract.event}.v{contract.version}.avsc"
            yield from problems_of_contract(Document(path), contract)


def problems_of_contract(document: Document, contract: Contract) -> Iterator[str]:
    """Say that a contract's outbox would; an event that agents derive has none."""
    if not contract.derived:
        topic, ms = outbox(contract.department, contract.event), retention_ms(contract.retention)
        yield from _too_long(document, ("passerelle.retention",), topic, ms)


def problems_of_joins(manifest: Manifest, kept_ms: Sequence[Mapping[str, int]]) -> Iterator[str]:
    """Name the joins of the manifest's apps, in its order, whose logs would: join log → ms."""
    document = Document(manifest.path)
    for i, logs in enumerate(kept_ms):
        for log, ms in logs.items():
            yield from _too_long(document, ("agents", i, "module"), log, ms)


def _too_long(document: Document, at: Location, topic: str, ms: int) -> Iterator[str]:
    if _exceeds(ms):
        kept = "for ever" if ms == FOREVER_MS else f"{ms / DAY_MS:.4g} days"
        yield document.problem(
            at,
            f"{topic} would keep records about somebody {kept}: {KEPT_DAYS_MAX} days are the most that lets an erasure "
            f"be complete within {ERASED_WITHIN_DAYS} (GDPR Art. 12(3))",
        )


def _exceeds(ms: int) -> bool:
    return ms == FOREVER_MS or ms > KEPT_DAYS_MAX * DAY_MS
