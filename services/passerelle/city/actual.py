"""What a cluster has now: topics, their settings, SCRAM users, rights."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from passerelle.city.cluster import ANSWER_SECONDS_MAX, answer, api
from passerelle.city.desired import Acl, Topic

if TYPE_CHECKING:
    from confluent_kafka.admin import AdminClient

USER = "User:"


@dataclass(frozen=True, kw_only=True)
class Actual:
    """A cluster's state. A topic's ``config`` holds its own settings alone, not what it inherits."""

    cluster_id: str
    topics: Mapping[str, Topic]
    users: Mapping[str, int]
    """SCRAM-SHA-512 user → iterations."""
    acls: frozenset[Acl]


def read(admin: "AdminClient", names: frozenset[str]) -> Actual:
    """Ask the cluster. Settings are read of the topics in ``names``; existence of all. Raises `Fault`."""
    listed = admin.list_topics(timeout=ANSWER_SECONDS_MAX)
    counts = {name: len(topic.partitions) for name, topic in listed.topics.items() if topic.error is None}
    configs = _configs(admin, sorted(names & counts.keys()))
    topics = {name: Topic(name=name, partitions=n, config=configs.get(name, {})) for name, n in counts.items()}
    return Actual(cluster_id=str(listed.cluster_id), topics=topics, users=_users(admin), acls=_acls(admin))


def _configs(admin: "AdminClient", names: list[str]) -> dict[str, dict[str, str]]:
    if not names:
        return {}
    kafka = api()
    futures = admin.describe_configs([kafka.ConfigResource(kafka.ResourceType.TOPIC, name) for name in names])
    own = kafka.ConfigSource.DYNAMIC_TOPIC_CONFIG.value
    found: dict[str, dict[str, str]] = {}
    for resource, future in futures.items():
        entries = answer(future, f"reading the settings of {resource.name}")
        found[resource.name] = {name: entry.value for name, entry in entries.items() if entry.source == own}
    return found


def _users(admin: "AdminClient") -> dict[str, int]:
    described = answer(admin.describe_user_scram_credentials(), "reading the SCRAM users")
    return {
        name: info.iterations
        for name, user in described.items()
        for info in user.scram_credential_infos
        if info.mechanism == api().ScramMechanism.SCRAM_SHA_512
    }


def _acls(admin: "AdminClient") -> frozenset[Acl]:
    kafka = api()
    everything = kafka.AclBindingFilter(
        kafka.ResourceType.ANY,
        None,
        kafka.ResourcePatternType.ANY,
        None,
        None,
        kafka.AclOperation.ANY,
        kafka.AclPermissionType.ANY,
    )
    return frozenset(
        Acl(
            principal=found.principal.removeprefix(USER),
            operation=found.operation.name,
            resource=found.restype.name,
            name=found.name,
            pattern=found.resource_pattern_type.name,
            permission=found.permission_type.name,
            host=found.host,
        )
        for found in answer(admin.describe_acls(everything), "reading the rights")
    )
