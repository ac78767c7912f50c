"""The HTTP way in against its own OpenAPI: each event's schema and example, and no answer that it does not say."""

import asyncio
import threading
from collections import Counter

import jsonschema_rs
import pytest
import schemathesis
import uvicorn
from hypothesis import HealthCheck, given, seed, settings
from schemathesis import GenerationMode
from schemathesis.checks import (
    content_type_conformance,
    not_a_server_error,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from passerelle.publish.from_json import encoded
from passerelle.publish.openapi import example, value_schema
from unit.publish.test_ingress import CATALOGUE, NOW_MS, World
from unit.records import issuer

SEED = 20_261_126
EXAMPLES = 60
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
ORIGINAL = [contract for contract in CATALOGUE if not contract.derived]


@pytest.fixture
async def document():
    world = World()
    answer = await world.http.get("/v1/openapi.json")
    assert answer.status_code == 200
    yield answer.json()
    await world.http.aclose()
    world.ingress.repeats.close()


def test_it_is_openapi_3_1_and_names_the_department_s_events_alone(document):
    assert document["openapi"].startswith("3.1")
    assert document["components"]["schemas"]["EventIn"]["discriminator"]["mapping"] == {
        "tax.income-assessed.v1": "#/components/schemas/TaxIncomeAssessedV1"
    }
    shown = document["components"]["schemas"]["TaxIncomeAssessedV1"]["examples"][0]
    assert shown["value"]["assessed_on"] == "2026-08-03"
    refusals = document["paths"]["/v1/events"]["post"]["responses"]
    assert {"201", "401", "403", "409", "422", "429", "503"} <= refusals.keys()


async def test_the_example_is_taken(document):
    shown = document["components"]["schemas"]["TaxIncomeAssessedV1"]["examples"][0]
    world = World()
    assert (await world.post(shown)).status_code == 201
    await world.http.aclose()
    world.ingress.repeats.close()


@pytest.mark.parametrize("contract", ORIGINAL, ids=lambda contract: contract.type)
def test_the_schema_of_each_contract_takes_its_example_and_refuses_another_field(contract):
    checked = jsonschema_rs.Draft202012Validator(value_schema(contract))
    shown = example(contract)
    checked.validate(shown)
    assert encoded(contract, shown) == contract.encode(contract.example)
    assert not checked.is_valid({**shown, "another": 1})
    for name in (field["name"] for field in contract.schema["fields"] if "default" not in field):
        assert not checked.is_valid({n: v for n, v in shown.items() if n != name})


@pytest.fixture(scope="module")
def served():
    """A way in on a socket of its own, whose bus takes everything."""
    up, made = threading.Event(), {}

    async def serve():
        world = made["world"] = World()
        app = world.http._transport.app
        made["document"] = (await world.http.get("/v1/openapi.json")).json()
        server = made["server"] = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", lifespan="off"))
        running = asyncio.create_task(server.serve())
        while not server.started:  # noqa: ASYNC110 - uvicorn tells nobody
            await asyncio.sleep(0.01)
        made["url"] = "http://{}:{}".format(*server.servers[0].sockets[0].getsockname()[:2])
        up.set()
        await running
        await world.http.aclose()
        world.ingress.repeats.close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert up.wait(20)
    yield made
    made["server"].should_exit = True
    thread.join(20)


@pytest.mark.slow
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_no_server_error_and_no_undocumented_answer(served, mode):
    schema = schemathesis.openapi.from_dict(served["document"])
    schema.config.generation.with_security_parameters = False
    token = issuer.sign(issuer.claims(NOW_MS, "department", "tax"))
    answered = Counter()
    for found in schema.get_all_operations():

        @seed(SEED)
        @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(case=found.ok().as_strategy(generation_mode=mode))
        def send(case):
            answer = case.call(base_url=served["url"], headers={"Authorization": f"Bearer {token}"})
            answered[answer.status_code] += 1
            case.validate_response(answer, checks=CHECKS)

        send()
    print(f"seed {SEED}: {mode.value}: {dict(answered)}")
    assert answered[201 if mode is GenerationMode.POSITIVE else 422] > EXAMPLES // 4
