"""A scenario on a real city: a broker, the consent service, a gate worker and the agents, in a home of their own.

Slower than `memory` by a thousand, and the proof that what is true there is true on the bus.
"""

import asyncio
import hashlib
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import httpx
from confluent_kafka import Consumer, KafkaException, TopicPartition

from passerelle.agents.declared import AgentsPlan
from passerelle.city.broker import TEST_SETTINGS, Broker
from passerelle.city.manifest import Manifest
from passerelle.city.running import running
from passerelle.config import Home
from passerelle.issuer import Bearing, LocalIssuer
from passerelle.pseudonyms import REF_BYTES, PivotIdentity, subject_ref
from passerelle.publish.producer import DepartmentProducer
from passerelle.saying import in_effect, notice_shown, say
from passerelle.testkit.citizens import relation_of
from passerelle.testkit.outcomes import Outcome
from passerelle_consent.policy.standing import Protection
from passerelle_consent.records.transitions import Action
from passerelle_consent.wire import DeadLetter, DecisionBatch, decode_decisions
from passerelle_schemas.faults import Fault
from passerelle_schemas.topics import DECISIONS, EXCHANGE, inbox

WAIT_S_MAX = 30.0
"""For a change to be in force, and for all that is under way to be decided."""
POLL_S = 0.1
BATCH = 1_000
MAJORITY = 18
GATE = "gate"
EVIDENCE = "ESSAI-2000/1"
OFFICE_SINCE = "2000-01-01T00:00:00Z"
"""Of a scenario's guardians."""

Say = Callable[[str], None]


class RealFault(Fault):
    """A real city cannot do what a scenario asks for, or did not do it in time."""


@contextmanager
def real_city(manifest: Manifest, module: str, plan: AgentsPlan, progress: Say) -> Iterator["RealCity"]:
    """Bring a city up in a temporary folder, and down again however the block ends. Raises `Fault`."""
    with tempfile.TemporaryDirectory(prefix="passerelle-scenario-") as folder:
        home = Home(root=Path(folder))
        with running(
            manifest, home, ledger=False, agents=[module], broker_settings=TEST_SETTINGS, progress=progress
        ) as up:
            city = RealCity(manifest, home, up.broker, up.consent_url, plan)
            try:
                yield city
            finally:
                city.close()


