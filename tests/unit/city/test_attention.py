"""What waits for whoever is on call."""

import httpx
import pytest

from passerelle.attention import NoAnswer, is_late, waiting


def asking(answer):
    return httpx.Client(base_url="http://consent", transport=httpx.MockTransport(answer))


def test_what_waits_is_asked_of_the_service():
    def answer(request):
        assert request.url.path == "/v1/operations/attention"
        return httpx.Response(200, json={"reviews_open": 2, "reviews_overdue": 0})

    assert waiting(asking(answer)) == {"reviews_open": 2, "reviews_overdue": 0}


def test_only_what_is_past_its_term_is_late():
    assert not is_late({"reviews_open": 2, "reviews_overdue": 0, "consents_ending": 3})
    assert is_late({"reviews_open": 2, "answers_overdue": 1})


def test_a_service_that_says_no_is_a_fault():
    with pytest.raises(NoAnswer, match="403"):
        waiting(asking(lambda _: httpx.Response(403)))


def test_a_service_that_is_away_is_a_fault():
    def away(_):
        raise httpx.ConnectError("refused")

    with pytest.raises(NoAnswer, match="ConnectError"):
        waiting(asking(away))
