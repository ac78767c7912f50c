"""What is true of a scenario in memory is true on the bus."""

import subprocess
import sys
from pathlib import Path

import pytest

SCENARIOS = Path(__file__).parents[2] / "services/lutece/scenarios"


@pytest.mark.broker
def test_a_scenario_comes_true_on_a_real_city(tmp_path):
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text((SCENARIOS / "a-tariff.yaml").read_text().replace("reason: consent-withdrawn", "reason: objected"))
    right = SCENARIOS / "who-may-speak.yaml"  # what the consent service refuses, it refuses in memory too
    command = [sys.executable, "-m", "passerelle.cli", "agents", "test", "--real", str(wrong), str(right)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=400, cwd=SCENARIOS.parents[2], check=False)
    assert ran.returncode == 1, ran.stderr
    assert f"({right}, " in ran.stdout
    # All but the one thing that was falsified: its line, what it was, what it should have been.
    findings = [line for line in ran.stderr.splitlines() if str(wrong) in line and "flow" not in line]
    assert findings[-1].endswith(
        "wrong.yaml:14: meal-tariff.schools for ben: it was deny (consent-withdrawn), not deny (objected)"
    )
    assert ran.stderr.count("meal-tariff.schools for ben") == 1
