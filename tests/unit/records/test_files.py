"""The log's files over HTTP: for everybody what is hashed, for auditors what is said."""

from dataclasses import replace

import pytest

from passerelle_consent.ledger.log.cosignature import Cosigner
from passerelle_consent.ledger.log.note import Note
from passerelle_consent.ledger.log.tiles import unpack
from passerelle_consent.wire import JournalType
from unit.ledger.fakes import ORIGIN
from unit.records.fakes import START_MS, until

HASHES, ENTRIES = "/tile/0/000.p/{}", "/tile/entries/000.p/{}"


def reads(city):
    return [e for e in city.broker.journal() if e.type is JournalType.READ]


def slug(answer):
    return answer.json()["type"].rpartition(":")[2]


@pytest.fixture
def size(told):
    return len(told.town.bodies())


async def test_anybody_reads_the_checkpoint_and_the_hashes(told, marie):
    told.decide(marie, count=3)
    size = len(told.town.bodies())
    note = await told.city.call("GET", "/checkpoint", token=None)
    assert (note.status_code, note.headers["content-type"]) == (200, "text/plain; charset=utf-8")
    assert note.content == (told.town.folder / "checkpoint").read_bytes()
    assert note.headers["cache-control"] == "public, max-age=1"
    hashes = await told.city.call("GET", HASHES.format(size), token=None)
    assert hashes.content == (told.town.folder / f"tile/0/000.p/{size}").read_bytes()
    assert hashes.headers["content-type"] == "application/octet-stream"
    assert hashes.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert "files" in hashes.headers["ratelimit-policy"]
    assert reads(told.city) == []


async def test_bundles_are_for_auditors_and_their_reading_is_told(told, marie):
    told.decide(marie, count=3)
    path = ENTRIES.format(len(told.town.bodies()))
    assert slug(await told.city.call("GET", path, token=None)) == "unauthenticated"
    assert slug(await told.city.call("GET", path, token="officer")) == "insufficient-scope"
    for encoding in ("gzip", "identity"):
        answer = await told.city.call("GET", path, token="auditor", accept_encoding=encoding)
        assert answer.headers.get("content-encoding") == ("gzip" if encoding == "gzip" else None)
        assert unpack(answer.content, len(told.town.bodies())) == told.town.bodies()
        assert answer.headers["cache-control"] == "private, max-age=31536000, immutable"
    await until(lambda: reads(told.city))
    assert len(reads(told.city)) == 1


async def test_a_full_tile_keeps_its_name(told, marie):
    told.decide(marie, count=260)
    answer = await told.city.call("GET", "/tile/0/000", token=None)
    assert (answer.status_code, len(answer.content)) == (200, 8192)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/tile/0/001", (404, "not-found")),
        ("/tile/0/000.p/255", (404, "not-found")),
        ("/tile/9/x001/000", (404, "not-found")),
        ("/tile/64/000", (422, "malformed-request")),
        ("/tile/0/x000/000", (404, "not-found")),
        ("/tile/0/000.p/256", (404, "not-found")),
        ("/tile/0/0", (422, "malformed-request")),
        ("/tile/0/%2e%2e/%2e%2e/checkpoint", (422, "malformed-request")),
        ("/tile/x/000", (422, "malformed-request")),
        ("/tile/0/", (422, "malformed-request")),
    ],
)
async def test_what_is_no_file_of_the_log(told, path, expected):
    answer = await told.city.call("GET", path, token=None)
    assert (answer.status_code, slug(answer)) == expected


async def test_the_checkpoints_page_names_who_signed(told, size, tmp_path):
    known, stranger = (Cosigner.of(f"witness.example/{name}", bytes([name]) * 32) for name in (1, 2))
    policy = f"witness w1 {known.key.encode()}\nquorum none\n"
    (tmp_path / "ledger" / "witnesses.policy").write_text(policy)
    path = told.town.folder / "checkpoint"
    note = Note.parse(path.read_bytes())
    cosigned = [who.sign(note.text, START_MS // 1000) for who in (known, stranger)]
    forged = replace(cosigned[0], signature=cosigned[0].signature[:8] + bytes(64))
    path.write_bytes(Note(text=note.text, signatures=(*note.signatures, *cosigned, forged)).encode())
    answer = (await told.city.call("GET", "/v1/ledger/checkpoint", token=None)).json()
    assert (answer["origin"], answer["size"], answer["root"]) == (ORIGIN, size, note.text.splitlines()[2])
    assert [(s["name"], s["checked"], s["at"]) for s in answer["signatures"]] == [
        (ORIGIN, True, None),
        ("witness.example/1", True, "2026-05-01T00:00:00.000Z"),
        ("witness.example/2", False, "2026-05-01T00:00:00.000Z"),
        ("witness.example/1", False, "2026-05-01T00:00:00.000Z"),
    ]
    assert [s["key_id"] for s in answer["signatures"]][1] == known.key.key_id.hex()
    assert answer["note"].encode() == path.read_bytes()


async def test_no_log_yet(city):
    for path in ("/v1/ledger/checkpoint", "/checkpoint", "/tile/0/000"):
        answer = await city.call("GET", path, token=None)
        assert slug(answer) in ("ledger-unavailable", "not-found")
