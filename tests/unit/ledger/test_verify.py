"""Reading the published log as an auditor does: what is bent is found and named, and nothing ends in a traceback."""

import json
import os
import random
import shutil
import time

import pytest
from typer.testing import CliRunner

from passerelle.cli.ledger import app
from passerelle_consent.ledger.audit.findings import Outcome
from passerelle_consent.ledger.audit.folder import LogFolder
from passerelle_consent.ledger.audit.prove import (
    InclusionProof,
    NotInLog,
    find,
    prove_consistency,
    prove_inclusion,
)
from passerelle_consent.ledger.audit.verify import fsck, verify
from passerelle_consent.ledger.faults import Invalid, Unclear
from passerelle_consent.ledger.log import tree
from passerelle_consent.ledger.log.checkpoint import Checkpoint
from passerelle_consent.ledger.log.entries import Entry, EntryType
from passerelle_consent.ledger.log.note import Signer
from passerelle_consent.ledger.log.tiles import Tile, pack, unpack
from passerelle_schemas.faults import Fault
from unit.ledger.fakes import ORIGIN, SIGNER, LedgerTown, entry, forge

SIZE = 300
FLIPS = 220
VERIFIER = SIGNER.verifier


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A log of 300 entries in four checkpoints, so that outdated partial tiles lie about."""
    town = LedgerTown(tmp_path_factory.mktemp("town"))
    integrator = town.started()
    for count in (SIZE - 30, 20, 9):
        town.decide(count=count)
        integrator.step()
    withdrawn = town.note("withdrawn")
    integrator.step()
    town.withdrawn = withdrawn
    integrator._publisher.write_key()
    yield town
    town.store.close()


@pytest.fixture
def log(published, tmp_path):
    """A copy to spoil."""
    shutil.copytree(published.folder, tmp_path / "ledger")
    shutil.copy(published.folder.with_name("ledger.vkey"), tmp_path)
    return tmp_path / "ledger"


def files(folder):
    return sorted(p for p in folder.rglob("*") if p.is_file())


def judged(folder, verifier=VERIFIER):
    result = verify(LogFolder(folder), verifier)
    return result.outcome, [(f.file, f.what) for f in result.findings]


def test_a_sound_log(log):
    result = verify(LogFolder(log), VERIFIER)
    assert (result.outcome, result.size, result.findings, result.ahead) == (Outcome.VALID, SIZE, (), 0)
    assert result.entries == {"decision": SIZE - 1, "withdrawn": 1}
    assert any("001.p/14" in str(f) for f in files(log)), "the log has an outdated partial tile"


def test_any_flipped_byte_is_found_and_its_file_named(log):
    seed = int(os.environ.get("SEED", time.time_ns() % 10**6))
    print(f"SEED={seed}")
    rng = random.Random(seed)
    everything = files(log)
    for trial in range(FLIPS):
        # Every file is hit, the small ones as often as the large.
        victim = everything[trial % len(everything)]
        sound = victim.read_bytes()
        at = rng.randrange(len(sound))
        victim.write_bytes(sound[:at] + bytes([sound[at] ^ rng.randrange(1, 256)]) + sound[at + 1 :])
        outcome, findings = judged(log)
        place = f"SEED={seed}, trial {trial}: {victim.relative_to(log)}, byte {at}"
        assert outcome is not Outcome.VALID, place
        assert victim.relative_to(log).as_posix() in [file for file, _ in findings], place
        victim.write_bytes(sound)
    assert judged(log)[0] is Outcome.VALID


@pytest.mark.parametrize("bend", [lambda raw: raw[:-1], lambda raw: raw[:99] + b"x" + raw[100:]], ids=["short", "bent"])
def test_fsck_finds_the_same_files_without_reading_entries(log, bend):
    sound = fsck(LogFolder(log), VERIFIER)
    assert (sound.outcome, sound.size, sound.entries) == (Outcome.VALID, SIZE, {})
    for victim in files(log):
        kept = victim.read_bytes()
        victim.write_bytes(bend(kept))
        if victim.read_bytes() != kept:
            result = fsck(LogFolder(log), VERIFIER)
            assert result.outcome is not Outcome.VALID
            assert victim.relative_to(log).as_posix() in [f.file for f in result.findings]
        victim.write_bytes(kept)


def test_fsck_takes_what_is_no_entry_and_verify_does_not(tmp_path):
    forge(tmp_path, [b"{}"])
    assert fsck(LogFolder(tmp_path), VERIFIER).outcome is Outcome.VALID
    assert judged(tmp_path)[0] is Outcome.INVALID


def test_every_truncation_of_a_file_is_found(log):
    for victim in files(log):
        sound = victim.read_bytes()
        for end in {0, 1, len(sound) // 2, len(sound) - 1}:
            victim.write_bytes(sound[:end])
            outcome, findings = judged(log)
            assert outcome is Outcome.INVALID
            assert victim.relative_to(log).as_posix() in [file for file, _ in findings]
        victim.write_bytes(sound)


def test_a_file_that_grew_is_found(log):
    for victim in files(log):
        sound = victim.read_bytes()
        victim.write_bytes(sound + bytes(32))
        assert judged(log)[0] is Outcome.INVALID
        victim.write_bytes(sound)


def test_a_truncated_bundle_is_named(log):
    bundle = log / "tile/entries/000"
    bundle.write_bytes(bundle.read_bytes()[:-1])
    assert judged(log) == (Outcome.INVALID, [("tile/entries/000", "truncated in entry 255")])


@pytest.mark.parametrize("name", ["checkpoint", "tile/0/000", "tile/1/000.p/1", "tile/entries/001.p/44"])
def test_a_missing_file_cannot_tell(log, name):
    (log / name).unlink()
    outcome, findings = judged(log)
    assert outcome is Outcome.UNCLEAR
    assert (name, "is missing") in findings


def test_a_full_tile_stands_in_for_its_partial(town):
    """Whoever still has an older checkpoint finds the full tile where the partial one was (tlog-tiles)."""
    integrator = town.started()
    town.decide(count=300)
    integrator.step()
    older = (town.folder / "checkpoint").read_bytes()
    town.decide(count=300)
    integrator.step()
    assert not (town.folder / "tile/0/001.p").exists()
    (town.folder / "checkpoint").write_bytes(older)
    result = verify(LogFolder(town.folder), VERIFIER)
    assert (result.outcome, result.size, result.ahead > 0) == (Outcome.VALID, 300, True)
    assert prove_inclusion(LogFolder(town.folder), VERIFIER, 299).check(VERIFIER)


def test_a_tile_of_the_wrong_width(log):
    shutil.copy(log / "tile/0/000", log / f"tile/0/001.p/{SIZE - 256}")
    outcome, findings = judged(log)
    assert outcome is Outcome.INVALID
    assert (f"tile/0/001.p/{SIZE - 256}", f"8192 bytes are no tile of {SIZE - 256} hashes") in findings


@pytest.mark.parametrize("name", ["notes.txt", "tile/0/x", "tile/0/000.p/300", "tile/entries/1", "tile/x000"])
def test_a_foreign_file(log, name):
    (log / name).parent.mkdir(parents=True, exist_ok=True)
    (log / name).write_text("x")
    assert judged(log) == (Outcome.INVALID, [(name, "not the path of a tile")])


def test_what_lies_beyond_the_checkpoint_is_counted_and_not_judged(log):
    """As a reader sees it between the tiles and the checkpoint of a publication."""
    (log / "tile/0/003.p").mkdir()
    (log / "tile/0/003.p/1").write_bytes(bytes(32))
    result = verify(LogFolder(log), VERIFIER)
    assert (result.outcome, result.ahead) == (Outcome.VALID, 1)


def test_a_wider_tile_must_agree_with_what_is_signed(log):
    (log / "tile/0/001.p/255").write_bytes(bytes(32 * 255))
    outcome, findings = judged(log)
    assert outcome is Outcome.INVALID
    assert findings == [("tile/0/001.p/255", "does not agree with the current tile of its place")]


def test_another_origin_and_another_key_cannot_tell(log):
    other = Signer.of("elsewhere.example/log", bytes(32))
    assert judged(log, other.verifier)[0] is Outcome.UNCLEAR
    assert judged(log, Signer.of(ORIGIN, bytes(32)).verifier)[0] is Outcome.UNCLEAR


def test_a_folder_that_cannot_be_read(log, tmp_path):
    assert judged(tmp_path / "nowhere")[0] is Outcome.UNCLEAR
    (log / "checkpoint").unlink()
    (log / "checkpoint").mkdir()
    assert judged(log)[0] is Outcome.UNCLEAR


def test_an_entry_that_is_not_canonical_is_found_though_it_is_signed(tmp_path):
    forge(tmp_path, [entry(1), entry(2).replace(b'":"', b'": "'), entry(3)])
    outcome, findings = judged(tmp_path)
    assert outcome is Outcome.INVALID
    assert findings == [("tile/entries/000.p/3", "entry 1: the entry is not canonical JSON (RFC 8785)")]


def test_an_id_that_occurs_twice_is_found_though_it_is_signed(tmp_path):
    forge(tmp_path, [entry(number % 300) for number in range(301)])
    assert judged(tmp_path) == (
        Outcome.INVALID,
        [("tile/entries/001.p/45", "entry 300 has the id of an earlier one")],
    )


def test_a_checkpoint_over_other_entries_is_found(tmp_path):
    forge(tmp_path, [entry(1), entry(2)])
    (tmp_path / "checkpoint").write_bytes(Checkpoint(origin=ORIGIN, size=2, root=bytes(32)).sign(SIGNER))
    assert judged(tmp_path) == (Outcome.INVALID, [("checkpoint", "its root is not the root of the entries")])


def test_findings_are_bounded(tmp_path):
    forge(tmp_path, [b"{}" for _ in range(300)])
    result = verify(LogFolder(tmp_path), VERIFIER)
    assert (len(result.findings), result.findings_total) == (50, 300)


# --- proofs ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("index", [0, 1, 255, 256, SIZE - 1])
def test_inclusion_of_an_index(log, index):
    proof = prove_inclusion(LogFolder(log), VERIFIER, index)
    found, checkpoint = proof.check(VERIFIER)
    assert (checkpoint.size, found.encode()) == (SIZE, proof.entry)
    assert InclusionProof.parse(proof.encode()) == proof


def test_inclusion_of_a_decision(log, published):
    number = 200
    ident = Entry.parse(published.bodies()[number]).ident
    assert find(LogFolder(log), VERIFIER, ident) == number
    assert find(LogFolder(log), VERIFIER, published.withdrawn.id) == SIZE - 1
    with pytest.raises(NotInLog):
        find(LogFolder(log), VERIFIER, bytes(16))


def test_an_entry_that_regards_another_is_not_taken_for_it(tmp_path):
    wanted = (9).to_bytes(16, "big")
    fenced = Entry(type=EntryType.FENCED, time_ms=0, id=bytes(16), regarding=wanted).encode()
    forge(tmp_path, [fenced, entry(9)])
    assert find(LogFolder(tmp_path), VERIFIER, wanted) == 1


@pytest.mark.parametrize("index", [-1, SIZE])
def test_no_proof_of_what_is_not_there(log, index):
    with pytest.raises(NotInLog):
        prove_inclusion(LogFolder(log), VERIFIER, index)


def test_any_flipped_byte_of_a_proof_is_found(log):
    data = prove_inclusion(LogFolder(log), VERIFIER, 200).encode()
    for at in range(len(data)):
        bent = data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :]
        with pytest.raises((Invalid, Unclear)):
            InclusionProof.parse(bent).check(VERIFIER)


def test_a_proof_for_another_size_is_refused(log):
    proof = prove_inclusion(LogFolder(log), VERIFIER, 200)
    smaller = Checkpoint(origin=ORIGIN, size=280, root=tree.root(280, LogFolder(log).source(SIZE))).sign(SIGNER)
    with pytest.raises(Invalid):
        InclusionProof(index=200, entry=proof.entry, hashes=proof.hashes, note=smaller).check(VERIFIER)


@pytest.mark.parametrize(
    ("old", "new"), [(1, 300), (256, 300), (255, 300), (300, 300), (299, 300), (7, 200), (256, 260)]
)
def test_consistency(log, published, old, new):
    proof = prove_consistency(LogFolder(log), VERIFIER, old, new)
    source = tree.source_of([tree.leaf_hash(e) for e in published.bodies()])
    assert (proof.old_root, proof.new_root) == (tree.root(old, source), tree.root(new, source))
    tree.verify_consistency(old=old, new=new, old_root=proof.old_root, new_root=proof.new_root, proof=proof.hashes)


@pytest.mark.parametrize(("old", "new"), [(0, 300), (301, None), (5, 301), (6, 5)])
def test_no_consistency_between_these(log, old, new):
    with pytest.raises(NotInLog):
        prove_consistency(LogFolder(log), VERIFIER, old, new)


def test_a_bent_tile_yields_no_proof(log):
    tile = log / "tile/0/000"
    sound = tile.read_bytes()
    tile.write_bytes(bytes([sound[0] ^ 1]) + sound[1:])
    with pytest.raises(Invalid):
        prove_inclusion(LogFolder(log), VERIFIER, 1)
    with pytest.raises(Invalid):
        prove_consistency(LogFolder(log), VERIFIER, 5)


# --- the command line -------------------------------------------------------------------------------------------------


def command(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def refused(*arguments):
    """The exit code of a fault, and what it names."""
    fault = command(*arguments).exception
    assert isinstance(fault, Fault), fault
    return fault.exit_code, fault.where


def test_verify_exits_with_the_answer(log):
    sound = command("verify", log)
    assert (sound.exit_code, sound.stdout.count("\n")) == (0, 1)
    assert f"valid, {SIZE} entries of {ORIGIN}, root " in sound.stdout
    bundle = log / "tile/entries/000"
    kept = bundle.read_bytes()
    bundle.write_bytes(kept[:-1])
    bent = command("verify", log)
    assert (bent.exit_code, bent.stdout) == (1, "")
    assert "INVALID: tile/entries/000: truncated in entry 255" in bent.stderr
    bundle.unlink()
    missing = command("verify", log)
    assert missing.exit_code == 2
    assert "could not tell: tile/entries/000: is missing" in missing.stderr
    said = json.loads(command("verify", log, "--json").stdout)
    assert (said["outcome"], said["size"]) == ("unclear", SIZE)


def test_verify_names_a_key_file_that_is_missing_or_wrong(log, tmp_path):
    for text in (None, "nonsense", "a b+00+AA=="):
        if text is not None:
            (tmp_path / "other.vkey").write_text(text)
        failed = command("verify", log, "--vkey", tmp_path / "other.vkey")
        assert isinstance(failed.exception, Fault)
        assert (failed.exception.exit_code, str(failed.exception).startswith(str(tmp_path / "other.vkey"))) == (2, True)


def test_a_proof_is_verified_alone(log, tmp_path):
    """Handed over without its log: what it says is told, whatever is wrong is told in one line with the file's name."""
    vkey = SIGNER.verifier.encode()
    proof = tmp_path / "one.tlog-proof"
    proof.write_text(command("prove", log, "--index", 42).stdout)
    sound = command("verify-proof", proof, "--vkey", vkey)
    assert (sound.exit_code, sound.stdout.count("\n")) == (0, 1)
    assert f"valid, entry 42 of {ORIGIN} at size {SIZE}: {{" in sound.stdout
    other = Signer.of(ORIGIN, bytes(32)).verifier.encode()
    assert refused("verify-proof", proof, "--vkey", other) == (2, str(proof))
    proof.write_bytes(proof.read_bytes().replace(b"index 42", b"index 43"))
    assert refused("verify-proof", proof, "--vkey", vkey) == (1, str(proof))
    proof.write_text("nonsense")
    assert refused("verify-proof", proof, "--vkey", vkey) == (1, str(proof))
    assert refused("verify-proof", tmp_path / "none", "--vkey", vkey) == (2, str(tmp_path / "none"))


