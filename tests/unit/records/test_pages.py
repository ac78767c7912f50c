"""Pages: all of a list once, in order, and cursors that are good for their own list alone."""

import base64
import json

import pytest

from unit.records.fakes import citizen

CHANGES = "/v1/subjects/me/changes"


@pytest.fixture
async def talkative(city):
    """A citizen who changed their mind often, and another one."""
    who, other = await city.link("Durand", "Petit")
    for _ in range(3):
        for action in ("give", "withdraw"):
            assert (await city.say(action, who)).status_code == 200
    return city, citizen(who), citizen(other)


def next_of(answer):
    return answer.links["next"]["url"] if "next" in answer.links else None


async def pages(city, path, who):
    while path:
        answer = await city.call("GET", path, token=who)
        assert answer.status_code == 200, answer.text
        yield answer.json()["changes"]
        path = next_of(answer)


async def test_a_history_is_had_of_one_agreement_in_pages(talkative):
    city, who, _ = talkative
    assert [len(page) async for page in pages(city, CHANGES + "?limit=4&agreement=moves-to-schools", who)] == [4, 2]
    assert [page async for page in pages(city, CHANGES + "?agreement=moves-to-school", who)] == [[]]


async def test_the_pages_hold_everything_once_and_in_order(talkative):
    city, who, _ = talkative
    found = [page async for page in pages(city, CHANGES + "?limit=4", who)]
    assert [len(page) for page in found] == [4, 2]
    assert [said["revision"] for page in found for said in page] == [7, 6, 5, 4, 3, 2]
    assert [said["state"] for page in found for said in page] == ["withdrawn", "given"] * 3


async def test_a_page_that_is_just_full_has_no_next(talkative):
    city, who, _ = talkative
    assert [len(page) async for page in pages(city, CHANGES + "?limit=6", who)] == [6]
    assert [len(page) async for page in pages(city, CHANGES, who)] == [6]


async def test_what_is_said_meanwhile_does_not_move_the_next_page(talkative):
    city, who, _ = talkative
    first = await city.call("GET", CHANGES + "?limit=2", token=who)
    await city.say("give", who["pseudonym"])
    second = await city.call("GET", next_of(first), token=who)
    assert [said["revision"] for said in second.json()["changes"]] == [5, 4]


def encoded(*cursor):
    return base64.urlsafe_b64encode(json.dumps(list(cursor)).encode()).decode()


async def test_a_cursor_of_another_query_is_refused(talkative):
    city, who, other = talkative
    there = next_of(await city.call("GET", CHANGES + "?limit=2", token=who))
    cursor = there.rpartition("cursor=")[2]
    own = json.loads(base64.urlsafe_b64decode(cursor.replace("%3D", "=")))
    bad = [encoded(own[0]), encoded(own[0], "7"), encoded(own[0], 2**70), encoded(own[0], 7.0), encoded(own[0], 7, 7)]
    another = "cursor-of-another-query"
    asked = [
        (there, other, another),  # somebody else's
        (there.replace("/me/", f"/{who['pseudonym']}/"), who, another),  # another path
        (there + "&agreement=moves-to-tax", who, another),  # another filter
        *((f"{CHANGES}?cursor={text}", who, "bad-cursor") for text in (*bad, "AAAA", "A", "bnVsbA==", "W10=")),
    ]
    for path, asking, slug in asked:
        answer = await city.call("GET", path, token=asking)
        assert (answer.status_code, answer.json()["type"]) == (422, f"urn:passerelle:problem:{slug}"), path
    answer = await city.call("GET", there.replace("limit=2", "limit=3"), token=who)
    assert len(answer.json()["changes"]) == 3


async def test_a_forged_id_in_a_cursor_is_refused(city):
    officer = {"scope": "officer", "department": "civil-registry"}
    for name in ("Durand", "Petit"):
        (pseudonym,) = await city.link(name)
        await city.say("object", pseudonym, "moves-to-cleanliness")
    there = next_of(await city.call("GET", "/v1/objections?limit=1", token=officer))
    digest, due_ms, _ = json.loads(base64.urlsafe_b64decode(there.rpartition("cursor=")[2].replace("%3D", "=")))
    for last in ("no hexadecimal", 7, None):
        answer = await city.call("GET", f"/v1/objections?cursor={encoded(digest, due_ms, last)}", token=officer)
        assert answer.json()["type"] == "urn:passerelle:problem:bad-cursor"
    assert len((await city.call("GET", there, token=officer)).json()["objections"]) == 1


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "limit=x", "cursor=", "cursor=!", "cursor=" + "A" * 401])
async def test_limits_and_cursors_that_are_none(talkative, query):
    city, who, _ = talkative
    answer = await city.call("GET", f"{CHANGES}?{query}", token=who)
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:passerelle:problem:malformed-request")
