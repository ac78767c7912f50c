"""A citizen's receipt of a withdrawal leads to its proof, and both are checked once the city is gone.

The city runs for real: the gate applies the withdrawal, the ledger writes it down. What a citizen takes along is four
files: the receipt, the export, the city's keys, the proof. The ledger's verifier key comes from whoever publishes it.
"""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from faults.run import broker_and_city
from faults.whole_city import whole_city
from integration.test_canary import linked
from passerelle_consent.ledger.audit.prove import InclusionProof
from passerelle_consent.ledger.log.entries import EntryType
from passerelle_consent.ledger.log.note import Verifier

pytestmark = [pytest.mark.broker, pytest.mark.timeout(300)]

AGREEMENT = "street-contact-roads"
IN_EFFECT_S_MAX = 60.0
POLL_S = 0.1


@dataclass(frozen=True, kw_only=True)
class Taken:
    """What the citizen has at home."""

    folder: Path

    def passerelle(self, *command):
        """Run a command as at the citizen's: no city, no broker, no home but an empty one."""
        outside = {name: value for name, value in os.environ.items() if not name.startswith("PASSERELLE_")}
        return subprocess.run(
            [sys.executable, "-m", "passerelle.cli", *map(str, command)],
            env={**outside, "PASSERELLE_HOME": str(self.folder / "nobody")},
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )

    def receipt(self):
        done = self.passerelle("receipt", "verify", "receipt.jws", "--keys", "keys.jwks", "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture(scope="module")
def taken(tmp_path_factory, made):
    folder = tmp_path_factory.mktemp("citizen")
    with broker_and_city(made) as ground:
        with whole_city(ground) as city:
            person = linked(city)
            me = httpx.Client(base_url=city.portal.url, auth=city.portal.citizens()(person.pseudonym), timeout=30)
            with me:
                assert city.say(person, AGREEMENT).status_code in (200, 202)
                change = city.say(person, AGREEMENT, "withdraw").json()["acknowledgement"]
                waited(me, f"/v1/acknowledgements/{change}", lambda answer: answer.json()["status"] == "in-effect")
                path = f"/v1/subjects/me/changes/{change}/receipt?lang=en"
                (folder / "receipt.jws").write_text(me.get(path).text)
                (folder / "keys.jwks").write_text(me.get("/v1/keys").text)
                where = Taken(folder=folder).receipt()["dpv:hasRecordOfActivity"]["dpv:hasConsentStatus"]
                link = where["passerelle:ledger"]["@id"].removeprefix(ground.manifest.controller.consent)
                proof = waited(me, link, lambda answer: answer.status_code == 200)
                (folder / "change.tlog-proof").write_bytes(proof.content)
            exporting = ["consent", "export", "-d", "citizen-desk", "--pseudonym", person.pseudonym.hex()]
            done = subprocess.run(
                [sys.executable, "-m", "passerelle.cli", *exporting, "--consent-url", city.portal.url],
                env={**os.environ, **ground.environ()},
                cwd=folder,
                capture_output=True,
                text=True,
                check=False,
            )
            assert (done.returncode, done.stdout) == (0, "export.jws\n"), done.stderr
        (folder / "ledger.vkey").write_bytes((ground.home.run / "ledger.vkey").read_bytes())
    return Taken(folder=folder)


def waited(client, path, holds):
    """Ask until it holds, as a client does: the gate and the ledger each need a moment."""
    end = time.monotonic() + IN_EFFECT_S_MAX
    while not holds(answer := client.get(path)):
        assert time.monotonic() < end, answer.text
        time.sleep(POLL_S)
    return answer


def test_the_proof_that_a_receipt_names_is_of_what_the_receipt_says(taken):
    status = taken.receipt()["dpv:hasRecordOfActivity"]["dpv:hasConsentStatus"]
    verifier = Verifier.parse((taken.folder / "ledger.vkey").read_text().strip())
    entry, _ = InclusionProof.parse((taken.folder / "change.tlog-proof").read_bytes()).check(verifier)
    assert entry.type is EntryType.WITHDRAWN
    assert entry.ident.hex() == status["passerelle:ledgerEntry"]
    assert entry.agreements == (f"{AGREEMENT}@1",)
    assert status["passerelle:inEffectAt"]["@value"] >= status["dpv:isIndicatedAtTime"]["@value"]


def test_the_proof_is_verified_by_the_command_alone_and_a_changed_one_is_not(taken):
    command = ("ledger", "verify-proof", "--vkey", "ledger.vkey")
    assert taken.passerelle(*command, "change.tlog-proof").returncode == 0
    proof = (taken.folder / "change.tlog-proof").read_text()
    (taken.folder / "changed.tlog-proof").write_text(proof.replace("index ", "index 1", 1))
    assert taken.passerelle(*command, "changed.tlog-proof").returncode == 1


def test_the_receipt_is_shown_and_a_changed_one_is_not(taken):
    shown = taken.passerelle("receipt", "show", "receipt.jws", "--keys", "keys.jwks", "--lang", "fr")
    assert shown.returncode == 0, shown.stderr
    assert "accord retiré" in shown.stdout
    compact = (taken.folder / "receipt.jws").read_text()
    at = len(compact) // 2
    (taken.folder / "changed.jws").write_text(f"{compact[:at]}{'A' if compact[at] != 'A' else 'B'}{compact[at + 1 :]}")
    refused = taken.passerelle("receipt", "show", "changed.jws", "--keys", "keys.jwks")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "Traceback" not in refused.stderr


def test_the_export_is_verified_with_the_same_keys_and_holds_both_receipts(taken):
    done = taken.passerelle("receipt", "verify", "export.jws", "--keys", "keys.jwks", "--json")
    assert done.returncode == 0, done.stderr
    export = json.loads(done.stdout)
    about = [c["said"]["state"] for c in export["changes"] if c["said"]["agreement"] == f"{AGREEMENT}@1"]
    assert about == ["withdrawn", "given"]
    assert export["complete"]


def test_without_the_citys_keys_nobody_can_tell(taken):
    assert taken.passerelle("receipt", "verify", "receipt.jws").returncode == 2