class RealCity:
    """A city that runs; see `scenario.Stage`."""

    def __init__(self, manifest: Manifest, home: Home, broker: Broker, url: str, plan: AgentsPlan) -> None:
        self.home = home
        self.url = url
        self._manifest = manifest
        self._bundle = manifest.policy_bundle()
        self._keyring = manifest.keyring(home)
        self._city_key = manifest.city_key(home)
        self._issuer = LocalIssuer(home, manifest)
        self.broker = broker
        self._http = httpx.Client(base_url=url, timeout=WAIT_S_MAX)
        self._portal = manifest.department_ids[0]
        self._plan = plan
        self._names: dict[bytes, str] = {}
        self._read = Consumer(
            {**broker.access("admin").confluent(), "group.id": "scenario", "isolation.level": "read_committed"}
        )
        self._batches: list[DecisionBatch] = []
        self._values: dict[bytes, Mapping[str, Any]] = {}
        self._refused: list[DeadLetter] = []
        recipients = sorted({flow.recipient for flow in self._bundle.flows})
        topics = [DECISIONS, *map(inbox, recipients)]
        places = [TopicPartition(t, p, 0) for t in topics for p in range(manifest.partitions)]
        self._read.assign([*places, TopicPartition(plan.dead_letter, 0, 0)])

    def close(self) -> None:
        """Close the clients."""
        self._read.close()
        self._http.close()

    # -- what happens ---------------------------------------------------------------------------------------------

    def citizen(
        self, who: str, *, minor_until_ms: int | None, protection: Protection | None, guardians: Sequence[str]
    ) -> None:
        """Link somebody, and record their guardians. Raises `RealFault`."""
        if protection is not None and not guardians:
            raise RealFault(f"{who} is protected by nobody", hint="name guardians: a protection follows from them")
        identity = _identity(who, minor_until_ms)
        for department in self._manifest.department_ids:
            auth = self._issuer.bearer(Bearing(scopes=["department"], department=department))
            body = {"identities": [identity.model_dump(mode="json")]}
            self._asked(self._http.post("/v1/links", json=body, auth=auth))
        self._names[subject_ref(self._city_key, identity)] = who
        for guardian in guardians:
            self._appoint(who, guardian, protection)

    def _appoint(self, who: str, guardian: str, protection: Protection | None) -> None:
        registrar = next(iter(sorted(self._manifest.registrars)), None)
        if registrar is None:
            raise RealFault(f"nobody records {who}'s guardians", hint="registrars: [<a department>] in the manifest")
        auth = self._issuer.bearer(Bearing(scopes=["officer"], department=registrar))
        ward, own = (self._keyring.pseudonym(registrar, self._ref(name)) for name in (who, guardian))
        body = {
            "guardian": own.hex(),
            "relation": relation_of(protection).value,
            "evidence": EVIDENCE,
            "valid_from": OFFICE_SINCE,
        }
        answer = self._http.post(f"/v1/subjects/{ward.hex()}/guardians", json=body, auth=auth)
        self._asked(answer)
        if not in_effect(self._http, answer, auth):
            raise RealFault(f"a guardian is not in office after {WAIT_S_MAX:.0f} s")

    def say(self, who: str, agreement: str, action: Action, *, by: str | None) -> None:
        """Return when it is in force. Raises `NotSaid`, `RealFault`."""
        whose, speaker = (self._keyring.pseudonym(self._portal, self._ref(name)) for name in (who, by or who))
        scope = "citizen" if by is None else "guardian"
        auth = self._issuer.bearer(Bearing(scopes=[scope], department=self._portal, pseudonym=speaker))
        notice = None if action.takes_away else notice_shown(self._bundle, agreement, int(time.time() * 1000))
        said = say(self._http, whose, agreement, action, notice=notice, auth=auth)
        if not said.in_effect:
            raise RealFault(f"what was said is not in force after {WAIT_S_MAX:.0f} s")

    def publish(self, event: str, who: str, *, at: str | None = None, **value: Any) -> None:
        """Return when all replicas have it. Raises `Fault`."""
        time_ = datetime.now(UTC) if at is None else datetime.fromisoformat(at)
        if time_ > datetime.now(UTC):
            raise RealFault(
                f"{at} is in the future", hint="on a real city an event has happened: name a day that is past"
            )
        contract = self._bundle.catalogue.by_type(event)
        example = contract.decode(contract.encode(contract.example))
        pseudonym = self._keyring.pseudonym(contract.department, self._ref(who))
        asyncio.run(self._publish(event, contract.department, pseudonym, {**example, **value}, time_))

    async def _publish(
        self, event: str, department: str, pseudonym: bytes, value: Mapping[str, Any], time_: datetime
    ) -> None:
        access = self.broker.access(department)
        async with DepartmentProducer(access, department, self._bundle.catalogue) as producer:
            await producer.publish(event, pseudonym, value, time=time_, event_id=uuid.uuid4().hex)

    def move_clock(self, at: str) -> None:
        """Raises `RealFault`."""
        raise RealFault(f"the time of a real city cannot be moved to {at}", hint="play this scenario in memory")

    def _ref(self, who: str) -> bytes:
        """Of whoever is not linked: a ref that is nobody's."""
        known = next((ref for ref, name in self._names.items() if name == who), None)
        if known is None:
            known = hashlib.sha256(who.encode()).digest()[:REF_BYTES]
            self._names[known] = who
        return known

    @staticmethod
    def _asked(answer: httpx.Response) -> None:
        if answer.is_error:
            title = answer.json().get("title", "no reason given")
            raise RealFault(f"the consent service said no: {answer.status_code} {title}")

    # -- what came of it ------------------------------------------------------------------------------------------

    def outcomes(self, expected: int) -> Sequence[Outcome]:
        """Return what was decided since this was last asked. Raises `RealFault` when the city does not come to rest."""
        self._come_to_rest(lambda: sum(len(b.decisions) for b in self._batches) >= expected)
        batches, self._batches = self._batches, []
        values, self._values = self._values, {}
        return [o for batch in batches for o in self._told(batch, values)]

    def refused(self, expected: int) -> Sequence[DeadLetter]:
        """Return the agents' dead letters since this was last asked. Raises `RealFault`."""
        self._come_to_rest(lambda: len(self._refused) >= expected)
        refused, self._refused = self._refused, []
        return list(dict.fromkeys(refused))

    def _come_to_rest(self, enough: Callable[[], bool]) -> None:
        """Wait until nothing is under way, and for a time until there is enough. Raises `RealFault`."""
        end = time.monotonic() + WAIT_S_MAX
        while True:
            self._take()
            if self._at_rest() and (enough() or time.monotonic() > end):
                self._take()
                return
            if time.monotonic() > 2 * WAIT_S_MAX + end:
                raise RealFault("the agents or the gate do not come to an end")
            time.sleep(POLL_S)

    def _take(self) -> None:
        """Read all that is committed by now."""
        while messages := self._read.consume(BATCH, 0.5):
            for message in messages:
                value, headers = message.value(), dict(message.headers() or ())
                ident = headers.get("ce_decisionid")
                if message.error() is not None or value is None:
                    continue
                if message.topic() == DECISIONS:
                    self._batches.append(decode_decisions(value))
                elif message.topic() == self._plan.dead_letter:
                    self._refused.append(DeadLetter.decode(value))
                elif isinstance(ident, bytes):  # else a notice of erasure
                    self._values[bytes.fromhex(ident.decode())] = self._bundle.catalogue.decode(value)[1]

    def _at_rest(self) -> bool:
        """Whether agents and gate have done all that there is."""
        heard = (*self._plan.outboxes, *self._plan.join_logs)
        return self._done(self._plan.app_id, heard) and self._done(GATE, (EXCHANGE,))

    def _done(self, group: str, topics: Sequence[str]) -> bool:
        access = self.broker.access("admin").confluent()
        consumer = Consumer({**access, "group.id": group, "isolation.level": "read_committed"})
        try:
            places = [TopicPartition(t, p) for t in topics for p in range(self._manifest.partitions)]
            for place in consumer.committed(places, timeout=WAIT_S_MAX):
                _, end = consumer.get_watermark_offsets(place, timeout=WAIT_S_MAX)
                if max(place.offset, 0) < end:
                    return False
        except KafkaException:
            return False  # a transaction is pending: ask again
        finally:
            consumer.close()
        return True

    def _told(self, batch: DecisionBatch, values: Mapping[bytes, Mapping[str, Any]]) -> Iterator[Outcome]:
        for decision in batch.decisions:
            yield Outcome(
                decision=decision.id,
                who=self._names.get(decision.subject or b"", "?"),
                flow=batch.flows[decision.flow].flow if decision.flow >= 0 else "?",
                verdict=decision.verdict,
                reason=decision.reason,
                withheld=decision.withheld,
                value=values.get(decision.id),
            )


def _identity(who: str, minor_until_ms: int | None) -> PivotIdentity:
    """Somebody who exists nowhere else."""
    born = date(1980, 1, 1)
    if minor_until_ms is not None:
        majority = datetime.fromtimestamp(minor_until_ms / 1000, UTC).date()
        born = majority.replace(year=majority.year - MAJORITY)
    return PivotIdentity(
        given_names=(who.title(),),
        family_name="Essai",
        birth_date=born,
        gender="female",
        birth_place="75056",
        birth_country="99100",
    )
