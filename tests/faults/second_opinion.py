"""What a decision should have been: the policy read again from its own document, by another road than the gate's.

Written from DESIGN §5 and the documents' form; it calls nothing of `passerelle_consent`. Works on plain JSON values.
"""

import base64
import io
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

import fastavro

CONSENTED = ("given", "renewed")
WHY_NOT = {
    "withdrawn": "consent-withdrawn",
    "revoked": "consent-withdrawn",
    "refused": "consent-refused",
    "expired": "consent-expired",
    "invalidated": "notice-superseded",
}
VALID = "valid-basis"


class Opinion(NamedTuple):
    """Verdict, reason, and the names of the fields that the recipient does not get."""

    verdict: str
    reason: str
    withheld: tuple[str, ...] = ()


class Unreadable(Exception):
    """The value is no Avro record of a contract of this policy."""


@dataclass(frozen=True)
class Value:
    """A decoded event."""

    type: str
    fields: dict[str, Any]


class Reading:
    """One policy document, read."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.flows = {f["id"]: f for f in document["flows"]}
        self.agreements = {f"{a['id']}@{a['version']}": a for a in document["agreements"]}
        self._types = {c["id"]: t for t, c in document["contracts"].items()}
        self._schemas = {t: fastavro.parse_schema(dict(c["schema"])) for t, c in document["contracts"].items()}
        self._sources = {
            t: {f["name"]: f.get("passerelle.from") or [f"{t}#{f['name']}"] for f in c["schema"]["fields"]}
            for t, c in document["contracts"].items()
        }
        self._needs = {
            (flow, field): self._covering(flow, field)
            for flow, document_of in self.flows.items()
            for field in self._sources[document_of["event"]]
        }

        # The judge looks at a proposal and at its delivery several times in a row.
        self.decode = lru_cache(maxsize=8)(self._decode)

    def _decode(self, text: str | None) -> Value:
        """Read base 64 of a framed value. Raises `Unreadable`."""
        value = base64.b64decode(text or "")
        type_ = self._types.get(int.from_bytes(value[1:5], "big"))
        if len(value) < 5 or value[0] != 0 or type_ is None:
            raise Unreadable
        body = io.BytesIO(value[5:])
        try:
            fields = fastavro.schemaless_reader(body, self._schemas[type_], None)
        except Exception:  # noqa: BLE001 - fastavro raises whatever the bytes provoke
            raise Unreadable from None
        if body.read(1):
            raise Unreadable
        return Value(type_, fields)

    def opinion(
        self, flow_id: str | None, type_: str | None, value: str | None, standing: dict[str, Any] | None, at_ms: int
    ) -> Opinion:
        """What to do with this proposal for a subject of this standing at this instant."""
        flow = self.flows.get(flow_id or "")
        if flow is not None:
            try:
                found = self.decode(value)
            except Unreadable:
                return Opinion("deny", "unreadable")
            if not found.type == type_ == flow["event"]:
                return Opinion("deny", "wrong-type")
        elif value is None or flow_id is None:
            return Opinion("deny", "unreadable")
        else:
            return Opinion("deny", "unknown-flow")
        if standing is None or not standing["linked"]:
            return Opinion("deny", "unknown-subject")
        return self._on_its_merits(flow, standing, at_ms)

    def needs(self, flow_id: str, field: str) -> list[str]:
        """Refs of the agreements without which this field may not pass, in the flow's order."""
        return self._needs[flow_id, field]

    def agreement_ids(self, flow_id: str, fields: dict[str, Any]) -> set[str]:
        """Ids of the agreements that a delivery with these fields relies on: those of the fields that say something."""
        told = (f for f, content in fields.items() if content is not None)
        return {ref.partition("@")[0] for field in told for ref in self._needs[flow_id, field]}

    def _covering(self, flow_id: str, field: str) -> list[str]:
        sources = (s.partition("#") for s in self._sources[self.flows[flow_id]["event"]][field])
        wanted = [(type_, name) for type_, _, name in sources]
        return [
            ref
            for ref in self.flows[flow_id]["agreements"]
            if any(name in self.agreements[ref]["events"].get(t, {"fields": {}})["fields"] for t, name in wanted)
        ]

    def _on_its_merits(self, flow: dict[str, Any], standing: dict[str, Any], at_ms: int) -> Opinion:
        validity = {ref: self._validity(self.agreements[ref], standing, at_ms) for ref in flow["agreements"]}
        broken = {
            field: [validity[ref] for ref in self.needs(flow["id"], field) if validity[ref] != VALID]
            for field in (*flow["required"], *flow["optional"])
        }
        for field in flow["required"]:
            if broken[field]:
                return Opinion("deny", broken[field][0])
        withheld = tuple(f for f in flow["optional"] if broken[f])
        return Opinion("redact", broken[withheld[0]][0], withheld) if withheld else Opinion("permit", VALID)

    def _validity(self, agreement: dict[str, Any], standing: dict[str, Any], at_ms: int) -> str:
        if not _in_force(agreement["in_force"], at_ms):
            return "agreement-not-in-force"
        if _subject_class(standing, at_ms) not in agreement["subjects"]:
            return "subject-not-covered"
        basis, stance = agreement["basis"], standing["stances"].get(agreement["id"])
        if basis == "6-1-d":
            live = [o for o in standing["overrides"] if o["agreement"] == agreement["id"]]
            return VALID if any(at_ms < o["until_ms"] for o in live) else "no-override"
        since = standing["restricted_since_ms"]
        if since is not None and not (basis == "6-1-a" and _consented(stance) and stance["at_ms"] > since):
            return "restricted"
        if basis == "6-1-a":
            return _consent(agreement["notice"], stance, at_ms)
        objected = stance is not None and stance["state"] == "objected"
        return "objected" if objected and basis in ("6-1-e", "6-1-f") else VALID


def _in_force(span: dict[str, str | None], at_ms: int) -> bool:
    day = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at_ms)
    today = day.date().isoformat()
    return (span["from"] or "") <= today and (span["until"] is None or today <= span["until"])


def _subject_class(standing: dict[str, Any], at_ms: int) -> str:
    majority = standing["minor_until_ms"]
    if majority is not None and majority > at_ms:
        return "minor"
    return "protected-adult" if standing["protection"] else "adult"


def _consented(stance: dict[str, Any] | None) -> bool:
    return stance is not None and stance["state"] in CONSENTED


def _consent(notice: dict[str, Any], stance: dict[str, Any] | None, at_ms: int) -> str:
    if stance is None or not _consented(stance):
        return WHY_NOT.get(stance["state"] if stance else "unknown", "consent-not-given")
    if stance["until_ms"] is not None and at_ms >= stance["until_ms"]:
        return "consent-expired"
    known = {notice["version"], *notice["compatible_with"]}
    return VALID if stance["notice"] in known else "notice-superseded"
