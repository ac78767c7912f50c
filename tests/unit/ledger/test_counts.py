"""By how long a time entries are counted, where nobody said."""

from datetime import UTC, datetime

import pytest

from passerelle_consent.ledger.query.counts import DAY_MS, FITTING_MAX, HOUR_MS, Every, fitting

MIDNIGHT_MS = int(datetime(2026, 11, 1, tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize(
    ("after_ms", "every"),
    [
        (0, Every.HOUR),
        (FITTING_MAX * HOUR_MS - 1, Every.HOUR),
        (FITTING_MAX * HOUR_MS, Every.DAY),
        (FITTING_MAX * DAY_MS - 1, Every.DAY),
        (FITTING_MAX * DAY_MS, Every.MONTH),
    ],
)
def test_the_shortest_time_is_taken_that_makes_few_enough(after_ms, every):
    assert fitting(MIDNIGHT_MS, MIDNIGHT_MS + after_ms) is every


def test_a_time_that_ends_before_it_begins_is_counted_too():
    assert fitting(MIDNIGHT_MS, 0) is Every.HOUR
