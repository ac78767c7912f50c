"""The surroundings of the consent service in memory: a broker, a gate that applies what it is told to, a register."""

import asyncio
import hashlib
import hmac
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from itertools import count
from pathlib import Path

import httpx
from fastapi import FastAPI

from passerelle.audited import FolderLog
from passerelle_consent.ledger.log.commitments import Committed
from passerelle_consent.ledger.sealing.sequence import draft_of_journal
from passerelle_consent.policy.agreements import Agreement
from passerelle_consent.policy.bundle import PolicyBundle
from passerelle_consent.receipts.keys import KeySet
from passerelle_consent.receipts.parties import Authority, Controller, Party
from passerelle_consent.receipts.seal import Seal
from passerelle_consent.records.disclosures import KeptPolicies
from passerelle_consent.records.http.app import ROUTERS, make_app
from passerelle_consent.records.http.keys import FixedKeys
from passerelle_consent.records.http.public_counts import KeptCounts
from passerelle_consent.records.http.rates import Rates
from passerelle_consent.records.http.tokens import Tokens, Trust
from passerelle_consent.records.relay import Superseded
from passerelle_consent.records.service import Parts, Records
from passerelle_consent.records.store import Store
from passerelle_consent.wire import ERASURE, POLICY_KEY, FenceMark, decode_journal, decode_standing, encode_fence
from passerelle_schemas.catalogue import Catalogue, Text
from unit.records import issuer

PARTITIONS = 4
START_MS = int(datetime(2026, 5, 1, tzinfo=UTC).timestamp() * 1000)
DEPARTMENTS = frozenset({"citizen-desk", "civil-registry", "tax", "schools", "social-action", "emergency"})


@dataclass(frozen=True)
class Sent:
    topic: str
    partition: int
    key: bytes | None
    value: bytes
    offset: int


async def until(holds):
    """Let the service's tasks run until it holds. They run on threads and timers too, so there is no one event."""
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.001)


class Broker:
    """Takes records; `refuse` makes the n-th sends from now on fail, `silent` leaves them unanswered."""

    def __init__(self):
        self.records: list[Sent] = []
        self.ends: dict[tuple[str, int], int] = defaultdict(int)
        self.failures: dict[int, Exception] = {}
        self.lost_offsets: set[int] = set()
        self.silent = False
        self.sends = 0
        self.producers = 0
        self.superseded = False
        self.undoes: list[bool] = []
        self.on_record = lambda _: None

    async def connect(self):
        self.producers += 1
        return Producer(self)

    def of(self, topic, key=None):
        return [r for r in self.records if r.topic == topic and (key is None or r.key == key)]

    def standings(self, ref):
        return [decode_standing(r.value) for r in self.of("consent", ref) if r.value and r.value[0] != ERASURE]

    def journal(self):
        return [decode_journal(r.value) for r in self.of("consent.journal")]

    def policies(self):
        return self.of("consent", POLICY_KEY)

    def take(self, topic, value, key, partition):
        offset = self.ends[topic, partition]
        self.ends[topic, partition] += 1
        sent = Sent(topic, partition, key, value, offset)
        self.records.append(sent)
        self.on_record(sent)
        return sent


class Producer:
    def __init__(self, broker):
        self.broker = broker
        self.stopped = False

    async def begin(self):
        pass

    async def end(self, failure):  # noqa: ARG002 - as the relay calls it
        if self.broker.superseded:
            raise Superseded("another process relays")
        return not (self.broker.undoes and self.broker.undoes.pop())

    async def send(self, topic, value=None, key=None, partition=None):
        number = self.broker.sends
        self.broker.sends += 1
        done = asyncio.get_running_loop().create_future()
        if self.broker.silent:
            return done
        failure = self.broker.failures.pop(number, None)
        if failure is not None:
            done.set_exception(failure)
            return done
        sent = self.broker.take(topic, value, key, partition)
        done.set_result(Sent(topic, partition, key, value, -1) if number in self.broker.lost_offsets else sent)
        return done

    async def stop(self):
        self.stopped = True


class Retriable(Exception):
    retriable = True


@dataclass
class FenceRecordOf:
    partition: int
    value: bytes | None


class Gate:
    """A fence consumer. With `diligent` every consent record is applied as soon as it is there."""

    def __init__(self, broker, *, diligent=True):
        self.marks: asyncio.Queue = asyncio.Queue()
        self.stopped = False
        broker.on_record = self._seen
        self.diligent = diligent

    def _seen(self, sent):
        if sent.topic == "consent" and self.diligent:
            self.apply(sent.partition, sent.offset + 1)

    def apply(self, partition, applied):
        self.put(partition, encode_fence(FenceMark(applied=applied, worker="w")))

    def put(self, partition, value):
        self.marks.put_nowait(FenceRecordOf(partition, value))

    async def getmany(self, *, timeout_ms):  # noqa: ARG002 - as aiokafka calls it
        mark = await self.marks.get()
        if isinstance(mark, Exception):
            raise mark
        return {mark.partition: [mark]}

    async def stop(self):
        self.stopped = True


