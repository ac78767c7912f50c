"""Every way to be refused, each with its own problem type; and nothing is changed by it."""

import json

import pytest

from unit.records.fakes import citizen, identity

URN = "urn:passerelle:problem:"
SUBJECT = "0" * 32
GIVE = f"/v1/subjects/{SUBJECT}/agreements/moves-to-schools/give"
SAID = {"notice": 1}
WHO = citizen(SUBJECT)


def slug(answer):
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == answer.status_code
    assert problem["instance"].startswith("urn:uuid:")
    return answer.status_code, problem["type"].removeprefix(URN)


@pytest.fixture
async def untouched(city):
    """The city, held against itself afterwards: no record may have been added."""
    await city.link("Durand")
    before = list(city.broker.records)
    yield city
    await city.call("GET", "/healthz")
    assert city.broker.records == before


async def test_no_token(untouched):
    answer = await untouched.call("POST", GIVE, SAID, token=None)
    assert slug(answer) == (401, "unauthenticated")
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_no_token_is_said_before_the_body_is_looked_at(untouched):
    answer = await untouched.http.post(GIVE, content=b"{", headers={"content-type": "application/json"})
    assert slug(answer) == (401, "unauthenticated")


async def test_a_role_that_may_not(untouched):
    answer = await untouched.call("POST", GIVE, SAID, "tax")
    assert slug(answer) == (403, "insufficient-scope")
    assert answer.json()["scopes"] == ["citizen", "guardian"]
    assert answer.headers["www-authenticate"] == 'Bearer error="insufficient_scope", scope="citizen guardian"'


async def test_another_departments_pseudonyms_are_as_unknown_as_those_of_nobody(untouched):
    (pseudonym,) = await untouched.link("Durand")
    answer = await untouched.say("withdraw", pseudonym, token="tax")
    assert slug(answer) == (404, "unknown-subject")
    answer = await untouched.call("GET", f"/v1/subjects/{pseudonym}/standing", token="officer")
    assert slug(answer) == (404, "unknown-subject")


async def test_a_citizen_on_somebody_elses_pseudonym(untouched):
    (pseudonym,) = await untouched.link("Durand")
    for scope, problem in (("citizen", "not-your-pseudonym"), ("citizen guardian", "not-guardian")):
        assert slug(await untouched.say("give", pseudonym, token=citizen(SUBJECT, scope))) == (403, problem)
        answer = await untouched.call("GET", f"/v1/subjects/{pseudonym}/standing", token=citizen(SUBJECT, scope))
        assert slug(answer) == (403, problem)


async def test_me_is_for_citizens(untouched):
    answer = await untouched.call("GET", "/v1/subjects/me/standing", token="desk")
    assert slug(answer) == (403, "not-a-citizen")
    (pseudonym,) = await untouched.link("Durand")
    answer = await untouched.call("GET", "/v1/subjects/me/standing", token=citizen(pseudonym))
    assert answer.json()["revision"] == 1
    answer = await untouched.call("GET", "/v1/subjects/me/standing", token=citizen(pseudonym, "guardian"))
    assert slug(answer) == (403, "insufficient-scope")


async def test_a_citizen_does_not_say_who_speaks(untouched):
    (pseudonym,) = await untouched.link("Durand")
    assert slug(await untouched.say("refuse", pseudonym, by="guardian")) == (422, "speaker-is-known")


async def test_a_pseudonym_that_nobody_linked(untouched):
    assert slug(await untouched.call("POST", GIVE, SAID, WHO)) == (404, "unknown-subject")
    answer = await untouched.call("GET", f"/v1/subjects/{SUBJECT}/standing")
    assert slug(answer) == (404, "unknown-subject")


async def test_an_agreement_that_is_not(untouched):
    (pseudonym,) = await untouched.link("Durand")
    assert slug(await untouched.say("give", pseudonym, "nothing-of-it")) == (404, "unknown-agreement")


async def test_an_agreement_past_its_term(untouched):
    (pseudonym,) = await untouched.link("Durand")
    assert slug(await untouched.say("give", pseudonym, "old-consent")) == (409, "agreement-not-in-force")


async def test_a_stale_notice(untouched):
    (pseudonym,) = await untouched.link("Durand")
    answer = await untouched.say("give", pseudonym, "moves-to-tax", notice=1)
    assert slug(answer) == (409, "stale-notice")
    assert answer.json()["notice"] == 3


