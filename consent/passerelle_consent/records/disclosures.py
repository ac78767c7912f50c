"""What became of a subject's data: each decision of the ledger, in the terms of the policy that made it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import sqlalchemy as sa

from passerelle_consent.policy.agreements import Agreement
from passerelle_consent.policy.bundle import PolicyBundle
from passerelle_consent.policy.decide import Verdict
from passerelle_consent.policy.flows import Flow
from passerelle_consent.records import sql
from passerelle_consent.records.ports import Decided
from passerelle_schemas.catalogue import Text

POLICIES_KEPT = 8
"""Unpacked at once, some 200 KB each: a history goes back over few changes of policy."""

MEANINGS_KEPT = 1_024
"""Of a policy: it has some hundred flows, each with few ways of what is withheld."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Field:
    """A field that the recipient got, and why each agreement says that it is needed (GDPR Art. 5(1)(c))."""

    name: str
    needs: tuple[Text, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Meaning:
    """What decisions of one flow, under the same agreements and with the same withheld, have in common.

    It is itself and no other: what is worked out from it can be kept by it.
    """

    agreements: tuple[Agreement, ...] = ()
    fields: tuple[Field, ...] = ()


NOTHING = Meaning()
"""Of a decision whose policy is not there."""


class Explainer:
    """A policy, as the decisions that it made are told. A history repeats a few meanings: each is worked out once."""

    def __init__(self, bundle: PolicyBundle) -> None:
        """Raises `BadBundle`."""
        self._agreements = {agreement.ref: agreement for agreement in bundle.agreements}
        self._flows = {flow.id: flow for flow in bundle.flows}
        self._catalogue = bundle.catalogue
        self._meaning = lru_cache(maxsize=MEANINGS_KEPT)(self._worked_out)

    def meaning(self, decided: Decided) -> Meaning:
        """Say what a decision meant. ``agreements`` and ``fields`` are empty where no flow was known."""
        released = decided.verdict is not Verdict.DENY
        return self._meaning(decided.flow, decided.agreements, decided.withheld, released=released)

    def _worked_out(
        self, flow: str | None, agreements: Sequence[str], withheld: Sequence[str], *, released: bool
    ) -> Meaning:
        under = tuple(self._agreements[ref] for ref in agreements if ref in self._agreements)
        known = None if flow is None else self._flows.get(flow)
        fields = () if known is None or not released else tuple(self._released(known, withheld, under))
        return Meaning(agreements=under, fields=fields)

    def _released(self, flow: Flow, withheld: Sequence[str], under: tuple[Agreement, ...]) -> Iterator[Field]:
        sources = self._catalogue.by_type(flow.event).sources
        for name in (*flow.required, *flow.optional):
            if name not in withheld:
                yield Field(name=name, needs=tuple(_needs(sources[name], under)))


class KeptPolicies:
    """Policies as they were read last, by digest: what a digest names does not change. Used from several threads."""

    def __init__(self) -> None:
        self._held: dict[bytes, Explainer] = {}

    def of(self, decided: Sequence[Decided]) -> dict[bytes, Explainer] | None:
        """Return the policies that made these decisions; None where one has to be read."""
        held = {digest: self._held.get(digest) for digest in _digests(decided)}
        found = {digest: policy for digest, policy in held.items() if policy is not None}
        return found if len(found) == len(held) else None

    def read(self, conn: sa.Connection, decided: Sequence[Decided]) -> dict[bytes, Explainer]:
        """Return them by digest, those that are not held from the store; one that is not there is left out.

        Raises `BadBundle`.
        """
        found = {digest: self._held.get(digest) or self._read(conn, digest) for digest in _digests(decided)}
        return {digest: policy for digest, policy in found.items() if policy is not None}

    def _read(self, conn: sa.Connection, digest: bytes) -> Explainer | None:
        packed = conn.scalar(sql.POLICY, {"digest": digest})
        if packed is None:
            return None
        policy = Explainer(PolicyBundle.unpack(packed))
        self._held = dict(list({**self._held, digest: policy}.items())[-POLICIES_KEPT:])
        return policy


def _digests(decided: Sequence[Decided]) -> set[bytes]:
    return {d.policy for d in decided if d.policy is not None}


def explain(decided: Decided, policies: Mapping[bytes, Explainer]) -> Meaning:
    """Say what a decision meant, by the policy that made it."""
    policy = policies.get(decided.policy or b"")
    return NOTHING if policy is None else policy.meaning(decided)


def _needs(sources: Sequence[str], agreements: tuple[Agreement, ...]) -> Iterator[Text]:
    for source in sources:
        type_, _, field = source.partition("#")
        for agreement in agreements:
            if agreement.covers(source):
                yield agreement.events[type_].fields[field]
