"""The service against its own OpenAPI: no server error, no undocumented answer, whatever is sent (Schemathesis).

It is served on loopback; each operation is tried as whoever may, about somebody of whom everything exists that a path
can name, with what the document lets a client send and with what it does not.
"""

import asyncio
import json
import threading
from collections import Counter
from dataclasses import dataclass
from functools import partial
from os import environ

import pytest
import schemathesis
import uvicorn
from hypothesis import HealthCheck, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import (
    content_type_conformance,
    not_a_server_error,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from schemathesis.core.parameters import ParameterLocation

from passerelle.audited import FolderLog
from passerelle.disclosed import LedgerEntries
from passerelle_consent.ledger.integrator.publish import FolderPublisher
from passerelle_consent.ledger.query.index import Index
from passerelle_consent.records import consultations
from passerelle_consent.records.consultations import Announced
from passerelle_consent.records.http.access import RULES
from passerelle_consent.records.http.app import ROUTERS
from passerelle_consent.records.http.bodies import ChangeOut, LinksOut, StandingOut
from passerelle_consent.records.http.openapi import describe
from passerelle_consent.records.ports import PERSONAL
from unit.ledger.fakes import MASTERS, SIGNER, LedgerTown
from unit.records.fakes import START_MS, City, citizen, until
from unit.records.told import Told

SEED = 20_261_125
EXAMPLES = 12 if "PASSERELLE_EXHAUSTIVE" in environ else 6
"""Of each operation, role and way of making them: some 1,300 requests in all, or twice as many."""
CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
)
SOURCE = "civil-registry"
"""The offices' department: the source of the agreements, so that what is a source's to do can be done."""
CONSULTATION = "moves-2027"
MALFORMED = {
    "malformed-request",
    "malformed-json",
    "unknown-member",
    "unsupported-media-type",
    "bad-cursor",
    "not-found",
}
"""What refuses a request for its form."""
NEVER_DONE = {
    "PUT /v1/consultations/{consultation}": "its draft is about a city's own contracts, which no schema has",
    "GET /v1/consultations/{consultation}/result": "the consultation is open",
    "GET /v1/consultations/{consultation}/result/proof": "the consultation is open",
    "POST /v1/consultations/{consultation}/answer": "the consultation is open",
    "PUT /v1/consultations/{consultation}/arguments/{n}/ruling": "each caller puts its arguments in another test",
    "POST /v1/deliveries/check": "the city of these tests has agreements and no flows",
    "POST /v1/erasures/{erasure_id}/acknowledgement": "nobody was erased whom the source had linked",
    "POST /v1/subjects/{pseudonym}/emancipation": "everybody is of age",
}
"""Why none of an operation's well-formed requests can be done here."""


@dataclass(frozen=True)
class Somebody:
    """A citizen of whom there is what a request can name: by the word of the path, or of the body."""

    pseudonyms: dict[str, str]
    named: dict[str, str | int]
    bodies: dict[str, object]


