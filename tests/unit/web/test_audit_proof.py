"""The page's own check of proofs (proof.js) under Node: RFC 6962 vectors, real proofs, and proofs that were changed."""

import base64
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from passerelle_consent.ledger.audit.prove import InclusionProof
from passerelle_consent.ledger.log import tree
from passerelle_consent.ledger.log.checkpoint import Checkpoint
from passerelle_consent.ledger.log.note import Signer
from unit.ledger.fakes import SIGNER

TESTS = Path(__file__).parents[2]
SHARED = TESTS.parents[1] / "shared/vectors/merkle-inclusion.jsonl"
ENTRIES = [json.dumps({"type": "decision", "n": n}, separators=(",", ":")).encode() for n in range(7)]


def proofs(signer=SIGNER):
    source = tree.source_of([tree.leaf_hash(entry) for entry in ENTRIES])
    root = tree.root(len(ENTRIES), source)
    note = Checkpoint(origin=SIGNER.name, size=len(ENTRIES), root=root).sign(signer)
    for index, entry in enumerate(ENTRIES):
        hashes = tuple(tree.inclusion_proof(index, len(ENTRIES), source))
        yield InclusionProof(index=index, entry=entry, hashes=hashes, note=note)


def case(proof, **more):
    return {"text": proof.encode().decode(), "index": proof.index, "entry": proof.entry.decode(), **more}


def tampered(proof):
    """The proof with one thing changed, and the step at which that must be found."""
    text = proof.encode().decode()
    lines = text.split("\n")
    forged = next(p for p in proofs(Signer.of(SIGNER.name, bytes(32))) if p.index == proof.index)
    signed = text.rindex(" ") + 1
    raw = bytearray(base64.b64decode(text[signed:]))
    raw[-1] ^= 1
    whole = case(proof)
    yield {**whole, "text": text[:signed] + base64.b64encode(raw).decode() + "\n", "step": "signature"}
    yield case(forged, step="key")
    yield {**whole, "text": text.replace(lines[3], base64.b64encode(bytes(32)).decode()), "step": "path"}
    yield {**whole, "text": "\n".join(lines[:3] + lines[4:]), "step": "path"}
    yield {**whole, "text": text.replace("\n7\n", "\n8\n"), "step": "signature"}
    yield {**whole, "text": text.replace("@v1", "@v2"), "step": "format"}
    yield {**whole, "text": text.replace("=\n\n", "\n\n", 1), "step": "format"}


@pytest.mark.skipif(shutil.which("node") is None, reason="no Node.js")
def test_the_page_judges_proofs_as_the_command_does(tmp_path):
    found = list(proofs())
    said = {
        "vkey": SIGNER.verifier.encode(),
        "other": Signer.of("other.example", bytes(32)).verifier.encode(),
        "proofs": [case(proof) for proof in found],
        "tampered": [change for proof in found[1:4] for change in tampered(proof)],
    }
    (tmp_path / "proofs.json").write_text(json.dumps(said))
    vectors = SHARED if SHARED.exists() else TESTS / "vectors/merkle-inclusion.jsonl"
    env = {**os.environ, "VECTORS": str(vectors), "PROOFS": str(tmp_path / "proofs.json")}
    ran = subprocess.run(
        ["node", "--test", str(Path(__file__).parent / "js/proof.test.mjs")],  # noqa: S607
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout
