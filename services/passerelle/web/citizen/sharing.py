"""What is shared about somebody, as the policy core decides it at this instant. Pure.

The page asks the same `decide` as the gate: what it says passes is what would pass.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import Any

from passerelle_consent.policy.agreements import Agreement, Basis
from passerelle_consent.policy.bundle import PolicyBundle
from passerelle_consent.policy.decide import Decision, DecisionTable, Verdict
from passerelle_consent.policy.flows import Flow
from passerelle_consent.policy.standing import Actor, Override, Protection, Stance, Standing, State

CONSENTED = frozenset({State.GIVEN, State.RENEWED})


class Bridge(StrEnum):
    """How the bridge between two departments stands."""

    OPEN = "open"
    REDUCED = "reduced"
    CLOSED = "closed"
    LAW = "law"


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """One piece of information, in words, and why it is needed."""

    name: str
    words: str
    needs: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Control:
    """One agreement of a sharing, and what somebody can do about it."""

    agreement: Agreement
    purpose: str
    notice: str
    said: Stance | None
    consented: bool
    """A yes that holds: not expired, on a notice that still stands."""
    superseded: bool
    """A yes on an older notice: it is asked anew."""
    lapsed: bool
    """A yes whose time is over."""
    opened_until_ms: int | None
    """An officer opened it for the person's life, until then (GDPR Art. 6(1)(d))."""

    @property
    def basis(self) -> Basis:
        """On which the agreement rests (GDPR Art. 6(1))."""
        return self.agreement.basis

    @property
    def is_asked(self) -> bool:
        """Whether the person decides."""
        return self.basis is Basis.CONSENT

    @property
    def objected(self) -> bool:
        """Whether an objection stands."""
        return self.said is not None and self.said.state is State.OBJECTED


@dataclass(frozen=True, kw_only=True, slots=True)
class Sharing:
    """One flow, as it stands for one person."""

    flow: Flow
    title: str
    bridge: Bridge
    decision: Decision
    passing: Sequence[Piece]
    staying: Sequence[Piece]
    controls: Sequence[Control]
    sources: Sequence[str]

    @property
    def looks(self) -> tuple[object, ...]:
        """All that its drawing shows."""
        return self.flow.id, self.bridge, *(p.name for p in self.passing), "", *(p.name for p in self.staying)

    @property
    def one_purpose(self) -> bool:
        """Whether all of its agreements say the same purpose, so that only their sources tell them apart."""
        return len({c.purpose for c in self.controls}) == 1

    @property
    def concerns(self) -> bool:
        """Whether anything was ever said about it, or an emergency was declared."""
        return any(c.said is not None for c in self.controls) or self.decision.verdict is not Verdict.DENY


