"""`passerelle consent consultations`: from a draft's file to the signed version that names its result, by commands."""

import asyncio
import hashlib
import json
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import structlog
import uvicorn
import yaml
from typer.testing import CliRunner

from passerelle.cli import app
from passerelle_consent.policy.agreements import Consulted, load_agreements
from passerelle_consent.policy.bundle import PolicyBundle
from passerelle_consent.records import policy_book
from passerelle_consent.records.policy_book import NotItsResult
from passerelle_schemas.catalogue import Catalogue
from passerelle_schemas.faults import Fault
from unit.ledger.fakes import LedgerTown
from unit.records.fakes import AGREEMENTS, START_MS, City, citizen, until
from unit.records.told import Told

PROJECT = Path(__file__).parents[3]
DAY_MS = 86_400_000
ID = "meal-tariff-2027"
OFFICER = {"scope": "officer", "department": "tax"}
IN_FORCE = next(a for a in load_agreements(PROJECT / "consent/agreements") if a.id == "meal-tariff-income")
ASKED = {
    "draft": "draft.yaml",
    "question": {"fr": "Partager la tranche de revenus ?", "en": "Share the income band?"},
    "arguments_for": [{"fr": "Une démarche de moins.", "en": "One form less."}],
    "opens": "2026-05-02T00:00:00+02:00",
    "closes": "2026-06-02T00:00:00+02:00",
}


@asynccontextmanager
async def served(city):
    """The address of this city's service, on loopback; its commands are run on a thread beside it."""
    server = uvicorn.Server(uvicorn.Config(city.app, port=0, log_config=None, lifespan="off"))
    serving = asyncio.create_task(server.serve())
    await until(lambda: server.started)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    await serving


class Town:
    """A city with a ledger, the files of a department, and its command line."""

    def __init__(self, city, told, url, folder):
        self.city, self.told, self.url, self.folder = city, told, url, folder
        draft = IN_FORCE.model_dump(mode="json", by_alias=True, exclude_unset=True)
        draft |= {"version": 2, "in_force": {"from": "2026-09-01"}, "review": "2027-09-01"}
        self.write("draft.yaml", draft)
        self.asked = self.write("asked.yaml", ASKED)
        self.agreements = folder / "agreements"

    def write(self, name, plain):
        path = self.folder / name
        path.write_text(yaml.safe_dump(plain, allow_unicode=True))
        return path

    async def run(self, *words, who=OFFICER):
        token = self.folder / "token"
        token.write_text(self.city.bearer(who))
        signed = words[0] in ("open", "arguments", "rule", "answer")
        options = ["--consent-url", self.url, *(["--token-file", str(token)] if signed else [])]
        command = ["consent", "consultations", *map(str, words), *options]
        return await asyncio.to_thread(CliRunner().invoke, app, command)

    async def done(self, *words):
        ran = await self.run(*words)
        assert ran.exit_code == 0, (ran.output, ran.exception)
        return ran.output

    async def answered(self, outcome="adopted"):
        await self.done("open", ID, self.asked)
        self.city.clock.now_ms += 40 * DAY_MS
        return await self.done("answer", ID, "--outcome", outcome, "--fr", "Nous le faisons.", "--en", "We do it.")


@pytest.fixture(autouse=True)
def _no_logs():
    """The service runs beside the commands: what they print is theirs alone."""
    structlog.configure(processors=[], logger_factory=structlog.ReturnLoggerFactory())


@pytest.fixture
async def town(store_url, tmp_path):
    (tmp_path / "ledger").mkdir()
    ledger = LedgerTown(tmp_path / "ledger", seed=3)
    ledger.now_ms = START_MS
    city = City(store_url, catalogue=Catalogue.load(PROJECT / "schemas/contracts"))
    await city.up()
    async with served(city) as url:
        yield Town(city, Told(city, ledger, index=None), url, tmp_path)
    await city.down()
    ledger.store.close()


