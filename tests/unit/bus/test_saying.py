"""What is said is in effect when it returns, and a refusal tells what can be said instead; no pseudonym in either."""

import httpx
import pytest

from passerelle.saying import NotSaid, Said, say
from passerelle_consent.records.transitions import Action

PSEUDONYM = bytes(range(16))
STATUS = "/v1/acknowledgements/1"


def said(answer, *, notice=None):
    client = httpx.Client(base_url="http://consent", transport=httpx.MockTransport(answer))
    return say(client, PSEUDONYM, "move", Action.WITHDRAW, notice=notice, auth=httpx.BasicAuth("a", "b"))


def test_what_is_in_effect_at_once_is_told_at_once():
    assert said(lambda _: httpx.Response(200, json={"state": "withdrawn"})) == Said(state="withdrawn", in_effect=True)


def test_what_is_only_recorded_is_waited_for(monkeypatch):
    monkeypatch.setattr("passerelle.saying.POLL_S", 0.0)
    asked = []

    def answer(request):
        asked.append(request.url.path)
        if request.method == "POST":
            return httpx.Response(202, json={"state": "withdrawn"}, headers={"Location": STATUS})
        return httpx.Response(200, json={"acknowledged_at": "2026-11-26T12:00:00Z" if len(asked) == 4 else None})

    assert said(answer) == Said(state="withdrawn", in_effect=True)
    assert asked[1:] == [STATUS] * 3


def test_what_does_not_take_effect_is_not_called_so(monkeypatch):
    monkeypatch.setattr("passerelle.saying.WAIT_S_MAX", 0.0)
    answer = httpx.Response(202, json={"state": "withdrawn"}, headers={"Location": STATUS})
    assert not said(lambda _: answer).in_effect


def test_a_refusal_is_one_line_with_what_can_be_said():
    problem = {
        "type": "urn:passerelle:problem:illegal-transition",
        "title": "This does not follow from the current state.",
        "state": "withdrawn",
        "legal": ["give"],
    }
    with pytest.raises(NotSaid) as no:
        said(lambda _: httpx.Response(409, json=problem))
    assert str(no.value) == (
        "the consent service said no: 409 This does not follow from the current state; it stands at withdrawn"
    )
    assert (no.value.hint, no.value.problem) == ("what can be said here: give", "illegal-transition")


def test_a_proxy_that_answers_in_its_own_words_is_no_traceback():
    with pytest.raises(NotSaid, match="502 no reason given"):
        said(lambda _: httpx.Response(502, text="<html>"))


def test_nobody_there_is_told_with_a_hint():
    def unreachable(request):
        raise httpx.ConnectError("refused", request=request)

    with pytest.raises(NotSaid, match="does not answer") as no:
        said(unreachable)
    assert PSEUDONYM.hex() not in str(no.value)
    assert no.value.hint