@pytest.mark.parametrize(
    ("action", "agreement", "legal"),
    [
        ("give", "moves-to-cleanliness", ["object"]),
        ("withdraw", "moves-to-cleanliness", ["object"]),
        ("object", "moves-to-schools", ["give", "refuse", "defer", "withdraw"]),
        ("object", "frail-to-emergency", []),
    ],
)
async def test_an_action_that_the_basis_does_not_know(untouched, action, agreement, legal):
    (pseudonym,) = await untouched.link("Durand")
    answer = await untouched.say(action, pseudonym, agreement)
    assert slug(answer) == (409, "wrong-basis")
    assert answer.json()["legal"] == legal


async def test_an_illegal_transition_says_what_is_legal(untouched):
    (pseudonym,) = await untouched.link("Durand")
    answer = await untouched.say("withdraw", pseudonym)
    assert slug(answer) == (409, "illegal-transition")
    assert (answer.json()["state"], answer.json()["legal"]) == ("unknown", ["give", "refuse"])


async def test_withdrawing_twice_is_one_withdrawal(city):
    (pseudonym,) = await city.link("Durand")
    await city.say("give", pseudonym)
    assert (await city.say("withdraw", pseudonym)).status_code == 200
    assert slug(await city.say("withdraw", pseudonym)) == (409, "illegal-transition")
    assert len(city.broker.standings(city.ref(pseudonym))) == 3


async def test_an_idempotency_key_used_for_something_else(city):
    (first,) = await city.link("Durand")
    assert (await city.say("give", first, "moves-to-tax", key="k", notice=3)).status_code == 200
    before = list(city.broker.records)
    for answer in (
        await city.say("give", first, "moves-to-tax", key="k", notice=2),
        await city.say("give", first, "moves-to-schools", key="k"),
        await city.say("refuse", first, "moves-to-tax", key="k", notice=3),
    ):
        assert slug(answer) == (422, "idempotency-key-reused")
    assert city.broker.records == before


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        {},
        {**SAID, "notice": "1 or so"},
        {**SAID, "notice": 0},
        {**SAID, "by": "neighbour"},
        {"Zyxwvut": "citizen-desk"},
    ],
)
async def test_a_malformed_body(untouched, body):
    answer = await untouched.call("POST", GIVE, body, WHO)
    assert slug(answer) == (422, "malformed-request")
    assert "yxwvut" not in answer.text


@pytest.mark.parametrize("content", [b"{", b'{"a":', b"\xff\xfe", b"Zyxwvut", b"[" * 100_000, b'{"notice": 1} {}'])
async def test_bytes_that_are_no_json(untouched, content):
    headers = {"content-type": "application/json", "authorization": f"Bearer {untouched.bearer(WHO)}"}
    answer = await untouched.http.post(GIVE, content=content, headers=headers)
    assert slug(answer) == (400, "malformed-json")
    assert "yxwvut" not in answer.text


@pytest.mark.parametrize("named", ["text/plain", "application/xml", "multipart/form-data", "application/json5", None])
async def test_a_body_of_another_media_type(untouched, named):
    headers = {"authorization": f"Bearer {untouched.bearer(WHO)}", **({"content-type": named} if named else {})}
    answer = await untouched.http.post(GIVE, content=b'{"notice": 1}', headers=headers)
    assert slug(answer) == (415, "unsupported-media-type")


@pytest.mark.parametrize("content", [b"", b"null", b'"Zyxwvut"', b"[]", b"7"])
async def test_json_that_is_no_object(untouched, content):
    headers = {"content-type": "application/json", "authorization": f"Bearer {untouched.bearer(WHO)}"}
    answer = await untouched.http.post(GIVE, content=content, headers=headers)
    assert slug(answer) == (422, "malformed-request")
    assert "yxwvut" not in answer.text


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("given_names", []),
        ("given_names", ["Zyxwvut"] * 21),
        ("family_name", ""),
        ("family_name", "Zyxwvut" * 100),
        ("birth_date", "Zyxwvut"),
        ("birth_date", "1980-02-30"),
        ("gender", "Zyxwvut"),
        ("birth_place", "Zyxwvut"),
        ("birth_country", "Zyxwvut"),
    ],
)
async def test_a_malformed_identity_is_placed_and_not_quoted(untouched, field, value):
    body = {"identities": [identity("Durand"), {**identity("Petit"), field: value}]}
    answer = await untouched.call("POST", "/v1/links", body)
    assert slug(answer) == (422, "malformed-request")
    where = answer.json()["errors"][0]["where"]
    assert where[:3] == ["body", "identities", 1]
    assert "yxwvut" not in answer.text


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (GIVE, {**SAID, "Mme Zyxwvut": 1}),
        ("/v1/links", {"identities": [{**identity("Durand"), "Zyxwvut": 1}]}),
        ("/v1/links", {"identities": [identity("Durand")], "department": "Zyxwvut"}),
    ],
)
async def test_members_that_nobody_documented_are_not_passed_over(untouched, path, body):
    answer = await untouched.call("POST", path, body, WHO if path == GIVE else "desk")
    assert slug(answer) == (422, "unknown-member")
    assert "yxwvut" not in answer.text