async def test_a_department_asks_hears_and_answers(town):
    assert f"{ID}: meal-tariff-income@2, open from 2026-05-01T22:00:00.000Z" in await town.done("open", ID, town.asked)
    assert await town.done("open", ID, town.asked)  # the same again
    town.city.clock.now_ms += 2 * DAY_MS
    (pseudonym,) = await town.city.link("Durand")
    path = f"/v1/consultations/{ID}"
    await town.city.call("PUT", f"{path}/voice", {"voice": "support"}, citizen(pseudonym))
    said = {"side": "for", "language": "fr", "text": "Moins de\n    2  for  papiers."}
    await town.city.call("POST", f"{path}/arguments", said, citizen(pseudonym))
    assert "Moins de 2 for papiers." in await town.done("arguments", ID)  # one line: it cannot pass for another
    await town.done("rule", ID, 1, "published")
    assert json.loads(await town.done("arguments", ID, "--json")) == []
    assert [c["phase"] for c in json.loads(await town.done("list", "--json"))] == ["open"]
    town.city.clock.now_ms += 40 * DAY_MS
    told = await town.done("answer", ID, "--outcome", "amended", "--fr", "Moins.", "--en", "Less.")
    assert told == f"{ID}: amended; 1 for, 0 against\n"
    assert "amended: Moins." in await town.done("show", ID)


async def test_the_result_is_in_the_signed_version_and_a_leaf_of_the_ledger(town):
    await town.answered()
    raw = (await town.city.call("GET", f"/v1/consultations/{ID}/result", None, token=None)).content
    assert "city lint --lock" in await town.done("close", ID, "--agreements", town.agreements)
    (version,) = load_agreements(town.agreements)
    assert version.ref == "meal-tariff-income@2"
    assert (version.consultation.id, version.consultation.result) == (ID, hashlib.sha256(raw).hexdigest())
    await until(lambda: any(e.digest for e in town.city.broker.journal()))
    town.told.integrate()
    (leaf,) = [e for e in map(json.loads, town.told.town.bodies()) if e["type"] == "consulted"]
    assert (leaf["digest"], leaf["agreements"]) == (version.consultation.result, [version.ref])


async def test_a_version_is_published_with_the_result_of_its_consultation_and_with_no_other(town):
    await town.answered()
    await town.done("close", ID, "--agreements", town.agreements)
    (version,) = load_agreements(town.agreements)

    async def published(result):
        named = version.model_copy(update={"consultation": Consulted(id=ID, result=result)})
        bundle = PolicyBundle.of([*AGREEMENTS, named], [], town.city.catalogue)
        at = {"at_ms": town.city.clock.now_ms, "new_id": town.city.records.new_id, "partitions": 4}
        return await town.city.store.write(partial(policy_book.publish, bundle=bundle, **at))

    with pytest.raises(NotItsResult, match="names another result"):
        await published("0" * 64)
    assert await published(version.consultation.result)


@pytest.mark.parametrize(
    ("outcome", "why"), [("abandoned", "nothing is to be signed"), ("adopted", "says something else")]
)
async def test_nothing_is_written_where_nothing_came_of_it_or_something_stands(town, outcome, why):
    await town.answered(outcome)
    path = town.agreements / "tax/meal-tariff-income.v2.yaml"
    path.parent.mkdir(parents=True)
    path.write_text((town.folder / "draft.yaml").read_text())
    before = path.read_text()
    refused = await town.run("close", ID, "--agreements", town.agreements)
    assert isinstance(refused.exception, Fault)
    assert (why in str(refused.exception), refused.exception.exit_code) == (True, 1)
    assert path.read_text() == before


async def test_what_cannot_be_asked_says_why(town):
    refused = {
        "This is for the agreement's source to do.": await town.run("open", ID, town.asked, who="officer"),
        "There is no such consultation.": await town.run("show", "none-of-these"),
        "asked.yaml:6: opens": await town.run("open", ID, town.write("asked.yaml", {**ASKED, "opens": "tomorrow"})),
    }
    for why, ran in refused.items():
        assert why in str(ran.exception)
    gone = await asyncio.to_thread(
        CliRunner().invoke, app, ["consent", "consultations", "list", "--consent-url", "http://127.0.0.1:1"]
    )
    assert "no answer" in str(gone.exception)
