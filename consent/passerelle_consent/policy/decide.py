"""Decide whether a flow's event about this citizen may be delivered now, and with which fields.

Pure. The order of the rules, for each agreement of the flow (DESIGN §5):

1. the subject is linked, else ``unknown-subject``;
2. the agreement is in force;
3. it covers the subject's class: a minor, a protected adult, an adult;
4. a restriction (GDPR Art. 18) leaves only a consent given after it, and vital interests;
5. the basis holds: consent given for this notice and not expired (6-1-a), not objected (6-1-e, f), an override in
   force (6-1-d), nothing more for 6-1-b and c.

What is true of the agreement alone comes first, what the subject must answer for last: the reason that is told is the
one that no word of the subject could mend.

A field is valid when *all* agreements that cover its sources are. All fields valid: permit. Only optional ones
invalid: redact. A required one invalid: deny.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from passerelle_consent.policy.agreements import Agreement, Basis, Notice, SubjectClass
from passerelle_consent.policy.flows import Flow, FlowFault, problems_of
from passerelle_consent.policy.standing import Stance, Standing, State
from passerelle_consent.policy.standings import CONSENTED, NEVER_MS, Form
from passerelle_schemas.catalogue import Catalogue


class Verdict(StrEnum):
    """What becomes of a proposal."""

    PERMIT = "permit"
    REDACT = "redact"
    DENY = "deny"


class Reason(StrEnum):
    """Why. Closed: a new reason is a new release."""

    VALID_BASIS = "valid-basis"
    CONSENT_NOT_GIVEN = "consent-not-given"
    CONSENT_REFUSED = "consent-refused"
    CONSENT_WITHDRAWN = "consent-withdrawn"
    CONSENT_EXPIRED = "consent-expired"
    NOTICE_SUPERSEDED = "notice-superseded"
    OBJECTED = "objected"
    RESTRICTED = "restricted"
    NO_OVERRIDE = "no-override"
    AGREEMENT_NOT_IN_FORCE = "agreement-not-in-force"
    SUBJECT_NOT_COVERED = "subject-not-covered"
    UNKNOWN_SUBJECT = "unknown-subject"
    UNKNOWN_FLOW = "unknown-flow"
    WRONG_TYPE = "wrong-type"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """The verdict on one proposal, why, and the fields that its recipient does not get."""

    verdict: Verdict
    reason: Reason
    withheld: tuple[str, ...] = ()


_CONSENT_REASON = {
    State.WITHDRAWN: Reason.CONSENT_WITHDRAWN,
    State.REVOKED: Reason.CONSENT_WITHDRAWN,
    State.REFUSED: Reason.CONSENT_REFUSED,
    State.EXPIRED: Reason.CONSENT_EXPIRED,
    State.INVALIDATED: Reason.NOTICE_SUPERSEDED,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class CompiledAgreement:
    """What `decide` needs of an agreement."""

    id: str
    ref: str
    basis: Basis
    subjects: frozenset[SubjectClass]
    first_ms: int
    end_ms: int | None
    notice: Notice

    @classmethod
    def of(cls, agreement: Agreement) -> "CompiledAgreement":
        """Compile."""
        first_ms, end_ms = agreement.span_ms()
        return cls(
            id=agreement.id,
            ref=agreement.ref,
            basis=agreement.basis,
            subjects=agreement.subjects,
            first_ms=first_ms,
            end_ms=end_ms,
            notice=agreement.notice,
        )

    def validity(self, standing: Standing, now_ms: int) -> Reason:
        """`Reason.VALID_BASIS`, or why this agreement lets nothing pass for this subject now."""
        if now_ms < self.first_ms or (self.end_ms is not None and now_ms >= self.end_ms):
            return Reason.AGREEMENT_NOT_IN_FORCE
        if standing.class_at(now_ms) not in self.subjects:
            return Reason.SUBJECT_NOT_COVERED
        if self.basis is Basis.VITAL_INTERESTS:
            return self._override(standing, now_ms)
        stance = standing.stances.get(self.id)
        if standing.restricted_since_ms is not None and not self._given_since(stance, standing.restricted_since_ms):
            return Reason.RESTRICTED
        return self._consent(stance, now_ms) if self.basis is Basis.CONSENT else self._unless_objected(stance)

    def _unless_objected(self, stance: Stance | None) -> Reason:
        objected = stance is not None and stance.state is State.OBJECTED
        return Reason.OBJECTED if objected and self.basis.can_be_objected else Reason.VALID_BASIS

    def _consent(self, stance: Stance | None, now_ms: int) -> Reason:
        if stance is None or stance.state not in CONSENTED:
            return _CONSENT_REASON.get(stance.state if stance else State.UNKNOWN, Reason.CONSENT_NOT_GIVEN)
        if stance.until_ms is not None and now_ms >= stance.until_ms:
            return Reason.CONSENT_EXPIRED
        return Reason.VALID_BASIS if self.notice.accepts(stance.notice) else Reason.NOTICE_SUPERSEDED

    def _override(self, standing: Standing, now_ms: int) -> Reason:
        in_force = any(o.agreement == self.id and now_ms < o.until_ms for o in standing.overrides)
        return Reason.VALID_BASIS if in_force else Reason.NO_OVERRIDE

    def _given_since(self, stance: Stance | None, since_ms: int) -> bool:
        """GDPR Art. 18(2): under a restriction, processing with the subject's (later) consent."""
        return (
            self.basis is Basis.CONSENT and stance is not None and stance.state in CONSENTED and stance.at_ms > since_ms
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class CompiledFlow:
    """A flow with its agreements, and for each field the positions of the agreements that it needs."""

    id: str
    event: str
    schema_id: int
    recipient: str
    purpose: str
    agreements: tuple[str, ...]
    required: tuple[str, ...]
    optional: tuple[str, ...]
    terms: tuple[CompiledAgreement, ...]
    about: frozenset[str]
    """The ids of its agreements."""
    needs: Mapping[str, tuple[int, ...]]

    def span_ms(self, now_ms: int) -> tuple[int, int]:
        """Return the longest [first, end) around this instant in which no agreement of the flow begins or ends."""
        turns = [t for term in self.terms for t in (term.first_ms, term.end_ms) if t is not None]
        before, after = [t for t in turns if t <= now_ms], [t for t in turns if t > now_ms]
        return max(before, default=_ALWAYS_MS), min(after, default=NEVER_MS)

    def outcome(self, validity: tuple[Reason, ...]) -> Decision:
        """Return the decision when its agreements stand as ``validity`` says, in their order."""
        invalid = {i for i, reason in enumerate(validity) if reason is not Reason.VALID_BASIS}
        if not invalid:
            return Decision(verdict=Verdict.PERMIT, reason=Reason.VALID_BASIS)
        for field in self.required:
            missing = [i for i in self.needs[field] if i in invalid]
            if missing:
                return Decision(verdict=Verdict.DENY, reason=validity[missing[0]])
        withheld = tuple(f for f in self.optional if not invalid.isdisjoint(self.needs[f]))
        if not withheld:
            return Decision(verdict=Verdict.PERMIT, reason=Reason.VALID_BASIS)
        first = next(i for i in self.needs[withheld[0]] if i in invalid)
        return Decision(verdict=Verdict.REDACT, reason=validity[first], withheld=withheld)


FORMS_HELD = 65_536
"""Forms for which a flow remembers its decision: some 8 MB a flow when full; then it begins anew."""
_ALWAYS_MS = -(2**63)
_NOTHING: frozenset[str] = frozenset()
_UNKNOWN_FLOW = Decision(verdict=Verdict.DENY, reason=Reason.UNKNOWN_FLOW)
_UNKNOWN_SUBJECT = Decision(verdict=Verdict.DENY, reason=Reason.UNKNOWN_SUBJECT)


class _Held(NamedTuple):
    """A decision, and from when until when it stands as long as the subject's form does: [first, end), epoch ms."""

    first_ms: int
    end_ms: int
    decision: Decision


class DecisionTable:
    """All flows compiled. A decision on a form is two look-ups and a comparison: `_forms` remembers it."""

    def __init__(self, flows: Iterable[CompiledFlow], digest: bytes) -> None:
        self.digest = digest
        self._flows = {flow.id: flow for flow in flows}
        # Bounded by the product of reasons over a flow's agreements, which the flows themselves bound.
        self._outcomes: dict[tuple[str, tuple[Reason, ...]], Decision] = {}
        self._forms: dict[str, dict[Form, _Held]] = {flow: {} for flow in self._flows}

    @property
    def flow_ids(self) -> frozenset[str]:
        """What may be decided on."""
        return frozenset(self._flows)

    def flow(self, flow_id: str) -> CompiledFlow | None:
        """Return the flow, or None when the policy has none of that name."""
        return self._flows.get(flow_id)

    def about(self, flow_id: str) -> frozenset[str]:
        """Return the ids of the agreements about which a standing must tell; none for a flow that is unknown."""
        flow = self._flows.get(flow_id)
        return _NOTHING if flow is None else flow.about

    def decide(self, flow_id: str, standing: Form | Standing, now_ms: int) -> Decision:
        """Decide for the subject with this standing at this instant (epoch milliseconds).

        A `Form` says the same at any instant, so what was decided on it holds until an agreement of the flow begins or
        ends. A `Standing` is read anew each time.
        """
        if type(standing) is Form:
            try:
                first_ms, end_ms, decision = self._forms[flow_id][standing]
            except KeyError:
                return self._hold(flow_id, standing, now_ms)
            return decision if first_ms <= now_ms < end_ms else self._hold(flow_id, standing, now_ms)
        return self._read(flow_id, standing, now_ms)  # type: ignore[arg-type] # mypy does not narrow by type()

    def _read(self, flow_id: str, standing: Standing, now_ms: int) -> Decision:
        flow = self._flows.get(flow_id)
        if flow is None:
            return _UNKNOWN_FLOW
        if not standing.linked:
            return _UNKNOWN_SUBJECT
        validity = tuple(term.validity(standing, now_ms) for term in flow.terms)
        key = flow_id, validity
        outcome = self._outcomes.get(key)
        if outcome is None:
            outcome = self._outcomes[key] = flow.outcome(validity)
        return outcome

    def _hold(self, flow_id: str, form: Form, now_ms: int) -> Decision:
        decision = self._read(flow_id, form.standing, now_ms)
        flow = self._flows.get(flow_id)
        if flow is not None:
            held = self._forms[flow_id]
            if len(held) >= FORMS_HELD:
                held.clear()
            held[form] = _Held(*flow.span_ms(now_ms), decision)
        return decision


def compile_table(
    agreements: Iterable[Agreement], flows: Iterable[Flow], catalogue: Catalogue, *, digest: bytes
) -> DecisionTable:
    """Compile. Raises `FlowFault` with every flow that its agreements do not carry."""
    by_ref = {a.ref: a for a in agreements}
    flows = tuple(flows)
    problems = [f"flow {f.id}: {at}: {what}" for f in flows for at, what in problems_of(f, by_ref, catalogue)]
    if problems:
        raise FlowFault(problems)
    return DecisionTable((_compile(f, by_ref, catalogue) for f in flows), digest)


def _compile(flow: Flow, agreements: Mapping[str, Agreement], catalogue: Catalogue) -> CompiledFlow:
    contract = catalogue.by_type(flow.event)
    used = [agreements[ref] for ref in flow.agreements]
    needs = {
        field: tuple(sorted({i for s in sources for i, a in enumerate(used) if a.covers(s)}))
        for field, sources in contract.sources.items()
    }
    return CompiledFlow(
        id=flow.id,
        event=flow.event,
        schema_id=contract.schema_id,
        recipient=flow.recipient,
        purpose=flow.purpose,
        agreements=flow.agreements,
        required=flow.required,
        optional=flow.optional,
        terms=tuple(map(CompiledAgreement.of, used)),
        about=frozenset(a.id for a in used),
        needs=needs,
    )
