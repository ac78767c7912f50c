"""Birthdays and periods are the calendar's, to the millisecond."""

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passerelle_consent.policy.days import BadPeriod, end_ms, majority_ms, reached_ms


def ms(text):
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize(
    ("born", "of_age"),
    [
        (date(2008, 11, 25), "2026-11-25"),
        (date(2008, 2, 28), "2026-02-28"),
        (date(2008, 2, 29), "2026-03-01"),
        (date(1951, 12, 31), "1969-12-31"),
    ],
)
def test_majority_is_the_18th_birthday(born, of_age):
    assert majority_ms(born) == ms(of_age)


@given(st.dates(date(1900, 1, 1), date(2200, 1, 1)), st.integers(0, 18))
def test_an_age_is_reached_on_its_birthday(born, age):
    reached = datetime.fromtimestamp(reached_ms(majority_ms(born), age) / 1000, UTC).date()
    if (born.month, born.day) == (2, 29):
        assert reached == date(born.year + age, 3, 1)
    else:
        assert reached == born.replace(year=born.year + age)


@pytest.mark.parametrize(
    ("begun", "period", "over"),
    [
        ("2026-11-25T10:11:12.345", "P1Y", "2027-11-25T10:11:12.345"),
        ("2026-11-25T10:11:12.345", "P2Y6M", "2029-05-25T10:11:12.345"),
        ("2024-02-29T00:00:00", "P1Y", "2025-02-28T00:00:00"),
        ("2026-01-31T23:59:59.999", "P1M", "2026-02-28T23:59:59.999"),
        ("2026-12-31T12:00:00", "P2M", "2027-02-28T12:00:00"),
        ("2026-11-25T00:00:00", "P2W", "2026-12-09T00:00:00"),
        ("2026-11-25T00:00:00", "P1M1W10D", "2027-01-11T00:00:00"),
        ("2026-11-25T00:00:00", "P24M", "2028-11-25T00:00:00"),
    ],
)
def test_a_period_ends_by_the_calendar(begun, period, over):
    assert end_ms(ms(begun), period) == ms(over)


@pytest.mark.parametrize("period", ["", "P", "P0D", "1Y", "P1D1Y", "P1Y1Y", "PT1H", "P1.5Y", "P100Y", "p1y", "P1Y\n"])
def test_what_is_no_period_is_refused(period):
    with pytest.raises(BadPeriod):
        end_ms(0, period)
