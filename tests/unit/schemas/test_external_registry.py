"""Contracts put into a registry of Confluent's kind, which takes an id in the mode IMPORT alone."""

import json
from functools import partial
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from passerelle.cli import app
from passerelle.config import ConfigFault
from passerelle.external_registry import agree
from passerelle.external_registry.confluent import Client, RegistryFault
from passerelle_schemas.catalogue import Catalogue
from passerelle_schemas.faults import Fault
from passerelle_schemas.registry import subjects_of

CATALOGUE = Catalogue.load(Path(__file__).parents[3] / "schemas/contracts")
URL = "http://user:secret@registry:8081"
SUBJECTS = sum(len(subjects_of(contract)) for contract in CATALOGUE)


class Registry:
    """In memory, as Confluent's documentation has it."""

    def __init__(self):
        self.versions, self.modes, self.calls = {}, {}, []
        self.fails = None

    def __call__(self, request):
        path, method = request.url.path.strip("/").split("/"), request.method
        self.calls.append((method, *path))
        return self.answer(method, path, request) if self.fails is None else self.fails(request)

    def answer(self, method, path, request):  # noqa: PLR0911 - an answer for each call
        body = json.loads(request.content) if request.content else None
        match (method, *path):
            case ("GET", "subjects", subject, "versions", version):
                return self.found(self.versions.get((subject, int(version))))
            case ("GET", "schemas", "ids", number):
                return self.found(next((v for v in self.versions.values() if v["id"] == int(number)), None))
            case ("GET", "mode", subject):
                return self.found(self.modes.get(subject))
            case ("PUT", "mode", subject):
                self.modes[subject] = body
                return httpx.Response(200, json=body)
            case ("DELETE", "mode", subject):
                return httpx.Response(200, json=self.modes.pop(subject))
            case ("POST", "subjects", subject, "versions"):
                if self.modes.get(subject) != {"mode": "IMPORT"}:
                    return httpx.Response(422, json={"error_code": 42205})
                self.versions[subject, body["version"]] = {"id": body["id"], "schema": body["schema"]}
                return httpx.Response(200, json={"id": body["id"]})
        raise AssertionError(path)

    @staticmethod
    def found(what):
        return httpx.Response(404, json={"error_code": 404}) if what is None else httpx.Response(200, json=what)


@pytest.fixture
def registry(monkeypatch):
    made = Registry()
    monkeypatch.setattr(agree, "Client", partial(Client, transport=httpx.MockTransport(made)))
    return made


def push(*arguments):
    return CliRunner().invoke(app, ["contracts", "push", "--registry", URL, *arguments])


def test_the_plan_writes_nothing_the_second_time_nothing_is_left_to_do(registry):
    planned = push()
    assert planned.exit_code == 0
    assert len(planned.stdout.splitlines()) == SUBJECTS
    assert "to put: outbox.tax.income-assessed-value v1, id 5" in planned.stdout
    assert {method for method, *_ in registry.calls} == {"GET"}
    done = push("--apply")
    assert "put: outbox.tax.income-assessed-value v1, id 5" in done.stdout
    assert {(key[0], key[1]): held["id"] for key, held in registry.versions.items()} == {
        (subject, c.version): c.schema_id for c in CATALOGUE for subject in subjects_of(c)
    }
    assert registry.modes == {}
    assert push("--apply").stdout == push().stdout == "the registry says what the lock says\n"


def test_a_subject_s_own_mode_is_set_back(registry):
    registry.modes["outbox.tax.income-assessed-value"] = {"mode": "READONLY"}
    push("--apply")
    assert registry.modes == {"outbox.tax.income-assessed-value": {"mode": "READONLY"}}


@pytest.mark.parametrize(
    ("held", "said"),
    [
        ({"id": 5, "schema": '"string"'}, "id 5 is tax.income-assessed.v1 here, and another schema there"),
        ({"id": 77, "schema": '{"type": "record", "name": "X", "fields": []}'}, "has id 5 here, and 77 there"),
        ({"id": 77, "schema": "{"}, "has id 5 here, and 77 there"),
    ],
)
def test_what_is_another_there_is_a_conflict_and_nothing_is_written(registry, held, said):
    registry.versions["outbox.tax.income-assessed-value", 1] = held
    planned = push()
    assert planned.exit_code == 1
    assert said in planned.stderr
    with pytest.raises(agree.Disagreement, match=said):
        agree.push(URL, CATALOGUE)
    assert {method for method, *_ in registry.calls} == {"GET"}


def test_whoever_publishes_asks_first_and_does_not_start(registry, monkeypatch, tmp_path):
    monkeypatch.setenv("PASSERELLE_REGISTRY", URL)
    monkeypatch.setenv("PASSERELLE_HOME", str(tmp_path))
    # It would write to this command's standard error for as long as the tests run, which is closed by then.
    monkeypatch.setattr("passerelle.telemetry.configure", lambda _: None)
    for command in (["outbox", "run", "--database", "postgresql:///none"], ["http", "--port", "0"]):
        started = CliRunner().invoke(app, ["publish", *command, "-d", "tax"])
        assert isinstance(started.exception, Fault)
        assert not isinstance(started.exception, ConfigFault)  # it asks before it looks for a broker
        assert "the registry does not agree with the lock: lutece.citizen_desk.ReportFiled v1" in str(started.exception)
        assert "secret" not in str(started.exception) + str(started.exception.hint)


def test_a_city_without_a_registry_asks_nobody(registry):
    agree.require(None, CATALOGUE)
    assert registry.calls == []


def refuse(request):
    raise httpx.ConnectError("secret")


@pytest.mark.parametrize(
    ("fails", "said"),
    [
        (refuse, "the registry does not answer (ConnectError)"),
        (lambda _: httpx.Response(500, json={"error_code": 50001, "message": "secret"}), "(50001)"),
        (lambda _: httpx.Response(401, json={}), "the registry said no to GET /schemas/ids/1 (401)"),
        (lambda _: httpx.Response(200, text="<html>"), "what answers is no schema registry"),
        (lambda _: httpx.Response(200, json=[]), "what answers is no schema registry"),
    ],
)
def test_a_registry_that_cannot_be_asked_is_one_line(registry, fails, said):
    registry.fails = fails
    with pytest.raises(RegistryFault) as told:
        agree.require(URL, CATALOGUE)
    assert str(told.value).startswith("http://registry:8081: ")
    assert said in str(told.value)
    assert "secret" not in str(told.value)


@pytest.mark.parametrize("url", ["", "registry", "ftp://x", "http://", "http://a:b"])
def test_an_address_that_is_none_is_one_line(url):
    with pytest.raises(RegistryFault, match="is no address of a registry"):
        Client(url)


def test_a_registry_that_gives_ids_by_itself_is_told_apart(registry):
    """As Apicurio's Confluent API and Karapace do: no mode can be set."""
    real = registry.__call__

    def without_modes(request):
        registry.fails = None
        if request.url.path.startswith("/mode"):
            answer = httpx.Response(404, json={"error_code": 404})
        else:
            answer = real(request)
        registry.fails = without_modes
        return answer

    registry.fails = without_modes
    with pytest.raises(
        RegistryFault, match=r"PUT /mode/lutece\.citizen_desk\.ReportFiled: there is no such call"
    ) as told:
        agree.push(URL, CATALOGUE)
    assert "IMPORT" in told.value.hint
    assert registry.versions == {}
