from dataclasses import replace

import pytest

from passerelle.city.actual import Actual
from passerelle.city.desired import SCRAM_ITERATIONS, Acl, Desired, Topic
from passerelle.city.plan import Alter, Create, Grant, Revoke, SetPassword, plan, rows

INBOX = Topic(name="inbox.tax", partitions=4, config={"retention.ms": "1000", "cleanup.policy": "delete"})
READ = Acl(principal="tax", operation="READ", resource="TOPIC", name="inbox.tax")
WANTED = Desired(topics={"inbox.tax": INBOX}, users=frozenset({"tax"}), acls=frozenset({READ}))
NOTHING = Actual(cluster_id="c", topics={}, users={}, acls=frozenset())
THERE = Actual(cluster_id="c", topics={"inbox.tax": INBOX}, users={"tax": SCRAM_ITERATIONS}, acls=frozenset({READ}))
TOLD = frozenset({"tax"})


def changes(**differs):
    return plan(WANTED, replace(THERE, **differs), TOLD).changes


def test_of_an_empty_cluster_everything_is_made_topics_before_rights():
    found = plan(WANTED, NOTHING, frozenset())
    assert found.changes == (Create(topic=INBOX), SetPassword(user="tax", why="is missing"), Grant(acl=READ))
    assert not found.settled


def test_of_a_cluster_that_is_as_wanted_nothing():
    found = plan(WANTED, THERE, TOLD)
    assert found.changes == found.refusals == found.notes == ()
    assert found.settled


def test_a_setting_that_differs_is_altered_and_others_of_the_operator_stay():
    other = replace(INBOX, config={**INBOX.config, "retention.ms": "5", "segment.ms": "7"})
    assert changes(topics={"inbox.tax": other}) == (Alter(topic="inbox.tax", settings={"retention.ms": ("5", "1000")}),)


def test_another_partition_count_is_refused_and_never_altered():
    found = plan(WANTED, replace(THERE, topics={"inbox.tax": replace(INBOX, partitions=8)}), TOLD)
    assert found.changes == ()
    assert "has 8 partitions, the manifest says 4" in found.refusals[0]
    assert not found.settled


def test_a_new_key_file_sets_the_password_anew():
    assert plan(WANTED, THERE, frozenset()).changes == (SetPassword(user="tax", why="its key file is new"),)


def test_other_iterations_set_the_password_anew():
    assert changes(users={"tax": 4096}) == (SetPassword(user="tax", why="has 4096 iterations"),)


@pytest.mark.parametrize(
    "opening",
    [
        Acl(principal="tax", operation="WRITE", resource="TOPIC", name="inbox.tax"),
        Acl(principal="tax", operation="ALTER", resource="BROKER", name="kafka-cluster"),
        Acl(principal="stranger", operation="READ", resource="TOPIC", name="inbox.tax"),
        Acl(principal="stranger", operation="READ", resource="TOPIC", name="exchange"),
        Acl(principal="*", operation="READ", resource="TOPIC", name="outbox.gone.event"),
        Acl(principal="stranger", operation="WRITE", resource="TOPIC", name="*"),
        Acl(principal="stranger", operation="WRITE", resource="TOPIC", name="inb", pattern="PREFIXED"),
        Acl(principal="stranger", operation="WRITE", resource="TOPIC", name="inbox.t", pattern="PREFIXED"),
        Acl(principal="stranger", operation="WRITE", resource="TOPIC", name="decis", pattern="PREFIXED"),
        Acl(principal="stranger", operation="READ", resource="GROUP", name="gate"),
        Acl(principal="stranger", operation="WRITE", resource="TRANSACTIONAL_ID", name="gate-3"),
        Acl(principal="tax", operation="READ", resource="TOPIC", name="inbox.tax", host="127.0.0.1"),
    ],
)
def test_what_opens_a_way_around_is_revoked(opening):
    assert changes(acls=frozenset({READ, opening})) == (Revoke(acl=opening),)


@pytest.mark.parametrize(
    "foreign",
    [
        Acl(principal="shop", operation="WRITE", resource="TOPIC", name="orders"),
        Acl(principal="shop", operation="WRITE", resource="TOPIC", name="orders.", pattern="PREFIXED"),
        Acl(principal="shop", operation="READ", resource="GROUP", name="shop"),
        Acl(principal="shop", operation="WRITE", resource="TRANSACTIONAL_ID", name="shop-1"),
    ],
)
def test_what_concerns_others_is_left_alone(foreign):
    assert changes(acls=frozenset({READ, foreign})) == ()


def test_a_denial_set_by_hand_stays_and_is_told():
    denial = replace(READ, permission="DENY")
    found = plan(WANTED, replace(THERE, acls=frozenset({READ, denial})), TOLD)
    assert found.settled
    assert "DENY tax READ TOPIC inbox.tax stays" in found.notes[0]


def test_a_topic_that_left_the_manifest_stays_and_is_told():
    gone = Topic(name="inbox.housing", partitions=4)
    found = plan(WANTED, replace(THERE, topics={**THERE.topics, "inbox.housing": gone, "orders": gone}), TOLD)
    assert found.settled
    assert [note.split()[1] for note in found.notes] == ["inbox.housing"]


def test_rights_are_taken_before_anything_is_made():
    opening = Acl(principal="tax", operation="WRITE", resource="TOPIC", name="inbox.tax")
    found = plan(WANTED, replace(NOTHING, acls=frozenset({opening})), frozenset())
    assert isinstance(found.changes[0], Revoke)


def test_each_change_is_a_row():
    altered = Alter(topic="inbox.tax", settings={"retention.ms": (None, "1")})
    found = list(rows([Create(topic=INBOX), altered, SetPassword(user="tax", why="is missing"), Grant(acl=READ)]))
    assert [row[0] for row in found] == ["create", "alter", "set", "grant"]
    assert found[3] == ("grant", "tax", "READ TOPIC inbox.tax")
