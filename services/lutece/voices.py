"""Citizens who change their minds while traffic runs, and what was true at the instant that they were answered."""

import asyncio
import functools
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import httpx
from confluent_kafka import Consumer, TopicPartition

from lutece.observer import Delivery, Sightings
from passerelle.config import KafkaAccess
from passerelle_consent.policy.decide import CompiledFlow
from passerelle_schemas.faults import Fault
from passerelle_schemas.topics import inbox

ACKNOWLEDGE_SECONDS_MAX = 60.0
POLL_SECONDS = 0.05
ASK_BROKER_SECONDS_MAX = 10


class VoiceFault(Fault):
    """The consent service did not take what a citizen said."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """A consent that a citizen may take back: who, which agreement, and where it would show."""

    at_desk: bytes = field(repr=False)
    """The citizen's pseudonym at the desk."""
    speakers: tuple[bytes, ...] = field(repr=False)
    """Who gives it: the citizen, or a child's guardians; the pseudonyms that they sign in by. Any of them withdraws."""
    agreement: str
    notice: int
    recipient: str
    at_recipient: bytes = field(repr=False)
    partition: int


@dataclass(kw_only=True, slots=True)
class Withdrawal:
    """A withdrawal that was acknowledged, and the stretch of the inbox in which nothing may follow it."""

    choice: Choice
    fence_ms: float
    first: int
    """The inbox's stable end right after the acknowledgement: no reader can have seen what stands there or after."""
    end: int | None = None
    """The inbox's end right before the citizen gave anew; None while the withdrawal stands."""

    def forbids(self, delivery: Delivery) -> bool:
        """Whether the delivery stands in that stretch."""
        return self.first <= delivery.offset and (self.end is None or delivery.offset < self.end)


class InboxEnds:
    """The ends of inbox partitions, as a reader with and without isolation sees them."""

    def __init__(self, access: KafkaAccess) -> None:
        self._stable = Consumer({**access.confluent(), "group.id": "observer", "isolation.level": "read_committed"})
        self._log = Consumer({**access.confluent(), "group.id": "observer", "isolation.level": "read_uncommitted"})
        # One thread: a consumer is asked by one caller at a time.
        self._pool = ThreadPoolExecutor(1, "inbox-ends")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, at: TracebackType | None) -> None:
        self._pool.shutdown()
        self._stable.close()
        self._log.close()

    async def stable(self, recipient: str, partition: int) -> int:
        """The last stable offset: the end of what a read_committed reader can see."""
        return await self._ask(self._stable, recipient, partition)

    async def log(self, recipient: str, partition: int) -> int:
        """The end of what was written, committed or not."""
        return await self._ask(self._log, recipient, partition)

    async def _ask(self, consumer: Consumer, recipient: str, partition: int) -> int:
        where = TopicPartition(inbox(recipient), partition)
        loop = asyncio.get_running_loop()
        _, end = await loop.run_in_executor(
            self._pool, lambda: consumer.get_watermark_offsets(where, timeout=ASK_BROKER_SECONDS_MAX)
        )
        return int(end)


