"""Tokens of an identity provider in memory: asked for once, renewed in time, and no secret where it does not belong."""

import base64
from urllib.parse import parse_qs

import httpx
import pytest

from passerelle.provider import ClientCredentials, NoToken

ISSUER, AUDIENCE = "https://id.lutece.example", "https://lutece.example/consent"
CONFIGURATION = {"token_endpoint": ISSUER + "/token"}


class World:
    def __init__(self):
        self.now, self.asked, self.answers = 0.0, [], {}
        self.auth = ClientCredentials(ISSUER, AUDIENCE, "department", ("sch:ools", "s/cret"), clock=lambda: self.now)

    def answer(self, request):
        path = request.url.path
        self.asked.append((path, request))
        if path in self.answers:
            return self.answers[path]
        if path.endswith("openid-configuration"):
            return httpx.Response(200, json=CONFIGURATION)
        if path == "/token":
            return httpx.Response(200, json={"access_token": f"t{len(self.asked)}", "expires_in": 600})
        return httpx.Response(200, json={"as": request.headers["Authorization"]})

    async def call(self):
        transport = httpx.MockTransport(self.answer)
        async with httpx.AsyncClient(transport=transport, base_url="http://consent", auth=self.auth) as client:
            return (await client.get("/x")).json()["as"]

    @property
    def paths(self):
        return [path for path, _ in self.asked]


@pytest.fixture
def world():
    return World()


async def test_a_token_is_asked_for_once_and_renewed_before_it_ends(world):
    assert await world.call() == await world.call() == "Bearer t2"
    world.now = 301
    assert await world.call() == "Bearer t5"
    assert world.paths == ["/.well-known/openid-configuration", "/token", "/x", "/x", "/token", "/x"]


async def test_it_says_for_which_service_and_scope_and_as_whom(world):
    await world.call()
    question = world.asked[1][1]
    assert parse_qs(question.content.decode()) == {
        "grant_type": ["client_credentials"],
        "scope": ["department"],
        "resource": [AUDIENCE],
    }
    assert base64.b64decode(question.headers["Authorization"].removeprefix("Basic ")) == b"sch%3Aools:s%2Fcret"


@pytest.mark.parametrize(
    ("path", "answer", "what"),
    [
        ("/token", httpx.Response(401, json={"error": "invalid_client"}), r"gives no token \(401\)"),
        ("/token", httpx.Response(500), r"does not answer as a provider does \(500\)"),
        ("/token", httpx.Response(302, headers={"Location": "https://elsewhere.example"}), r"\(302\)"),
        ("/token", httpx.Response(200, content=b"<html>"), "does not answer as a provider does"),
        ("/token", httpx.Response(200, json={}), "does not answer with a token"),
        ("/token", httpx.Response(200, json={"access_token": "t", "expires_in": "soon"}), "does not answer with a"),
        ("/.well-known/openid-configuration", httpx.Response(200, json={}), "names no place to ask"),
        (
            "/.well-known/openid-configuration",
            httpx.Response(200, json={"token_endpoint": "http://id.lutece.example/token"}),
            "names no place to ask",
        ),
    ],
)
async def test_what_is_no_token_is_one_line_and_the_request_is_not_sent(world, path, answer, what):
    world.answers[path] = answer
    with pytest.raises(NoToken, match=what) as raised:
        await world.call()
    assert "/x" not in world.paths
    assert "s/cret" not in str(raised.value) + str(raised.value.hint)
