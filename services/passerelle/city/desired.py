"""What must exist on the broker for a city to keep promise P1, no way around the gate. Pure.

Every right is LITERAL: a prefixed right to ``inbox.`` would be a right to inboxes that do not exist yet. Rights that
Kafka implies are not written out (READ and WRITE imply DESCRIBE, WRITE on any topic implies idempotent producing).
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Protocol

from passerelle.city.erasure import SEGMENT_MS
from passerelle.city.manifest import DAY_MS, FOREVER_MS, AgentsApp, Manifest, retention_ms
from passerelle_schemas.catalogue import Catalogue
from passerelle_schemas.topics import (
    CONSENT,
    DECISIONS,
    EXCHANGE,
    FENCE,
    JOURNAL,
    MARKS,
    dead_letter,
    inbox,
    outbox,
    outbox_writer,
    relayed,
)

RECORD_BYTES_MAX = 1 << 20
"""Every writer's bound (a policy bundle and a record of decisions are at most 900,000 bytes)."""

SCRAM_ITERATIONS = 8_192
"""Kafka allows 4,096 to 16,384. Ours are random passwords of 192 bits, so that more would only slow down connecting."""

# Compacted topics are read to their end at each take-over of a partition: small segments that close soon, since the
# cleaner never touches the open one.
COMPACTED: Mapping[str, str] = {
    "cleanup.policy": "compact",
    "segment.bytes": str(8 << 20),
    "segment.ms": str(3_600_000),
    "min.cleanable.dirty.ratio": "0.2",
    # A reader that lags must still see that a subject was erased.
    "delete.retention.ms": str(DAY_MS),
    # What was overwritten or erased in a closed segment is gone after this, however little is written (DESIGN P7). The
    # consent service sees to it that segments close (`records.erasure.roll`).
    "max.compaction.lag.ms": str(DAY_MS),
}
# The time of a record is when the broker took it: it deletes by that time, a backfill carries old event times, and a
# clock that runs ahead would keep what an erasure must reach.
LOG_APPEND_TIME: Mapping[str, str] = {"message.timestamp.type": "LogAppendTime"}


class AgentsPlan(Protocol):
    """What an app of agents declares (`passerelle.agents`)."""

    @property
    def app_id(self) -> str:
        """Principal and consumer group."""

    @property
    def outboxes(self) -> tuple[str, ...]:
        """Topics that it reads."""

    @property
    def join_logs(self) -> tuple[str, ...]:
        """Topics that it reads and writes."""

    @property
    def dead_letter(self) -> str:
        """The topic for references to what it could not take."""

    @property
    def retention_ms(self) -> Mapping[str, int]:
        """Join log → how long it must keep its records at least."""


@dataclass(frozen=True, kw_only=True)
class Topic:
    """A topic and the settings that must not be the broker's defaults."""

    name: str
    partitions: int
    config: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, order=True)
class Acl:
    """One right. What is wanted leaves the last three as they are; what a cluster has may be anything."""

    principal: str
    operation: str
    """As Kafka spells it: READ, WRITE, …"""
    resource: str
    """TOPIC, GROUP, TRANSACTIONAL_ID, …"""
    name: str
    pattern: str = "LITERAL"
    permission: str = "ALLOW"
    host: str = "*"


@dataclass(frozen=True, kw_only=True)
class Desired:
    """All that a city has on the broker."""

    topics: Mapping[str, Topic]
    users: frozenset[str]
    acls: frozenset[Acl]


def desired(manifest: Manifest, catalogue: Catalogue, plans: Mapping[AgentsApp, AgentsPlan]) -> Desired:
    """Derive topics, SCRAM users and rights."""
    outboxes = outbox_retentions(catalogue)
    topics = chain(
        _subject_topics(manifest, outboxes),
        _agents_topics(manifest, plans),
        _dead_letters(manifest, plans),
        _relayed(manifest, outboxes),
    )
    by_name = {topic.name: topic for topic in topics}
    rights = chain(
        *(_department(d, outboxes) for d in manifest.department_ids),
        _gate(manifest),
        _consent(),
        _ledger(),
        _control_room(by_name, [plan.app_id for plan in plans.values()]),
        *(_agents(plan) for plan in plans.values()),
        _observer(by_name) if manifest.observer else (),
    )
    return Desired(topics=by_name, users=frozenset(manifest.principals), acls=frozenset(rights))


def outbox_retentions(catalogue: Catalogue) -> dict[str, int]:
    """Outbox → ms: the longest that a version of its event asks for. Derived events come from agents: no outbox."""
    found: dict[str, int] = {}
    for contract in catalogue:
        if not contract.derived:
            name = outbox(contract.department, contract.event)
            # -1, for ever, is the largest here.
            found[name] = max(found.get(name, 0), retention_ms(contract.retention), key=lambda ms: (ms < 0, ms))
    return found


def _kept(ms: int) -> dict[str, str]:
    # retention.bytes is said too, as a broker's default of it could cut what retention.ms promises.
    kept = {"cleanup.policy": "delete", "retention.ms": str(ms), "retention.bytes": str(FOREVER_MS)}
    return {**kept, "segment.ms": str(SEGMENT_MS)}