def test_consistency_between_any_two_sizes_is_verified_alone(log, tmp_path):
    vkey = log.with_name("ledger.vkey")
    proof = tmp_path / "joined.json"
    proof.write_text(command("prove", log, "--since", 42, "--until", 270).stdout)
    sound = command("verify-proof", proof, "--vkey", vkey)
    assert sound.exit_code == 0
    assert f"valid, {ORIGIN} at size 270 begins with size 42" in sound.stdout
    said = json.loads(proof.read_text())
    for name in ("old", "new", "old_root", "new_root", "hashes", "checkpoint", "to_checkpoint"):
        bent = said[name] + 1 if isinstance(said[name], int) else said[name][:-1]
        proof.write_text(json.dumps({**said, name: bent}))
        assert refused("verify-proof", proof, "--vkey", vkey) == (1, str(proof)), name
    for nonsense in ("[]", "{}", json.dumps({**said, "more": 1}), json.dumps({**said, "old": True}), "[" * 10_000):
        proof.write_text(nonsense)
        assert refused("verify-proof", proof, "--vkey", vkey) == (1, str(proof))


def test_a_consistency_proof_begins_at_the_checkpoint_that_one_has_kept(log, tmp_path):
    vkey, proof, kept = log.with_name("ledger.vkey"), tmp_path / "joined.json", tmp_path / "kept"
    proof.write_text(command("prove", log, "--since", 42).stdout)
    root = tree.root(42, LogFolder(log).source(SIZE))
    for size, root_then, code in ((42, root, 0), (41, root, 1), (42, bytes(32), 1)):
        kept.write_bytes(Checkpoint(origin=ORIGIN, size=size, root=root_then).sign(SIGNER))
        done = command("verify-proof", proof, "--vkey", vkey, "--kept", kept)
        assert (done.exception.exit_code if done.exception else 0) == code