class Sharings:
    """The city's sharings, for any standing, at any instant, in one language."""

    def __init__(self, bundle: PolicyBundle, language: str) -> None:
        self._bundle = bundle
        self._table: DecisionTable = bundle.table()
        self._agreements = {a.ref: a for a in bundle.agreements}
        self._language = language

    def all(self, standing: Standing, now_ms: int) -> list[Sharing]:
        """Return every flow in force, those that pass first, then by name."""
        found = [self._sharing(flow, standing, now_ms) for flow in self._bundle.flows]
        return sorted(found, key=lambda s: (s.decision.verdict is Verdict.DENY, s.title))

    def under(self, agreement_id: str, standing: Standing, now_ms: int) -> list[Sharing]:
        """Return the flows that rest on an agreement, whatever its version."""
        return [
            self._sharing(flow, standing, now_ms)
            for flow in self._bundle.flows
            if any(ref.partition("@")[0] == agreement_id for ref in flow.agreements)
        ]

    @cached_property
    def titles(self) -> Mapping[str, str]:
        """The title of the flow that rests on an agreement, by the agreement's id."""
        return {
            ref.partition("@")[0]: str(getattr(flow.description, self._language))
            for flow in self._bundle.flows
            for ref in flow.agreements
        }

    @cached_property
    def flow_titles(self) -> Mapping[str, str]:
        """The titles of the flows, by id."""
        return {flow.id: str(getattr(flow.description, self._language)) for flow in self._bundle.flows}

    def words_of(self, event: str, field: str) -> str:
        """A field in words; its name where the contract has none."""
        if event not in self._bundle.catalogue:
            return field
        contract = self._bundle.catalogue.by_type(event)
        for one in contract.schema["fields"]:
            if one["name"] == field and "passerelle.description" in one:
                return str(one["passerelle.description"][self._language]).rstrip(".")
        return field

    def _sharing(self, flow: Flow, standing: Standing, now_ms: int) -> Sharing:
        decision = self._table.decide(flow.id, standing, now_ms)
        agreements = [self._agreements[ref] for ref in flow.agreements]
        passes = decision.verdict is not Verdict.DENY
        fields = [f for f in (*flow.required, *flow.optional) if f not in decision.withheld]
        wanted = (*flow.required, *flow.optional)
        return Sharing(
            flow=flow,
            title=str(getattr(flow.description, self._language)),
            bridge=_bridge(decision, agreements),
            decision=decision,
            passing=[self._pieces[flow.id, f] for f in (fields if passes else wanted)],
            staying=[self._pieces[flow.id, f] for f in decision.withheld],
            controls=[self._control(a, standing, now_ms) for a in agreements],
            sources=list(dict.fromkeys(a.source for a in agreements)),
        )

    @cached_property
    def _pieces(self) -> Mapping[tuple[str, str], Piece]:
        """By flow and field: they are the policy's, whoever looks."""
        return {
            (flow.id, field): self._piece(flow, field, [self._agreements[ref] for ref in flow.agreements])
            for flow in self._bundle.flows
            for field in (*flow.required, *flow.optional)
        }

    def _piece(self, flow: Flow, field: str, agreements: Sequence[Agreement]) -> Piece:
        needs = tuple(dict.fromkeys(self._needs(flow, field, agreements)))
        return Piece(name=field, words=self.words_of(flow.event, field), needs=needs)

    def _needs(self, flow: Flow, field: str, agreements: Sequence[Agreement]) -> Iterator[str]:
        for source in self._bundle.catalogue.by_type(flow.event).sources.get(field, ()):
            event, _, name = source.partition("#")
            for agreement in agreements:
                need = agreement.events[event].fields.get(name) if event in agreement.events else None
                if need is not None:
                    yield str(getattr(need, self._language))

    def _control(self, agreement: Agreement, standing: Standing, now_ms: int) -> Control:
        said = standing.stances.get(agreement.id)
        yes = said is not None and said.state in CONSENTED
        holds = yes and said is not None and (said.until_ms is None or now_ms < said.until_ms)
        opened = [o for o in standing.overrides if o.agreement == agreement.id]
        accepted = said is not None and agreement.notice.accepts(said.notice)
        return Control(
            agreement=agreement,
            purpose=str(getattr(agreement.purpose, self._language)),
            notice=str(getattr(agreement.notice, self._language)),
            said=said,
            consented=holds and accepted,
            superseded=holds and not accepted,
            lapsed=yes and not holds,
            opened_until_ms=max((o.until_ms for o in opened if o.until_ms > now_ms), default=None),
        )


def _bridge(decision: Decision, agreements: Sequence[Agreement]) -> Bridge:
    if decision.verdict is Verdict.DENY:
        return Bridge.CLOSED
    if decision.verdict is Verdict.REDACT:
        return Bridge.REDUCED
    by_law = all(a.basis is Basis.LEGAL_OBLIGATION for a in agreements)
    return Bridge.LAW if by_law else Bridge.OPEN


def standing_of(body: Mapping[str, Any]) -> Standing:
    """Read a standing as the consent service writes it (`StandingOut`)."""
    stances = {
        one["agreement"]: Stance(
            agreement=one["agreement"],
            state=State(one["state"]),
            notice=one["notice"],
            at_ms=epoch_ms(one["at"]),
            until_ms=_maybe_ms(one["until"]),
            by=Actor(one["by"]),
        )
        for one in body["agreements"]
    }
    return Standing(
        linked=body["linked"],
        revision=body["revision"],
        stances=stances,
        restricted_since_ms=_maybe_ms(body["restricted_since"]),
        overrides=tuple(Override(agreement=o["agreement"], until_ms=epoch_ms(o["until"])) for o in body["overrides"]),
        minor_until_ms=_maybe_ms(body["minor_until"]),
        protection=None if body["protection"] is None else Protection(body["protection"]),
    )


def epoch_ms(text: str) -> int:
    """An instant as the service writes it (RFC 3339), in milliseconds since 1970."""
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def _maybe_ms(text: str | None) -> int | None:
    return None if text is None else epoch_ms(text)
