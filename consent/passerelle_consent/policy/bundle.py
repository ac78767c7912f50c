"""The policy bundle: everything that decides, under one digest.

It travels on the `consent` topic itself, so that a policy change takes effect at an offset, is covered by the fence
like a withdrawal, and a decision names exactly the policy that made it (DESIGN §5).
"""

import gzip
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import rfc8785
from pydantic import ValidationError

from passerelle_consent.policy.agreements import Agreement, load_agreements
from passerelle_consent.policy.decide import DecisionTable, compile_table
from passerelle_consent.policy.flows import Flow, load_flows, problems_of
from passerelle_schemas.catalogue import Catalogue
from passerelle_schemas.documents import DocumentFault
from passerelle_schemas.faults import Fault

# A bundle is one Kafka record per partition: below the broker's default message.max.bytes of 1 MiB, with room.
PACKED_BYTES_MAX = 900_000


class BadBundle(Fault):
    """The bytes are not a policy bundle, or it does not compile."""


@dataclass(frozen=True)
class PolicyBundle:
    """Agreements, flows and contracts as one RFC 8785 document."""

    document: Mapping[str, Any]

    @classmethod
    def of(cls, agreements: list[Agreement], flows: list[Flow], catalogue: Catalogue) -> "PolicyBundle":
        """Put together what was read from files."""
        return cls(
            {
                "agreements": [_json(a) for a in sorted(agreements, key=lambda a: (a.id, a.version))],
                "flows": [_json(f) for f in sorted(flows, key=lambda f: f.id)],
                "contracts": {c.type: {"id": c.schema_id, "schema": dict(c.schema)} for c in catalogue},
            }
        )

    @classmethod
    def load(cls, contracts: Path, flows: Path, agreements: Path) -> "PolicyBundle":
        """Read the three folders and check that every flow is carried. Raises `DocumentFault` with file and line."""
        catalogue = Catalogue.load(contracts)
        agreed = load_agreements(agreements)
        read = load_flows(flows)
        by_ref = {a.ref: a for a in agreed}
        problems = [d.problem((at,), what) for d, f in read for at, what in problems_of(f, by_ref, catalogue)]
        if problems:
            raise DocumentFault(problems)
        return cls.of(agreed, [f for _, f in read], catalogue)

    @classmethod
    def unpack(cls, packed: bytes) -> "PolicyBundle":
        """Read what `pack` made. Raises `BadBundle`."""
        try:
            return cls(json.loads(gzip.decompress(packed)))
        except (OSError, EOFError, ValueError) as exc:
            raise BadBundle(f"not a policy bundle: {type(exc).__name__}") from None

    def pack(self) -> bytes:
        """Return the gzipped canonical document. Raises `BadBundle` when it would not fit one record."""
        packed = gzip.compress(self.canonical, mtime=0)
        if len(packed) > PACKED_BYTES_MAX:
            raise BadBundle(f"the policy is {len(packed)} bytes packed, {PACKED_BYTES_MAX} at most")
        return packed

    @cached_property
    def canonical(self) -> bytes:
        """RFC 8785 bytes."""
        return rfc8785.dumps(dict(self.document))

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of the canonical bytes: the policy's name in decisions and in the ledger."""
        return hashlib.sha256(self.canonical).digest()

    @cached_property
    def agreements(self) -> tuple[Agreement, ...]:
        """Raises `BadBundle`."""
        try:
            return tuple(Agreement.model_validate(a) for a in self.document["agreements"])
        except (KeyError, TypeError, ValidationError) as exc:
            raise BadBundle(f"its agreements do not parse: {type(exc).__name__}") from None

    @cached_property
    def flows(self) -> tuple[Flow, ...]:
        """Raises `BadBundle`."""
        try:
            return tuple(Flow.model_validate(f) for f in self.document["flows"])
        except (KeyError, TypeError, ValidationError) as exc:
            raise BadBundle(f"its flows do not parse: {type(exc).__name__}") from None

    @cached_property
    def catalogue(self) -> Catalogue:
        """Raises `BadBundle`."""
        try:
            contracts = self.document["contracts"]
            return Catalogue.from_schemas({t: (c["id"], c["schema"]) for t, c in contracts.items()})
        except (KeyError, TypeError) as exc:
            raise BadBundle(f"its contracts do not parse: {type(exc).__name__}") from None

    def table(self) -> DecisionTable:
        """Compile. Raises `BadBundle` or `FlowFault`."""
        return compile_table(self.agreements, self.flows, self.catalogue, digest=self.digest)


def _json(model: Agreement | Flow) -> dict[str, Any]:
    return {key: _ordered(key, value) for key, value in model.model_dump(mode="json", by_alias=True).items()}


def _ordered(key: str, value: Any) -> Any:
    """Sort what stands for a set: it has no order, and the digest needs one."""
    if isinstance(value, dict):
        return {k: _ordered(k, v) for k, v in value.items()}
    return sorted(value) if key in ("subjects", "compatible_with") else value
