"""The standings kept small decide as the whole ones do, whatever the record, at any instant."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passerelle_consent.policy import codes
from passerelle_consent.policy import standings as module
from passerelle_consent.policy.decide import Reason, compile_table
from passerelle_consent.policy.packed import INSTANT_BYTES, TURNS_AT
from passerelle_consent.policy.standing import UNKNOWN_SUBJECT, Actor, Override, Protection, Stance, Standing, State
from passerelle_consent.policy.standings import Form, Standings
from passerelle_consent.wire import BadRecord, decode_standing, encode_standing
from unit.policy.city import CATALOGUE, NOW_MS, agreement, flow, stance, standing

ANN = b"ann-subject-ref!"
NAMES = ("s", "i", "p")
TERMS = [
    agreement("s", "6-1-a", {"registry.moved.v1": ["street"]}),
    agreement("i", "6-1-e", {"tax.assessed.v1": ["income"]}, in_force={"from": "2026-11-23", "until": "2026-11-23"}),
    agreement("p", "6-1-a", {"registry.moved.v1": ["phone"]}),
]
TABLE = compile_table(
    TERMS,
    [flow("f", "schools.tariff.v1", ["s@1", "i@1", "p@1"], ["band"], ["hint"])],
    CATALOGUE,
    digest=bytes(32),
)
ABOUT = TABLE.about("f")
DAY_MS = 86_400_000
times = st.integers(NOW_MS - 2 * DAY_MS, NOW_MS + 2 * DAY_MS) | st.sampled_from([0, 1, 2**48 - 1])
stances = st.builds(
    Stance,
    agreement=st.sampled_from(NAMES) | st.sampled_from(["other-9", "a" * 70, "Ünusual"]),
    state=st.sampled_from(State),
    notice=st.none() | st.integers(0, 3) | st.just(70_000),
    at_ms=times,
    until_ms=st.none() | times,
    by=st.sampled_from(Actor),
)
whole = st.builds(
    Standing,
    linked=st.booleans() | st.just(True),  # noqa: FBT003 - a value
    revision=st.integers(0, 2**32 - 1),
    stances=st.lists(stances, max_size=5).map(lambda said: {s.agreement: s for s in said}),
    restricted_since_ms=st.none() | st.none() | times,
    overrides=st.lists(st.builds(Override, agreement=st.just("s"), until_ms=times), max_size=1).map(tuple),
    minor_until_ms=st.none() | st.none() | times,
    protection=st.none() | st.none() | st.sampled_from(Protection),
)


@given(whole, st.lists(times, min_size=1, max_size=4))
def test_what_is_kept_decides_as_the_whole_standing(its_standing, instants):
    kept = Standings(decode_standing)
    assert kept.put(ANN, encode_standing(its_standing))
    for now_ms in instants:
        assert TABLE.decide("f", kept.at(ANN, now_ms, ABOUT), now_ms) == TABLE.decide("f", its_standing, now_ms)


class _Parsed(Exception):
    pass


def cut(value):
    """Whether the record is kept without the full parser."""

    def parse(_):
        raise _Parsed

    try:
        return Standings(parse).put(ANN, value)
    except _Parsed:
        return False


@given(st.binary(max_size=40) | st.builds(lambda s, tail: encode_standing(s) + tail, whole, st.binary(max_size=2)))
def test_a_cut_takes_only_what_the_parser_takes(value):
    if cut(value):
        decode_standing(value)


@given(whole, st.integers(0, 200), st.integers(0, 255))
def test_a_changed_byte_is_read_alike_or_refused(its_standing, place, byte):
    value = bytearray(encode_standing(its_standing))
    value[place % len(value)] = byte
    kept = Standings(decode_standing)
    try:
        expected = decode_standing(bytes(value))
    except BadRecord:
        with pytest.raises(BadRecord):
            kept.put(ANN, bytes(value))
        return
    kept.put(ANN, bytes(value))
    assert TABLE.decide("f", kept.at(ANN, NOW_MS, ABOUT), NOW_MS) == TABLE.decide("f", expected, NOW_MS)


USUAL = {
    "linked": {},
    "said": {"stances": {"s": stance("s", "given"), "p": stance("p", "refused", until_ms=NOW_MS)}},
    "a minor": {"minor_until_ms": NOW_MS},
    "protected": {"protection": Protection.REPRESENTATION},
    "a notice that has no room": {"stances": {"s": stance("s", "given", notice=15)}},
    "all of it": {
        "revision": 2**32 - 1,
        "stances": {f"a-{n}": stance(f"a-{n}", "given", until_ms=NOW_MS + n) for n in range(60)},
        "minor_until_ms": NOW_MS + 5,
        "protection": Protection.ASSISTANCE,
    },
}
RARE = {
    "restricted": {"restricted_since_ms": 1},
    "opened": {"overrides": (Override(agreement="s", until_ms=NOW_MS),)},
    "unlinked": {"linked": False},
    "many": {"stances": {f"a-{n}": stance(f"a-{n}", "given") for n in range(300)}},
    "many turns": {"stances": {f"a-{n}": stance(f"a-{n}", "given", until_ms=NOW_MS + n) for n in range(300)}},
}


@pytest.mark.parametrize("name", USUAL)
def test_a_usual_record_is_cut(name):
    assert cut(encode_standing(standing(**USUAL[name])))


@pytest.mark.parametrize("name", RARE)
def test_a_rare_record_is_parsed(name):
    its = standing(**RARE[name])
    assert not cut(encode_standing(its))
    kept = Standings(decode_standing)
    assert kept.put(ANN, encode_standing(its))
    assert kept.at(ANN, NOW_MS, ABOUT) == its


ONE = encode_standing(standing(stance("street", "given", until_ms=5), minor_until_ms=7))
SAID_AT = TURNS_AT + 2 * INSTANT_BYTES
SAID, MARK_OF, PERSON = SAID_AT, SAID_AT + 1, SAID_AT + 2
TWO = encode_standing(standing(stance("aa", "given"), stance("ab", "withdrawn")))


def at(place, byte):
    return ONE[:place] + bytes([byte]) + ONE[place + 1 :]


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(at(1, 2), id="more stances than agreements"),
        pytest.param(at(1, 0), id="more agreements than stances"),
        pytest.param(at(2, 3), id="more turns than there are"),
        pytest.param(at(2, 65), id="more turns than may be"),
        pytest.param(at(SAID, 192), id="a state that there is not"),
        pytest.param(at(MARK_OF, 3), id="a turn that there is not"),
        pytest.param(at(MARK_OF, 3 * 65), id="said by nobody"),
        pytest.param(at(PERSON, 3), id="a majority at no turn"),
        pytest.param(at(PERSON, 3 * 65), id="a protection that there is not"),
        pytest.param(ONE.replace(b"street", b"str\xffet"), id="no text"),
        pytest.param(ONE.replace(b"street", b"str\0et"), id="two agreements"),
        pytest.param(ONE + b"\1one", id="no notice"),
        pytest.param(ONE[: -len("street")], id="no agreement"),
        pytest.param(ONE[: PERSON + 3], id="cut off"),
        pytest.param(encode_standing(standing())[:-1], id="no person"),
        pytest.param(TWO.replace(b"ab", b"aa"), id="an agreement that comes twice"),
        pytest.param(TWO.replace(b"ab", b"a"), id="agreements that are not in order"),
    ],
)
def test_what_only_looks_usual_is_refused(broken):
    """Also when all its parts are known by heart."""
    kept = Standings(decode_standing)
    for value in (ONE, TWO, encode_standing(standing())):
        assert broken != value
        kept.put(ANN, value)
    with pytest.raises(BadRecord):
        kept.put(ANN, broken)
    with pytest.raises(BadRecord):
        Standings(decode_standing).put(ANN, broken)


def test_turns_that_do_not_ascend_are_refused():
    """What has passed is counted: a turn before its time would be taken for another."""
    value = encode_standing(standing(stance("s", "given", until_ms=5), stance("p", "given", until_ms=7)))
    for turns in (b"\0\0\0\0\0\7" + b"\0\0\0\0\0\5", (b"\0\0\0\0\0\5") * 2):
        turned = value.replace(b"\0\0\0\0\0\5" + b"\0\0\0\0\0\7", turns)
        kept = Standings(decode_standing)
        kept.put(ANN, value)
        assert turned != value
        with pytest.raises(BadRecord):
            kept.put(ANN, turned)


# Written by the release before: of version 1, whose stances stand apart in Avro.
BEFORE = (
    b"\x01\x00\x00\x00\x03" + b"\0\0\0\0\0\5" + b"\0\0\0\0\0\7" + b"\0\0\0\0\0\1"
    b"\x01\x00\x02\x02\x00\x00\x02\xff\x0cstreet\x04\x02\x04\x02\x00\x00\x00\x00\x02\x00\x01"
)


def test_a_record_from_before_is_kept_as_small():
    kept = Standings(decode_standing)
    assert kept.put(ANN, BEFORE)
    told = standing(stance("street", "given", notice=2, at_ms=1, until_ms=5), minor_until_ms=7, revision=3)
    assert decode_standing(BEFORE) == told
    assert isinstance(kept.at(ANN, NOW_MS, ABOUT), Form)
    again = Standings(decode_standing)
    again.put(ANN, encode_standing(told))
    assert again._entries == kept._entries


def test_who_stands_alike_shares_a_form():
    kept = Standings(decode_standing)
    for ref, at_ms in ((b"a" * 16, 5), (b"b" * 16, 6)):
        kept.put(ref, encode_standing(standing(stance("s", "given", at_ms=at_ms))))
    assert isinstance(kept.at(b"a" * 16, NOW_MS, ABOUT), Form)
    assert kept.at(b"a" * 16, NOW_MS, ABOUT) is kept.at(b"b" * 16, NOW_MS, ABOUT)


def test_each_consent_ends_at_its_own_instant():
    kept = Standings(decode_standing)
    said = standing(stance("s", "given", until_ms=NOW_MS + 10), stance("p", "given", until_ms=NOW_MS + 5))
    kept.put(ANN, encode_standing(said))
    verdicts = [
        TABLE.decide("f", kept.at(ANN, NOW_MS + after, ABOUT), NOW_MS + after).verdict for after in (4, 5, 9, 10)
    ]
    assert verdicts == ["permit", "redact", "redact", "deny"]


def test_a_remembered_decision_ends_with_its_agreement():
    kept = Standings(decode_standing)
    kept.put(ANN, encode_standing(standing(stance("s", "given"))))
    midnight_ms = (NOW_MS // DAY_MS + 1) * DAY_MS
    for now_ms, reason in (
        (NOW_MS, Reason.CONSENT_NOT_GIVEN),
        (midnight_ms, Reason.AGREEMENT_NOT_IN_FORCE),
        (midnight_ms - 1, Reason.CONSENT_NOT_GIVEN),
        (midnight_ms - DAY_MS - 1, Reason.AGREEMENT_NOT_IN_FORCE),
    ):
        assert TABLE.decide("f", kept.at(ANN, now_ms, ABOUT), now_ms).reason is reason
    assert TABLE.decide("nowhere", kept.at(ANN, NOW_MS, ABOUT), NOW_MS).reason is Reason.UNKNOWN_FLOW


def test_an_older_revision_changes_nothing():
    kept = Standings(decode_standing)
    assert kept.put(ANN, encode_standing(standing(stance("s", "withdrawn"), revision=2)))
    assert not kept.put(ANN, encode_standing(standing(stance("s", "given"), revision=1)))
    assert not kept.put(ANN, encode_standing(standing(stance("s", "given"), revision=1, restricted_since_ms=1)))
    assert kept.at(ANN, NOW_MS, ABOUT).standing.stances["s"].state is State.WITHDRAWN
    kept.drop(ANN)
    assert kept.at(ANN, NOW_MS, ABOUT) is UNKNOWN_SUBJECT
    assert (len(kept), ANN in kept) == (0, False)


@pytest.mark.parametrize(("names_max", "in_form"), [(3, 3), (2, 2)])
def test_sets_of_agreements_beyond_the_bound(monkeypatch, names_max, in_form):
    """Each agreement has a code then, and decides as ever; one beyond those too is kept whole."""
    monkeypatch.setattr(codes, "SETS_MAX", 1)
    monkeypatch.setattr(codes, "NAMES_MAX", names_max)
    kept = Standings(decode_standing)
    kept.put(b"the-first-of-all", encode_standing(standing()))
    for revision, count in enumerate((1, 2, 3, 3), 1):
        said = [stance(name, "given", notice=revision, until_ms=NOW_MS + n) for n, name in enumerate(NAMES[:count])]
        its = standing(*said, revision=revision)
        assert kept.put(ANN, encode_standing(its))
        form = kept.at(ANN, NOW_MS, ABOUT)
        assert isinstance(form, Form) is (count <= in_form)
        assert {s.notice for s in (form.standing if count <= in_form else form).stances.values()} == {revision}
        for now_ms in (NOW_MS - 1, NOW_MS, NOW_MS + 1):
            assert TABLE.decide("f", kept.at(ANN, now_ms, ABOUT), now_ms) == TABLE.decide("f", its, now_ms)


def test_a_minor_comes_of_age_between_two_decisions():
    kept = Standings(decode_standing)
    kept.put(ANN, encode_standing(standing(stance("s", "given"), stance("p", "given"), minor_until_ms=NOW_MS)))
    reasons = [
        TABLE.decide("f", kept.at(ANN, now_ms, ABOUT), now_ms).reason for now_ms in (NOW_MS - 1, NOW_MS, NOW_MS - 1)
    ]
    assert reasons == [Reason.SUBJECT_NOT_COVERED, Reason.VALID_BASIS, Reason.SUBJECT_NOT_COVERED]


def test_what_is_remembered_is_bounded(monkeypatch):
    monkeypatch.setattr(module, "FORMS_KEPT", 2)
    monkeypatch.setattr(module, "ENDS_KEPT", 2)
    monkeypatch.setattr(module, "VIEWS_KEPT", 2)
    monkeypatch.setattr(module, "LOOKS_KEPT", 2)
    kept = Standings(decode_standing)
    for notice in range(1, 8):
        ref = bytes([notice]) * 16
        said = stance("s", "given", notice=notice), stance(f"other-{notice}", "given")
        kept.put(ref, encode_standing(standing(*said)))
        assert kept.at(ref, NOW_MS, ABOUT).standing.stances["s"].notice == notice
        view = kept._views[ABOUT]
        kept.at(ref, NOW_MS, frozenset({f"a{notice}"}))
        assert max(map(len, (kept._views, view.forms, view.by_heart, view.looks))) <= 2
    assert len(kept) == 7


def test_a_standing_takes_few_bytes():
    kept = Standings(decode_standing)
    said = [stance(name, "given", until_ms=NOW_MS + n) for n, name in enumerate(NAMES)]
    kept.put(ANN, encode_standing(standing(*said)))
    assert sys.getsizeof(kept._entries[int.from_bytes(ANN)]) <= 96
