"""Citizens who change their minds, many at once, through the consent service's own HTTP.

What each of them does: notes the inbox's end, gives, waits a little, withdraws, and at the acknowledgement notes the
inbox's last stable offset and its end. Some object instead, which nobody takes back.
"""

import functools
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx
from confluent_kafka import Consumer, KafkaException, TopicPartition

from faults.history import Give, Recorder, Withdrawal
from faults.traffic import Traffic
from passerelle.config import KafkaAccess
from passerelle.issuer import Bearing, LocalIssuer
from passerelle_schemas.topics import inbox, partition_of

PACE_S = 0.06
"""Up to this long between a give and its withdrawal, and as long before the next give."""
OBJECTIONS = 0.12
"""Of the rounds are an objection."""
ACKNOWLEDGED_S_MAX = 90.0
"""A take-over after a fault needs some seconds; what is not acknowledged by then is a finding for whoever reads."""
ASK_AGAIN_S = 0.25
HTTP_S = 30.0


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Something that a citizen may say yes or no to, and the flow that it opens."""

    agreement: str
    recipient: str
    flow: str


CONSENTS = (
    Choice(agreement="move-schools", recipient="schools", flow="move.schools"),
    *(
        Choice(agreement=f"street-contact-{r}", recipient=r, flow=f"street-report.{r}")
        for r in ("cleanliness", "roads", "parks")
    ),
)
OBJECTIONABLE = (
    Choice(agreement="move-cleanliness", recipient="cleanliness", flow="move.cleanliness"),
    *(
        Choice(agreement=f"street-report-{r}", recipient=r, flow=f"street-report.{r}")
        for r in ("cleanliness", "roads", "parks")
    ),
)


class Ends:
    """Ends of logs as a reader of either kind sees them. One question at a time; from any thread."""

    def __init__(self, access: KafkaAccess) -> None:
        self._lock = threading.Lock()
        self._consumers = {
            isolation: Consumer({**access.confluent(), "group.id": "ends", "isolation.level": isolation})
            for isolation in ("read_committed", "read_uncommitted")
        }

    def stable(self, topic: str, partition: int) -> int:
        """The last stable offset: where a read_committed reader stops."""
        return self._ask("read_committed", topic, partition)

    def end(self, topic: str, partition: int) -> int:
        """The log's end, open transactions included."""
        return self._ask("read_uncommitted", topic, partition)

    def close(self) -> None:
        for consumer in self._consumers.values():
            consumer.close()

    def _ask(self, isolation: str, topic: str, partition: int) -> int:
        latest = -1  # ListOffsets' timestamp for the end, under the consumer's isolation level
        for _ in range(10):
            try:
                with self._lock:
                    found = self._consumers[isolation].offsets_for_times(
                        [TopicPartition(topic, partition, latest)], timeout=10
                    )[0]
            except KafkaException:
                continue
            if found.error is None and found.offset >= 0:
                return int(found.offset)
        raise TimeoutError(f"no end of {topic}/{partition}")


@dataclass(frozen=True, kw_only=True)
class Portal:
    """How citizens reach the consent service."""

    url: str
    department: str
    """Whose pseudonyms the portal uses."""
    issuer: LocalIssuer

    @property
    def office(self) -> httpx.Auth:
        """What the portal's department calls with, for itself."""
        return self.issuer.bearer(Bearing(scopes=["department"], department=self.department))

    def citizens(self) -> Callable[[bytes], httpx.Auth]:
        """What each citizen calls with, by pseudonym; each keeps one token as long as it is good."""
        return functools.cache(self._citizen)

    def _citizen(self, pseudonym: bytes) -> httpx.Auth:
        return self.issuer.bearer(Bearing(scopes=["citizen"], department=self.department, pseudonym=pseudonym))


@dataclass(frozen=True, kw_only=True)
class Person:
    """A linked citizen."""

    ref: bytes
    pseudonym: bytes


