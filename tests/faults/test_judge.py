"""The judge on histories made by hand: a good one holds, and each way of being bad is found under its own name."""

import base64
import io
import subprocess
import sys
from pathlib import Path

import fastavro
import pytest

from faults import judge as judge_module
from faults.history import (
    Consent,
    Decided,
    Delivery,
    End,
    Exchange,
    Fence,
    Give,
    Head,
    Incomplete,
    Policy,
    Position,
    Recorder,
    Sent,
    Subject,
    Withdrawal,
    assembled,
    read,
)
from faults.judge import CannotTell, judge

DIGEST, REF, ALIAS = "d1" * 32, "aa" * 16, "bb" * 16
HEAD = Head(scenario="by-hand", seed=0, partitions=1)
SCHEMA = {
    "type": "record",
    "name": "Filed",
    "fields": [{"name": "place", "type": "string"}, {"name": "contact", "type": ["null", "string"], "default": None}],
}


def agreement(id_, basis, field):
    return {
        "id": id_,
        "version": 1,
        "basis": basis,
        "recipient": "roads",
        "subjects": ["adult"],
        "in_force": {"from": "1970-01-01", "until": None},
        "notice": {"version": 1, "compatible_with": []},
        "events": {"desk.filed.v1": {"fields": {field: {}}}},
    }


POLICY = Policy(
    DIGEST,
    {
        "agreements": [agreement("report", "6-1-e", "place"), agreement("contact", "6-1-a", "contact")],
        "flows": [
            {
                "id": "filed.roads",
                "event": "desk.filed.v1",
                "recipient": "roads",
                "purpose": "dpv:X",
                "agreements": ["report@1", "contact@1"],
                "required": ["place"],
                "optional": ["contact"],
            }
        ],
        "contracts": {"desk.filed.v1": {"id": 7, "schema": SCHEMA}},
    },
)


def value(place, contact):
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(SCHEMA), {"place": place, "contact": contact})
    return base64.b64encode(b"\x00\x00\x00\x00\x07" + out.getvalue()).decode()


def stance(state):
    return {"state": state, "notice": 1, "at_ms": 1, "until_ms": None}


def standing(offset, **states):
    stances = {id_: stance(state) for id_, state in states.items()}
    row = {"linked": True, "stances": stances, "restricted_since_ms": None, "overrides": []}
    row |= {"minor_until_ms": None, "protection": None}
    return Consent(0, offset, REF, None, row)


def minor(row):
    return row._replace(standing={**row.standing, "minor_until_ms": 2_000})


def proposal(n):
    return Exchange(0, n, REF, f"id{n}", "filed.roads", f"rule;outbox;0;{n};0", "desk.filed.v1", value(f"p{n}", "c"))


def decided(n, verdict="permit", reason="valid-basis", withheld=()):
    origin = f"rule;outbox;0;{n};0"
    return Decided(0, n, f"d{n}", 1_000, verdict, reason, "filed.roads", list(withheld), REF, origin, DIGEST)


REDACTED = ("redact", "consent-withdrawn", ("contact",))


def delivery(n, offset, marker, contact="c"):
    body = value(f"p{n}", contact)
    return Delivery(
        "roads", 0, offset, ALIAS, f"id{n}", "filed.roads", f"d{n}", "dpv:X", DIGEST, "desk.filed.v1", body, marker
    )


WITHDRAWN = Withdrawal(REF, "contact", "roads", 0, "withdraw", 2, 10, 20, 2, 2)


def good():
    """A contact is given, one report goes with it, it is withdrawn, the next goes without, it is given again."""
    return [
        POLICY,
        Subject(REF, {"roads": ALIAS}),
        Consent(0, 0, None, DIGEST, None),
        Give(REF, "contact", "roads", 0, 0),
        standing(1, contact="given"),
        Sent("rule;outbox;0;0;0", 0, 0),
        *(proposal(n) for n in range(3)),
        proposal(1)._replace(offset=3),  # a replay
        decided(0),
        delivery(0, 0, 1),
        Position(0, 1, 2),
        Fence(0, 0, 2, "a"),
        WITHDRAWN,
        standing(2, contact="withdrawn"),
        decided(1, *REDACTED),
        delivery(1, 2, 3, contact=None),
        Position(0, 2, 3),
        Fence(0, 2, 3, "a"),
        Give(REF, "contact", "roads", 0, 4),
        standing(3, contact="given"),
        decided(2),
        delivery(2, 4, 5),
        Position(0, 4, 4),
        Fence(0, 4, 4, "b"),
        End(drained=True, committed={"0": 4}),
    ]


def judged(rows):
    return judge(assembled(HEAD, rows))


def replaced(old, new):
    rows = good()
    rows[rows.index(old)] = new
    return rows


def without(row):
    return [r for r in good() if r != row]


def test_a_good_history_holds_and_every_rule_was_applied():
    findings = judged(good())
    assert findings.broken() == {}
    assert [rule for rule, n in findings.applied.items() if n == 0] == []
    assert findings.counts["replays"] == 1
    assert findings.counts["acknowledged"] == 1


LATE = delivery(1, 2, 3, contact="c")

