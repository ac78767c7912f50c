"""A witness holds a log to what it said before: each answer of tlog-witness, a rollback, a split, one that is down."""

import asyncio
import base64
import shutil
import sqlite3
import threading
from contextlib import closing
from hashlib import sha256

import httpx
import pytest
from typer.testing import CliRunner

from passerelle.cli.ledger import app as commands
from passerelle_consent.ledger.audit.findings import Outcome
from passerelle_consent.ledger.audit.folder import LogFolder
from passerelle_consent.ledger.audit.verify import fsck
from passerelle_consent.ledger.audit.witness import HASHES_MAX, REQUEST_BYTES_MAX, SPLITS_MAX, AddRequest, Kept, Witness
from passerelle_consent.ledger.audit.witness_http import application
from passerelle_consent.ledger.database.store import Store
from passerelle_consent.ledger.faults import Invalid, Unclear
from passerelle_consent.ledger.integrator import cosigning
from passerelle_consent.ledger.integrator.ask import Refusal, WitnessClient, ask_all
from passerelle_consent.ledger.integrator.cosigning import WitnessedPublisher
from passerelle_consent.ledger.integrator.publish import FolderPublisher
from passerelle_consent.ledger.log import tree
from passerelle_consent.ledger.log.checkpoint import Checkpoint
from passerelle_consent.ledger.log.cosignature import Cosigner, WitnessKey
from passerelle_consent.ledger.log.note import Note, SignatureLine, Signer
from passerelle_consent.ledger.log.trust import KnownWitness, Policy
from unit.ledger.fakes import ORIGIN, SIGNER, LedgerTown, served

NOW_S = 1_760_000_000
COSIGNER = Cosigner.of("witness.example/w1", bytes(range(2, 34)))
KEY = COSIGNER.key
EMPTY = b""


