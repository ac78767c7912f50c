"""A real OpenID provider: the tokens that it gives for our service are taken, those that it gives for another are not.

`deploy/identity/provider.mjs` runs on loopback, on Node.js; its packages come from npm.
"""

import base64
import hashlib
import json
import re
import secrets
import shutil
import subprocess
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from passerelle.city.manifest import Identity, Manifest
from passerelle.cli.consent import authenticator
from passerelle.config import Home
from passerelle.provider import ClientCredentials, NoToken
from passerelle_consent.records.http.app import make_app
from passerelle_consent.records.http.rates import Rates
from unit.records.fakes import City

PROJECT = Path(__file__).parents[2]
PROVIDER = PROJECT / "deploy/identity"
OURS, ANOTHERS = "https://lutece.example/consent", "https://lutece.example/library"
SECRET = secrets.token_urlsafe(24)
BACK = "http://127.0.0.1:1/back"
"""Where a browser would be sent; nobody listens there."""
INSTALL_S = 120


@pytest.fixture(scope="module")
def node():
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("the provider runs on Node.js: node and npm are not installed here")
    if not (PROVIDER / "node_modules/oidc-provider").is_dir():
        try:
            subprocess.run(["npm", "ci", "--silent"], cwd=PROVIDER, check=True, timeout=INSTALL_S)  # noqa: S607 - found above
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
            pytest.skip("npm does not serve oidc-provider here")


@pytest.fixture
async def city(tmp_path):
    city = City(f"sqlite:///{tmp_path}/consent.db")
    await city.up()
    yield city
    await city.down()


@pytest.fixture
async def marie(city):
    (pseudonym,) = await city.link("Durand")
    return pseudonym


@contextmanager
def running(file, people):
    """A provider of its own, while it runs: where it is, and where its keys are."""
    clients = [
        {"client_id": "desk", "client_secret": SECRET, "scopes": ["department"], "department": "citizen-desk"},
        {"client_id": "portal", "client_secret": SECRET, "scopes": ["citizen"], "redirect_uris": [BACK]},
    ]
    file.write_text(json.dumps({"audiences": [OURS, ANOTHERS], "clients": clients, "people": people}))
    command = ["node", "provider.mjs", str(file)]
    with subprocess.Popen(command, cwd=PROVIDER, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield json.loads(first_line(process))
        finally:
            process.terminate()


@pytest.fixture
def provider(node, tmp_path, marie):
    with running(tmp_path / "city.json", {"marie": {"department": "citizen-desk", "pseudonym": marie}}) as provider:
        yield provider


@pytest.fixture
def another(node, tmp_path):
    """Of another city."""
    with running(tmp_path / "another.json", {}) as provider:
        yield provider


def first_line(process):
    """What it says once it listens. The test's own time limit ends the wait."""
    line = process.stdout.readline()
    assert line, "the provider ended"
    return line


@pytest.fixture
def service(city, provider, tmp_path):
    """Our service as the manifest of a city with this provider makes it; its other parts are a test's."""
    manifest = Manifest.load(PROJECT / "deploy/city.yaml")
    identity = Identity(issuer=provider["issuer"], audience=OURS, jwks_uri=provider["jwks_uri"])
    tokens = authenticator(
        replace(manifest, identity=identity), Home(root=tmp_path), lambda: time.time_ns() // 1_000_000
    )
    transport = httpx.ASGITransport(app=make_app(city.records, tokens, Rates(city.clock)))
    return httpx.AsyncClient(transport=transport, base_url="http://consent")


async def token_of(provider, **asked):
    client = "portal" if "code" in asked else "desk"
    async with httpx.AsyncClient(base_url=provider["issuer"]) as http:
        answer = await http.post("/token", data=asked, auth=(client, SECRET))
    assert answer.status_code == 200, answer.text
    return answer.json()["access_token"]


def of_the_desk(provider, audience=OURS):
    return token_of(provider, grant_type="client_credentials", scope="department", resource=audience)


async def signed_in(provider, name):
    """Sign a citizen in as a browser would (authorization code, PKCE); return the token."""
    verifier = secrets.token_urlsafe(48)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
    asked = {"client_id": "portal", "response_type": "code", "redirect_uri": BACK, "scope": "citizen", "resource": OURS}
    pkce = {"code_challenge": challenge, "code_challenge_method": "S256"}
    async with httpx.AsyncClient(base_url=provider["issuer"]) as http:
        answer = await http.get("/auth", params={**asked, **pkce})
        for _ in range(12):
            where = answer.headers.get("location")
            if where is not None and where.startswith(BACK):
                (code,) = parse_qs(urlsplit(where).query)["code"]
                break
            if where is not None:
                answer = await http.get(where)
                continue
            (action,) = re.findall(r'<form[^>]* action="([^"]+)"', answer.text)
            (prompt,) = re.findall(r'name="prompt" value="(\w+)"', answer.text)
            answer = await http.post(action, data={"prompt": prompt, "login": name, "password": "any"})
    given = {"grant_type": "authorization_code", "code": code, "redirect_uri": BACK, "code_verifier": verifier}
    return await token_of(provider, **given, resource=OURS)


async def asked(service, token, path="/v1/subjects/me/standing"):
    return await service.get(path, headers={"Authorization": f"Bearer {token}"})


def slug(answer):
    return answer.json()["type"].rpartition(":")[2]


async def test_an_offices_token_for_our_service_is_taken(provider, service, marie):
    answer = await asked(service, await of_the_desk(provider), f"/v1/subjects/{marie}/standing")
    assert (answer.status_code, answer.json()["linked"]) == (200, True)


async def test_a_command_asks_the_provider_for_its_tokens_by_itself(provider, service, marie):
    """As `inbox webhook` and its like do: discovery, the client's id and secret, our audience."""
    auth = ClientCredentials(provider["issuer"], OURS, "department", ("desk", SECRET))
    mounts = {provider["issuer"]: httpx.AsyncHTTPTransport()}
    async with httpx.AsyncClient(transport=service._transport, mounts=mounts, base_url="http://consent") as client:
        answer = await client.get(f"/v1/subjects/{marie}/standing", auth=auth)
        assert (answer.status_code, answer.json()["linked"]) == (200, True)
        wrong = ClientCredentials(provider["issuer"], OURS, "department", ("desk", "another"))
        with pytest.raises(NoToken, match=r"gives no token \(401\)"):
            await client.get("/healthz", auth=wrong)


async def test_a_citizen_who_signs_in_reads_their_own_standing(provider, service):
    answer = await asked(service, await signed_in(provider, "marie"))
    assert (answer.status_code, answer.json()["linked"]) == (200, True)


async def test_a_token_for_another_audience_is_refused(provider, service):
    answer = await asked(service, await of_the_desk(provider, ANOTHERS))
    assert (answer.status_code, slug(answer)) == (401, "token-for-another-audience")


async def test_a_token_that_somebody_changed_is_refused(provider, service):
    head, body, signature = (await of_the_desk(provider)).split(".")
    said = json.loads(base64.urlsafe_b64decode(body + "=="))
    forged = base64.urlsafe_b64encode(json.dumps({**said, "scope": "operator"}).encode()).decode().rstrip("=")
    answer = await asked(service, f"{head}.{forged}.{signature}")
    assert (answer.status_code, slug(answer)) == (401, "token-signature")


async def test_another_providers_token_is_refused(service, another):
    answer = await asked(service, await of_the_desk(another))
    assert (answer.status_code, slug(answer)) == (401, "token-of-another-issuer")
