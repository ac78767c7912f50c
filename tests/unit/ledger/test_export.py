"""An export and its proof hold alone, in each format; whatever is changed in them is found."""

import io
import random
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passerelle_consent.ledger.audit.folder import LogFolder
from passerelle_consent.ledger.faults import Invalid, Unclear
from passerelle_consent.ledger.log import tree
from passerelle_consent.ledger.log.cover import cover, covered_root
from passerelle_consent.ledger.log.note import Signer
from passerelle_consent.ledger.query.export import FORMATS, Export, verify_export
from passerelle_consent.ledger.query.formats import READERS
from passerelle_consent.ledger.query.select import Selection
from passerelle_consent.policy.decide import Reason, Verdict
from unit.ledger.fakes import ORIGIN, SIGNER
from unit.ledger.test_entries import entries

SEED = 20_261_126


@given(st.integers(1, 70), st.data())
def test_a_cover_leads_to_the_root_and_only_with_its_own_entries(size, data):
    leaves = [tree.leaf_hash(bytes([n])) for n in range(size)]
    chosen = sorted(data.draw(st.sets(st.integers(0, size - 1))))
    hashes = list(cover(chosen, size, tree.source_of(leaves)))
    root = tree.root(size, tree.source_of(leaves))
    assert covered_root([(n, leaves[n]) for n in chosen], size, iter(hashes)) == root
    if len(chosen) == 1:
        assert sorted(hashes) == sorted(tree.inclusion_proof(chosen[0], size, tree.source_of(leaves)))
    if chosen == list(range(size)):
        assert hashes == []
    if chosen:
        moved = [(chosen[0], leaves[chosen[0]][::-1]), *((n, leaves[n]) for n in chosen[1:])]
        assert covered_root(moved, size, iter(hashes)) != root
        with pytest.raises(Invalid):
            covered_root([(n, leaves[n]) for n in chosen], size, iter([*hashes, bytes(32)]))


@pytest.mark.parametrize("chosen", [[3, 2], [2, 2], [9], [-1]])
def test_what_is_no_set_of_entries_has_no_cover(chosen):
    leaves = [tree.leaf_hash(bytes([n])) for n in range(9)]
    with pytest.raises(Invalid):
        list(cover(chosen, 9, tree.source_of(leaves)))


def test_a_run_of_entries_takes_some_two_hashes_a_level():
    size = 1 << 16
    hashes = list(cover(range(1_000, 2_000), size, lambda *_: bytes(32)))
    assert len(hashes) <= 2 * 16


@pytest.mark.parametrize("format_", FORMATS)
def test_every_entry_comes_back_to_the_byte(format_):
    from passerelle_consent.ledger.query.export import _read, writer_of

    @given(st.lists(entries(), max_size=5))
    def check(some):
        rows = [(7 * n, entry.encode()) for n, entry in enumerate(some)]
        file = io.BytesIO()
        writer = writer_of(format_, file)
        writer.write(rows)
        writer.close()
        file.seek(0)
        assert list(_read(format_, file)) == rows

    check()


@pytest.fixture
def log(town):
    integrator = town.started()
    for verdict, reason in [(Verdict.PERMIT, Reason.VALID_BASIS), (Verdict.DENY, Reason.OBJECTED)] * 3:
        town.decide(count=101, verdict=verdict, reason=reason)
        town.note("withdrawn", department="tax")
        while (step := integrator.step()).full or step.decisions or step.journal:
            pass
    return LogFolder(town.folder)


def exported(log, asked=None, format_="jsonl", **places):
    export = Export(log=log, verifier=SIGNER.verifier, asked=asked or Selection(), format=format_, **places)
    data, proof = io.BytesIO(), io.BytesIO()
    list(export.write(export.found(), data))
    list(export.prove(proof))
    return data.getvalue(), proof.getvalue()


def verified(data, proof, verifier=SIGNER.verifier):
    return verify_export(io.BytesIO(data), io.BytesIO(proof), verifier)


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize(
    "asked",
    [Selection(), Selection(verdict=Verdict.DENY), Selection(department="tax"), Selection(flow="another")],
    ids=["all", "denied", "tax", "none"],
)
def test_an_export_holds_alone(log, format_, asked):
    data, proof = exported(log, asked, format_)
    found = verified(data, proof)
    assert found.head.asked == asked
    assert found.head.entries == {True: 612, False: found.head.entries}[asked == Selection()]
    assert (found.checkpoint.size, found.head.start, found.head.end) == (612, 0, 612)


