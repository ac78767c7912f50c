"""The canonical line: what it says, and what it never says."""

import json
import logging

import pytest
import structlog

from passerelle.telemetry import configure
from passerelle_consent.records import sql
from unit.records.fakes import identity

CANARY = "Zyxwvutsrq"


@pytest.fixture
def logged(tmp_path, monkeypatch):
    """All log lines of a process set up as the real one, from everything that it imports too."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    file = (tmp_path / "log").open("w+")
    configure("consent", file)
    structlog.configure(cache_logger_on_first_use=False)  # the next test has another file
    root.setLevel(logging.DEBUG)
    monkeypatch.setattr(logging.getLogger("httpx"), "disabled", True)  # the client that asks, not the service

    def read():
        file.flush()
        return (tmp_path / "log").read_text()

    yield read
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    root.handlers[:], root.level = before, level
    file.close()


async def test_no_line_names_a_person_or_a_pseudonym(logged, city, monkeypatch):
    (pseudonym,) = await city.link(CANARY)
    await city.say("give", pseudonym)
    await city.say("withdraw", pseudonym)
    await city.say("withdraw", pseudonym)
    await city.say("give", CANARY)
    await city.say("give", pseudonym, CANARY.lower())
    await city.call("POST", "/v1/links", {"identities": [{CANARY: CANARY}]})
    await city.call("POST", f"/v1/{CANARY}", {CANARY: CANARY})
    await city.call("GET", f"/v1/subjects/{pseudonym}/standing?name={CANARY}", token=CANARY)

    def burst(identities):
        raise RuntimeError(identities[0].family_name + repr(identities))

    monkeypatch.setattr(city.register, "refs", burst)
    await city.call("POST", "/v1/links", {"identities": [identity(CANARY)]})
    text = logged()
    assert text.count('"request"') == 10
    for secret in (CANARY, CANARY.lower(), pseudonym, city.ref(pseudonym).hex(), "Bearer"):
        assert secret not in text


async def test_a_line_says_route_status_duration_and_problem(logged, city):
    (pseudonym,) = await city.link("Durand")
    await city.say("withdraw", pseudonym)
    lines = [json.loads(line) for line in logged().splitlines()]
    last = next(line for line in reversed(lines) if line["event"] == "request")
    assert last["route"] == "/v1/subjects/{pseudonym}/agreements/{agreement}/withdraw"
    assert (last["method"], last["status"], last["problem"]) == ("POST", 409, "illegal-transition")
    assert last["duration_ms"] >= 0


async def test_the_store_holds_no_identity(city):
    await city.link(CANARY)
    for table in sql.metadata.sorted_tables:
        for row in await city.store.read(lambda conn, table=table: conn.execute(table.select()).all()):
            held = b" ".join(v if isinstance(v, bytes) else str(v).encode() for v in row)
            assert CANARY.casefold().encode() not in held.lower()
