"""Access tokens: whom a good one speaks for, and that each kind of bad one is refused as what it is."""

import base64
import json

import pytest
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from passerelle_consent.records.http.keys import FetchFailed, FixedKeys, ProviderKeys
from passerelle_consent.records.http.tokens import CACHED_MAX, Tokens, Trust
from passerelle_consent.records.ports import Role
from passerelle_consent.records.problems import Problem
from unit.records import issuer
from unit.records.fakes import START_MS, TRUST, Clock, citizen

PSEUDONYM = "ab" * 16
WHO = citizen(PSEUDONYM)
HOUR_S = 3600


def good(**other):
    return issuer.claims(START_MS, **{**WHO, **other})


async def refusal(token, keys=None, trust=TRUST, clock=None):
    with pytest.raises(Problem) as refused:
        await Tokens(keys or FixedKeys(issuer.JWKS), trust, clock or Clock())(token)
    return refused.value.kind.slug


def unsigned(said, **header):
    parts = [{"typ": "at+jwt", "kid": "k-1", **header}, said]
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts]
    return ".".join((*encoded, ""))


def keyset(*keys):
    return FixedKeys(json.dumps({"keys": list(keys)}).encode())


async def test_a_citizens_token():
    who = await Tokens(FixedKeys(issuer.JWKS), TRUST, Clock())(issuer.sign(good(scope="openid citizen guardian")))
    assert who.roles == {Role.CITIZEN, Role.GUARDIAN}
    assert (who.department, who.pseudonym.hex()) == ("citizen-desk", PSEUDONYM)
    assert who.name.startswith("citizen.")
    assert PSEUDONYM not in who.name + repr(who)


async def test_an_offices_token():
    said = issuer.claims(START_MS, "officer", "tax", sub="u-17")
    who = await Tokens(FixedKeys(issuer.JWKS), TRUST, Clock())(issuer.sign(said))
    assert (who.name, who.department, who.roles, who.personal) == ("u-17", "tax", {Role.OFFICER}, False)


@pytest.mark.parametrize(
    ("alg", "key"),
    [
        ("EdDSA", OKPKey.generate_key("Ed25519")),
        ("Ed25519", OKPKey.generate_key("Ed25519")),
        ("ES256", ECKey.generate_key("P-256")),
        ("RS256", RSAKey.generate_key(2048)),
    ],
)
@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")
async def test_each_algorithm_with_its_key(alg, key):
    keys = keyset({**key.as_dict(private=False), "kid": "k-1"})
    token = issuer.sign(good(), key=key, alg=alg)
    assert (await Tokens(keys, TRUST, Clock())(token)).roles == {Role.CITIZEN}
    head, _, signature = token.rpartition(".")
    assert await refusal(f"{head}.{signature[:-6]}AAAAAA", keys) == "token-signature"


