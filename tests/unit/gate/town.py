"""A small town for the gate's tests: two recipients, an optional field under a second agreement, a proposal maker."""

from passerelle.envelope import Event, proposal_headers, proposal_id
from passerelle.gate.judge import Grounds, Record
from passerelle.gate.policy import compile_policy
from passerelle.pseudonyms import Keyring
from passerelle_consent.policy.bundle import PolicyBundle
from passerelle_consent.policy.standings import Standings
from passerelle_consent.wire import Origin, decode_standing, encode_standing
from unit.policy.city import CATALOGUE, agreement, flow, standing

MOVED = CATALOGUE.by_type("registry.moved.v1")
ASSESSED = CATALOGUE.by_type("tax.assessed.v1")
BUNDLE = PolicyBundle.of(
    [
        agreement("street", "6-1-c", {"registry.moved.v1": ["street"]}),
        agreement("phone", "6-1-a", {"registry.moved.v1": ["phone"]}),
        agreement("police", "6-1-a", {"registry.moved.v1": ["street", "phone"]}, recipient="police"),
        agreement("income", "6-1-c", {"tax.assessed.v1": ["income"]}, source="tax"),
    ],
    [
        flow("move.schools", "registry.moved.v1", ["street@1", "phone@1"], ["street"], ["phone"]),
        flow("move.police", "registry.moved.v1", ["police@1"], ["street", "phone"], recipient="police"),
        flow("income.schools", "tax.assessed.v1", ["income@1"], ["income"]),
    ],
    CATALOGUE,
)
RECIPIENTS = frozenset({"schools", "police"})
POLICY = compile_policy(BUNDLE.pack(), RECIPIENTS)
KEYRING = Keyring({"schools": b"s" * 16, "police": b"p" * 16})
ANN, BOB = b"ann-subject-ref!", b"bob-subject-ref!"
VALUE = MOVED.encode({"street": "rue des Tanneurs", "phone": "01 23"})


def origin(offset=0, n=0, rule="moves"):
    return Origin(rule=rule, topic="outbox.registry.moved", partition=3, offset=offset, n=n)


def headers(flow="move.schools", at=None, type_="registry.moved.v1"):
    at = at or origin()
    event = Event(id=proposal_id(at, flow), source="/department/registry", type=type_, time="2026-11-23T12:00:00.000Z")
    return proposal_headers(event, flow=flow, origin=at)


def proposal(offset=0, *, key=ANN, value=VALUE, at=None, **about):
    """The proposal at ``offset`` of the exchange; by default its trigger lies at the same offset of its outbox."""
    return Record(offset, key, value, headers(at=at or origin(offset), **about))


def without(record, name):
    return record._replace(headers=[h for h in record.headers if h[0] != name])


def grounds(standings=None, marks=None):
    known = Standings(decode_standing)
    for ref, its_standing in ({ANN: standing()} if standings is None else standings).items():
        known.put(ref, encode_standing(its_standing))
    return Grounds(partition=3, policy=POLICY, standings=known, marks=marks or {}, keyring=KEYRING)
