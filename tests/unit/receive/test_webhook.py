"""Webhooks against a receiver and a consent service in memory: signatures, tries, what is not sent, what is buried."""

import json
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from standardwebhooks.webhooks import Webhook as Verifier
from standardwebhooks.webhooks import WebhookVerificationError

from passerelle.receive.burying import IN_A_ROW_MAX, Burying, TakesNothing
from passerelle.receive.delivery import Delivery, Erased
from passerelle.receive.recheck import Recheck, StandingUnknown
from passerelle.receive.signing import secret_text
from passerelle.receive.webhook import COMPONENT, PAUSE_S_MAX, TRIES_MAX, Receiver, Webhook
from passerelle_schemas.topics import SUBJECT_ERASED

SECRET = bytes(range(32))
URL = "https://schools.example/hook"


class World:
    """What the receiver answers, what the consent service says, and a clock."""

    def __init__(self):
        self.answers, self.checks = [], []
        self.got, self.asked, self.buried, self.pauses = [], [], [], []
        self.now = datetime.now(UTC)  # the verifier of the library reads the true clock
        receiver = httpx.AsyncClient(transport=httpx.MockTransport(self.receive))
        consent = httpx.AsyncClient(transport=httpx.MockTransport(self.check), base_url="http://consent")
        self.webhook = Webhook(
            Receiver(url=URL, secret=SECRET, client=receiver, now=lambda: self.now),
            Recheck(client=consent),
            Burying(COMPONENT, "schools", self.bury),
            pause=self.pause,
            jitter=lambda: 0.5,
            delete_by=lambda d: d.appended + timedelta(days=30),
        )

    def receive(self, request):
        self.got.append(request)
        answer = self.answers.pop(0) if self.answers else 204
        if isinstance(answer, Exception):
            raise answer
        location = {"Location": "https://elsewhere.example/"} if 300 <= answer < 400 else {}
        return httpx.Response(answer, headers=location, content=b"Marie Curie")

    def check(self, request):
        self.asked.append(json.loads(request.content))
        said = self.checks.pop(0) if self.checks else {"verdict": "permit", "reason": "valid-basis", "withheld": []}
        return said if isinstance(said, httpx.Response) else httpx.Response(200, json=said)

    async def bury(self, letter):
        self.buried.append(letter)

    async def pause(self, seconds):
        self.pauses.append(seconds)

    def delivery(self, number=1, *, age=timedelta()):
        return Delivery(
            decision_id=number.to_bytes(16),
            flow="meal-tariff.schools",
            purpose="dpv:PersonalisedBenefits",
            type="schools.meal-tariff.v1",
            event_id=f"e-{number}",
            source="/department/tax",
            pseudonym=b"\x07" * 16,
            value={"tariff_band": "D", "since": self.now.date()},
            time=self.now,
            partition=2,
            offset=number,
            appended=self.now - age,
        )


@pytest.fixture
def world():
    return World()


def body(request):
    return json.loads(request.content)


async def test_a_receiver_verifies_what_it_gets_with_its_own_library(world):
    await world.webhook.deliver(world.delivery())
    (request,) = world.got
    verifier = Verifier(secret_text(SECRET))
    event = verifier.verify(request.content.decode(), dict(request.headers))
    assert request.headers["webhook-id"] == (1).to_bytes(16).hex()
    assert request.headers["content-type"] == "application/cloudevents+json"
    assert (event["specversion"], event["id"], event["source"]) == ("1.0", "e-1", "/department/tax")
    assert event["data"] == {"tariff_band": "D", "since": world.now.date().isoformat()}
    assert event["pseudonym"] == "07" * 16
    assert event["deleteby"][:10] == (world.now + timedelta(days=30)).date().isoformat()
    with pytest.raises(WebhookVerificationError):
        verifier.verify(request.content.decode() + " ", dict(request.headers))
    assert "07" * 16 not in str(request.headers) + str(request.url)


async def test_it_tries_again_with_longer_pauses_and_the_same_id(world):
    world.answers = [500, httpx.ConnectError("x"), httpx.ReadTimeout("x"), 429, 200]
    await world.webhook.deliver(world.delivery())
    assert world.pauses == [0.75, 1.5, 3.0, 6.0]
    assert len({request.headers["webhook-id"] for request in world.got}) == 1
    assert not world.buried
    assert world.webhook.counts.sent == 1