def _subject_topics(manifest: Manifest, outboxes: Mapping[str, int]) -> Iterator[Topic]:
    kept = manifest.retention
    kept_ms = dict(outboxes)
    kept_ms |= {EXCHANGE: retention_ms(kept.exchange), DECISIONS: retention_ms(kept.decisions)}
    kept_ms |= {inbox(department): retention_ms(kept.inbox) for department in manifest.department_ids}
    kept_ms[JOURNAL] = retention_ms(kept.journal)
    configs: dict[str, Mapping[str, str]] = {name: {**_kept(ms), **LOG_APPEND_TIME} for name, ms in kept_ms.items()}
    for name in (CONSENT, MARKS, FENCE):
        configs[name] = COMPACTED
    for name, config in configs.items():
        yield _topic(name, manifest.partitions, config)


def _agents_topics(manifest: Manifest, plans: Mapping[AgentsApp, AgentsPlan]) -> Iterator[Topic]:
    for plan in plans.values():
        for name in plan.join_logs:
            yield _topic(name, manifest.partitions, {**_kept(plan.retention_ms[name]), **LOG_APPEND_TIME})


def _dead_letters(manifest: Manifest, plans: Mapping[AgentsApp, AgentsPlan]) -> Iterator[Topic]:
    own = map(dead_letter, manifest.department_ids)
    for name in (dead_letter("gate"), *own, *(plan.dead_letter for plan in plans.values())):
        yield _topic(name, 1, _kept(retention_ms(manifest.retention.dead_letters)))


def _relayed(manifest: Manifest, outboxes: Iterable[str]) -> Iterator[Topic]:
    """Only the last record counts, and compaction never takes it: a relay that was away for long still knows."""
    for department in manifest.department_ids:
        if _own(department, outboxes):
            yield _topic(relayed(department), 1, COMPACTED)


def _own(department: str, outboxes: Iterable[str]) -> list[str]:
    return [name for name in outboxes if name.split(".")[1] == department]


def _topic(name: str, partitions: int, config: Mapping[str, str]) -> Topic:
    return Topic(name=name, partitions=partitions, config={**config, "max.message.bytes": str(RECORD_BYTES_MAX)})


def _topics(principal: str, operation: str, names: Iterable[str]) -> Iterator[Acl]:
    for name in names:
        yield Acl(principal=principal, operation=operation, resource="TOPIC", name=name)


def _group(principal: str, name: str) -> Acl:
    return Acl(principal=principal, operation="READ", resource="GROUP", name=name)


def _department(department: str, outboxes: Iterable[str]) -> Iterator[Acl]:
    """Write its own outboxes; read its own inbox, in its own group; leave dead letters of its own, and see to them."""
    own = _own(department, outboxes)
    yield from _topics(department, "WRITE", [*own, dead_letter(department)])
    yield from _topics(department, "READ", [inbox(department), dead_letter(department)])
    yield _group(department, inbox(department))
    if own:
        yield Acl(principal=department, operation="WRITE", resource="TRANSACTIONAL_ID", name=outbox_writer(department))
        yield from _topics(department, "WRITE", [relayed(department)])
        yield from _topics(department, "READ", [relayed(department)])


def _gate(manifest: Manifest) -> Iterator[Acl]:
    """The only writer of inboxes, decisions, marks and fence; a transactional id for each partition (DESIGN §6)."""
    yield from _topics("gate", "READ", [EXCHANGE, CONSENT, MARKS, FENCE])
    inboxes = map(inbox, manifest.department_ids)
    yield from _topics("gate", "WRITE", [*inboxes, DECISIONS, MARKS, FENCE, dead_letter("gate")])
    yield _group("gate", "gate")
    for i in range(manifest.partitions):
        yield Acl(principal="gate", operation="WRITE", resource="TRANSACTIONAL_ID", name=f"gate-{i}")


def _consent() -> Iterator[Acl]:
    """Writes standings and the journal; learns from the fence what the gate has applied."""
    yield from _topics("consent", "WRITE", [CONSENT, JOURNAL])
    yield from _topics("consent", "READ", [FENCE])
    yield _group("consent", "consent")
    # One relay, whichever process it is in (records/0002-sole-use-on-postgresql.md).
    yield Acl(principal="consent", operation="WRITE", resource="TRANSACTIONAL_ID", name="consent-relay")


def _ledger() -> Iterator[Acl]:
    yield from _topics("ledger", "READ", [DECISIONS, JOURNAL])
    yield _group("ledger", "ledger")


def _control_room(topics: Iterable[str], apps: Iterable[str]) -> Iterator[Acl]:
    """Counts decisions, shows dead letters, and how far behind everybody is. Writes nothing."""
    names = sorted(topics)
    read = [name for name in names if name == DECISIONS or name.startswith("deadletter.")]
    yield from _topics("control-room", "READ", read)
    yield from _topics("control-room", "DESCRIBE", [name for name in names if name not in read])
    for group in ("gate", *apps):
        yield Acl(principal="control-room", operation="DESCRIBE", resource="GROUP", name=group)


def _agents(plan: AgentsPlan) -> Iterator[Acl]:
    """Read outboxes and propose. No right to an inbox, nor to what was decided."""
    yield from _topics(plan.app_id, "READ", [*plan.outboxes, *plan.join_logs])
    yield from _topics(plan.app_id, "WRITE", [EXCHANGE, *plan.join_logs, plan.dead_letter])
    yield _group(plan.app_id, plan.app_id)


def _observer(topics: Iterable[str]) -> Iterator[Acl]:
    """Counts what came out, for the demonstration: reads what passes, and no standings."""
    unread = {CONSENT, JOURNAL, MARKS}
    own = [name for name in topics if name not in unread and not name.startswith(("agents.", "relayed."))]
    yield from _topics("observer", "READ", own)
    yield _group("observer", "observer")
