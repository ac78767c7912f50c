"""The tutorial is true: typed literally on a real broker, it prints what it says. And its player sees what is not."""

import subprocess
import sys
from pathlib import Path

import pytest

PLAY = Path(__file__).parents[1] / "tutorial/play.py"
SECONDS_MAX = 400  # 60 s on a free machine


@pytest.mark.broker
@pytest.mark.timeout(SECONDS_MAX)
def test_every_command_of_the_tutorial_prints_what_it_says():
    played = subprocess.run(
        [sys.executable, str(PLAY)], capture_output=True, text=True, check=False, timeout=SECONDS_MAX
    )
    assert played.returncode == 0, played.stdout + played.stderr
    assert "commands are as printed" in played.stdout
