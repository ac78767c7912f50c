"""Non-delivery: whoever holds a subject's key lists every decision, and sees whether a permit followed a fence."""

import json

import pytest
from typer.testing import CliRunner

from passerelle.cli.ledger import app
from passerelle_consent.ledger.audit.folder import LogFolder
from passerelle_consent.ledger.audit.scan import ALL, Answer, Placed, fences, scan
from passerelle_consent.ledger.faults import Invalid, Unclear
from passerelle_consent.ledger.log.entries import Entry, EntryType
from passerelle_consent.ledger.query import disclose
from passerelle_consent.policy.decide import Reason, Verdict
from passerelle_schemas.faults import Fault
from unit.ledger.fakes import MASTERS, SIGNER, START_MS

ANN, BOB = b"A" * 16, b"B" * 16
HOUR_MS = 3_600_000


def everything(integrator):
    while (step := integrator.step()).full or step.decisions or step.journal or step.waiting:
        pass


def key_of(town, subject=ANN):
    with town.store.reading() as db:
        return disclose.key_of(db, MASTERS, subject).secret


@pytest.fixture
def withdrawn(town):
    """Ann's phone was shared twice, then she withdrew; Bob's goes on."""
    integrator = town.started()
    integrator._publisher.write_key()
    town.note("given")
    everything(integrator)
    town.decide(flow=1, count=2)
    town.decide(subject=BOB, flow=1)
    everything(integrator)
    town.withdrawal = town.note("withdrawn")
    town.fence = town.note("fenced", regarding=town.withdrawal.id)
    everything(integrator)
    town.decide(flow=1, verdict=Verdict.DENY, reason=Reason.CONSENT_WITHDRAWN)
    town.decide(subject=BOB, flow=1)
    everything(integrator)
    town.integrator_ = integrator
    return town


def scanned(town, subject=ANN):
    return scan(LogFolder(town.folder), SIGNER.verifier, key_of(town, subject))


def test_every_decision_about_one_person_and_nobody_else(withdrawn):
    found = scanned(withdrawn)
    assert [p.entry.verdict for p in found.decisions] == ["permit", "permit", "deny"]
    assert [p.entry.type for p in found.entries].count("fenced") == 1
    assert [(f.agreement, f.answer, f.permit) for f in found.fences] == [("phone@1", Answer.HELD, None)]
    assert len(scanned(withdrawn, BOB).decisions) == 2
    stranger = scan(LogFolder(withdrawn.folder), SIGNER.verifier, bytes(32))
    assert (stranger.entries, stranger.answer) == ((), Answer.HELD)


def test_a_permit_behind_the_fence_is_named(withdrawn):
    """What the gate must never do: the log shows it to the person concerned."""
    (bad,) = withdrawn.decide(flow=1)
    everything(withdrawn.integrator_)
    (fence,) = scanned(withdrawn).fences
    assert (fence.answer, fence.permit.entry.ident) == (Answer.BROKEN, bad)


def test_a_new_consent_opens_the_fence(withdrawn):
    withdrawn.note("given")
    everything(withdrawn.integrator_)
    withdrawn.decide(flow=1)
    everything(withdrawn.integrator_)
    (fence,) = scanned(withdrawn).fences
    assert (fence.answer, fence.reopened is not None) == (Answer.HELD, True)


def test_a_log_whose_entries_are_not_those_that_were_signed_is_not_scanned(withdrawn):
    for path in (withdrawn.folder / "tile/entries/000.p").iterdir():
        raw = path.read_bytes()
        path.write_bytes(raw.replace(b"phone@1", b"phone@2"))
    with pytest.raises(Invalid, match="root"):
        scanned(withdrawn)


# --- which fence closes what: entries alone -----------------------------------------------------------------------


def ident(number):
    return number.to_bytes(16, "big")


def story(*said):
    """One person's entries from (type, fields)."""
    placed = []
    for number, (kind, fields) in enumerate(said):
        plain = {"type": EntryType(kind), "time_ms": START_MS + number, **fields}
        if kind == "decision":
            plain |= {"decision": ident(number), "policy": bytes(32), "reason": Reason.VALID_BASIS}
            plain |= {"flow": "f", "purpose": "dpv:P"}
        else:
            plain["id"] = ident(number)
        if kind != "fenced":
            plain |= {"subject_commit": bytes(32), "body_commit": bytes(32)}
        placed.append(Placed(index=number, entry=Entry(**plain)))
    return placed


def permit(*agreements, recipient="roads", verdict=Verdict.PERMIT, **fields):
    return "decision", {"agreements": agreements, "recipient": recipient, "verdict": verdict, **fields}


def about(kind, *agreements, **fields):
    return kind, {**({"agreements": agreements} if agreements else {}), **fields}