async def test_the_standing_is_asked_for_before_each_repeat_and_what_was_withdrawn_is_not_sent(world):
    world.answers = [500, 500]
    permit = {"verdict": "permit", "reason": "valid-basis", "withheld": []}
    world.checks = [permit, {"verdict": "deny", "reason": "consent-withdrawn", "withheld": []}]
    await world.webhook.deliver(world.delivery())
    assert len(world.got) == 2
    assert world.asked == [{"flow": "meal-tariff.schools", "pseudonym": "07" * 16}] * 2
    assert (world.webhook.counts.withdrawn, world.webhook.counts.sent, world.buried) == (1, 0, [])


async def test_a_field_that_may_no_longer_be_shared_is_left_out_of_the_repeat(world):
    world.answers = [500]
    world.checks = [{"verdict": "redact", "reason": "consent-withdrawn", "withheld": ["since"]}]
    await world.webhook.deliver(world.delivery())
    assert body(world.got[1])["data"] == {"tariff_band": "D", "since": None}


async def test_what_lay_in_the_inbox_is_asked_about_before_the_first_try(world):
    world.checks = [{"verdict": "deny", "reason": "consent-withdrawn", "withheld": []}]
    await world.webhook.deliver(world.delivery(age=timedelta(hours=1)))
    assert (world.got, world.webhook.counts.withdrawn) == ([], 1)


@pytest.mark.parametrize(
    "said",
    [
        httpx.Response(503),
        httpx.Response(403),
        httpx.Response(302, headers={"Location": "/"}),
        httpx.Response(200, content=b"?"),
        httpx.Response(200, json=[]),
        httpx.Response(200, json={"verdict": "permit"}),
    ],
)
async def test_without_an_answer_about_the_standing_nothing_is_sent(world, said):
    world.checks = [said] * TRIES_MAX
    await world.webhook.deliver(world.delivery(age=timedelta(hours=1)))
    assert not world.got
    assert "nobody says whether this may still go" in world.buried[0].reason


async def test_an_unknown_verdict_is_no_permit(world):
    world.checks = [{"verdict": "perhaps", "withheld": []}]
    await world.webhook.deliver(world.delivery(age=timedelta(hours=1)))
    assert not world.got


async def test_after_the_last_try_it_is_a_dead_letter_without_content(world):
    world.answers = [500] * TRIES_MAX
    await world.webhook.deliver(world.delivery(5))
    (letter,) = world.buried
    assert (letter.component, letter.topic, letter.partition, letter.offset) == ("webhook", "inbox.schools", 2, 5)
    assert letter.reason == "status 500"
    assert len(world.got) == TRIES_MAX
    assert sum(world.pauses) < TRIES_MAX * PAUSE_S_MAX
    assert b"Marie" not in letter.encode()


async def test_redirects_are_never_followed(world):
    world.answers = [307] * TRIES_MAX
    await world.webhook.deliver(world.delivery())
    assert {str(request.url) for request in world.got} == {URL}
    assert world.buried[0].reason == "redirects (307), which is not followed"


async def test_a_receiver_that_takes_nothing_stops_the_flood(world):
    world.answers = [404] * TRIES_MAX * IN_A_ROW_MAX
    for number in range(1, IN_A_ROW_MAX):
        await world.webhook.deliver(world.delivery(number))
    with pytest.raises(TakesNothing, match="takes nothing: status 404"):
        await world.webhook.deliver(world.delivery(IN_A_ROW_MAX))
    assert len(world.buried) == IN_A_ROW_MAX


async def test_one_that_is_taken_in_between_begins_the_count_anew(world):
    for number in range(1, 2 * IN_A_ROW_MAX):
        world.answers = [404] * TRIES_MAX if number % 2 else []
        await world.webhook.deliver(world.delivery(number))
    assert len(world.buried) == IN_A_ROW_MAX


async def test_a_notice_of_erasure_asks_nobody_and_has_no_data(world):
    world.answers = [500]
    erased = Erased(erasure_id=b"\x09" * 16, pseudonym=b"\x07" * 16, time=world.now, partition=0, offset=1)
    await world.webhook.tell(erased)
    event = body(world.got[1])
    assert (event["type"], event["pseudonym"]) == (SUBJECT_ERASED, "07" * 16)
    assert "data" not in event
    assert not world.asked


async def test_recheck_says_what_it_does_not_know():
    client = httpx.AsyncClient(transport=httpx.MockTransport(lambda _: httpx.Response(500)), base_url="http://consent")
    with pytest.raises(StandingUnknown):
        await Recheck(client=client)(World().delivery())