async def test_too_many_identities(untouched):
    body = {"identities": [identity("Durand")] * 1001}
    assert slug(await untouched.call("POST", "/v1/links", body)) == (422, "malformed-request")


@pytest.mark.parametrize("path", ["/v1/subjects/short/agreements/a/give", f"/v1/subjects/{SUBJECT}/agreements/A/give"])
async def test_a_malformed_path(untouched, path):
    assert slug(await untouched.call("POST", path, SAID, WHO)) == (422, "malformed-request")


async def test_a_malformed_idempotency_key(untouched):
    answer = await untouched.call("POST", GIVE, SAID, WHO, Idempotency_Key="k" * 129)
    assert slug(answer) == (422, "malformed-request")


async def test_ten_megabytes(untouched):
    body = {"identities": [{**identity("Durand"), "family_name": "x" * 10_000_000}]}
    answer = await untouched.call("POST", "/v1/links", body)
    assert slug(answer) == (413, "body-too-large")


async def test_ten_megabytes_of_unknown_length(untouched):
    async def drops():
        for _ in range(160):
            yield b"x" * 65_536

    answer = await untouched.http.post(
        GIVE, content=drops(), headers={"authorization": f"Bearer {untouched.bearer(WHO)}"}
    )
    assert slug(answer) == (413, "body-too-large")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"agreements": ["moves-to-tax"]}, (409, "not-vital-interests")),
        ({"hours": 73}, (422, "malformed-request")),
        ({"hours": 0}, (422, "malformed-request")),
        ({"reason_code": "Mme Zyxwvut is ill"}, (422, "malformed-request")),
    ],
)
async def test_overrides_that_are_refused(untouched, change, problem):
    body = {
        "agreements": ["frail-to-emergency"],
        "reason_code": "heatwave",
        "hours": 72,
        **change,
    }
    answer = await untouched.call("POST", f"/v1/subjects/{SUBJECT}/overrides", body, "officer")
    assert slug(answer) == problem
    assert "yxwvut" not in answer.text


async def test_an_acknowledgement_that_is_not_or_is_anothers(city):
    (pseudonym,) = await city.link("Durand")
    given = (await city.say("give", pseudonym)).json()["acknowledgement"]
    for path, token in (
        (f"/v1/acknowledgements/{'f' * 32}", citizen(pseudonym)),
        (f"/v1/acknowledgements/{given}", "tax"),
    ):
        assert slug(await city.call("GET", path, token=token)) == (404, "unknown-acknowledgement")


async def test_nothing_here(untouched):
    assert slug(await untouched.call("GET", "/v1/nothing")) == (404, "not-found")
    answer = await untouched.call("DELETE", "/v1/links")
    assert slug(answer) == (405, "method-not-allowed")
    assert answer.headers["allow"] == "POST"
    answer = await untouched.call("POST", "/v1/consultations/meal-tariff-2027/voice")
    assert answer.headers["allow"] == "DELETE, GET, PUT"


async def test_a_bug_says_nothing_about_itself(untouched, monkeypatch):
    def burst(*_):
        raise RuntimeError("Zyxwvut")

    monkeypatch.setattr(untouched.register, "refs", burst)
    body = {"identities": [identity("Durand")]}
    answer = await untouched.call("POST", "/v1/links", body)
    assert slug(answer) == (500, "internal")
    assert "yxwvut" not in answer.text


def test_every_problem_has_a_name_of_its_own():
    from passerelle_consent.records import problems

    kinds = [v for v in vars(problems).values() if isinstance(v, problems.ProblemType)]
    assert len({k.slug for k in kinds}) == len(kinds) > 20
    json.dumps([k.title for k in kinds])
