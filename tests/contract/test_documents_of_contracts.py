"""What is made of the contracts: AsyncAPI's own parser reads one document, and no script is in the other."""

import json
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
from typer.testing import CliRunner

from passerelle.city.manifest import Manifest
from passerelle.cli import app
from passerelle.contract_docs.asyncapi import document, text
from passerelle.contract_docs.page import page
from passerelle_consent.policy.bundle import PolicyBundle

PROJECT = Path(__file__).parents[2]
TOOLS = Path(__file__).parent / "asyncapi"
MANIFEST = Manifest.load(PROJECT / "deploy/city.yaml")
BUNDLE = PolicyBundle.load(MANIFEST.contracts, MANIFEST.flows, MANIFEST.agreements)
NPM_S = 240


class Page(HTMLParser):
    """Every start tag with its attributes, and the text."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.words = [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture
def parser(tmp_path):
    """AsyncAPI's parser, from npm, at the versions of the package file."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node and npm are not installed")
    for file in TOOLS.iterdir():
        shutil.copy(file, tmp_path)
    # No scripts: one of what it depends on reports to somebody when it is installed.
    install = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock"]
    try:
        ran = subprocess.run(install, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=NPM_S)
    except subprocess.TimeoutExpired:
        pytest.skip(f"npm did not install @asyncapi/parser within {NPM_S} s")
    if ran.returncode != 0:
        pytest.skip(f"npm could not install @asyncapi/parser: {ran.stderr.strip().splitlines()[-1]}")

    def parse(made):
        (tmp_path / "asyncapi.json").write_text(text(made))
        command = ["node", "validate.mjs", "asyncapi.json"]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)

    return parse


@pytest.mark.slow
def test_asyncapis_own_parser_has_nothing_to_say(parser):
    made = document(MANIFEST, BUNDLE)
    ran = parser(made)
    counts = f"{len(made['channels'])} channels, {len(made['operations'])} operations, "
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.startswith(counts)
    made["operations"]["deliver.move.tax"]["action"] = "reply"
    assert parser(made).returncode == 1, "the parser looks"
    made = document(MANIFEST, BUNDLE)
    made["components"]["schemas"]["tax.taxpayer-moved.v1"]["schema"]["fields"] = "none"
    assert parser(made).returncode == 1, "at the Avro schemas too"


def test_every_outbox_and_every_flow_is_an_operation():
    made = document(MANIFEST, BUNDLE)
    published = {f"publish.{c.type}" for c in BUNDLE.catalogue if not c.derived}
    assert set(made["operations"]) == published | {f"deliver.{flow.id}" for flow in BUNDLE.flows}
    street = made["operations"]["deliver.street-report.roads"]["messages"][0]["$ref"]
    assert street == "#/channels/inbox.roads/messages/citizen-desk.report-filed.v1.delivered"
    headers = made["components"]["messageTraits"]["delivered"]["headers"]["properties"]
    assert {"ce_decisionid", "ce_flow", "ce_purpose", "ce_policy"} <= set(headers)
    assert text(made) == text(document(MANIFEST, BUNDLE))


def test_the_page_tells_every_field_in_french_first_and_in_english_and_runs_nothing():
    html = page(MANIFEST, BUNDLE)
    read = Page(html)
    tags = {tag for tag, _ in read.tags}
    assert not tags & {"script", "iframe", "object", "form", "img", "link"}
    assert not [name for _, attributes in read.tags for name in attributes if name.startswith("on")]
    assert all(a.get("href", "#").startswith("#") for _, a in read.tags), "it needs nothing else"
    assert ("html", {"lang": "fr"}) in read.tags
    words = " ".join(" ".join(read.words).split())
    for contract in BUNDLE.catalogue:
        assert {"id": contract.type} in [a for tag, a in read.tags if tag == "h2"]
        for field in contract.schema["fields"]:
            said = field["passerelle.description"]
            assert words.index(said["fr"]) < words.index(said["en"])
    assert words.count("peut être retenu") == len({(f.event, name) for f in BUNDLE.flows for name in f.optional})


def test_what_a_contract_says_is_no_markup():
    contracts = json.loads(json.dumps(BUNDLE.document))
    contracts["contracts"]["tax.income-assessed.v1"]["schema"]["passerelle.description"]["fr"] = "<script>x</script>"
    assert "&lt;script&gt;x" in page(MANIFEST, PolicyBundle(contracts))


def test_the_command_writes_both_and_compares(tmp_path, monkeypatch):
    monkeypatch.setenv("PASSERELLE_MANIFEST", str(MANIFEST.path))

    def docs(*options):
        return CliRunner().invoke(app, ["contracts", "docs", "--out", str(tmp_path), *options]).exit_code

    assert (docs("--check"), docs(), docs(), docs("--check")) == (1, 0, 0, 0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["asyncapi.json", "index.html"]
