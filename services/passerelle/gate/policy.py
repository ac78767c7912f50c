"""The policy in force at one task: a bundle, compiled for judging. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from passerelle.envelope import Headers
from passerelle_consent.policy.bundle import PolicyBundle
from passerelle_consent.policy.decide import CompiledFlow, DecisionTable
from passerelle_consent.wire import FlowUse
from passerelle_schemas.catalogue import Catalogue, Contract
from passerelle_schemas.faults import Fault
from passerelle_schemas.splice import Splicer

POLICIES_KEPT = 4
"""Every partition carries each bundle: the tasks of a worker share the last ones compiled, and an old one may still be
in force at a partition that is behind."""


class UnusablePolicy(Fault):
    """A bundle that this gate cannot decide by: it holds, rather than judge by half a policy."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FlowPlan:
    """What releasing a flow's deliveries needs, worked out once per policy."""

    flow: CompiledFlow
    contract: Contract
    splicer: Splicer
    use: FlowUse
    headers: Headers
    """What all deliveries of the flow say alike."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PolicyInForce:
    """A decision table with its contracts and a plan for each flow."""

    table: DecisionTable
    catalogue: Catalogue
    plans: Mapping[str, FlowPlan]

    @property
    def digest(self) -> bytes:
        """The name of the policy in decisions and in the ledger, 32 bytes."""
        return self.table.digest


ReadPolicy = Callable[[bytes], PolicyInForce]


def compile_policy(packed: bytes, recipients: frozenset[str]) -> PolicyInForce:
    """Compile a packed bundle. Raises `Fault` when it does not parse or compile, or names a recipient without inbox."""
    bundle = PolicyBundle.unpack(packed)
    try:
        table, catalogue = bundle.table(), bundle.catalogue
    except Fault:
        raise
    except Exception as exc:  # noqa: BLE001 - a schema that is none raises whatever it provokes; the gate must hold, not die
        raise UnusablePolicy(f"the policy does not compile: {type(exc).__name__}") from None
    strangers = sorted({f.recipient for f in bundle.flows} - recipients)
    if strangers:
        raise UnusablePolicy(f"no inbox and key for {', '.join(strangers)}", hint="passerelle city apply")
    plans = (_plan(table.flow(f.id), catalogue, bundle.digest) for f in bundle.flows)
    return PolicyInForce(table=table, catalogue=catalogue, plans={p.flow.id: p for p in plans})


def policy_reader(recipients: frozenset[str]) -> ReadPolicy:
    """`compile_policy` for a worker whose tasks meet the same bundle one after the other."""

    @lru_cache(maxsize=POLICIES_KEPT)
    def read(packed: bytes) -> PolicyInForce:
        return compile_policy(packed, recipients)

    return read


def _plan(flow: CompiledFlow | None, catalogue: Catalogue, digest: bytes) -> FlowPlan:
    if flow is None:
        raise UnusablePolicy("a flow of the bundle is not in its table")
    contract = catalogue.by_type(flow.event)
    return FlowPlan(
        flow=flow,
        contract=contract,
        splicer=Splicer(contract.parsed),
        use=FlowUse(flow=flow.id, recipient=flow.recipient, purpose=flow.purpose, agreements=flow.agreements),
        headers=[
            ("ce_specversion", b"1.0"),
            ("content-type", b"application/avro"),
            ("ce_type", flow.event.encode()),
            ("ce_flow", flow.id.encode()),
            ("ce_purpose", flow.purpose.encode()),
            ("ce_policy", digest.hex().encode()),
        ],
    )