@pytest.mark.parametrize(("start", "end"), [(0, 1), (100, 400), (255, 257), (611, None), (300, 300), (612, 900)])
def test_a_run_of_places_is_shown_to_be_whole(log, start, end):
    data, proof = exported(log, start=start, end=end)
    head = verified(data, proof).head
    assert head.whole
    assert head.entries == head.end - head.start == len(range(start, min(end or 612, 612)))


@pytest.mark.parametrize("format_", ["jsonl", "csv"])
def test_any_byte_that_is_changed_is_found(log, format_):
    print(f"seed {SEED}")
    draw = random.Random(SEED)
    data, proof = exported(log, Selection(department="tax"), format_)
    for which in (0, 1):
        files = [data, proof]
        for _ in range(150):
            at = draw.randrange(len(files[which]))
            bent = bytearray(files[which])
            bent[at] ^= 1 << draw.randrange(8)
            tried = [bytes(bent) if n == which else file for n, file in enumerate(files)]
            with pytest.raises((Invalid, Unclear)):
                verified(*tried)


def test_what_is_left_out_put_in_or_moved_is_found(log):
    data, proof = exported(log, Selection(verdict=Verdict.DENY))
    lines = data.splitlines(keepends=True)
    others, _ = exported(log, Selection(verdict=Verdict.PERMIT))
    for bent in (
        lines[1:],
        [lines[1], lines[0], *lines[2:]],
        [lines[0], *lines],
        [*lines, others.splitlines()[0] + b"\n"],
    ):
        with pytest.raises(Invalid):
            verified(b"".join(bent), proof)
    whole, of_whole = exported(log)
    with pytest.raises(Invalid):
        verified(data, of_whole)
    with pytest.raises(Invalid):
        verified(whole, proof)
    for cut in (data[:-10], data[: data.index(b"\n") + 1], b""):
        with pytest.raises(Invalid):
            verified(cut, proof)
    for cut in (proof[:-10], proof[: proof.rindex(b"\n", 0, -1) + 1], proof + proof[-45:], b"", b"\n" * 9):
        with pytest.raises(Invalid):
            verified(data, cut)


def test_a_proof_that_claims_more_than_was_asked_is_refused(log):
    data, proof = exported(log, Selection(verdict=Verdict.DENY))
    claimed = proof.replace(b'asked {"verdict":"deny"}', b"asked {}")
    assert claimed != proof
    with pytest.raises(Invalid, match="entries, of"):
        verified(data, claimed)
    with pytest.raises(Invalid, match="was not asked for"):
        verified(data, proof.replace(b"deny", b"permit"))
    with pytest.raises(Invalid, match="303 entries, of 304"):
        verified(data, proof.replace(b"entries 303", b"entries 304"))


def test_another_logs_key_cannot_tell(log):
    data, proof = exported(log)
    for other in (Signer.of("another.example/log", bytes(32)), Signer.of(ORIGIN, bytes(32))):
        with pytest.raises(Unclear):
            verified(data, proof, other.verifier)


def test_without_its_library_parquet_cannot_be_told(log, monkeypatch):
    data, proof = exported(log, format_="parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.delitem(sys.modules, "passerelle_consent.ledger.query.parquet")
    monkeypatch.delattr("passerelle_consent.ledger.query.parquet")
    with pytest.raises(Unclear, match="Parquet is not installed") as unclear:
        verified(data, proof)
    assert unclear.value.hint == "pip install passerelle[parquet]"


def test_a_csv_without_its_header_is_named():
    with pytest.raises(Invalid, match="does not name the columns"):
        list(READERS["csv"](io.BytesIO(b"a,b\r\n")))


def test_what_is_asked_for_is_written_and_read():
    asked = Selection(
        since_ms=1, until_ms=2, verdict=Verdict.DENY, reason=Reason.OBJECTED, agreement="a@1", ident=bytes(16)
    )
    assert Selection.of_plain(asked.plain()) == asked
    assert Selection(since_ms=-1, until_ms=10**18).plain() == {}
    for bad in ({"verdict": "maybe"}, {"colour": "red"}, {"since": "yesterday"}, {"since": 3}, {"id": "zz"}):
        with pytest.raises(Invalid):
            Selection.of_plain(bad)
