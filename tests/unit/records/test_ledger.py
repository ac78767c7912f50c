"""What auditors can ask of the whole log: entries by what they say, counts, proofs; and that their reading is told."""

import asyncio
import hashlib
import io
import json
import threading
from dataclasses import fields
from datetime import UTC, datetime
from typing import get_args
from zipfile import ZipFile

import pytest

from passerelle import audited
from passerelle_consent.ledger.audit.prove import InclusionProof
from passerelle_consent.ledger.log.entries import EntryType
from passerelle_consent.ledger.query.counts import By, Every
from passerelle_consent.ledger.query.export import FORMATS, verify_export
from passerelle_consent.ledger.query.select import Selection
from passerelle_consent.policy.decide import Reason, Verdict
from passerelle_consent.records.log import TYPES, CountedBy, CountedEvery, ExportFormat, LogFilter
from passerelle_consent.wire import JournalType
from unit.ledger.fakes import SIGNER
from unit.records.fakes import START_MS, until

ENTRIES = "/v1/ledger/entries"


def reads(city):
    return [e for e in city.broker.journal() if e.type is JournalType.READ]


async def asked(told, query="", status=200, token="auditor"):  # noqa: S107
    answer = await told.city.call("GET", f"{ENTRIES}{query}", token=token)
    assert answer.status_code == status, answer.text
    return answer


def decisions(answer):
    return [e["entry"].get("decision") for e in answer.json()["entries"] if e["entry"]["type"] == "decision"]


def slug(answer):
    return answer.json()["type"].rpartition(":")[2]


@pytest.fixture
async def known(told, marie):
    """A log with decisions of two flows, indexed."""
    told.denied = told.decide(marie, verdict=Verdict.DENY, reason=Reason.OBJECTED, count=3)
    told.permitted = told.decide(marie, flow=1, count=2)
    told.index_all()
    return told


async def test_an_auditor_finds_entries_by_what_they_say(known):
    between = datetime.fromtimestamp(START_MS / 1000 + 2, UTC).isoformat().replace("+00:00", "Z")
    denied, permitted = known.denied[::-1], known.permitted[::-1]
    for query, expected in {
        "?type=decision": permitted + denied,
        "?verdict=deny": denied,
        "?reason=objected": denied,
        "?flow=moves": permitted,
        "?recipient=registry": [],
        "?agreement=home": permitted + denied,
        "?agreement=income@1&verdict=deny": denied,
        "?agreement=income@1&verdict=permit": [],
        f"?decision={known.denied[1]}": [known.denied[1]],
        f"?since={between}": permitted,
        f"?until={between}&type=decision": denied,
    }.items():
        assert decisions(await asked(known, query)) == expected, query


async def test_the_answer_says_how_far_it_goes(known, marie):
    answer = (await asked(known)).json()
    size = len(known.town.bodies())
    assert answer["extent"] == {"indexed": size, "size": size}
    assert [e["index"] for e in answer["entries"]] == list(range(size))[::-1]
    known.decide(marie)
    answer = (await asked(known)).json()
    assert answer["extent"] == {"indexed": size, "size": len(known.town.bodies())}
    assert answer["extent"]["size"] > size


async def test_entries_name_nobody(known, marie):
    text = (await asked(known)).text
    assert marie not in text
    assert known.city.ref(marie).hex() not in text


async def test_pages_follow_their_cursor_while_more_comes_in(known, marie):
    seen, path = [], f"{ENTRIES}?type=decision&limit=2"
    while path:
        answer = await known.city.call("GET", path, token="auditor")
        seen += decisions(answer)
        known.decide(marie)
        known.index_all()
        path = answer.links["next"]["url"] if "next" in answer.links else None
    assert seen == (known.denied + known.permitted)[::-1]


async def test_a_cursor_of_another_query_is_told_from_one_that_is_none(known):
    cursor = (await asked(known, "?limit=2&verdict=deny")).links["next"]["url"].rpartition("cursor=")[2]
    assert slug(await asked(known, f"?verdict=permit&cursor={cursor}", 422)) == "cursor-of-another-query"
    assert slug(await asked(known, "?verdict=deny&cursor=AAAA", 422)) == "bad-cursor"
    assert (await asked(known, f"?verdict=deny&cursor={cursor}")).json()["entries"]


@pytest.mark.parametrize(("query", "named"), [("?verdikt=deny", "verdikt"), ("?a%0d%0ab=1", "?"), ("?limit=2&x=", "x")])
async def test_an_unknown_parameter_is_named(known, query, named):
    refused = await asked(known, query, 422)
    assert (slug(refused), refused.json()["parameter"]) == ("unknown-parameter", named)


