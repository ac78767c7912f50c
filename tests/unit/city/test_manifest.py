import re
import shutil
from pathlib import Path

import pytest
import yaml

from passerelle.city.manifest import DAY_MS, Manifest, retention_ms
from passerelle.config import Home
from passerelle_schemas.documents import DocumentFault
from passerelle_schemas.faults import Fault

PROJECT = Path(__file__).parents[3]
MANIFEST = PROJECT / "deploy/city.yaml"


@pytest.fixture
def copy(tmp_path):
    """The demonstration city's files, to be broken."""
    for folder in ("schemas/contracts", "schemas/flows", "consent/agreements"):
        shutil.copytree(PROJECT / folder, tmp_path / folder)
    (tmp_path / "deploy").mkdir()
    return Path(shutil.copy(MANIFEST, tmp_path / "deploy"))


def line_of(path: Path, text: str) -> int:
    return 1 + next(i for i, line in enumerate(path.read_text().splitlines()) if text in line)


def broken(path: Path, old: str, new: str) -> Path:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    return path


def problems(manifest: Path) -> str:
    with pytest.raises(DocumentFault) as caught:
        Manifest.load(manifest).policy_bundle()
    assert caught.value.exit_code == 1
    return str(caught.value)


def test_the_demonstration_city_is_sound():
    manifest = Manifest.load(MANIFEST)
    assert manifest.partitions == 4
    assert len(manifest.departments) == 13
    assert manifest.policy_bundle().flows
    assert manifest.principals[-6:] == ("gate", "consent", "ledger", "control-room", "agents.lutece", "observer")


def test_without_a_word_there_is_no_observer(copy):
    assert "observer" not in Manifest.load(broken(copy, "observer: true", "")).principals


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("partitions: 4", "partitions: four", "partitions"),
        ("partitions: 4", "partitions: 0", "partitions"),
        ("id: tax,", "id: Tax Office,", "departments.1.id"),
        ("id: tax,", "id: gate,", "principal of the bus"),
        ("id: tax,", "id: schools,", "schools is listed twice"),
        ("module: lutece.agents", "module: lutece agents", "agents.0.module"),
        ("exchange: P3D", "exchange: three days", "retention.exchange"),
        ("observer: true", "observer: true\nspy: true", "spy"),
        ("../schemas/flows", "../schemas/rivers", "../schemas/rivers is not a folder"),
        ("origin: lutece.example/passerelle", "origin: http://x y", "origin"),
    ],
)
def test_a_broken_manifest_is_told_with_file_and_line(copy, old, new, named):
    text = problems(broken(copy, old, new))
    assert named in text
    assert re.match(rf"{re.escape(str(copy))}:\d+: ", text)


def test_the_line_is_that_of_the_problem(copy):
    broken(copy, "exchange: P3D", "exchange: soon")
    assert f"{copy}:{line_of(copy, 'exchange: soon')}: " in problems(copy)


def test_a_tabulator_is_told_with_its_line(copy):
    broken(copy, "partitions: 4", "partitions:\t4\n\tx: 1")
    assert f"{copy}:" in problems(copy)


def test_a_missing_manifest_is_named(tmp_path):
    with pytest.raises(Fault, match="there is no city here") as missing:
        Manifest.load(tmp_path / "city.yaml")
    assert "passerelle init" in missing.value.hint


def test_problems_of_several_files_come_together(copy):
    root = copy.parent.parent
    contract = broken(root / "schemas/contracts/tax/income-assessed.v1.avsc", '"passerelle.owner": "tax"', '"o": "tax"')
    flow = broken(root / "schemas/flows/move.tax.yaml", "recipient: tax", "recipient: taxes")
    agreement = broken(
        root / "consent/agreements/civil-registry/move-schools.v1.yaml", "recipient: schools", "recipient: school"
    )
    text = problems(copy)
    assert f"{contract}:1: passerelle.owner" in text
    assert f"{flow}:{line_of(flow, 'recipient')}: recipient: taxes is not a department" in text
    assert f"{agreement}:{line_of(agreement, 'recipient')}: recipient: school is not a department" in text


@pytest.mark.parametrize(
    ("path", "old", "new", "topic"),
    [
        ("deploy/city.yaml", "exchange: P3D", "exchange: P27D", "exchange"),
        ("deploy/city.yaml", "inbox: P26D", "inbox: P1M", "every inbox"),
        ("deploy/city.yaml", "decisions: P26D", "decisions: P90D", "decisions"),
        ("deploy/city.yaml", "journal: P26D", "journal: forever", "consent.journal"),
        ("schemas/contracts/tax/income-assessed.v1.avsc", '"P26D"', '"P27D"', "outbox.tax.income-assessed"),
    ],
)
def test_what_would_outlast_an_erasure_is_refused_by_file_and_line(copy, path, old, new, topic):
    path = broken(copy.parent.parent / path, old, new)
    text = problems(copy)
    assert f"{path}:{line_of(path, new)}: " in text
    assert f"{topic} would keep records about somebody" in text
    assert "26 days are the most" in text


def test_a_join_that_would_outlast_an_erasure_is_refused_with_its_log(copy):
    from passerelle.city.erasure import problems_of_joins

    manifest = Manifest.load(copy)
    assert list(problems_of_joins(manifest, [{"agents.lutece.a.log": 26 * DAY_MS}])) == []
    (problem,) = problems_of_joins(manifest, [{"agents.lutece.a.log": 26 * DAY_MS + 1}])
    assert (
        f"{copy}:{line_of(copy, 'module: lutece.agents')}: agents.0.module: agents.lutece.a.log would keep" in problem
    )


def test_a_department_that_leaves_is_missed_by_its_contracts(copy):
    document = yaml.safe_load(copy.read_text())
    document["departments"] = [d for d in document["departments"] if d["id"] != "social-action"]
    copy.write_text(yaml.safe_dump(document, allow_unicode=True))
    text = problems(copy)
    assert "frail-registered.v1.avsc" in text
    assert "disability-badge.v1.yaml" in text


@pytest.mark.parametrize(
    ("text", "ms"),
    [("P1D", DAY_MS), ("P2W", 14 * DAY_MS), ("P1M", 31 * DAY_MS), ("P1Y6M", (366 + 186) * DAY_MS), ("forever", -1)],
)
def test_retentions_are_never_shorter_than_said(text, ms):
    assert retention_ms(text) == ms


def test_keys_are_made_once_and_private(tmp_path):
    manifest, home = Manifest.load(MANIFEST), Home(root=tmp_path)
    ref = bytes(range(16))
    pseudonym = manifest.keyring(home).pseudonym("tax", ref)
    assert manifest.keyring(home).subject("tax", pseudonym) == ref
    assert manifest.city_key(home) == manifest.city_key(home)
    files = list(tmp_path.rglob("*.key"))
    assert len(files) == 14
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in files)
