"""The counts that everybody sees: what is too few to tell, and that nothing can be worked out from the rest."""

from datetime import UTC, datetime

import pytest

from passerelle_consent.policy.decide import Reason, Verdict
from passerelle_consent.records.http.public_counts import KEPT_MS
from passerelle_consent.records.log import Tally
from passerelle_consent.records.public_counts import FEWEST, MONTHS, first_month_ms, published
from passerelle_consent.wire import JournalType

COUNTS = "/v1/register/counts"


def ms(year, month, day=1):
    return int(datetime(year, month, day, tzinfo=UTC).timestamp() * 1000)


def told_of(counts, *, flow="moves", at=(2026, 5)):
    return {verdict: [Tally(start_ms=ms(*at), value=flow, count=n)] for verdict, n in counts.items()}


def test_what_is_too_few_looks_like_none():
    few, none = told_of({Verdict.DENY: FEWEST - 1}), told_of({})
    now_ms = ms(2026, 5, 9)
    assert published(few, ["moves"], now_ms=now_ms) == published(none, ["moves"], now_ms=now_ms)


def test_enough_is_told():
    (month,) = published(told_of({Verdict.PERMIT: FEWEST}), ["moves"], now_ms=ms(2026, 5, 9))
    (moves,) = month.flows
    assert (month.month, moves.permit, moves.redact, moves.deny) == ("2026-05", FEWEST, None, None)


def test_a_flow_that_ended_is_told_of_where_there_is_something_to_tell():
    ended = told_of({Verdict.PERMIT: 500}, flow="ended", at=(2026, 4))
    latest, before = published(ended, ["moves"], now_ms=ms(2026, 5, 9))
    assert [f.flow for f in latest.flows] == ["moves"]
    assert [f.flow for f in before.flows] == ["ended", "moves"]


@pytest.mark.parametrize(("now", "first"), [((2026, 12, 31), (2025, 12)), ((2026, 1, 1), (2025, 1))])
def test_a_year_is_told(now, first):
    assert first_month_ms(ms(*now)) == ms(*first)
    assert MONTHS == 13


async def counts(told):
    answer = await told.city.call("GET", COUNTS, token=None)
    assert answer.status_code == 200, answer.text
    return answer


async def test_anybody_reads_them_and_the_ledger_is_not_told(told, marie):
    told.decide(marie, count=FEWEST)
    told.decide(marie, verdict=Verdict.DENY, reason=Reason.OBJECTED, count=FEWEST - 1)
    told.index_all()
    answer = await counts(told)
    assert answer.json() == {
        "fewer_than": FEWEST,
        "months": [
            {
                "month": "2026-05",
                "flows": [
                    {"flow": "moves", "permit": None, "redact": None, "deny": None},
                    {"flow": "tariff", "permit": FEWEST, "redact": None, "deny": None},
                ],
            }
        ],
    }
    assert answer.headers["cache-control"] == "public, max-age=60"
    assert not [e for e in told.city.broker.journal() if e.type is JournalType.READ]


async def test_the_log_is_asked_once_a_minute(told, marie):
    told.decide(marie, count=FEWEST)
    told.index_all()
    first = (await counts(told)).json()
    told.decide(marie, count=FEWEST)
    told.index_all()
    assert (await counts(told)).json() == first
    told.city.clock.now_ms += KEPT_MS
    assert (await counts(told)).json()["months"][0]["flows"][1]["permit"] == 2 * FEWEST


async def test_a_ledger_that_is_away_is_said(city):
    answer = await city.call("GET", COUNTS, token=None)
    assert (answer.status_code, answer.json()["type"].rpartition(":")[2]) == (503, "ledger-unavailable")