@pytest.mark.parametrize(
    "query",
    [
        "?since=yesterday",
        "?since=2026-01-01T00:00:00",
        "?verdict=maybe",
        "?type=decisions",
        "?agreement=home@0",
        "?flow=Été",
        "?decision=12",
        "?limit=0",
        "?limit=201",
    ],
)
async def test_a_parameter_that_cannot_be_is_named(known, query):
    refused = await asked(known, query, 422)
    assert slug(refused) == "malformed-request"
    assert refused.json()["errors"][0]["where"] == ["query", query[1:].partition("=")[0]]


async def test_times_before_and_after_all_that_is_are_empty_or_all(known):
    assert decisions(await asked(known, "?until=0001-01-01T00:00:00Z")) == []
    assert decisions(await asked(known, "?since=9999-12-31T23:59:59.999Z")) == []
    assert len(decisions(await asked(known, "?since=0001-01-01T00:00:00Z&until=9999-12-31T23:59:59Z"))) == 5


async def test_the_proof_of_an_entry_verifies_alone(known):
    (found,) = (await asked(known, f"?decision={known.denied[0]}")).json()["entries"]
    answer = await known.city.call("GET", found["proof"], token="auditor")
    entry, checkpoint = InclusionProof.parse(answer.content).check(SIGNER.verifier)
    assert (entry.ident.hex(), checkpoint.size) == (known.denied[0], len(known.town.bodies()))
    beyond = await known.city.call("GET", f"{ENTRIES}/{checkpoint.size}/proof", token="auditor")
    assert slug(beyond) == "unknown-entry"


async def test_an_auditors_reading_is_one_entry_an_hour_however_often_it_reads(known):
    for _ in range(5):
        await asked(known)
    await until(lambda: reads(known.city))
    assert [(r.subject, r.department) for r in reads(known.city)] == [(None, None)]
    await asked(known, token={"scope": "auditor", "department": "tax"})
    known.city.clock.now_ms += 3_600_000
    await asked(known)
    await until(lambda: len(reads(known.city)) == 3)
    assert [r.department for r in reads(known.city)] == [None, "tax", None]
    known.integrate()
    known.index_all()
    shown = (await asked(known, "?type=read")).json()["entries"]
    assert [e["entry"]["type"] for e in shown] == ["read"] * 3


async def test_what_cannot_be_told_of_is_not_read(known, monkeypatch):
    async def no(*_, **__):
        raise RuntimeError

    monkeypatch.setattr(known.city.records, "write", no)
    assert slug(await asked(known, status=500)) == "internal"


async def counted(known, query, status=200):
    answer = await known.city.call("GET", f"/v1/ledger/counts{query}", token="auditor")
    assert answer.status_code == status, answer.text
    return answer


async def test_counts_over_time(known):
    answer = (await counted(known, "?by=verdict&every=hour&type=decision")).json()
    assert answer["counts"] == [
        {"start": "2026-05-01T00:00:00.000Z", "value": "deny", "count": 3},
        {"start": "2026-05-01T00:00:00.000Z", "value": "permit", "count": 2},
    ]
    assert answer["until"] == "2026-05-01T01:00:00.000Z"
    agreements = (await counted(known, "?by=agreement&every=month&verdict=deny&since=2026-05-07T12:00:00Z")).json()
    assert (agreements["since"], agreements["until"]) == ("2026-05-01T00:00:00.000Z", "2026-06-01T00:00:00.000Z")
    assert [(c["value"], c["count"]) for c in agreements["counts"]] == [("home@1", 3), ("income@1", 3)]
    for beyond in ("until=2026-05-01T00:00:00Z", "since=9999-12-31T23:59:59.999Z", "until=0001-01-01T00:00:00Z"):
        assert (await counted(known, f"?by=reason&every=month&{beyond}")).json()["counts"] == []
    assert (await counted(known, "?by=reason&until=9999-12-31T23:59:59.999Z")).json()["counts"]
    assert (await counted(known, "?by=reason&every=month&since=0001-01-01T00:00:00%2B14:00")).json()["counts"]
    # Unless told, what fits: all entries are of an hour, wherever the time begins that is asked for.
    for since in ("", "&since=0001-01-01T00:00:00Z", "&since=2026-01-01T00:00:00Z"):
        assert (await counted(known, f"?by=reason{since}")).json()["every"] == "hour"


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("?by=verdict&every=hour&since=2026-01-01T00:00:00Z", "too-long-a-time"),
        ("?by=subject", "malformed-request"),
        ("", "malformed-request"),
        ("?by=flow&every=second", "malformed-request"),
        (f"?by=flow&decision={'0' * 32}", "unknown-parameter"),
        ("?by=flow&cursor=AAAA", "unknown-parameter"),
    ],
)
async def test_what_cannot_be_counted(known, query, problem):
    assert slug(await counted(known, query, 422)) == problem


