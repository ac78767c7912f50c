"""An administrator's connection to the cluster, with an end to every wait."""

import time
from importlib import import_module
from typing import TYPE_CHECKING, Any

from passerelle_schemas.faults import Fault

if TYPE_CHECKING:
    from confluent_kafka.admin import AdminClient

    from passerelle.config import KafkaAccess

CONNECT_SECONDS_MAX = 15.0  # a broker that recovers its logs after a crash answers within a few seconds
PROBE_SECONDS = 0.5  # one try: short, so that a refused password is told at once and not at the end
# An AdminClient's future may never end under load (seen with librdkafka 2.16), so each is asked with this bound.
ANSWER_SECONDS_MAX = 30.0


class Unreachable(Fault):
    """No broker answered in time."""


class Refused(Fault):
    """The broker answered and refused the password."""


def connect(access: "KafkaAccess", *, seconds_max: float = CONNECT_SECONDS_MAX) -> "AdminClient":
    """Return a client that has had one authenticated answer. Raises `Unreachable` or `Refused`."""
    client, errors = _client(access)
    end = time.monotonic() + seconds_max
    while not _answers(client):
        if any("authentication failed" in error.lower() for error in errors):
            raise Refused(
                f"the broker at {access.bootstrap_servers} refuses the password of {access.username}",
                hint="the keys folder and the broker's data belong together: restore the one or remove the other",
            )
        if time.monotonic() > end:
            raise Unreachable(
                f"no broker answers at {access.bootstrap_servers} (tried for {seconds_max:.0f} s)",
                hint="passerelle kafka up",
            )
    return client


def _client(access: "KafkaAccess") -> tuple["AdminClient", list[str]]:
    from confluent_kafka.admin import AdminClient

    errors: list[str] = []
    settings: dict[str, Any] = {
        **access.confluent(),
        "client.id": f"passerelle-{access.username}",
        "reconnect.backoff.max.ms": 500,
        "log_level": 0,  # what matters comes through error_cb; librdkafka would print each refused connection
        "error_cb": lambda error: errors.append(error.str()),
    }
    return AdminClient(settings), errors


def _answers(client: "AdminClient") -> bool:
    from confluent_kafka import KafkaException

    try:
        client.list_topics(timeout=PROBE_SECONDS)
    except KafkaException:
        client.poll(0)  # hands the reasons to error_cb
        return False
    return True


def ends(access: "KafkaAccess", topic: str) -> list[int]:
    """The end of each partition of a topic; none where there is no such topic. Raises `Fault`."""
    from confluent_kafka import TopicPartition

    client = connect(access)
    found = client.list_topics(timeout=ANSWER_SECONDS_MAX).topics.get(topic)
    if found is None or found.error is not None:
        return []
    latest = api().OffsetSpec.latest()
    asked = client.list_offsets({TopicPartition(topic, partition): latest for partition in found.partitions})
    return [int(answer(future, f"asking for the end of {topic}").offset) for future in asked.values()]


def api() -> Any:
    """The module ``confluent_kafka.admin``: heavy to import, and its re-exports are not declared to type checkers."""
    return import_module("confluent_kafka.admin")


def answer(future: Any, doing: str) -> Any:
    """Wait for one result. Raises `Fault` naming what was being done, in place of librdkafka's own errors."""
    from confluent_kafka import KafkaException

    try:
        return future.result(timeout=ANSWER_SECONDS_MAX)
    except KafkaException as exc:
        raise Fault(f"{doing}: the broker says {exc.args[0].str()}") from None
    except TimeoutError:  # from Python 3.11 on, a future's as well
        raise Unreachable(f"{doing}: no answer in {ANSWER_SECONDS_MAX:.0f} s", hint="passerelle kafka status") from None