class Register:
    departments = DEPARTMENTS

    def refs(self, identities):
        return [self.ref_of(f"{i.family_name} {i.given_names} {i.birth_date}") for i in identities]

    def ref_of(self, text):
        return hmac.digest(b"city", text.encode(), "sha256")[:16]

    def pseudonyms(self, department, refs):
        return [_xor(ref, department) for ref in refs]

    def ref(self, department, pseudonym):
        return _xor(pseudonym, department)


def _xor(block, department):
    return bytes(a ^ b for a, b in zip(block, hashlib.sha256(department.encode()).digest(), strict=False))


@dataclass
class Clock:
    now_ms: int = START_MS

    def __call__(self):
        self.now_ms += 1
        return self.now_ms


def agreement(agreement_id, *, basis="6-1-a", recipient="tax", notice=1, compatible=(), version=1, until=None):
    return Agreement.model_validate(
        {
            "id": agreement_id,
            "version": version,
            "source": "civil-registry",
            "recipient": recipient,
            "purpose": {"code": "dpv:ServiceProvision", "fr": "Service", "en": "Service"},
            "basis": basis,
            "law": "CGCT L. 2122-21" if basis in ("6-1-c", "6-1-e") else None,
            "events": {"civil-registry.address-changed.v1": {"fields": {"city": {"fr": "Ville", "en": "City"}}}},
            "subjects": ["adult"],
            "in_force": {"from": date(2026, 1, 1), "until": until},
            "retention": "P1Y",
            "notice": {"fr": "Avis", "en": "Notice", "version": notice, "compatible_with": list(compatible)},
            "review": date(2027, 1, 1),
            "signed": [{"by": "DPO", "on": date(2026, 1, 1)}],
        }
    )


AGREEMENTS = [
    agreement("moves-to-tax", notice=3, compatible=(2,)),
    agreement("moves-to-schools", recipient="schools"),
    agreement("moves-to-cleanliness", basis="6-1-e", recipient="cleanliness"),
    agreement("frail-to-emergency", basis="6-1-d", recipient="emergency"),
    agreement("old-consent", until=date(2026, 2, 1)),
]

WHO = {
    "desk": {"scope": "department", "department": "citizen-desk"},
    "tax": {"scope": "department", "department": "tax"},
    "officer": {"scope": "officer", "department": "emergency"},
    "auditor": {"scope": "auditor"},
    "operator": {"scope": "operator"},
}
TRUST = Trust(issuer=issuer.ISSUER, audience=issuer.AUDIENCE, departments=DEPARTMENTS)


def citizen(pseudonym, scope="citizen"):
    """Who signed in at the portal."""
    return {"scope": scope, "department": "citizen-desk", "pseudonym": pseudonym}


CONTROLLER = Controller(
    name=Text(fr="Ville de Lutèce", en="City of Lutetia"),
    address="1 place de l’Hôtel-de-Ville",
    dpo="dpo@lutece.example",
    privacy="https://lutece.example/donnees",
    consent="https://consentement.lutece.example",
    authority=Authority(name="CNIL", url="https://www.cnil.fr/fr/plaintes"),
    departments={
        "civil-registry": Party(
            name=Text(fr="État civil", en="Civil registry"),
            address="2 rue du Registre",
            contact="etat-civil@lutece.example",
            dpo="dpo@lutece.example",
            locations=("FR",),
        )
    },
    jurisdiction="FR",
)
SEAL = Seal.of(b"a seal of tests, of 32 bytes....")


AT_REST = []
"""Applications of cities that are down. FastAPI takes its routes apart at the first request, longer than most tests."""


def _app(records, tokens, rates):
    """An application for a city: a new one, or one at rest, told of its new city in the way of `make_app`."""
    if not AT_REST:
        return make_app(records, tokens, rates)
    app = AT_REST.pop()
    app.state.records, app.state.authenticate, app.state.rates = records, tokens, rates
    app.state.public_counts, app.state.kept_policies = KeptCounts(), KeptPolicies()
    return app