BAD = {
    "a proposal without decision": (without(decided(1, *REDACTED)), "I1"),
    "two decisions of one proposal": ([*good(), decided(0)._replace(offset=9)], "I1"),
    "a decision of nothing": ([*good(), decided(8)], "I1"),
    "judged on the older standing": (replaced(decided(1, *REDACTED), decided(1)), "I2"),
    "judged on a standing that its transaction had not reached": (replaced(Position(0, 2, 3), Position(0, 2, 2)), "I2"),
    "judged by another policy": (replaced(decided(0), decided(0)._replace(policy="00" * 32)), "I2"),
    "a minor whom no agreement covers": (
        replaced(standing(3, contact="given"), minor(standing(3, contact="given"))),
        "I2",
    ),
    "a permitted event that never came": (without(delivery(0, 0, 1)), "I2d"),
    "delivered twice": ([*good(), delivery(0, 6, 7)], "I2d"),
    "delivered without decision": ([*good(), delivery(9, 6, 7)], "I2d"),
    "a denied event was delivered": (replaced(decided(0), decided(0, "deny", "objected")), "I2d"),
    "a withheld field says something": (replaced(delivery(1, 2, 3, None), LATE), "I2d"),
    "another field was changed": (replaced(delivery(0, 0, 1), delivery(0, 0, 1, "x")), "I2d"),
    "another citizen's pseudonym": (replaced(delivery(0, 0, 1), delivery(0, 0, 1)._replace(key="cc" * 16)), "I2d"),
    "committed after the acknowledgement": (replaced(delivery(0, 0, 1), delivery(0, 0, 3)), "I3c"),
    "visible after the acknowledgement": (replaced(WITHDRAWN, WITHDRAWN._replace(lso=0)), "I3v"),
    "in the inbox between the acknowledgement and the next give": (replaced(delivery(1, 2, 3, None), LATE), "I3x"),
    "out of order": (replaced(delivery(2, 4, 5), delivery(2, 1, 5)), "I6"),
    "the fence went back": (replaced(Fence(0, 4, 4, "b"), Fence(0, 4, 1, "b")), "F"),
    "the position went back": (replaced(Position(0, 4, 4), Position(0, 4, 2)), "F"),
    "acknowledged and not fenced": ([r for r in good() if not isinstance(r, Fence) or r.applied < 3], "F"),
    "acknowledged and not withdrawn": (replaced(WITHDRAWN, WITHDRAWN._replace(consent_offset=1)), "F"),
}


@pytest.mark.parametrize(("rows", "rule"), BAD.values(), ids=BAD.keys())
def test_each_violation_is_found_under_its_rule(rows, rule):
    assert rule in judged(rows).broken()


def test_a_delivery_on_an_older_standing_but_committed_before_the_acknowledgement_is_no_violation():
    in_time = WITHDRAWN._replace(lso=1, end=2)
    assert judged(replaced(WITHDRAWN, in_time)).broken() == {}


def test_what_is_not_acknowledged_promises_nothing():
    rows = replaced(delivery(0, 0, 1), delivery(0, 0, 3))
    rows[rows.index(WITHDRAWN)] = WITHDRAWN._replace(acknowledged_ms=None)
    assert judged(rows).broken() == {}


def test_beyond_the_committed_position_a_proposal_may_wait_until_drained():
    rows = [r for r in good()[:-1] if r not in (decided(2), delivery(2, 4, 5))]
    assert judged([*rows, End(drained=False, committed={"0": 2})]).broken() == {}
    assert "I1" in judged([*rows, End(drained=True, committed={"0": 2})]).broken()


@pytest.mark.parametrize(
    "rows",
    [
        without(standing(2, contact="withdrawn")),
        replaced(delivery(0, 0, 1), delivery(0, 0, None)),
        [*good(), Sent("rule;outbox;0;9;0", 0, 9)],
    ],
    ids=["consent offsets missing", "no marker", "sent and not read back"],
)
def test_a_history_that_was_not_recorded_whole_cannot_be_judged(rows):
    with pytest.raises(CannotTell):
        judged(rows)


@pytest.mark.parametrize("name", ["h.jsonl", "h.jsonl.gz"])
def test_a_history_survives_its_file(tmp_path, name):
    recorder = Recorder(tmp_path / name, HEAD)
    recorder.write(*good())
    recorder.close()
    back = read(tmp_path / name)
    assert judge(back).broken() == {}
    assert back.head == HEAD
    assert [type(t).__name__ for t in back.story] == ["Give", "Withdrawal", "Give"]


def test_a_file_that_is_cut_off_is_no_history(tmp_path):
    recorder = Recorder(tmp_path / "h.jsonl", HEAD)
    recorder.write(*good()[:-1])
    recorder.close()
    with pytest.raises(Incomplete, match="end"):
        read(tmp_path / "h.jsonl")


@pytest.mark.parametrize(
    ("rows", "code", "says"), [(good(), 0, "holds"), (BAD["out of order"][0], 1, "I6: inbox.roads/0@"), ([], 2, "")]
)
def test_the_judge_runs_alone_and_says_so_by_its_exit_code(tmp_path, rows, code, says):
    recorder = Recorder(tmp_path / "h.jsonl", HEAD)
    recorder.write(*rows)
    recorder.close()
    script = Path(judge_module.__file__)
    done = subprocess.run(
        [sys.executable, script, tmp_path / "h.jsonl"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == code
    assert says in done.stdout