async def exported(known, query="", status=200):
    answer = await known.city.call("GET", f"/v1/ledger/export{query}", token="auditor")
    assert answer.status_code == status, answer.text
    return answer


@pytest.mark.parametrize("format_", FORMATS)
async def test_an_export_is_proven_offline(known, format_):
    answer = await exported(known, f"?format={format_}&verdict=deny")
    assert answer.headers["content-type"] == "application/zip"
    with ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        assert names == [f"entries.{format_}", f"entries.{format_}.proof"]
        rows, proof = (io.BytesIO(archive.read(name)) for name in names)
    found = verify_export(rows, proof, SIGNER.verifier)
    assert (found.head.entries, found.head.whole, found.head.asked) == (3, False, Selection(verdict=Verdict.DENY))
    await until(lambda: reads(known.city))
    assert [r.subject for r in reads(known.city)] == [None]


async def test_an_export_of_a_run_of_places_leaves_nothing_out(known, marie):
    indexed = len(known.town.bodies())
    known.decide(marie, count=3)
    for query, (start, end) in {"": (0, indexed), "?start=2&end=5": (2, 5), "?start=99": (indexed, indexed)}.items():
        with ZipFile(io.BytesIO((await exported(known, query)).content)) as archive:
            rows, proof = (io.BytesIO(archive.read(name)) for name in archive.namelist())
        head = verify_export(rows, proof, SIGNER.verifier).head
        assert (head.whole, head.start, head.end, head.entries) == (True, start, end, end - start)


async def test_an_export_is_bounded_and_one_at_a_time(known, monkeypatch):
    log = known.city.records._parts.log
    monkeypatch.setattr(audited, "EXPORTED_MAX", 2)
    refused = await exported(known, "?verdict=deny", 422)
    assert (slug(refused), refused.json()["most"]) == ("too-many-entries", 2)
    left = log.export(LogFilter(verdict=Verdict.PERMIT), format_="csv", start=0, end=None)
    assert slug(await exported(known, "?verdict=permit", 503)) == "overloaded"
    del left
    await exported(known, "?verdict=permit")
    monkeypatch.setattr(audited, "available", lambda: {"jsonl"})
    assert slug(await exported(known, "?format=csv", 501)) == "format-unavailable"


@pytest.mark.parametrize("query", ["?format=xml", "?start=-1", "?end=9007199254740992", "?start=x"])
async def test_what_cannot_be_exported(known, query):
    assert slug(await exported(known, query, 422)) == "malformed-request"


def test_the_words_of_the_log_are_its_own():
    """`records` says them for itself."""
    assert set(TYPES) == set(EntryType)
    assert set(get_args(CountedBy)) == set(By)
    assert set(get_args(CountedEvery)) == set(Every)
    assert get_args(ExportFormat) == FORMATS
    assert {f.name for f in fields(LogFilter)} == {f.name for f in fields(Selection)}


async def test_beyond_a_second_of_work_an_auditor_hears_it_at_once(known, monkeypatch):
    held, log = threading.Event(), known.city.records._parts.log
    monkeypatch.setattr(log, "proof", lambda _: held.wait(20) and None)
    waiting = [asyncio.create_task(known.city.call("GET", f"{ENTRIES}/0/proof", token="auditor")) for _ in range(66)]
    done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    assert {slug(task.result()) for task in done} == {"overloaded"}
    held.set()
    answers = [slug(await task) for task in waiting]
    assert (answers.count("overloaded"), answers.count("unknown-entry")) == (2, 64)


async def test_the_services_own_log_tells_who_it_was_without_a_name(known, capsys):
    await asked(known)
    (line,) = [json.loads(line) for line in capsys.readouterr().out.splitlines() if '"log read"' in line]
    await until(lambda: reads(known.city))
    assert line["reading"] == reads(known.city)[0].id.hex()
    assert line["by"] == hashlib.sha256(b"auditor None None").hexdigest()


async def test_a_log_without_its_index_is_a_503(city):
    assert slug(await city.call("GET", ENTRIES, token="auditor")) == "ledger-unavailable"
