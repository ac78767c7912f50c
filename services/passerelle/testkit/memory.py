"""A whole city in memory: departments, agents, citizens, the gate and its inboxes. No broker, no clock, milliseconds.

A test of agents and agreements together::

    city = MemoryCity(agents, bundle)
    city.citizen("anna")
    city.publish("civil-registry.address-changed.v1", "anna", moved_on="2026-10-02")
    city.say("anna", "move-schools", Action.GIVE)
    assert [o.verdict for o in city.outcomes()] == ["permit", "deny"]

The agents' rules, the gate's judge, the policy core and the standings are the city's own; only what carries records
between them is not. What is left out of an event's value is taken from its contract's example.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from passerelle.agents.declared import Declarations
from passerelle.gate.judge import Delivery, Grounds, Record, judge
from passerelle.gate.policy import compile_policy
from passerelle.gate.state import TaskState
from passerelle.pseudonyms import Keyring
from passerelle.testkit.bus import PARTITIONS, Bus
from passerelle.testkit.citizens import Citizens
from passerelle.testkit.outcomes import Outcome
from passerelle_consent.policy.bundle import PolicyBundle
from passerelle_consent.policy.standing import Protection, Standing
from passerelle_consent.records.transitions import Action
from passerelle_consent.wire import POLICY_KEY, DeadLetter, DecisionBatch, encode_standing
from passerelle_schemas.topics import EXCHANGE, partition_of


@dataclass(kw_only=True, slots=True)
class _Gate:
    """One task of the gate, and where it has come to."""

    state: TaskState
    consent_end: int = 0


def _all_in_force(bundle: PolicyBundle) -> str:
    """Noon of the first day on which each agreement has begun: when the city's clock starts."""
    first = max((a.in_force.from_ for a in bundle.agreements), default=date(2026, 1, 1))
    return f"{first.isoformat()}T12:00:00Z"


class MemoryCity:
    """One app of agents under one policy. Without ``seed``, each event is worked on and decided when it is published.

    Its clock starts when all agreements are in force, and stands still unless something happens.
    With a seed, agents take their turns at random and fail half-way now and then (`bus.Bus`), and the gate decides
    when the test asks for `outcomes`; the same seed gives the same run.
    """

    def __init__(self, app: Declarations, bundle: PolicyBundle, *, seed: int | None = None) -> None:
        self.bus = Bus(app, seed=seed)
        self.dead_letters: list[DeadLetter] = []
        self._app = app
        self._citizens = Citizens(bundle)
        recipients = frozenset(f.recipient for f in bundle.flows)
        self._keyring = Keyring({d: self.bus.key_of(d) for d in recipients})
        policy = compile_policy(bundle.pack(), recipients)
        self._catalogue = bundle.catalogue
        self._gates = [_Gate(state=TaskState(p, lambda _: policy)) for p in range(PARTITIONS)]
        for gate in self._gates:
            self._tell(gate, POLICY_KEY, bundle.pack())
        self._decided: list[Outcome] = []
        self._letters = 0
        self._seed = seed
        self.bus.move_clock(_all_in_force(bundle))

    # -- citizens -------------------------------------------------------------------------------------------------

    def citizen(
        self,
        who: str,
        *,
        minor_until_ms: int | None = None,
        protection: Protection | None = None,
        guardians: Sequence[str] = (),
    ) -> None:
        """Make somebody known to the bus; whoever is not is denied as an unknown subject."""
        met = self._citizens.meet(who, minor_until_ms=minor_until_ms, protection=protection, guardians=guardians)
        self._stand(who, met)

    def say(self, who: str, agreement: str, action: Action, *, by: str | None = None) -> None:
        """Change a stance, on the notice in force and for as long as it lasts; ``by`` a guardian. Raises `NotSaid`."""
        self._stand(who, self._citizens.say(who, agreement, action, self.bus.now_ms, by=by))

    def _stand(self, who: str, standing: Standing) -> None:
        """As the relay does: before anything else is decided about them."""
        ref = self.bus.ref(who)
        self._tell(self._gates[partition_of(ref, PARTITIONS)], ref, encode_standing(standing))

    @staticmethod
    def _tell(gate: _Gate, key: bytes, value: bytes) -> None:
        gate.state.apply_consent(gate.consent_end, key, value)
        gate.consent_end += 1

    # -- departments ----------------------------------------------------------------------------------------------

    def publish(self, event: str, who: str, *, at: str | None = None, **value: Any) -> None:
        """What a department publishes about a person; ``at``, RFC 3339, is when it happened. Raises `Fault`."""
        outbox = self._app.outbox(event)
        example = outbox.contract.decode(outbox.contract.encode(outbox.contract.example))
        self.bus.publish(outbox, who, at=at, **{**example, **value})
        if self._seed is None:
            self._decide()

    def move_clock(self, at: str) -> None:
        """Let time pass until ``at`` (RFC 3339)."""
        self.bus.move_clock(at)

    # -- what came of it ------------------------------------------------------------------------------------------

    def outcomes(self, _expected: int = 0) -> list[Outcome]:
        """What was decided since this was last asked, by partition and in the order of deciding."""
        self._decide()
        told, self._decided = self._decided, []
        return told

    def refused(self, _expected: int = 0) -> list[DeadLetter]:
        """The agents' dead letters since this was last asked."""
        letters = self.bus.dead_letters()
        since, self._letters = self._letters, len(letters)
        return letters[since:]

    def _decide(self) -> None:
        self.bus.run()
        for gate in self._gates:
            self._decided += self._judged(gate.state)

    def _judged(self, state: TaskState) -> Iterator[Outcome]:
        fresh = self.bus.topics.get((EXCHANGE, state.partition), [])[state.decided :]
        if not fresh or state.policy is None:
            return
        grounds = Grounds(
            partition=state.partition,
            policy=state.policy,
            standings=state.standings,
            marks=state.marks,
            keyring=self._keyring,
        )
        judged = judge([Record(r.offset, r.key, r.value, r.headers) for r in fresh], grounds, self.bus.now_ms)
        state.settle(decided=state.decided + len(fresh), fenced=state.applied, moved=judged.moved)
        self.dead_letters += judged.dead_letters
        yield from self._told(judged.decisions, judged.deliveries)

    def _told(self, batch: DecisionBatch, deliveries: tuple[Delivery, ...]) -> Iterator[Outcome]:
        values: Mapping[bytes, Mapping[str, Any]] = {
            bytes.fromhex(dict(d.headers)["ce_decisionid"].decode()): self._catalogue.decode(d.value)[1]
            for d in deliveries
        }
        for decision in batch.decisions:
            yield Outcome(
                decision=decision.id,
                who=self.bus.name(decision.subject),
                flow=batch.flows[decision.flow].flow if decision.flow >= 0 else "?",
                verdict=decision.verdict,
                reason=decision.reason,
                withheld=decision.withheld,
                value=values.get(decision.id),
            )
