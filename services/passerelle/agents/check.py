"""Before the start: every topic is there with the right count, and every right.

Stock Faust reports that it is ready without them, and stays silent (DESIGN §5a, rule 8).
"""

from collections.abc import Iterable
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupAuthorizationFailedError, TopicAuthorizationFailedError, for_code

from passerelle.agents.declared import AgentsPlan
from passerelle.config import KafkaAccess
from passerelle_schemas.faults import Fault
from passerelle_schemas.topics import EXCHANGE

READ_PROBE_MS = 200
"""A fetch that is not allowed is answered at once; one that is allowed has nothing to say within this."""


class NotReady(Fault):
    """The broker does not hold what the agents need. `city apply` mends it."""


async def check(plan: AgentsPlan, access: KafkaAccess) -> str:
    """Return the cluster's id. Raises `NotReady` for what an operator mends, `KafkaError` for what may pass."""
    admin = AIOKafkaAdminClient(**access.aiokafka())
    await admin.start()
    try:
        topics = [*plan.outboxes, *plan.join_logs, EXCHANGE, plan.dead_letter]
        counts = _counts(await admin.describe_topics(topics))
        _same(counts, [*plan.outboxes, *plan.join_logs, EXCHANGE])
        await _group(admin, plan.app_id)
        cluster = await admin.describe_cluster()
    finally:
        await admin.close()
    await _readable([*plan.outboxes, *plan.join_logs], access)
    return str(cluster.get("cluster_id"))


def _counts(described: Iterable[dict[str, Any]]) -> dict[str, int]:
    for topic in described:
        if topic["error_code"]:
            raise _unfit(topic["topic"], for_code(topic["error_code"]).__name__)
    return {t["topic"]: len(t["partitions"]) for t in described}


def _same(counts: dict[str, int], per_subject: Iterable[str]) -> None:
    """Partition i of one is partition i of all (DESIGN §3)."""
    for topic in per_subject:
        if counts[topic] != counts[EXCHANGE]:
            raise _unfit(topic, f"{counts[topic]} partitions, {EXCHANGE} has {counts[EXCHANGE]}")


async def _group(admin: AIOKafkaAdminClient, group: str) -> None:
    try:
        await admin.list_consumer_group_offsets(group)
    except GroupAuthorizationFailedError:
        raise NotReady(f"no right to the group {group}", hint="passerelle city apply") from None


async def _readable(topics: Iterable[str], access: KafkaAccess) -> None:
    """Fetch once from the end of each: metadata alone does not tell a right to write from one to read."""
    consumer = AIOKafkaConsumer(
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="latest",
        fetch_max_wait_ms=READ_PROBE_MS // 2,
        **access.aiokafka(),
    )
    await consumer.start()
    try:
        partitions = [TopicPartition(topic, 0) for topic in topics]
        consumer.assign(partitions)
        await consumer.seek_to_end(*partitions)
        await consumer.getmany(timeout_ms=READ_PROBE_MS)
    except TopicAuthorizationFailedError as exc:
        named = exc.args[0] if exc.args else "?"
        raise _unfit(
            ", ".join(sorted(named)) if isinstance(named, set | frozenset) else str(named), "may not be read"
        ) from None
    finally:
        await consumer.stop()


def _unfit(topic: str, why: str) -> NotReady:
    return NotReady(why, where=f"topic {topic}", hint="passerelle city apply")