class Citizens:
    """As many threads as citizens act at once."""

    def __init__(
        self,
        *,
        portal: Portal,
        people: list[Person],
        partitions: int,
        at_once: int,
        seed: int,
        ends: Ends,
        traffic: Traffic,
        recorder: Recorder,
    ) -> None:
        self.acknowledged = 0
        self.unanswered = 0
        self.waited_ms: list[int] = []
        self._portal = portal
        self._auth = portal.citizens()
        self._partitions = partitions
        self._ends = ends
        self._traffic = traffic
        self._recorder = recorder
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._failure: BaseException | None = None
        self._threads = [
            threading.Thread(target=self._live, args=(share, random.Random(f"{seed}/{i}")), daemon=True)
            for i, share in enumerate(_shares(people, partitions, at_once))
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let each finish what it began. Raises what went wrong in one of them."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self.check()

    def check(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _live(self, people: list[Person], choose: random.Random) -> None:
        unobjected = [(person, choice) for person in people for choice in OBJECTIONABLE]
        choose.shuffle(unobjected)
        try:
            with httpx.Client(base_url=self._portal.url, timeout=HTTP_S) as http:
                while not self._stop.is_set():
                    if unobjected and choose.random() < OBJECTIONS:
                        self._object(http, choose, *unobjected.pop())
                    else:
                        self._give_and_withdraw(http, choose, choose.choice(people), choose.choice(CONSENTS))
        except BaseException as exc:  # noqa: BLE001 - raised again in `check`, by the thread that waits
            self._failure = exc

    def _give_and_withdraw(self, http: httpx.Client, choose: random.Random, person: Person, choice: Choice) -> None:
        partition = partition_of(person.ref, self._partitions)
        end = self._ends.end(inbox(choice.recipient), partition)
        self._recorder.write(Give(person.ref.hex(), choice.agreement, choice.recipient, partition, end))
        self._say(http, person, choice, "give")
        with self._hot(person, choice):
            self._stop.wait(choose.uniform(0, PACE_S))
            self._end(http, person, choice, "withdraw")
            self._stop.wait(choose.uniform(0, PACE_S))

    def _object(self, http: httpx.Client, choose: random.Random, person: Person, choice: Choice) -> None:
        with self._hot(person, choice):
            self._stop.wait(choose.uniform(0, PACE_S))
            self._end(http, person, choice, "object")
            self._stop.wait(choose.uniform(0, PACE_S))

    @contextmanager
    def _hot(self, person: Person, choice: Choice) -> Iterator[None]:
        self._traffic.heat((person.ref, choice.flow))
        try:
            yield
        finally:
            self._traffic.cool((person.ref, choice.flow))

    def _end(self, http: httpx.Client, person: Person, choice: Choice, action: str) -> None:
        """Withdraw or object; at the acknowledgement note where the inbox stands, the stable end first."""
        asked_ms = time.time_ns() // 1_000_000
        said = self._acknowledgement(http, person, self._say(http, person, choice, action))
        answered_ms = time.time_ns() // 1_000_000
        topic, partition = inbox(choice.recipient), partition_of(person.ref, self._partitions)
        acknowledged = said["acknowledged_at"] is not None
        noted = (
            (self._ends.stable(topic, partition), self._ends.end(topic, partition)) if acknowledged else (None, None)
        )
        row = Withdrawal(
            person.ref.hex(),
            choice.agreement,
            choice.recipient,
            partition,
            action,
            said["consent_offset"],
            asked_ms,
            _epoch_ms(said["acknowledged_at"]) if acknowledged else None,
            *noted,
        )
        self._recorder.write(row)
        with self._lock:
            self.acknowledged += acknowledged
            self.unanswered += not acknowledged
            self.waited_ms.append(answered_ms - asked_ms)

    def _say(self, http: httpx.Client, person: Person, choice: Choice, action: str) -> httpx.Response:
        path = f"/v1/subjects/{person.pseudonym.hex()}/agreements/{choice.agreement}/{action}"
        answer = http.post(path, json={"notice": 1}, auth=self._auth(person.pseudonym))
        if answer.status_code not in (200, 202):
            raise RuntimeError(f"{action} {choice.agreement}: {answer.status_code} {answer.text}")
        return answer

    def _acknowledgement(self, http: httpx.Client, person: Person, answer: httpx.Response) -> Mapping[str, Any]:
        """The answer's body once it is an acknowledgement, or the last one before patience ended."""
        location, end = answer.headers.get("location"), time.monotonic() + ACKNOWLEDGED_S_MAX
        said: dict[str, Any] = answer.json()
        while said["acknowledged_at"] is None and time.monotonic() < end:
            time.sleep(ASK_AGAIN_S)
            said = http.get(location, auth=self._auth(person.pseudonym)).raise_for_status().json()
        return said


def _shares(people: list[Person], partitions: int, at_once: int) -> list[list[Person]]:
    """Each thread has citizens of one partition, so that a partition without a gate does not hold up the others."""
    by_partition = [[p for p in people if partition_of(p.ref, partitions) == i] for i in range(partitions)]
    each = at_once // partitions
    return [mine[i::each] for mine in by_partition for i in range(each) if mine[i::each]]


def _epoch_ms(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)
