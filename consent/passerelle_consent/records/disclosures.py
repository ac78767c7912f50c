"""What became of a subject's data: each decision of the ledger, in the terms of the policy that made it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True, kw_only=True, slots=True)
class Field:
    """A field that the recipient got, and why each agreement says that it is needed (GDPR Art. 5(1)(c))."""

    name: str
    needs: tuple[Text, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Disclosure:
    """One decision about a subject. ``agreements`` and ``fields`` are empty where no flow was known."""

    decided: Decided
    agreements: tuple[Agreement, ...]
    fields: tuple[Field, ...]


class KeptPolicies:
    """Policies as they were read last, by digest: what a digest names does not change. Used from several threads."""

    def __init__(self) -> None:
        self._held: dict[bytes, PolicyBundle] = {}

    def of(self, decided: Sequence[Decided]) -> dict[bytes, PolicyBundle] | None:
        """Return the policies that made these decisions; None where one has to be read."""
        held = {digest: self._held.get(digest) for digest in _digests(decided)}
        found = {digest: bundle for digest, bundle in held.items() if bundle is not None}
        return found if len(found) == len(held) else None

    def read(self, conn: sa.Connection, decided: Sequence[Decided]) -> dict[bytes, PolicyBundle]:
        """Return them by digest, those that are not held from the store; one that is not there is left out."""
        found = {digest: self._held.get(digest) or self._read(conn, digest) for digest in _digests(decided)}
        return {digest: bundle for digest, bundle in found.items() if bundle is not None}

    def _read(self, conn: sa.Connection, digest: bytes) -> PolicyBundle | None:
        packed = conn.scalar(sql.POLICY, {"digest": digest})
        if packed is None:
            return None
        bundle = PolicyBundle.unpack(packed)
        self._held = dict(list({**self._held, digest: bundle}.items())[-POLICIES_KEPT:])
        return bundle


def _digests(decided: Sequence[Decided]) -> set[bytes]:
    return {d.policy for d in decided if d.policy is not None}


def explain(decided: Decided, policies: Mapping[bytes, PolicyBundle]) -> Disclosure:
    """Say what a decision meant, by the policy that made it. Raises `BadBundle`."""
    bundle = policies.get(decided.policy or b"")
    if bundle is None:
        return Disclosure(decided=decided, agreements=(), fields=())
    by_ref = {a.ref: a for a in bundle.agreements}
    agreements = tuple(by_ref[ref] for ref in decided.agreements if ref in by_ref)
    flow = next((f for f in bundle.flows if f.id == decided.flow), None)
    released = flow is not None and decided.verdict is not Verdict.DENY
    fields = tuple(_released(flow, decided, bundle, agreements)) if flow is not None and released else ()
    return Disclosure(decided=decided, agreements=agreements, fields=fields)


def _released(flow: Flow, decided: Decided, bundle: PolicyBundle, agreements: tuple[Agreement, ...]) -> Iterator[Field]:
    sources = bundle.catalogue.by_type(flow.event).sources
    for name in (*flow.required, *flow.optional):
        if name not in decided.withheld:
            yield Field(name=name, needs=tuple(_needs(sources[name], agreements)))


def _needs(sources: Sequence[str], agreements: tuple[Agreement, ...]) -> Iterator[Text]:
    for source in sources:
        type_, _, field = source.partition("#")
        for agreement in agreements:
            if agreement.covers(source):
                yield agreement.events[type_].fields[field]
