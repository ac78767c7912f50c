"""Key files are made once and are nobody else's."""

import stat
from concurrent.futures import ThreadPoolExecutor

import pytest

from passerelle.keys import KeyFault, key_bytes, secret


def test_a_secret_is_made_once_with_mode_0600(tmp_path):
    first = secret(tmp_path, "principals/gate")
    assert secret(tmp_path, "principals/gate") == first
    assert stat.S_IMODE((tmp_path / "principals/gate.secret").stat().st_mode) == 0o600
    assert [p.name for p in (tmp_path / "principals").iterdir()] == ["gate.secret"]


def test_processes_that_start_together_read_the_same_key(tmp_path):
    with ThreadPoolExecutor(16) as pool:
        keys = set(pool.map(lambda _: key_bytes(tmp_path, "city", 32), range(64)))
    assert len(keys) == 1


def test_a_key_that_others_can_read_is_refused(tmp_path):
    secret(tmp_path, "city")
    (tmp_path / "city.secret").chmod(0o644)
    with pytest.raises(KeyFault, match="others can read") as caught:
        secret(tmp_path, "city")
    assert caught.value.hint is not None


@pytest.mark.parametrize("content", ["zz", "00" * 15])
def test_a_damaged_key_is_refused(tmp_path, content):
    path = tmp_path / "city.key"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(KeyFault):
        key_bytes(tmp_path, "city", 16)