def test_prove_prints_a_proof_that_stands_alone(log, published):
    ident = Entry.parse(published.bodies()[42]).ident
    printed = command("prove", log, "--decision", ident.hex())
    assert printed.exit_code == 0
    proof = InclusionProof.parse(printed.stdout.encode())
    assert proof.check(VERIFIER)[0].ident == ident
    assert command("prove", log, "--index", 42).stdout == printed.stdout
    assert json.loads(command("prove", log, "--index", 42, "--json").stdout)["index"] == 42
    assert json.loads(command("prove", log, "--since", 42).stdout)["old"] == 42


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ([], 2),
        (["--index", "1", "--since", "1"], 2),
        (["--decision", "xyz"], 2),
        (["--decision", "00"], 2),
        (["--index", "1", "--until", "2"], 2),
    ],
)
def test_prove_refuses_unclear_questions(log, arguments, code):
    assert command("prove", log, *arguments).exit_code == code


@pytest.mark.parametrize("arguments", [["--index", "300"], ["--decision", "00" * 16], ["--since", "301"]])
def test_prove_says_no(log, arguments):
    failed = command("prove", log, *arguments)
    assert isinstance(failed.exception, NotInLog)
    assert failed.exception.exit_code == 1


def test_unpack_of_a_published_bundle_is_what_the_store_has(log, published):
    first = LogFolder(log).bundle(Tile(level=None, index=0))
    assert first == published.bodies()[:256]
    assert unpack(pack(first), 256) == first