class Served:
    """A city of these tests and its ledger, served by a real server from a thread of its own."""

    def __init__(self, folder):
        self._folder = folder
        self._up = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="served")
        self._people = 0

    def __enter__(self):
        self._thread.start()
        assert self._up.wait(20)
        return self

    def __exit__(self, *_):
        self._server.should_exit = True
        self._thread.join(20)
        assert not self._thread.is_alive()

    async def _serve(self):
        self._loop = asyncio.get_running_loop()
        town = LedgerTown(self._folder, seed=3)
        town.now_ms = START_MS
        FolderPublisher(town.folder, SIGNER.verifier).write_key()
        url = f"sqlite:///{self._folder}/index.sqlite"
        index = Index(url)
        self.city = City(
            f"sqlite:///{self._folder}/consent.db",
            patience_s=0.05,
            ledger=LedgerEntries(town.url, MASTERS, town.folder),
            log=FolderLog(town.folder, url, self._folder / "witnesses.policy"),
        )
        await self.city.up()
        self._told = Told(self.city, town, index)
        (anybody,) = await self.city.link("Anybody")
        self._told.decide(anybody, count=256)
        self._told.index_all()
        await self._consult()
        self.document = describe(self.city.app)
        config = uvicorn.Config(self.city.app, port=0, log_config=None, lifespan="off")
        self._server = uvicorn.Server(config)
        serving = asyncio.create_task(self._server.serve())
        await until(lambda: self._server.started)
        self.url = f"http://127.0.0.1:{self._server.servers[0].sockets[0].getsockname()[1]}"
        self._up.set()
        await serving
        await self.city.down()
        town.store.close()
        index.close()

    async def _consult(self):
        """Open for long: the clock moves on with each request."""
        announced = Announced(
            id=CONSULTATION,
            agreement="moves-to-schools@2",
            department=SOURCE,
            document={"draft": {"events": {}}},
            opens_ms=START_MS,
            closes_ms=START_MS + 400 * 86_400_000,
        )
        await self.city.store.write(partial(consultations.publish, announced=announced, at_ms=0, voice_key=b"k" * 32))

    def somebody(self, path):
        """Somebody new for this path, so that no operation suffers from what another one did."""
        return asyncio.run_coroutine_threadsafe(self._somebody(path), self._loop).result(20)

    async def _somebody(self, path):
        self._people += 1
        pseudonym, guardian = await self.city.link(f"Durand {self._people}", f"Petit {self._people}")
        named = {
            "agreement": "moves-to-schools",
            "consultation": CONSULTATION,
            "version": 1,
            "n": 1,
            "index": 0,
            "level": 0,
            "number": "000",
        }
        if path.endswith("/object"):
            named["agreement"] = "moves-to-cleanliness"
        for name, said in self._needed(path, pseudonym, guardian):
            answer = await said
            assert answer.status_code == 200, answer.text
            named[name] = answer.json()["acknowledgement"]
        self._told.integrate()
        named["decision"] = named.get("change")
        offices = {"guardian": self._of_source(guardian), "agreements": ["frail-to-emergency"], "notice": 1}
        return Somebody({"citizen-desk": pseudonym, SOURCE: self._of_source(pseudonym)}, named, offices)

    def _needed(self, path, pseudonym, guardian):
        """What happened before, so that a request of this path can be done."""
        who, other = (
            citizen(pseudonym, "citizen guardian"),
            {"scope": "officer", "department": SOURCE, "sub": "another"},
        )
        office = f"/v1/subjects/{self._of_source(pseudonym)}"
        if path.endswith(("/withdraw", "/revoke", "/invalidate", "{acknowledgement}", "/receipt", "{decision}")):
            given = self.city.say("give", pseudonym, token=who)
            yield ("acknowledgement" if path.endswith("{acknowledgement}") else "change"), given
        if path.endswith("/defer"):
            asked = f"{office}/agreements/moves-to-schools/request"
            yield "asked", self.city.call("POST", asked, {}, other)
        if "{objection}" in path:
            yield "objection", self.city.say("object", pseudonym, "moves-to-cleanliness", token=who)
        if "{override}" in path or "{notice}" in path:
            body = {"agreements": ["frail-to-emergency"], "reason_code": "heatwave", "hours": 72}
            name = "override" if "{override}" in path else "notice"
            yield name, self.city.call("POST", f"{office}/overrides", body, other)
        if "/restriction/" in path:
            yield "restricted", self.city.call("POST", f"{office}/restriction", {"ground": "18-1-a"}, other)
        if "{guardianship}" in path:
            said = {"relation": "curator", "evidence": "TJ-1", "valid_from": "2026-01-01T00:00:00Z"}
            said["guardian"] = self._of_source(guardian)
            yield "guardianship", self.city.call("POST", f"{office}/guardians", said, other)

    def _of_source(self, pseudonym):
        return self.city.register.pseudonyms(SOURCE, [self.city.ref(pseudonym)])[0].hex()

    def bearer(self, role, somebody):
        """A token of now: the clock moves on with each request, and tokens live for minutes."""
        if role in PERSONAL:
            return f"Bearer {self.city.bearer(citizen(somebody.pseudonyms['citizen-desk'], 'citizen guardian'))}"
        return f"Bearer {self.city.bearer({'scope': role.value, 'department': SOURCE})}"


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with Served(tmp_path_factory.mktemp("served")) as served:
        yield served


def roles_of(operation):
    rule = RULES.get((operation.method.upper(), operation.path))
    return [None] if rule is None else sorted(rule)