@dataclass
class City:
    """One consent service and what surrounds it. `up` again on the same store is a restart."""

    store_url: str
    patience_s: float = 5.0
    agreements: list = field(default_factory=lambda: list(AGREEMENTS))
    bundle: PolicyBundle | None = None
    """In the place of the agreements, where flows matter."""
    ledger: object = None
    log: object = field(
        default_factory=lambda: FolderLog(Path("/nowhere"), "sqlite:////nowhere/index", Path("/nowhere/w"))
    )
    catalogue: Catalogue = field(default_factory=lambda: Catalogue.from_schemas({}))
    diligent: bool = True
    broker: Broker = field(default_factory=Broker)
    clock: Clock = field(default_factory=Clock)
    register: Register = field(default_factory=Register)
    broken: list = field(default_factory=list)
    ids: count = field(default_factory=lambda: count(1))
    rates: Rates | None = None
    trust: Trust = TRUST
    receipt_keys: KeySet = field(default_factory=lambda: KeySet().holding(SEAL.jwk()))
    asked: dict = field(default_factory=dict)
    """Where to look → who was sent there."""
    app: FastAPI | None = None
    """While it is up."""

    async def up(self):
        self.gate = Gate(self.broker, diligent=self.diligent)
        self.store = Store(self.store_url)
        self.records = Records(
            Parts(
                store=self.store,
                bundle=self.bundle or PolicyBundle.of(self.agreements, [], self.catalogue),
                register=self.register,
                connect=self.broker.connect,
                fence_consumer=self.gate,
                ledger=self.ledger,
                log=self.log,
                clock=self.clock,
                new_id=lambda: next(self.ids).to_bytes(16),
                partitions=PARTITIONS,
                controller=CONTROLLER,
                seal=SEAL,
                registrars=frozenset({"citizen-desk", "civil-registry"}),
                receipt_keys=self.receipt_keys,
                patience_s=self.patience_s,
                on_broken=self.broken.append,
            )
        )
        self.app = _app(
            self.records, Tokens(FixedKeys(issuer.JWKS), self.trust, self.clock), self.rates or Rates(self.clock)
        )
        await self.records.start()
        transport = httpx.ASGITransport(app=self.app, raise_app_exceptions=False)
        self.http = httpx.AsyncClient(transport=transport, base_url="http://consent")

    async def down(self):
        await self.http.aclose()
        await self.records.stop()
        if self.app is not None:
            AT_REST.append(self.app)
            self.app = None
        committed = Committed(subject_commit=b"c" * 32, body_commit=b"c" * 32, sealed=b"")
        for said in self.broker.journal():  # what the ledger could not write down would stop it
            draft = draft_of_journal(said)
            draft.entry(committed if draft.subject else None)

    def bearer(self, who):
        """A token of whom `WHO` names or a `citizen`; any other text is the token itself."""
        said = WHO.get(who) if isinstance(who, str) else who
        return who if said is None else issuer.sign(issuer.claims(self.clock.now_ms, **said))

    async def call(self, method, path, body=None, token="desk", **headers):  # noqa: S107
        who = self.asked.get(path, token)
        auth = {"Authorization": f"Bearer {self.bearer(who)}"} if token else {}
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = await self.http.request(method, path, json=body, headers={**auth, **named})
        check_documented(method, answer)
        return answer

    async def link(self, *names, token="desk"):  # noqa: S107
        answer = await self.call("POST", "/v1/links", {"identities": [identity(name) for name in names]}, token)
        assert answer.status_code == 200, answer.text
        return answer.json()["pseudonyms"]

    async def say(self, action, pseudonym, agreement_id="moves-to-schools", *, token=None, **body):
        """The citizen says it, unless somebody else's token is given."""
        headers = {"Idempotency_Key": body.pop("key")} if "key" in body else {}
        path = f"/v1/subjects/{pseudonym}/agreements/{agreement_id}/{action}"
        who = token or citizen(pseudonym)
        answer = await self.call("POST", path, {"notice": 1, **body}, who, **headers)
        self.asked[answer.headers.get("location")] = who
        return answer

    async def until_shown(self, path, holds):
        async with asyncio.timeout(20):
            while not holds(body := (await self.call("GET", path)).json()):  # noqa: ASYNC110 - it polls as a client does
                await asyncio.sleep(0.001)
        return body

    def ref(self, pseudonym, department="citizen-desk"):
        return self.register.ref(department, bytes.fromhex(pseudonym))


def check_documented(method, answer):
    """Whatever is answered stands in the route's OpenAPI: its status, and the type of its problem (`refuses`)."""
    path = answer.request.url.path
    for route in (r for router in ROUTERS for r in router.routes):
        if method in route.methods and route.path_regex.match(path):
            slug = answer.json()["type"].rpartition(":")[2] if answer.status_code >= 400 else None
            known = slug in {kind.slug for kind in route.kinds} or slug is None
            assert known, f"{method} {route.path}: @refuses lacks {slug}"
            assert answer.status_code == (route.status_code or 200) or answer.status_code in route.responses
            return


def identity(family_name):
    return {
        "given_names": ["Marie", "Ève"],
        "family_name": family_name,
        "birth_date": "1980-02-29",
        "gender": "female",
        "birth_place": "75056",
        "birth_country": "99100",
    }