class Tree:
    """A log of so many entries, said without files."""

    def __init__(self, size, salt=b""):
        self.source = tree.source_of([tree.leaf_hash(salt + bytes([i % 256, i // 256])) for i in range(size)])

    def head(self, size):
        return Checkpoint(origin=ORIGIN, size=size, root=tree.root(size, self.source))

    def request(self, old, size, signer=SIGNER):
        proof = tree.consistency_proof(old, size, self.source) if old else []
        return AddRequest(old=old, proof=tuple(proof), note=self.head(size).sign(signer)).encode()


@pytest.fixture
def witness(tmp_path):
    return Witness(cosigner=COSIGNER, logs=[SIGNER.verifier], kept=Kept(tmp_path / "w1"), now_s=lambda: NOW_S)


class Bridge(httpx.BaseTransport):
    """The application, without a socket."""

    def __init__(self, witness):
        self.inner = httpx.ASGITransport(application(witness))

    def handle_request(self, request):
        async def answered():
            body = request.read()
            asked = httpx.Request(request.method, request.url, headers=request.headers, content=body)
            answer = await self.inner.handle_async_request(asked)
            return httpx.Response(answer.status_code, headers=answer.headers, content=await answer.aread())

        return asyncio.run(answered())


@pytest.fixture
def http(witness):
    with httpx.Client(transport=Bridge(witness), base_url="http://witness.example") as client:
        yield client


def client_of(http):
    known = KnownWitness(name="w1", key=KEY, address="http://witness.example/")
    return WitnessClient(known, transport=http._transport)


# --- the format -----------------------------------------------------------------------------------------------------


def test_a_cosignature_is_over_time_and_checkpoint():
    head = Tree(3).head(3)
    line = COSIGNER.sign(head.text(), NOW_S)
    note = Note(text=head.text(), signatures=(*SIGNER.sign(head.text()).signatures, line))
    assert KEY.time_s(Note.parse(note.encode())) == NOW_S
    assert WitnessKey.parse(KEY.encode()) == KEY
    assert KEY.time_s(SIGNER.sign(head.text())) is None
    for at in range(len(line.signature)):
        bent = line.signature[:at] + bytes([line.signature[at] ^ 1]) + line.signature[at + 1 :]
        with pytest.raises(Invalid):
            KEY.check(type(line)(name=line.name, key_id=line.key_id, signature=bent), head.text())
    with pytest.raises(Invalid):
        KEY.check(line, Tree(3).head(2).text())
    with pytest.raises(Invalid):
        KEY.check(type(line)(name=line.name, key_id=line.key_id, signature=b"short"), head.text())


def test_a_cosignature_of_no_time():
    text, time_s = Tree(3).head(3).text(), 2**63
    signature = time_s.to_bytes(8, "big") + COSIGNER.private.sign(f"cosignature/v1\ntime {time_s}\n{text}".encode())
    with pytest.raises(Invalid, match="no time"):
        KEY.check(SignatureLine(name=KEY.name, key_id=KEY.key_id, signature=signature), text)


def test_a_logs_key_is_no_witnesss_and_the_other_way_round():
    with pytest.raises(Unclear):
        WitnessKey.parse(SIGNER.verifier.encode())
    with pytest.raises(Unclear):
        type(SIGNER.verifier).parse(KEY.encode())


# --- add-checkpoint, status by status ---------------------------------------------------------------------------------


def post(http, body):
    return http.post("/add-checkpoint", content=body)


def test_first_and_next_checkpoints_are_cosigned_and_kept(http, witness):
    log = Tree(300)
    for old, size in ((0, 0), (0, 5), (5, 5), (5, 256), (256, 300)):
        answer = post(http, log.request(old, size))
        assert answer.status_code == 200, answer.text
        note = Note.parse(log.head(size).sign(SIGNER) + answer.content)
        assert KEY.time_s(note) == NOW_S
    kept = http.get(f"/{sha256(ORIGIN.encode()).hexdigest()}/checkpoint")
    assert Note.parse(kept.content) == note
    again = Witness(cosigner=COSIGNER, logs=[SIGNER.verifier], kept=witness._kept, now_s=lambda: NOW_S)
    assert again.add(log.request(5, 256)).status == 409


def test_400(http):
    log = Tree(9)
    good = log.request(0, 5)
    for body in (
        b"",
        b"x",
        good[:-5],
        good.replace(b"old 0", b"old 00"),
        good.replace(b"old 0", b"old 6"),
        b"\xff" * 9,
    ):
        assert post(http, body).status_code == 400, body
    hashes = base64.b64encode(bytes(32)) + b"\n"
    assert post(http, b"old 1\n" + hashes * (HASHES_MAX + 1) + b"\n" + log.head(5).sign(SIGNER)).status_code == 400
    assert post(http, b"x" * (REQUEST_BYTES_MAX + 1)).status_code == 413


def test_403_by_another_key_and_for_a_signature_that_does_not_hold(http):
    log = Tree(5)
    assert post(http, log.request(0, 5, Signer.of(ORIGIN, bytes(32)))).status_code == 403
    forged = AddRequest(old=0, proof=(), note=log.head(5).sign(SIGNER).replace(b"\n5\n", b"\n4\n"))
    assert post(http, forged.encode()).status_code == 403


def test_404_for_another_log_and_for_one_not_cosigned_yet(http):
    other = Checkpoint(origin="other.example/log", size=0, root=tree.EMPTY_ROOT)
    signed = other.sign(Signer.of("other.example/log", bytes(32)))
    assert post(http, AddRequest(old=0, proof=(), note=signed).encode()).status_code == 404
    for name in (sha256(ORIGIN.encode()).hexdigest(), "..%2f..", "x"):
        assert http.get(f"/{name}/checkpoint").status_code == 404


def test_409_tells_the_size(http):
    log = Tree(20)
    assert post(http, log.request(0, 9)).status_code == 200
    for old in (0, 8, 10):
        answer = post(http, log.request(old, 20))
        assert (answer.status_code, answer.text) == (409, "9\n")
        assert answer.headers["content-type"] == "text/x.tlog.size"


def test_422_where_the_next_does_not_contain_the_last(http, tmp_path):
    log, other = Tree(30), Tree(30, b"other")
    bad_empty = Checkpoint(origin=ORIGIN, size=0, root=bytes(32)).sign(SIGNER)
    assert post(http, AddRequest(old=0, proof=(), note=bad_empty).encode()).status_code == 422
    needless = AddRequest(old=0, proof=(bytes(32),), note=log.head(9).sign(SIGNER))
    assert post(http, needless.encode()).status_code == 422
    assert post(http, log.request(0, 9)).status_code == 200
    assert post(http, other.request(9, 30)).status_code == 422
    assert post(http, other.request(9, 9)).status_code == 422
    assert post(http, log.request(9, 30)).status_code == 200, "nothing of it was taken over"


def test_two_histories_of_one_size_are_kept_as_the_proof_of_it(http, tmp_path):
    assert post(http, Tree(9).request(0, 9)).status_code == 200
    for number in range(SPLITS_MAX + 3):
        assert post(http, Tree(9, bytes([number])).request(9, 9)).status_code == 422
    kept = list((tmp_path / "w1").rglob("split-9-*"))
    assert len(kept) == SPLITS_MAX
    assert {Checkpoint.parse(Note.parse(k.read_bytes()).text).size for k in kept} == {9}


def test_of_requests_at_once_one_wins_and_nothing_rolls_back(witness):
    """The race of the text: two requests from the same size. The last word is never the smaller."""
    log = Tree(40)
    assert witness.add(log.request(0, 4)).status == 200
    replies, start = [], threading.Barrier(12)

    def ask(size):
        start.wait()
        replies.append((witness.add(log.request(4, size)).status, size))

    threads = [threading.Thread(target=ask, args=(size,)) for size in range(5, 17)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (won,) = [size for status, size in replies if status == 200]
    assert {status for status, _ in replies} == {200, 409}
    assert witness.add(log.request(won, 40)).status == 200


def test_what_it_keeps_is_believed_under_its_own_key_only(witness, tmp_path):
    log = Tree(9)
    assert witness.add(log.request(0, 5)).status == 200
    (kept,) = (tmp_path / "w1").rglob("checkpoint")
    kept.write_bytes(log.head(2).sign(SIGNER))
    with pytest.raises(Unclear):
        witness.add(log.request(2, 9))
    with httpx.Client(transport=Bridge(witness), base_url="http://x") as http:
        assert post(http, log.request(2, 9)).status_code == 500


# --- the log's side -------------------------------------------------------------------------------------------------


def test_a_log_asks_and_its_checkpoint_carries_the_cosignature(town, http):
    asked = threading.Event()
    publisher = FolderPublisher(town.folder, SIGNER.verifier)
    add = publisher.add

    def noted(checkpoint, line):
        done = add(checkpoint, line)
        if checkpoint.size == 300:
            asked.set()
        return done

    publisher.add = noted
    witnessed = WitnessedPublisher(publisher, LogFolder(town.folder), [client_of(http)])
    integrator = town.started(publisher=witnessed)
    for _ in range(3):
        town.decide(count=100)
        integrator.step()
    assert asked.wait(30)
    witnessed.close()
    policy = Policy.parse(f"witness w1 {KEY.encode()}\nquorum w1\n".encode())
    result = fsck(LogFolder(town.folder), SIGNER.verifier, policy)
    assert (result.outcome, result.witnesses) == (Outcome.VALID, {"w1": NOW_S})
    again = town.integrator()
    assert again.start(), "a cosigned checkpoint is the log's own"


def test_a_witness_that_is_down_never_stops_the_log(town, monkeypatch):
    called = threading.Event()

    def down(request):
        called.set()
        raise httpx.ConnectTimeout("no", request=request)

    known = KnownWitness(name="w1", key=KEY, address="http://witness.example/")
    client = WitnessClient(known, transport=httpx.MockTransport(down))
    witnessed = WitnessedPublisher(FolderPublisher(town.folder, SIGNER.verifier), LogFolder(town.folder), [client])
    integrator = town.started(publisher=witnessed)
    for _ in range(5):
        town.decide()
        integrator.step()
    assert called.wait(30)
    assert fsck(LogFolder(town.folder), SIGNER.verifier).size == 5
    witnessed.close()
    assert not any(asker.is_alive() for asker in witnessed._askers)
    assert cosigning.REST_S >= 1


def test_a_cosignature_that_comes_too_late_is_not_put_under_another_checkpoint(town):
    integrator = town.started()
    older, _ = LogFolder(town.folder).checkpoint(SIGNER.verifier)
    town.decide()
    integrator.step()
    published = (town.folder / "checkpoint").read_bytes()
    publisher = FolderPublisher(town.folder, SIGNER.verifier)
    assert not publisher.add(older, COSIGNER.sign(older.text(), NOW_S))
    assert (town.folder / "checkpoint").read_bytes() == published
    newer, _ = LogFolder(town.folder).checkpoint(SIGNER.verifier)
    for time_s in (NOW_S, NOW_S + 60):
        assert publisher.add(newer, COSIGNER.sign(newer.text(), time_s))
    note = Note.parse((town.folder / "checkpoint").read_bytes())
    assert (len(note.signatures), KEY.time_s(note)) == (2, NOW_S + 60), "the newest of a witness stands for it"


def cosigned(town, http):
    log = LogFolder(town.folder)
    checkpoint, note = log.checkpoint(SIGNER.verifier)
    return client_of(http).cosign(note, checkpoint, log.source(checkpoint.size))


def test_a_database_rolled_back_to_an_older_backup_is_refused(http, tmp_path):
    """The backup is sound, and so is all that grows from it: only whoever remembers more can tell.

    The same decisions are integrated anew, and are other entries: their commitments are drawn anew.
    """
    town = LedgerTown(tmp_path)
    integrator = town.started()
    town.decide(count=5)
    integrator.step()
    integrator.resign()
    backup = tmp_path / "backup.sqlite"
    with closing(sqlite3.connect(town.url.removeprefix("sqlite:///"))) as db, closing(sqlite3.connect(backup)) as copy:
        db.backup(copy)
    integrator = town.started()
    town.decide(count=5)
    integrator.step()
    cosigned(town, http)
    shutil.rmtree(town.folder)
    restored = Store(f"sqlite:///{backup}")
    integrator = town.started(store=restored)
    assert fsck(LogFolder(town.folder), SIGNER.verifier).outcome is Outcome.VALID
    with pytest.raises(Refusal, match="has cosigned this log at size 10, and is asked about size 5"):
        cosigned(town, http)
    integrator.step()
    assert fsck(LogFolder(town.folder), SIGNER.verifier).size == 10
    with pytest.raises(Refusal, match="422"):
        cosigned(town, http)
    assert list(tmp_path.rglob("split-10-*")), "the proof of two histories is kept"
    town.decide(count=20)
    integrator.step()
    with pytest.raises(Refusal, match="422"):
        cosigned(town, http)
    restored.close()
    town.store.close()


def test_a_client_believes_no_answer_but_its_witnesss(town):
    town.started()
    log = LogFolder(town.folder)
    checkpoint, note = log.checkpoint(SIGNER.verifier)
    stranger = Cosigner.of("witness.example/w1", bytes(32)).sign(checkpoint.text(), NOW_S).encode()
    other = COSIGNER.sign(Tree(4).head(4).text(), NOW_S).encode()
    for status, body in (
        (200, ""),
        (200, stranger),
        (200, other),
        (200, "x" * 10**6),
        (409, "-1\n"),
        (409, "x"),
        (500, ""),
    ):
        known = KnownWitness(name="w1", key=KEY, address="http://witness.example/")
        transport = httpx.MockTransport(lambda _, status=status, body=body: httpx.Response(status, text=body))
        with pytest.raises(Unclear, match="w1"):
            WitnessClient(known, transport=transport).cosign(note, checkpoint, log.source(0))


def test_each_witness_answers_for_itself(town, http):
    town.started()
    log = LogFolder(town.folder)
    checkpoint, note = log.checkpoint(SIGNER.verifier)
    gone = WitnessClient(
        KnownWitness(name="w2", key=KEY, address="http://x.example"),
        transport=httpx.MockTransport(lambda _: httpx.Response(503)),
    )
    answers = list(ask_all([gone, client_of(http)], note, checkpoint, log.source(0)))
    assert [(a.witness, a.line is not None, a.fault is not None) for a in answers] == [
        ("w2", False, True),
        ("w1", True, False),
    ]


# --- the policy -----------------------------------------------------------------------------------------------------

SEEDS = {name: bytes([number]) * 32 for number, name in enumerate(["x1", "x2", "x3", "y1", "y2"])}
LEVELS = "".join(f"witness {n} {Cosigner.of(f'{n}.example', s).key.encode()}\n" for n, s in SEEDS.items())
GROUPS = "group x 2 x1 x2 x3\ngroup y any y1 y2\ngroup both all x y\nquorum both\n"


@pytest.mark.parametrize(
    ("signed", "enough"),
    [
        (["x1", "x2", "y1"], True),
        (["x1", "x2", "x3", "y1", "y2"], True),
        (["x1", "x2"], False),
        (["x1", "y1", "y2"], False),
        ([], False),
    ],
)
def test_a_quorum_of_groups(signed, enough):
    text = Tree(2).head(2).text()
    lines = [Cosigner.of(f"{name}.example", SEEDS[name]).sign(text, NOW_S) for name in signed]
    note = Note(text=text, signatures=(*SIGNER.sign(text).signatures, *lines))
    policy = Policy.parse(f"# ours\n\n\tlog {SIGNER.verifier.encode()} http://x/\n{LEVELS}{GROUPS}".encode())
    if enough:
        assert set(policy.check(note)) == set(signed)
    else:
        with pytest.raises(Unclear, match="no quorum"):
            policy.check(note)


def test_no_quorum_is_one():
    assert Policy.parse(b"quorum none").check(SIGNER.sign("x\n")) == {}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "quorum x",
        "quorum none\nquorum none",
        "quorum",
        "nonsense",
        "log nonsense\nquorum none",
        "witness none " + KEY.encode() + "\nquorum none",
        LEVELS + LEVELS + "quorum none",
        LEVELS + "group x 4 x1 x2 x3\nquorum x",
        LEVELS + "group x 0 x1\nquorum x",
        LEVELS + "group x +1 x1\nquorum x",
        LEVELS + "group x any\nquorum x",
        LEVELS + "group x any x1 x1\nquorum x",
        LEVELS + "group x any x1\ngroup z any x1\nquorum x",
        LEVELS + "group x any z\nquorum x",
        LEVELS + "group x1 any x2\nquorum x1",
        "quorum none\x00",
        "quorum none\r\n",
    ],
)
def test_what_is_no_policy(text):
    with pytest.raises(Unclear):
        Policy.parse(text.encode())


# --- the commands -----------------------------------------------------------------------------------------------------


def test_verify_wants_the_quorum_of_a_policy(town, tmp_path):
    town.started()._publisher.write_key()
    policy = tmp_path / "policy"
    policy.write_text(f"witness w1 {KEY.encode()} http://127.0.0.1:9/\nquorum w1\n")
    arguments = [str(town.folder), "--policy", str(policy)]
    missing = CliRunner().invoke(commands, ["verify", *arguments])
    assert (missing.exit_code, "no quorum" in missing.stderr) == (2, True)
    checkpoint = town.folder / "checkpoint"
    note = Note.parse(checkpoint.read_bytes())
    line = COSIGNER.sign(note.text, NOW_S)
    checkpoint.write_bytes(Note(text=note.text, signatures=(*note.signatures, line)).encode())
    assert "cosigned by w1" in CliRunner().invoke(commands, ["verify", *arguments]).stdout
    forged = type(line)(name=line.name, key_id=line.key_id, signature=line.signature[:-1] + b"x")
    checkpoint.write_bytes(Note(text=note.text, signatures=(*note.signatures, forged)).encode())
    assert CliRunner().invoke(commands, ["fsck", *arguments]).exit_code == 1
    policy.write_text("witness w1")
    fault = CliRunner().invoke(commands, ["fsck", *arguments]).exception
    assert str(fault) == f"{policy}: line 1: not a line of a policy"


def test_cosign_prints_the_checkpoint_and_says_who_refused(town, tmp_path):
    town.started()._publisher.write_key()
    policy = tmp_path / "policy"
    policy.write_text(f"witness w1 {KEY.encode()} http://127.0.0.1:9/\nquorum none\n")
    away = CliRunner().invoke(commands, ["cosign", str(town.folder), "--policy", str(policy)])
    assert (away.exit_code, "w1: does not answer" in away.stderr) == (0, True)
    assert away.stdout == (town.folder / "checkpoint").read_text()
    with served(tmp_path) as address:
        policy.write_text(f"witness w1 {KEY.encode()} {address}/\nquorum w1\n")
        fault = CliRunner().invoke(commands, ["cosign", str(town.folder), "--policy", str(policy)]).exception
    assert isinstance(fault, Unclear)