@pytest.mark.parametrize(
    ("claims", "slug"),
    [
        ({"iss": "https://other.test"}, "token-of-another-issuer"),
        ({"iss": issuer.ISSUER + "/"}, "token-of-another-issuer"),
        ({"aud": "https://other.test"}, "token-for-another-audience"),
        ({"aud": ["https://other.test", issuer.AUDIENCE + "/x"]}, "token-for-another-audience"),
        ({"aud": []}, "token-for-another-audience"),
        ({"exp": START_MS // 1000 - HOUR_S}, "token-expired"),
        ({"iat": START_MS // 1000 + HOUR_S, "exp": START_MS // 1000 + 2 * HOUR_S}, "token-not-yet-valid"),
        ({"nbf": START_MS // 1000 + HOUR_S, "exp": START_MS // 1000 + 2 * HOUR_S}, "token-not-yet-valid"),
        ({"exp": "tomorrow"}, "token-malformed"),
        ({"exp": float("nan")}, "token-malformed"),
        ({"exp": float("inf")}, "token-malformed"),
        ({"sub": ""}, "token-malformed"),
        ({"scope": ["citizen"]}, "token-malformed"),
        ({"pseudonym": "AB" * 16}, "token-malformed"),
        ({"scope": "citizen department"}, "token-claims"),
        ({"scope": "officer", "pseudonym": PSEUDONYM}, "token-claims"),
        ({"department": "nowhere"}, "token-claims"),
    ],
)
async def test_each_claim_that_is_wrong(claims, slug):
    assert await refusal(issuer.sign(good(**claims))) == slug


@pytest.mark.parametrize("claim", ["iss", "sub", "aud", "exp", "iat", "jti", "client_id"])
async def test_each_claim_that_is_missing(claim):
    said = good()
    del said[claim]
    assert await refusal(issuer.sign(said)) == "token-malformed"


@pytest.mark.parametrize("claim", ["department", "pseudonym"])
async def test_a_citizen_without_a_department_or_a_pseudonym(claim):
    said = good()
    del said[claim]
    assert await refusal(issuer.sign(said)) == "token-claims"


@pytest.mark.parametrize("scope", ["department", "officer"])
async def test_an_office_that_needs_a_department(scope):
    assert await refusal(issuer.sign(issuer.claims(START_MS, scope))) == "token-claims"


async def test_a_clock_a_little_off_is_forgiven_and_an_hour_is_not():
    token = issuer.sign(good(exp=START_MS // 1000 + 900))
    for off_ms, slug in ((HOUR_S * 1000, "token-expired"), (-HOUR_S * 1000, "token-not-yet-valid")):
        assert await refusal(token, clock=Clock(START_MS + off_ms)) == slug
    for off_ms in (920_000, -20_000):
        await Tokens(FixedKeys(issuer.JWKS), TRUST, Clock(START_MS + off_ms))(token)


async def test_alg_none_and_what_is_not_on_the_list():
    for alg in ("none", "None", "HS256", "RS512", "dir", 7, None):
        assert await refusal(unsigned(good(), alg=alg)) == "token-algorithm"
    # The public key as a shared secret: the oldest trick (RFC 8725 §2.1).
    shared = OctKey.import_key(issuer.JWKS)
    assert await refusal(issuer.sign(good(), key=shared, alg="HS256")) == "token-algorithm"


async def test_a_key_does_not_serve_another_algorithm():
    rsa = RSAKey.generate_key(2048)
    keys = keyset({**issuer.KEY.as_dict(private=False), "kid": "k-1"})
    assert await refusal(issuer.sign(good(), key=rsa, alg="RS256"), keys) == "token-of-unknown-key"


async def test_a_signature_of_another_key():
    assert await refusal(issuer.sign(good(), key=issuer.OTHER_KEY)) == "token-signature"


async def test_a_key_of_the_tokens_own_is_no_key():
    jwk = issuer.OTHER_KEY.as_dict(private=False)
    assert await refusal(issuer.sign(good(), key=issuer.OTHER_KEY, jwk=jwk, kid="k-9")) == "token-of-unknown-key"
    assert await refusal(issuer.sign(good(), key=issuer.OTHER_KEY, jwk=jwk)) == "token-signature"


@pytest.mark.parametrize("header", [{"typ": "JWT"}, {"typ": None}, {"crit": ["b64"], "b64": True}])
async def test_a_header_of_another_kind_of_token(header):
    assert await refusal(issuer.sign(good(), **header)) == "token-malformed"


@pytest.mark.parametrize(
    "token", ["guess", "a.b.c", "..", "é.é.é", "x" * 9_000, "e30.e30.", "bnVsbA.e30.", "WzFd.e30."]
)
async def test_what_is_no_token_at_all(token):
    assert await refusal(token) in ("token-malformed", "token-algorithm")


@pytest.mark.filterwarnings("ignore:Key size should be")
async def test_small_keys_keys_for_encryption_and_shared_keys_are_left_out():
    small = RSAKey.generate_key(1024, auto_kid=True)
    for jwk in (
        {**small.as_dict(private=False), "kid": "k-1"},
        {**issuer.KEY.as_dict(private=False), "kid": "k-1", "use": "enc"},
        {**issuer.KEY.as_dict(private=False)},
        {"kty": "oct", "k": "AAAA", "kid": "k-1"},
        {"kty": "OKP", "crv": "Ed25519", "x": "AAAA", "kid": "k-1"},
    ):
        alg, key = ("RS256", small) if jwk["kty"] == "RSA" else ("Ed25519", issuer.KEY)
        assert await refusal(issuer.sign(good(), key=key, alg=alg), keyset(jwk)) == "token-of-unknown-key"


async def test_known_tokens_are_not_verified_again_and_not_kept_for_ever(monkeypatch):
    clock, looked = Clock(), []
    keys = FixedKeys(issuer.JWKS)
    find = keys.find

    async def counting(kid, algorithm):
        looked.append(kid)
        return await find(kid, algorithm)

    monkeypatch.setattr(keys, "find", counting)
    tokens = Tokens(keys, TRUST, clock)
    token = issuer.sign(good())
    assert await tokens(token) == await tokens(token)
    assert len(looked) == 1
    clock.now_ms += 61_000
    await tokens(token)
    assert len(looked) == 2
    clock.now_ms = START_MS + 2 * HOUR_S * 1000
    with pytest.raises(Problem):
        await tokens(token)
    monkeypatch.setattr("passerelle_consent.records.http.tokens.CACHED_MAX", 2)
    assert CACHED_MAX > 1_000
    clock.now_ms = START_MS
    for n in range(5):
        await tokens(issuer.sign(good(jti=str(n))))
    assert len(tokens._known) == 2


class Provider:
    def __init__(self, jwks=issuer.JWKS):
        self.jwks = jwks
        self.fetches = 0

    async def __call__(self):
        self.fetches += 1
        if self.jwks is None:
            raise FetchFailed("no answer")
        return self.jwks


@pytest.fixture
def provider():
    return Provider()


async def test_a_providers_keys_are_fetched_once_and_a_new_one_when_it_is_named(provider):
    clock = Clock()
    tokens = Tokens(ProviderKeys(provider, clock), TRUST, clock)
    await tokens(issuer.sign(good()))
    await tokens(issuer.sign(good(jti="2")))
    assert provider.fetches == 1
    new = issuer.OTHER_KEY
    provider.jwks = json.dumps({"keys": [{**new.as_dict(private=False), "kid": "k-2"}]}).encode()
    clock.now_ms += 11_000
    await tokens(issuer.sign(good(), key=new, kid="k-2"))
    assert provider.fetches == 2


async def test_unknown_keys_do_not_make_us_ask_the_provider_again_and_again(provider):
    clock = Clock()
    keys = ProviderKeys(provider, clock)
    for n in range(20):
        assert await refusal(issuer.sign(good(), kid=f"x-{n}"), keys, clock=clock) == "token-of-unknown-key"
    assert provider.fetches == 1
    assert await refusal(issuer.sign(good(iss="https://other.test"), kid="y"), keys) == "token-of-another-issuer"


async def test_a_provider_that_is_down_stops_nobody_whose_key_is_known(provider):
    clock = Clock()
    keys = ProviderKeys(provider, clock)
    tokens = Tokens(keys, TRUST, clock)
    await tokens(issuer.sign(good()))
    provider.jwks = None
    clock.now_ms += 700_000  # past the keys' freshness
    await tokens(issuer.sign(good(jti="2", exp=START_MS // 1000 + HOUR_S)))
    assert provider.fetches == 2
    clock.now_ms = START_MS + 720_000
    late = good(exp=START_MS // 1000 + HOUR_S)
    assert await refusal(issuer.sign(late, kid="k-9"), keys, clock=clock) == "issuer-unavailable"


async def test_before_the_first_answer_nobody_gets_in():
    clock = Clock()
    for provider in (Provider(None), Provider(b"<html>"), Provider(b"[]")):
        keys = ProviderKeys(provider, clock)
        assert await refusal(issuer.sign(good()), keys) == "issuer-unavailable"


async def test_a_token_of_another_city_is_refused():
    other = Trust(issuer=issuer.ISSUER, audience="https://other-city.test", departments=TRUST.departments)
    assert await refusal(issuer.sign(good()), trust=other) == "token-for-another-audience"


async def test_a_refused_token_is_told_by_its_challenge_and_changes_nothing(city):
    (pseudonym,) = await city.link("Durand")
    before = list(city.broker.records)
    token = issuer.sign(issuer.claims(city.clock.now_ms - 2 * HOUR_S * 1000, **citizen(pseudonym)))
    answer = await city.say("give", pseudonym, token=token)
    challenge = answer.headers["www-authenticate"]
    assert (answer.status_code, answer.json()["type"]) == (401, "urn:passerelle:problem:token-expired")
    assert challenge == 'Bearer error="invalid_token", error_description="This token has expired."'
    assert city.broker.records == before
