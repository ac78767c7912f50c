"""Publication of the policy at start, and which version of an agreement is meant."""

from datetime import date

import pytest

from passerelle_consent.policy.bundle import PolicyBundle
from passerelle_consent.records.policy_book import PolicyBook
from passerelle_consent.records.problems import Problem
from passerelle_consent.records.transitions import Action
from passerelle_consent.wire import JournalType
from unit.records.fakes import AGREEMENTS, PARTITIONS, START_MS, City, agreement, until


async def test_the_policy_is_published_on_each_partition_with_its_agreements(store_url):
    city = City(store_url)
    await city.up()
    await until(lambda: len(city.broker.journal()) == 1 + len(AGREEMENTS))
    assert [r.partition for r in city.broker.policies()] == list(range(PARTITIONS))
    bundle = PolicyBundle.unpack(city.broker.policies()[0].value)
    first, *others = city.broker.journal()
    assert (first.type, first.policy) == (JournalType.POLICY, bundle.digest)
    assert {e.agreements for e in others} == {(a.ref,) for a in AGREEMENTS}
    await city.down()


async def test_the_same_policy_is_not_published_twice_and_a_new_one_is(store_url):
    city = City(store_url)
    await city.up()
    await until(lambda: len(city.broker.journal()) == 1 + len(AGREEMENTS))
    await city.down()
    count = len(city.broker.records)
    await city.up()
    await city.call("GET", "/healthz")
    await city.down()
    assert len(city.broker.records) == count

    city.agreements.append(agreement("moves-to-schools", recipient="schools", version=2))
    await city.up()
    await until(lambda: len(city.broker.records) == count + PARTITIONS + 2)
    assert [e.agreements for e in city.broker.journal()][-2:] == [(), ("moves-to-schools@2",)]
    await city.down()


def test_the_newest_version_in_force_is_meant():
    versions = [agreement("a"), agreement("a", version=2), agreement("a", version=3, until=date(2026, 1, 2))]
    book = PolicyBook(versions)
    assert book.agreement("a", START_MS).ref == "a@2"
    with pytest.raises(Problem):
        book.agreement("b", START_MS)


def test_a_sharing_can_be_ended_when_the_agreement_is_past_its_term_and_whatever_the_notice():
    book = PolicyBook([ended := agreement("a", until=date(2026, 2, 1))])
    book.admit(ended, Action.WITHDRAW, 99, START_MS)
    with pytest.raises(Problem):
        book.admit(ended, Action.GIVE, 1, START_MS)
