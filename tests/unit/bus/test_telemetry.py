"""No person in a log line, whatever the caller means well (P8)."""

import io
import json
import logging

import pytest
import structlog

from passerelle import telemetry


@pytest.fixture
def lines():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    out = io.StringIO()
    telemetry.configure("test", out)
    yield lambda: [json.loads(line) for line in out.getvalue().splitlines()]
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def test_a_line_says_its_component_and_scrubs_forbidden_keys(lines):
    structlog.get_logger().info("delivered", decision="ab", subject="SECRET", email="SECRET@example.org")
    (line,) = lines()
    assert line["component"] == "test"
    assert line["decision"] == "ab"
    assert "SECRET" not in json.dumps(line)


def test_an_exception_leaves_its_class_and_place_and_never_its_message(lines):
    try:
        raise ValueError("SECRET")
    except ValueError:
        structlog.get_logger().exception("failed")
        logging.getLogger("library").exception("library failed")
    assert [line["error"] for line in lines()] == ["ValueError", "ValueError"]
    assert all(line["raised_at"].startswith("test_telemetry.py:") for line in lines())
    assert "SECRET" not in json.dumps(lines())
