"""YAML as people write it, with the line of everything that is wrong."""

import pytest
from pydantic import BaseModel, ConfigDict

from passerelle_schemas.documents import Document, DocumentFault, load, load_all


class Signed(BaseModel):
    model_config = ConfigDict(extra="forbid")
    by: str
    on: str
    final: bool = False


def write(folder, text, name="a.yaml"):
    path = folder / name
    path.write_text(text)
    return path


def test_on_is_a_word_and_true_is_not(tmp_path):
    assert Document(write(tmp_path, "on: yes\nfinal: true\n")).value == {"on": "yes", "final": True}


def test_every_problem_has_its_line(tmp_path):
    with pytest.raises(DocumentFault) as caught:
        load(write(tmp_path, "by: DPO\non: [1]\ncolour: red\n"), Signed)
    assert [p.split("a.yaml:")[1].split(":")[0] for p in caught.value.problems] == ["2", "3"]


def test_the_problems_of_all_files_are_told_at_once(tmp_path):
    paths = [write(tmp_path, "by: 3\non: x\n", "a.yaml"), write(tmp_path, "by: ]", "b.yaml"), tmp_path / "c.yaml"]
    with pytest.raises(DocumentFault) as caught:
        load_all(paths, Signed)
    assert [name in str(caught.value) for name in ("a.yaml:1", "b.yaml:1", "c.yaml: cannot be read")] == [True] * 3


def test_bytes_that_are_not_utf8_are_named(tmp_path):
    (tmp_path / "a.yaml").write_bytes(b"by: \xff\n")
    with pytest.raises(DocumentFault, match="is not UTF-8 at byte 4"):
        load(tmp_path / "a.yaml", Signed)