FENCED = about("fenced", "a@1", regarding=ident(0))
OVERRIDE = about("override", "a@1", recipient="roads")
ENDED = (about("reviewed", recipient="roads", regarding=ident(0)), about("fenced", regarding=ident(1)))
RESTRICTED = (("restricted", {}), ("fenced", {"regarding": ident(0)}))


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ([about("withdrawn", "a@1"), FENCED, permit("b@1")], Answer.HELD),
        ([about("withdrawn", "a@1"), FENCED, permit("b@1", "a@1")], Answer.BROKEN),
        ([about("withdrawn", "a@1"), permit("a@1"), FENCED], Answer.HELD),
        ([about("withdrawn", "a@1"), FENCED, permit("a@1", verdict=Verdict.REDACT)], Answer.HELD),
        ([about("withdrawn", "a@1"), FENCED, permit("a@2")], Answer.UNCLEAR),
        ([about("withdrawn", "a@1"), FENCED, about("given", "a@2"), permit("a@2")], Answer.HELD),
        ([about("withdrawn", "a@1"), FENCED, about("given", "b@1"), permit("a@1")], Answer.BROKEN),
        (
            [about("withdrawn", "a@1"), FENCED, about("override", "b@1", recipient="roads"), permit("a@1")],
            Answer.BROKEN,
        ),
        ([about("objected", "a@1"), FENCED, about("answered", "a@1"), permit("a@1")], Answer.UNCLEAR),
        ([about("objected", "a@1"), FENCED, about("answered", "b@1"), permit("a@1")], Answer.BROKEN),
        ([*RESTRICTED, permit("a@1")], Answer.BROKEN),
        ([*RESTRICTED, about("given", "a@1"), permit("a@1")], Answer.HELD),
        ([*RESTRICTED, about("given", "a@1"), permit("a@1", "b@1")], Answer.BROKEN),
        ([*RESTRICTED, ("lifted", {}), permit("a@1")], Answer.HELD),
        ([*RESTRICTED, OVERRIDE, permit("a@1")], Answer.HELD),
        ([*RESTRICTED, OVERRIDE, permit("a@1", "b@1")], Answer.BROKEN),
        ([*RESTRICTED, OVERRIDE, permit("a@1", recipient="schools")], Answer.BROKEN),
        ([*RESTRICTED, OVERRIDE, permit("a@1", time_ms=START_MS + 73 * HOUR_MS)], Answer.BROKEN),
        ([*RESTRICTED, about("override", recipient="roads"), permit("a@1")], Answer.UNCLEAR),
        ([OVERRIDE, *ENDED], Answer.HELD),
        ([OVERRIDE, *ENDED, permit("b@1")], Answer.HELD),
        ([OVERRIDE, *ENDED, permit("a@1")], Answer.BROKEN),
        ([OVERRIDE, *ENDED, OVERRIDE, permit("a@1")], Answer.HELD),
    ],
)
def test_what_may_follow_a_fence(said, expected):
    (fence,) = fences(story(*said))
    assert (fence.answer, fence.agreement in ("a@1", ALL)) == (expected, True)


def test_a_fence_of_no_agreement_closes_none():
    assert list(fences(story(("guardian", {}), ("fenced", {"regarding": ident(0)}), permit("a@1")))) == []


# --- the command --------------------------------------------------------------------------------------------------


def command(town, *arguments, key=None):
    key = key_of(town).hex() if key is None else key
    return CliRunner().invoke(app, ["scan", str(town.folder), "--subject-key", key, *arguments])


def test_the_command_exits_with_the_answer(withdrawn):
    held = command(withdrawn)
    assert held.exit_code == 0
    assert "3 decisions about the holder of this key, of 8 entries" in held.stdout
    assert "(phone@1): no permit follows" in held.stdout
    (bad,) = withdrawn.decide(flow=1)
    everything(withdrawn.integrator_)
    broken = command(withdrawn)
    assert (broken.exit_code, f"({bad.hex()}) follows" in broken.stderr) == (1, True)
    assert command(withdrawn, "--agreement", "phone").exit_code == 1
    assert command(withdrawn, "--agreement", "band").exit_code == 0
    for name in (withdrawn.fence.id.hex(), withdrawn.withdrawal.id.hex()):
        assert command(withdrawn, "--since-fence", name).exit_code == 1
    said = json.loads(command(withdrawn, "--json").stdout)
    assert (said["fences"][0]["answer"], len(said["entries"])) == ("broken", 7)


def test_the_command_says_what_it_cannot_tell(withdrawn, tmp_path):
    fault = command(withdrawn, "--since-fence", "9" * 32).exception
    assert isinstance(fault, Unclear)
    (tmp_path / "key").write_text(key_of(withdrawn).hex() + "\n")
    assert command(withdrawn, key=str(tmp_path / "key")).exit_code == 0
    assert isinstance(command(withdrawn, key=str(tmp_path / "none")).exception, Fault)
    secret = "k" * 64
    refused = command(withdrawn, key=secret)
    assert (refused.exit_code, secret in refused.output) == (2, False)
