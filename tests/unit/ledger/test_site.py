"""A log behind http(s): read as from a folder, patient with a server that stumbles, and never more than a log has."""

import httpx
import pytest
from typer.testing import CliRunner

from passerelle.cli.ledger import app
from passerelle_consent.ledger.audit.findings import Outcome
from passerelle_consent.ledger.audit.folder import LogFolder
from passerelle_consent.ledger.audit.prove import prove_consistency, prove_inclusion
from passerelle_consent.ledger.audit.published import Absent
from passerelle_consent.ledger.audit.site import TRIES_MAX, LogSite
from passerelle_consent.ledger.audit.verify import fsck, verify
from passerelle_consent.ledger.faults import Invalid, Unclear
from passerelle_schemas.faults import Fault
from unit.ledger.fakes import SIGNER, served

VERIFIER = SIGNER.verifier


@pytest.fixture
def address(town):
    """The published folder behind a plain static server."""
    integrator = town.started()
    for _ in range(3):
        town.decide(count=130)
        integrator.step()
    with served(town.folder) as at:
        yield at


def site(handler, **kwargs):
    waited = []
    log = LogSite("http://log.example/x/", transport=httpx.MockTransport(handler), pause=waited.append, **kwargs)
    return log, waited


def test_a_log_is_read_over_http_as_from_its_folder(address, town):
    with LogSite(address) as log:
        for read in (fsck, verify):
            assert (read(log, VERIFIER).outcome, read(log, VERIFIER).size) == (Outcome.VALID, 390)
        folder = LogFolder(town.folder)
        assert prove_inclusion(log, VERIFIER, 300) == prove_inclusion(folder, VERIFIER, 300)
        assert prove_consistency(log, VERIFIER, 5) == prove_consistency(folder, VERIFIER, 5)
        bundle = town.folder / "tile/entries/000"
        bundle.write_bytes(bundle.read_bytes()[:-1])
        found = fsck(log, VERIFIER)
        assert (found.outcome, found.findings[0].file) == (Outcome.INVALID, "tile/entries/000")


def test_the_commands_take_an_address_and_want_a_key_from_elsewhere(address):
    vkey = VERIFIER.encode()
    assert CliRunner().invoke(app, ["fsck", address, "--vkey", vkey]).exit_code == 0
    assert CliRunner().invoke(app, ["verify", address, "--vkey", vkey]).exit_code == 0
    untold = CliRunner().invoke(app, ["fsck", address]).exception
    assert isinstance(untold, Fault)
    assert (untold.exit_code, untold.where) == (2, address)


def test_a_file_lies_under_the_address_and_carries_the_token():
    def answer(request):
        return httpx.Response(200, text=f"{request.url.path} {request.headers.get('authorization')}")

    assert site(answer, bearer="abc")[0].read("tile/0/000", 99) == b"/x/tile/0/000 Bearer abc"


@pytest.mark.parametrize(
    ("status", "fault"), [(404, Absent), (410, Absent), (401, Unclear), (403, Unclear), (302, Unclear)]
)
def test_what_is_not_there_or_not_for_everybody(status, fault):
    log, waited = site(lambda _: httpx.Response(status))
    with pytest.raises(fault, match="tile/0/000"):
        log.read("tile/0/000", 99)
    assert waited == []


def test_a_server_that_stumbles_is_asked_again_and_not_for_ever():
    answers = [httpx.Response(503), httpx.Response(200, text="here")]
    log, waited = site(lambda _: answers.pop(0))
    assert (log.read("checkpoint", 99), len(waited)) == (b"here", 1)

    def away(request):
        raise httpx.ConnectError("no", request=request)

    log, waited = site(away)
    with pytest.raises(Unclear, match="ConnectError"):
        log.read("checkpoint", 99)
    assert len(waited) == TRIES_MAX - 1


def test_a_file_longer_than_any_of_a_log_is_not_read_to_its_end():
    log, _ = site(lambda _: httpx.Response(200, content=(b"x" * 1000 for _ in range(10**9))))
    with pytest.raises(Invalid, match="longer"):
        log.read("checkpoint", 5000)


@pytest.mark.parametrize("address", ["ftp://x/", "http://", "log", "http://x:port/"])
def test_no_address(address):
    with pytest.raises(Unclear, match="address"):
        LogSite(address)
