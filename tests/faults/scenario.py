"""A run under faults: real broker, the real consent service, two real gate workers, traffic, citizens. Then the judge.

What is done to the workers is a `Plan`, drawn from the seed. Everything that happened goes into the history.
"""

import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from confluent_kafka import Consumer, KafkaException, TopicPartition

from faults.citizens import Citizens, Ends, Person, Portal
from faults.collect import GROUP, collect
from faults.history import Fault, Head, Recorder, Subject
from faults.traffic import Traffic
from faults.workers import SESSION_MS, TRANSACTION_MS, Workers
from passerelle.city.components import Component, Supervisor
from passerelle.city.manifest import Manifest
from passerelle.city.node import HOST, free_port
from passerelle.config import Home, KafkaAccess, Settings
from passerelle.issuer import LocalIssuer
from passerelle.pseudonyms import Keyring, PivotIdentity, subject_ref
from passerelle_schemas.topics import CONSENT, DECISIONS, EXCHANGE, FENCE, inbox

PORTAL = "citizen-desk"
AGENTS = "agents.lutece"
DRAIN_S_MAX = 60.0
POLL_S = 0.1


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run is made of."""

    name: str
    seed: int = 1
    kills: int = 0
    """Workers killed with -9 and replaced, at least."""
    pauses: int = 0
    """Workers stopped for longer than their session time-out and continued, at least."""
    rule: str | None = None
    """The rule of the fence that the workers break, if any (`mutant_worker.RULES`)."""
    stopped_s: tuple[float, float] = (0.3, 1.0)
    """How long a worker that stopped itself stays so: the shortest and the longest."""
    acknowledged: int = 2_000
    """Acknowledged withdrawals, at least."""
    seconds_max: float = 300.0
    people: int = 320
    at_once: int = 40
    rate: float = 1_000.0
    """New proposals a second."""


PLANS: Mapping[str, Plan] = {
    plan.name: plan
    for plan in (
        Plan(name="none", acknowledged=500, seconds_max=60),
        Plan(name="kill", kills=5),
        Plan(name="pause", pauses=5),
        Plan(name="mixed", kills=3, pauses=3),
        # Long enough for the other worker to take over while this one stands between its two transactions.
        Plan(name="offsets-apart", rule="offsets-apart", stopped_s=(5.0, 7.0), acknowledged=400, seconds_max=25),
        # Shorter than the session: the worker still owns its partitions when it goes on, and commits.
        Plan(name="fence-apart", rule="fence-apart", acknowledged=200, seconds_max=30),
        Plan(name="late-consent", rule="late-consent", acknowledged=100, seconds_max=20),
    )
}


@dataclass(frozen=True, kw_only=True)
class Ground:
    """A city on a broker, to run scenarios in: one for each run, since a history is of all that its topics hold."""

    settings: Settings
    manifest: Manifest
    access: Callable[[str], KafkaAccess]

    @property
    def home(self) -> Home:
        return self.settings.home

    @property
    def keyring(self) -> Keyring:
        return self.manifest.keyring(self.home)

    def portal(self, port: int) -> Portal:
        """The citizens' way to the consent service on this port."""
        issuer = LocalIssuer(self.home, self.manifest)
        return Portal(url=f"http://{HOST}:{port}", department=PORTAL, issuer=issuer)

    def environ(self) -> dict[str, str]:
        return {"PASSERELLE_HOME": str(self.home.root), "PASSERELLE_MANIFEST": str(self.manifest.path)}


@dataclass(kw_only=True)
class Outcome:
    """What a run was like, apart from its history."""

    history: Path
    seconds: float
    sent: int
    acknowledged: int
    unanswered: int
    waited_ms: list[int]
    faults: dict[str, int] = field(default_factory=dict)
    drained: bool