def operations(served):
    """What is documented. The tests bring their own tokens: one that is left out must not be all that is wrong."""
    schema = schemathesis.openapi.from_dict(served.document)
    schema.config.generation.with_security_parameters = False
    return [found.ok() for found in schema.get_all_operations()]


def aimed(case, role, somebody):
    """At what exists, except where that was got wrong: else every answer would be `unknown`."""
    wrong = {place for place, made in case.meta.components.items() if made.mode is GenerationMode.NEGATIVE}
    if ParameterLocation.PATH not in wrong:
        there = {"pseudonym": "me" if role in PERSONAL else somebody.pseudonyms[SOURCE], **somebody.named}
        for name in case.path_parameters:
            case.path_parameters[name] = there.get(name, case.path_parameters[name])
    if ParameterLocation.BODY not in wrong and isinstance(case.body, dict):
        for name in case.body:
            case.body[name] = somebody.bodies.get(name, case.body[name])
    return case


def test_every_operation_is_documented(served):
    documented = {(m.upper(), path) for path, item in served.document["paths"].items() for m in item}
    assert documented >= set(RULES)
    for method, path in RULES:
        answers = served.document["paths"][path][method.lower()]["responses"]
        assert {"401", "403", "429", "500", "503"} <= set(answers), (method, path)


def test_every_body_has_an_example_that_is_taken():
    for model in bodies():
        (shown,) = model.model_json_schema()["examples"]
        assert model.model_validate_json(json.dumps(shown)), model


@pytest.mark.parametrize("model", [LinksOut, StandingOut, ChangeOut])
def test_what_is_answered_most_has_an_example_of_its_form(model):
    (shown,) = model.model_json_schema()["examples"]
    assert model.model_validate(shown, strict=True).model_dump(mode="json") == shown


def bodies():
    """The model of every body: a new one without an example is found."""
    fields = (route.body_field for router in ROUTERS for route in router.routes)
    return {field.field_info.annotation for field in fields if field is not None}


def test_what_no_path_takes_is_documented_once_and_names_are_plain(served):
    assert served.document["components"]["responses"].keys() == {"NotFound", "NotAllowed"}
    assert not [name for name in served.document["components"]["schemas"] if "__" in name]


def attempt(operation, role, served, mode):
    """Try one operation as one role; return what was answered, by status and problem."""
    somebody, answered = served.somebody(operation.path), Counter()

    @seed(SEED)
    @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode))
    def send(case):
        served.city.clock.now_ms += 1_000  # so that no caller meets its rate limit
        headers = {} if role is None else {"Authorization": served.bearer(role, somebody)}
        answer = aimed(case, role, somebody).call(base_url=served.url, headers=headers)
        answered[slug(answer)] += 1
        case.validate_response(answer, checks=list(CHECKS))

    send()
    return answered


def slug(answer):
    return "done" if answer.status_code < 400 else answer.json()["type"].rpartition(":")[2]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_no_server_error_and_no_undocumented_answer(served, mode):
    failed, tried, hollow = [], Counter(), {}
    for operation in operations(served):
        answered = Counter()
        for role in roles_of(operation):
            try:
                answered += attempt(operation, role, served, mode)
            except Unsatisfiable:  # nothing to get wrong: it takes neither a parameter nor a body
                assert mode is GenerationMode.NEGATIVE
                answered["done"] += 1
            except Exception as failure:  # noqa: BLE001 - Schemathesis raises groups of its own: all are told at the end
                failed.append(f"{operation.label} as {role}: {failure}")
        tried += answered
        reached = {"done"} if mode is GenerationMode.POSITIVE else {"done", *MALFORMED}
        if reached.isdisjoint(answered):
            hollow[operation.label] = dict(answered)
    print(f"seed {SEED}: {mode.value}: {dict(tried.most_common())}")
    assert not failed, "\n\n".join(failed)
    assert hollow.keys() == (NEVER_DONE.keys() if mode is GenerationMode.POSITIVE else set()), hollow
    # Nothing was refused for its token: what is got wrong is the request's own.
    assert not {s for s in tried if s.startswith("token-")} | ({"unauthenticated"} & tried.keys())
