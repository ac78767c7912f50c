"""A demonstration wipes what a demonstration made, and nothing else."""

import pytest

from lutece.stage import MARKER, wipe
from passerelle.config import Home
from passerelle_schemas.faults import Fault


def made(home):
    for folder in (home.keys, home.store):
        folder.mkdir(parents=True)
        (folder / "something").write_text("of somebody")


def test_a_city_that_is_no_demonstration_is_left_alone(tmp_path):
    home = Home(root=tmp_path)
    made(home)
    with pytest.raises(Fault, match="no demonstration's"):
        wipe(home)
    assert (home.keys / "something").exists()


def test_what_an_earlier_demonstration_left_is_removed(tmp_path):
    home = Home(root=tmp_path)
    wipe(home)
    made(home)
    wipe(home)
    assert sorted(path.name for path in tmp_path.iterdir()) == [MARKER]


def test_histories_of_tests_are_no_city(tmp_path):
    (tmp_path / "faults").mkdir()
    wipe(Home(root=tmp_path))
    assert (tmp_path / "faults").exists()
