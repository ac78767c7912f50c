"""Ask Cedar. Builds entities and requests from the documents; the rules are in sharing.cedar, none of them here."""

import calendar
import re
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from typing import NamedTuple

import cedarpy

TEXT = Path(__file__).with_name("sharing.cedar").read_text(encoding="utf-8")
IDS = tuple(re.findall(r'^@id\("(.+)"\)$', TEXT, re.MULTILINE))


class Opinion(NamedTuple):
    """What the oracle says: delivered or not, and without which fields."""

    delivered: bool
    withheld: tuple[str, ...]


def without(policy_id):
    """The policies but one."""
    statements = re.split(r"^(?=@id)", TEXT, flags=re.MULTILINE)
    kept = [s for s in statements if not s.startswith(f'@id("{policy_id}")')]
    assert len(kept) == len(statements) - 1
    return "".join(kept)


@cache
def _parsed(text):
    return cedarpy.PolicySet.from_str(text)


class Oracle:
    """One flow and its agreements, as Cedar entities."""

    def __init__(self, flow, agreements, contract, text=TEXT):
        """``flow`` and ``agreements`` are documents (plain JSON); ``contract`` is the Avro schema of the event."""
        self._policies = _parsed(text)
        self._flow = flow
        self._agreements = agreements
        self._fields = {f["name"]: f.get("passerelle.from") or [f"{flow['event']}#{f['name']}"] for f in contract}

    def ask(self, standing, now_ms):
        entities = [
            _subject(standing),
            *map(_agreement, self._agreements),
            *self._field_entities(),
            self._flow_entity(),
        ]
        valid = self._allowed(
            "share", "Agreement", {a["id"]: _facts(standing, a, now_ms) for a in self._agreements}, entities
        )
        released = self._allowed("release", "Field", {name: {"valid": valid} for name in self._fields}, entities)
        delivered = self._allowed("deliver", "Flow", {self._flow["id"]: {"released": released}}, entities)
        withheld = tuple(f for f in self._flow["optional"] if f not in released)
        return Opinion(bool(delivered), withheld if delivered else ())

    def _allowed(self, action, kind, contexts, entities):
        requests = [
            {
                "principal": 'Subject::"subject"',
                "action": f'Action::"{action}"',
                "resource": f'{kind}::"{name}"',
                "context": context,
            }
            for name, context in contexts.items()
        ]
        answers = cedarpy.is_authorized_batch(requests, self._policies, entities)
        for answer in answers:
            assert not answer.diagnostics.errors, answer.diagnostics.errors
        return [name for name, answer in zip(contexts, answers, strict=True) if answer.allowed]

    def _field_entities(self):
        for name, sources in self._fields.items():
            needs = sorted({a["id"] for s in sources for a in self._agreements if _names(a, s)})
            yield _entity("Field", name, {"needs": needs})

    def _flow_entity(self):
        return _entity("Flow", self._flow["id"], {"required": list(self._flow["required"])})


def _entity(kind, name, attrs):
    return {"uid": {"type": kind, "id": name}, "attrs": attrs, "parents": []}


def _names(agreement, source):
    event, field = source.split("#")
    return field in agreement["events"].get(event, {"fields": {}})["fields"]


def _subject(standing):
    known = {"restricted_since": standing.restricted_since_ms, "minor_until": standing.minor_until_ms}
    always = {"linked": standing.linked, "protected": standing.protection is not None}
    return _entity("Subject", "subject", always | {name: at for name, at in known.items() if at is not None})


def _agreement(document):
    span, notice = document["in_force"], document["notice"]
    end = {} if span["until"] is None else {"end": _midnight_ms(span["until"], 1)}
    notices = [notice["version"], *notice["compatible_with"]]
    about = {"basis": document["basis"], "first": _midnight_ms(span["from"]), **end, "notices": notices}
    return _entity("Agreement", document["id"], {**about, "subjects": list(document["subjects"])})


def _midnight_ms(day, later_days=0):
    return calendar.timegm((date.fromisoformat(day) + timedelta(days=later_days)).timetuple()) * 1000


def _facts(standing, agreement, now_ms):
    facts = {"now": now_ms}
    ends = [o.until_ms for o in standing.overrides if o.agreement == agreement["id"]]
    if ends:
        facts["override_until"] = max(ends)
    for said in standing.stances.values():
        if said.agreement == agreement["id"]:
            known = {"state": str(said.state), "at": said.at_ms, "notice": said.notice, "until": said.until_ms}
            facts["stance"] = {name: value for name, value in known.items() if value is not None}
    return facts
