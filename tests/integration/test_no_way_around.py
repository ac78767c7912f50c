"""Promise P1, asked of the broker itself: a department's credentials open its own outboxes and inbox, and no more."""

import uuid
from collections.abc import Iterator

import pytest
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.fetch import FetchRequest
from confluent_kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    Producer,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    NewTopic,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from conftest import RunningCity
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
    relayed,
)

pytestmark = pytest.mark.broker

OWN_OUTBOX = outbox("tax", "income-assessed")
OTHERS_OUTBOX = outbox("civil-registry", "address-changed")
INTERNAL = [EXCHANGE, CONSENT, JOURNAL, DECISIONS, MARKS, FENCE, "deadletter.gate", "agents.lutece.meal-tariff.log"]
SECONDS_MAX = 15
NODE = 1  # of a cluster of one
FETCH_MS_MAX = 500
READ_COMMITTED = 1
TOPIC_REFUSED = KafkaError.TOPIC_AUTHORIZATION_FAILED
GROUP_REFUSED = KafkaError.GROUP_AUTHORIZATION_FAILED
CLUSTER_REFUSED = KafkaError.CLUSTER_AUTHORIZATION_FAILED


def write(city: RunningCity, principal: str, topic: str, value: bytes = b"x") -> KafkaError | None:
    """Produce one record; return the broker's refusal, None when it took it."""
    errors: list[KafkaError | None] = []
    settings = {**city.access(principal).confluent(), "enable.idempotence": True, "linger.ms": 0}
    producer = Producer({**settings, "delivery.timeout.ms": 10_000, "log_level": 0, "error_cb": errors.append})
    producer.produce(topic, value, key=b"k" * 16, partition=0, on_delivery=lambda error, _: errors.append(error))
    producer.flush(SECONDS_MAX)
    assert errors, "the broker said nothing"
    return errors[0]


async def fetch(city: RunningCity, principal: str, topic: str) -> tuple[int, bytes]:
    """Send one Fetch for partition 0 from its beginning, read committed; return the error code and what came.

    A raw request: the clients' consumers do not even ask for what they may not describe, so they would prove nothing.
    """
    client = AIOKafkaClient(**city.access(principal).aiokafka())
    await client.bootstrap()
    try:
        request = FetchRequest(FETCH_MS_MAX, 1, 1 << 20, READ_COMMITTED, [(topic, [(0, 0, 1 << 20)])])
        response = await client.send(NODE, request)
        [(_, [(_, error, *_, records)])] = response.topics
        return error, bytes(records or b"")
    finally:
        await client.close()


async def holds(city: RunningCity, principal: str, topic: str, value: bytes) -> bool:
    error, records = await fetch(city, principal, topic)
    return not error and value in records


def join(city: RunningCity, principal: str, group: str) -> KafkaError | None:
    """Join a consumer group; return the broker's refusal, None when a partition was assigned."""
    assigned: list[TopicPartition] = []
    consumer = Consumer({**city.access(principal).confluent(), "group.id": group, "log_level": 0})
    consumer.subscribe([inbox(principal)], on_assign=lambda _, partitions: assigned.extend(partitions))
    try:
        for _ in range(SECONDS_MAX * 10):
            message = consumer.poll(0.1)
            if message is not None and message.error():
                return message.error()
            if assigned:
                return None
        raise AssertionError("the broker said nothing")
    finally:
        consumer.close()


def refusal(call, *args) -> int:
    """The code of the error that a call ends with."""
    with pytest.raises(KafkaException) as caught:
        call(*args)
    return caught.value.args[0].code()


@pytest.mark.parametrize(
    "topic",
    [inbox("schools"), inbox("tax"), OTHERS_OUTBOX, *INTERNAL, dead_letter("schools"), relayed("civil-registry")],
)
def test_a_department_cannot_write(city, topic):
    error = write(city, "tax", topic)
    assert error is not None
    assert error.code() == TOPIC_REFUSED


@pytest.mark.parametrize(
    "topic",
    [inbox("schools"), OTHERS_OUTBOX, OWN_OUTBOX, *INTERNAL, "__consumer_offsets", "__transaction_state"],
)
async def test_a_department_cannot_read(city, topic):
    error, records = await fetch(city, "tax", topic)
    assert error == TOPIC_REFUSED
    assert not records


@pytest.mark.parametrize("group", [inbox("schools"), "gate", "consent", "ledger", "agents.lutece", "tax", "inbox.tax2"])
def test_a_department_cannot_join_the_group_of(city, group):
    error = join(city, "tax", group)
    assert error is not None
    assert error.code() == GROUP_REFUSED


@pytest.mark.parametrize("principal", ["tax", "agents.lutece", "consent", "observer"])
def test_the_gates_transactional_id_is_the_gates(city, principal):
    producer = Producer({**city.access(principal).confluent(), "transactional.id": "gate-0", "log_level": 0})
    assert refusal(producer.init_transactions, SECONDS_MAX) == KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED


def test_a_department_cannot_administer(city):
    admin = AdminClient({**city.access("tax").confluent(), "log_level": 0})
    right = AclBinding(
        ResourceType.TOPIC,
        inbox("tax"),
        ResourcePatternType.LITERAL,
        "User:tax",
        "*",
        AclOperation.WRITE,
        AclPermissionType.ALLOW,
    )
    password = UserScramCredentialUpsertion(
        "gate", ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 8192), b"taken over"
    )
    attempts = {
        "create a topic": admin.create_topics([NewTopic("inbox.mine", 1, 1)]),
        "delete a topic": admin.delete_topics([inbox("schools")]),
        "give itself a right": admin.create_acls([right]),
        "set the gate's password": admin.alter_user_scram_credentials([password]),
    }
    for what, futures in attempts.items():
        for future in futures.values():
            assert refusal(future.result, SECONDS_MAX) in (TOPIC_REFUSED, CLUSTER_REFUSED), what


def test_nobody_connects_without_the_right_password(city):
    settings = {**city.access("gate").confluent(), "log_level": 0}
    errors: list[KafkaError] = []
    for other in ({"sasl.password": "guess"}, {"sasl.username": "nobody"}):
        client = AdminClient({**settings, **other, "error_cb": errors.append})
        with pytest.raises(KafkaException):
            client.list_topics(timeout=3)
        client.poll(0)
    assert {error.code() for error in errors} >= {KafkaError._AUTHENTICATION}


async def test_what_is_allowed_works(city):
    assert write(city, "tax", OWN_OUTBOX) is None
    assert join(city, "tax", inbox("tax")) is None
    assert await holds(city, "agents.lutece", OWN_OUTBOX, b"x")
    assert write(city, "agents.lutece", EXCHANGE) is None
    assert write(city, "consent", CONSENT) is None
    assert write(city, "consent", JOURNAL) is None


async def test_the_gate_delivers_in_a_transaction_with_its_offsets(city):
    access = city.access("gate").confluent()
    consumer = Consumer({**access, "group.id": "gate", "enable.auto.commit": False})
    assigned: list[TopicPartition] = []
    consumer.subscribe([EXCHANGE], on_assign=lambda _, partitions: assigned.extend(partitions))
    for _ in range(SECONDS_MAX * 10):
        consumer.poll(0.1)
        if assigned:
            break
    marker = uuid.uuid4().bytes
    producer = Producer({**access, "transactional.id": "gate-0"})
    producer.init_transactions(SECONDS_MAX)
    producer.begin_transaction()
    for topic in (inbox("tax"), DECISIONS, MARKS, FENCE, "deadletter.gate"):
        producer.produce(topic, marker, key=b"0", partition=0)
    offsets = [TopicPartition(EXCHANGE, 0, 1), TopicPartition(CONSENT, 0, 1)]
    producer.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata(), SECONDS_MAX)
    producer.commit_transaction(SECONDS_MAX)
    consumer.close()
    assert await holds(city, "tax", inbox("tax"), marker)
    assert await holds(city, "ledger", DECISIONS, marker)
    assert await holds(city, "consent", FENCE, marker)


def rights(city: RunningCity, principal: str, topics: list[str]) -> Iterator[tuple[str, str]]:
    """What the broker says that a principal may do: (operation, topic)."""
    admin = AdminClient({**city.access(principal).confluent(), "log_level": 0})
    described = admin.describe_topics(TopicCollection(topics), include_authorized_operations=True)
    for topic, future in described.items():
        try:
            operations = future.result(SECONDS_MAX).authorized_operations
        except KafkaException:
            continue  # not even its existence is told
        yield from ((operation.name, topic) for operation in operations)


def test_the_broker_itself_lists_no_other_right(city):
    topics = sorted(AdminClient(city.access("admin").confluent()).list_topics(timeout=SECONDS_MAX).topics)
    may = {principal: set(rights(city, principal, topics)) for principal in city.manifest.principals}
    inboxes = {inbox(department) for department in city.manifest.department_ids}
    for principal, found in may.items():
        assert {operation for operation, _ in found} <= {"READ", "WRITE", "DESCRIBE", "DESCRIBE_CONFIGS"}, principal
        writes = {topic for operation, topic in found if operation == "WRITE"}
        assert writes & inboxes == (inboxes if principal == "gate" else set()), principal
        reads = {topic for operation, topic in found if operation == "READ"}
        if principal in city.manifest.department_ids:
            its_relay = {relayed(principal)} & set(topics)
            assert reads == {inbox(principal), dead_letter(principal), *its_relay}
            own = writes - {dead_letter(principal), *its_relay}
            assert all(topic.startswith(f"outbox.{principal}.") for topic in own)
    assert {p for p, found in may.items() if ("WRITE", DECISIONS) in found} == {"gate"}
    assert {p for p, found in may.items() if ("WRITE", FENCE) in found} == {"gate"}
    assert {p for p, found in may.items() if ("WRITE", CONSENT) in found} == {"consent"}