def run(ground: Ground, plan: Plan, history: Path) -> Outcome:
    """Run, drain, collect. The history is complete when this returns."""
    began = time.monotonic()
    head = Head(scenario=plan.name, seed=plan.seed, partitions=ground.manifest.partitions)
    recorder = Recorder(history, head)
    try:
        with _consent_service(ground) as portal, Workers(ground.environ(), ground.home.logs, rule=plan.rule) as workers:
            outcome = _Run(ground, plan, recorder, portal, workers).go()
        _settle(ground)
        collect(
            recorder,
            access=ground.access("admin"),
            data=ground.home.kafka / "data",
            partitions=ground.manifest.partitions,
            recipients=list(ground.manifest.department_ids),
            drained=outcome.drained,
            committed=_committed(ground),
        )
    finally:
        recorder.close()
    outcome.seconds = time.monotonic() - began
    return outcome


@contextmanager
def _consent_service(ground: Ground) -> Iterator[Portal]:
    port = free_port()
    with Supervisor(home=ground.home, environ=ground.environ()) as supervisor:
        supervisor.start(Component(name="consent", arguments=("consent", "serve", "--port", str(port))))
        yield ground.portal(port)


class _Run:
    """One run while it lasts."""

    def __init__(self, ground: Ground, plan: Plan, recorder: Recorder, portal: Portal, workers: Workers) -> None:
        self._ground = ground
        self._plan = plan
        self._recorder = recorder
        self._workers = workers
        self._random = random.Random(plan.seed)
        self._done: dict[str, int] = {}
        people = link(ground, portal, plan.people, plan.seed)
        self._name_everyone(people)
        bundle = ground.manifest.policy_bundle()
        self._traffic = Traffic(
            access=ground.access(AGENTS),
            catalogue=bundle.catalogue,
            flows={flow.id: flow.event for flow in bundle.flows},
            subjects=[p.ref for p in people],
            partitions=ground.manifest.partitions,
            rate=plan.rate,
            seed=plan.seed,
            recorder=recorder,
        )
        self._ends = Ends(ground.access("admin"))
        self._citizens = Citizens(
            portal=portal,
            people=people,
            partitions=ground.manifest.partitions,
            at_once=plan.at_once,
            seed=plan.seed,
            ends=self._ends,
            traffic=self._traffic,
            recorder=recorder,
        )

    def go(self) -> Outcome:
        for name in (self._workers.start(), self._workers.start()):
            self._workers.await_ready(name)
        watch = _Watch(self._workers, self._fault, self._plan)
        watch.start()
        self._traffic.start()
        self._citizens.start()
        self._disturb()
        self._citizens.stop()
        self._traffic.stop()
        drained = self._drain()
        watch.stop()
        self._ends.close()
        return Outcome(
            history=self._recorder.path,
            seconds=0,
            sent=self._traffic.sent,
            acknowledged=self._citizens.acknowledged,
            unanswered=self._citizens.unanswered,
            waited_ms=sorted(self._citizens.waited_ms),
            faults=self._done,
            drained=drained,
        )

    def _name_everyone(self, people: list[Person]) -> None:
        keyring, departments = self._ground.keyring, self._ground.manifest.department_ids
        for person in people:
            names = {d: keyring.pseudonym(d, person.ref).hex() for d in departments}
            self._recorder.write(Subject(person.ref.hex(), names))

    def _disturb(self) -> None:
        """Do the plan's faults one after the other, until there were enough of everything."""
        plan, end = self._plan, time.monotonic() + self._plan.seconds_max
        todo = ["kill"] * plan.kills + ["pause"] * plan.pauses
        self._random.shuffle(todo)
        while time.monotonic() < end and (todo or self._citizens.acknowledged < plan.acknowledged):
            self._citizens.check()
            time.sleep(self._random.uniform(1.0, 2.5))
            if todo:
                getattr(self, f"_{todo.pop()}")()

    def _kill(self) -> None:
        """Kill one with -9; another process takes its place after a moment."""
        name = self._random.choice(self._workers.names)
        self._fault("kill", name)
        self._workers.kill(name)
        time.sleep(self._random.uniform(0.0, SESSION_MS / 1000))
        self._fault("start", self._workers.start())

    def _pause(self) -> None:
        """Stop one for longer than its session, so that the other takes over, and let it go on as if it still owned."""
        name = self._random.choice(self._workers.names)
        self._fault("pause", name)
        self._workers.pause(name)
        time.sleep(self._random.uniform(1.2, 2.0) * SESSION_MS / 1000)
        self._workers.resume(name)
        self._fault("continue", name)

    def _fault(self, what: str, worker: str) -> None:
        self._done[what] = self._done.get(what, 0) + 1
        self._recorder.write(Fault(time.time_ns() // 1_000_000, what, worker))

    def _drain(self) -> bool:
        """Wait until the group has decided all of the exchange."""
        end = time.monotonic() + DRAIN_S_MAX
        ends = {p: self._ends.end(EXCHANGE, p) for p in range(self._ground.manifest.partitions)}
        while time.monotonic() < end:
            committed = _committed(self._ground)
            if all(committed[p] >= offset for p, offset in ends.items()):
                return True
            time.sleep(POLL_S)
        return False


class _Watch:
    """Continues workers that stopped themselves, and replaces those that gave up, as a supervisor would."""

    def __init__(self, workers: Workers, tell: Callable[[str, str], None], plan: Plan) -> None:
        self._workers = workers
        self._tell = tell
        self._plan = plan
        self._random = random.Random(f"watch {plan.seed}")
        self._due: dict[str, float] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(POLL_S):
            for name, code in self._workers.ended().items():
                self._tell(f"ended with {code}", name)
                self._tell("start", self._workers.start())
            for name in self._workers.stopped() if self._plan.rule else ():
                self._continue_when_due(name)

    def _continue_when_due(self, name: str) -> None:
        if name not in self._due:
            self._tell("stopped itself", name)
            self._due[name] = time.monotonic() + self._random.uniform(*self._plan.stopped_s)
        elif time.monotonic() > self._due[name]:
            del self._due[name]
            self._workers.resume(name)
            self._tell("continue", name)


def link(ground: Ground, portal: Portal, people: int, seed: int) -> list[Person]:
    """Link people who exist nowhere else; their refs are computed here as well, by the city's key."""
    identities = [_identity(seed, n) for n in range(people)]
    answer = httpx.post(f"{portal.url}/v1/links", json={"identities": identities}, auth=portal.office, timeout=30)
    pseudonyms = answer.raise_for_status().json()["pseudonyms"]
    key = ground.manifest.city_key(ground.home)
    refs = [subject_ref(key, PivotIdentity.model_validate(identity)) for identity in identities]
    return [Person(ref=r, pseudonym=bytes.fromhex(p)) for r, p in zip(refs, pseudonyms, strict=True)]


def _identity(seed: int, n: int) -> dict[str, object]:
    word = "".join(chr(ord("a") + int(digit)) for digit in str(n))
    return {
        "given_names": [f"Essai {word}"],
        "family_name": f"Histoire {'b' * (seed % 7 + 1)}",
        "birth_date": "1980-01-01",
        "gender": "female",
        "birth_place": "75056",
        "birth_country": "99100",
    }


def _committed(ground: Ground) -> dict[int, int]:
    """The gate group's stable position on each partition of the exchange."""
    places = [TopicPartition(EXCHANGE, p) for p in range(ground.manifest.partitions)]
    settings = {**ground.access("admin").confluent(), "group.id": GROUP, "isolation.level": "read_committed"}
    consumer = Consumer(settings)
    try:
        return {p.partition: p.offset for p in consumer.committed(places, timeout=20)}
    except KafkaException:
        return {p.partition: -1 for p in places}  # a transaction is pending: ask again
    finally:
        consumer.close()


def _settle(ground: Ground) -> None:
    """Wait until the broker has ended what killed workers left open: it does so after the transaction's time-out."""
    ends = Ends(ground.access("admin"))
    topics = [FENCE, DECISIONS, CONSENT, *map(inbox, ground.manifest.department_ids)]
    end = time.monotonic() + 4 * TRANSACTION_MS / 1000
    try:
        for topic in topics:
            for p in range(ground.manifest.partitions):
                while ends.stable(topic, p) < ends.end(topic, p) and time.monotonic() < end:
                    time.sleep(POLL_S)
    finally:
        ends.close()