class Desk:
    """A way to the consent service, for the citizens of one department or its officers.

    ``auth_of`` gives the token of whoever speaks: of the citizen of a pseudonym, or an officer's.
    """

    def __init__(self, base_url: str, auth_of: Callable[[bytes], httpx.Auth]) -> None:
        self._auth_of = functools.cache(auth_of)
        self._http = httpx.AsyncClient(base_url=base_url, timeout=httpx.Timeout(30))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, at: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def say(
        self, pseudonym: bytes, agreement: str, word: str, *, speaker: bytes | None = None, **body: Any
    ) -> httpx.Response:
        """``word`` is give, refuse, withdraw or object; ``speaker`` says it where it is not the citizen.

        Raises `VoiceFault` for anything but 200 and 202.
        """
        return await self._post(pseudonym, f"agreements/{agreement}/{word}", body, speaker=speaker)

    async def override(self, pseudonym: bytes, **body: Any) -> None:
        """Open a vital-interests override (GDPR Art. 6(1)(d))."""
        await self._post(pseudonym, "overrides", body)

    async def guardian(self, ward: bytes, **body: Any) -> httpx.Response:
        """Record a guardianship."""
        return await self._post(ward, "guardians", body)

    async def uphold(self, pseudonym: bytes) -> None:
        """Follow the objection of somebody, as an officer whose token ``auth_of`` gives."""
        listed = await self._http.get("/v1/objections", params={"limit": 200}, auth=self._auth_of(pseudonym))
        if listed.status_code != httpx.codes.OK:
            raise VoiceFault(f"the consent service answered {listed.status_code}: {_title(listed)}")
        for objection in listed.json()["objections"]:
            if objection["pseudonym"] == pseudonym.hex():
                await self._post(pseudonym, f"objections/{objection['id']}/answer", {"outcome": "upheld"})

    async def acknowledged(self, answer: httpx.Response) -> None:
        """Wait until a change is fenced: at once for 200, by its status address for 202."""
        end = time.monotonic() + ACKNOWLEDGE_SECONDS_MAX
        same = {"Authorization": answer.request.headers["Authorization"]}
        while answer.status_code == httpx.codes.ACCEPTED:
            if time.monotonic() > end:
                raise VoiceFault(f"a withdrawal was not acknowledged within {ACKNOWLEDGE_SECONDS_MAX:.0f} s")
            await asyncio.sleep(POLL_SECONDS)
            status = await self._http.get(answer.headers["Location"], headers=same)
            if status.status_code == httpx.codes.OK and status.json().get("acknowledged_at"):
                return

    async def _post(
        self, pseudonym: bytes, path: str, body: Mapping[str, Any], *, speaker: bytes | None = None
    ) -> httpx.Response:
        path = f"/v1/subjects/{pseudonym.hex()}/{path}"
        answer = await self._http.post(path, json=body, auth=self._auth_of(speaker or pseudonym))
        if answer.status_code not in (httpx.codes.OK, httpx.codes.CREATED, httpx.codes.ACCEPTED):
            raise VoiceFault(f"the consent service answered {answer.status_code}: {_title(answer)}")
        return answer


async def change_minds(
    desk: Desk, ends: InboxEnds, choices: Sequence[Choice], *, seed: int, until: asyncio.Event, most: int
) -> list[Withdrawal]:
    """One citizen after the other withdraws and, half of the time, gives again; until told to stop, ``most`` times."""
    rng = random.Random(seed)
    made: list[Withdrawal] = []
    standing: list[Choice] = list(choices)
    rng.shuffle(standing)
    while standing and len(made) < most and not until.is_set():
        choice = standing.pop()
        withdrawal = await _withdraw(desk, ends, choice)
        made.append(withdrawal)
        if rng.random() < 0.5:  # noqa: PLR2004 - half of them
            withdrawal.end = await ends.log(choice.recipient, choice.partition)
            for speaker in choice.speakers:
                await desk.say(choice.at_desk, choice.agreement, "give", speaker=speaker, notice=choice.notice)
            standing.insert(0, choice)
    return made


async def _withdraw(desk: Desk, ends: InboxEnds, choice: Choice) -> Withdrawal:
    asked = time.perf_counter()
    answer = await desk.say(choice.at_desk, choice.agreement, "withdraw", speaker=choice.speakers[0])
    await desk.acknowledged(answer)
    fence_ms = (time.perf_counter() - asked) * 1000
    first = await ends.stable(choice.recipient, choice.partition)
    return Withdrawal(choice=choice, fence_ms=fence_ms, first=first)


def delivered_after_ack(
    withdrawals: Iterable[Withdrawal], seen: Sightings, flows: Mapping[str, CompiledFlow]
) -> list[tuple[Withdrawal, Delivery]]:
    """Every delivery that an acknowledged withdrawal forbids: a field filled that needs the agreement withdrawn."""
    by_person = seen.filled_by_person()
    return [
        (w, d)
        for w in withdrawals
        for d in by_person.get((w.choice.recipient, w.choice.partition, w.choice.at_recipient), ())
        if w.forbids(d) and not d.filled.isdisjoint(fields_under(flows[d.flow], w.choice.agreement))
    ]


def fields_under(flow: CompiledFlow, agreement: str) -> frozenset[str]:
    """The fields of a flow that need this agreement."""
    positions = {i for i, term in enumerate(flow.terms) if term.id == agreement}
    return frozenset(f for f, needs in flow.needs.items() if not positions.isdisjoint(needs))


def _title(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["title"])
    except (ValueError, KeyError, TypeError):
        return "no reason given"
