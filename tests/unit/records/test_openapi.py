"""The service against its own OpenAPI: no server error, no undocumented answer, whatever is sent (Schemathesis).

It is served on loopback; each operation is tried as whoever may, about somebody who exists, with what the document
lets a client send and with what it does not.
"""

import asyncio
import threading

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

from passerelle_consent.records.http.access import RULES
from passerelle_consent.records.http.openapi import describe
from passerelle_consent.records.ports import PERSONAL
from unit.records.fakes import City, citizen, until

SEED = 20_261_125
EXAMPLES = 12
"""Of each operation and way of making them: some 1,500 requests in all."""
CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
)


class Served:
    """A city of these tests, served by a real server from a thread of its own."""

    def __init__(self, folder):
        self._folder = folder
        self._up = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="served")

    def __enter__(self):
        self._thread.start()
        assert self._up.wait(20)
        return self

    def __exit__(self, *_):
        self._server.should_exit = True
        self._thread.join(20)
        assert not self._thread.is_alive()

    async def _serve(self):
        self.city = City(f"sqlite:///{self._folder}/consent.db", patience_s=0.05)
        await self.city.up()
        self.document = describe(self.city.app)
        (self.pseudonym,) = await self.city.link("Durand")
        config = uvicorn.Config(self.city.app, port=0, log_config=None, lifespan="off")
        self._server = uvicorn.Server(config)
        serving = asyncio.create_task(self._server.serve())
        await until(lambda: self._server.started)
        self.url = f"http://127.0.0.1:{self._server.servers[0].sockets[0].getsockname()[1]}"
        self._up.set()
        await serving
        await self.city.down()

    def bearer(self, role):
        """A token of now: the clock moves on with each request, and tokens live for minutes."""
        return f"Bearer {self.city.bearer(self._who(role))}"

    def _who(self, role):
        if role in PERSONAL:
            return citizen(self.pseudonym, "citizen guardian")
        return {"scope": role.value, "department": "citizen-desk"}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with Served(tmp_path_factory.mktemp("served")) as served:
        yield served


def roles_of(operation):
    rule = RULES.get((operation.method.upper(), operation.path))
    return [None] if rule is None else sorted(rule)


def aimed(case, role, served):
    """At somebody and something that exist, where the path names them: else every answer would be `unknown`."""
    if "pseudonym" in case.path_parameters:
        case.path_parameters["pseudonym"] = "me" if role in PERSONAL else served.pseudonym
    if "agreement" in case.path_parameters:
        case.path_parameters["agreement"] = "moves-to-schools"
    return case


def test_every_operation_is_documented(served):
    documented = {(m.upper(), path) for path, item in served.document["paths"].items() for m in item}
    assert documented >= set(RULES)
    for method, path in RULES:
        answers = served.document["paths"][path][method.lower()]["responses"]
        assert {"401", "403", "429", "500", "503"} <= set(answers), (method, path)


def attempt(operation, role, served, mode):
    """Try one operation as one role; return how many requests that took."""
    tried = 0

    @seed(SEED)
    @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode))
    def send(case):
        nonlocal tried
        tried += 1
        served.city.clock.now_ms += 1_000  # so that no caller meets its rate limit
        headers = {} if role is None else {"Authorization": served.bearer(role)}
        answer = aimed(case, role, served).call(base_url=served.url, headers=headers)
        case.validate_response(answer, checks=list(CHECKS))

    send()
    return tried


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_no_server_error_and_no_undocumented_answer(served, mode):
    operations = [found.ok() for found in schemathesis.openapi.from_dict(served.document).get_all_operations()]
    failed, tried = [], 0
    for operation in operations:
        for role in roles_of(operation):
            try:
                tried += attempt(operation, role, served, mode)
            except Unsatisfiable:  # nothing to get wrong: it takes neither a parameter nor a body
                assert mode is GenerationMode.NEGATIVE
            except Exception as failure:  # noqa: BLE001 - Schemathesis raises groups of its own: all are told at the end
                failed.append(f"{operation.method.upper()} {operation.path} as {role}: {failure}")
    print(f"seed {SEED}: {len(operations)} operations, {tried} requests ({mode.value})")
    assert not failed, "\n\n".join(failed)
