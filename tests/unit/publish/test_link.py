"""Links: batches, repeats, and what is said when the register says no."""

import json
from datetime import date

import httpx
import pytest

from passerelle.issuer import Bearer
from passerelle.pseudonyms import PivotIdentity
from passerelle.publish import link
from passerelle.publish.link import BATCH_MAX, LinkClient, LinkFault
from passerelle.publish.mapping import CellProblem, IdentityColumns
from passerelle.publish.subjects import ByIdentity, ByPseudonym, SubjectsFault, draw, read_identity, read_pool

COLUMNS = IdentityColumns(
    given_names="prenoms", family_name="nom", birth_date="ne", gender="sexe", birth_place="lieu", birth_country="pays"
)
CELLS = {
    "prenoms": "Claire, Marie",
    "nom": "Exemple",
    "ne": "1984-05-06",
    "sexe": "female",
    "lieu": "44109",
    "pays": "99100",
}


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    monkeypatch.setattr(link, "FIRST_PAUSE_S", 0.0)


def people(count):
    return [
        PivotIdentity(
            given_names=("Claire",),
            family_name=f"Exemple{n}",
            birth_date=date(1984, 5, 6),
            gender="female",
            birth_place="44109",
            birth_country="99100",
        )
        for n in range(count)
    ]


def client(answer):
    return LinkClient("http://register.test", Bearer(lambda: "t0ken"), transport=httpx.MockTransport(answer))


async def test_a_long_list_is_asked_in_bounded_batches_and_answered_in_order():
    calls = []

    def answer(request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        calls.append(len(body["identities"]))
        assert request.headers["Authorization"] == "Bearer t0ken"
        assert body.keys() == {"identities"}
        numbers = [int(i["family_name"].removeprefix("Exemple")) for i in body["identities"]]
        return httpx.Response(200, json={"pseudonyms": [n.to_bytes(16).hex() for n in numbers]})

    async with client(answer) as links:
        found = await links.link(people(BATCH_MAX + 3))
    assert calls == [BATCH_MAX, 3]
    assert [int.from_bytes(p) for p in found] == list(range(BATCH_MAX + 3))


async def test_what_did_not_arrive_is_repeated():
    answers = iter(
        [
            httpx.ConnectError("down"),
            httpx.Response(503),
            httpx.Response(409),
            httpx.Response(200, json={"pseudonyms": ["00" * 16]}),
        ]
    )

    def answer(_: httpx.Request) -> httpx.Response:
        given = next(answers)
        if isinstance(given, Exception):
            raise given
        return given

    async with client(answer) as links:
        assert await links.link(people(1)) == [bytes(16)]


@pytest.mark.parametrize(
    ("response", "says"),
    [
        (httpx.Response(403, json={"title": "not your department", "detail": "Exemple0"}), "403 not your department"),
        (httpx.Response(500, text="Exemple0"), "500 no reason given"),
        (httpx.Response(503), r"does not answer \(status 503, 5 attempts\)"),
        (httpx.Response(200, json={"pseudonyms": []}), "not one pseudonym each"),
        (httpx.Response(200, json={"pseudonyms": ["xyz"]}), "not one pseudonym each"),
        (httpx.Response(200, text="<html>"), "not one pseudonym each"),
    ],
)
async def test_a_no_is_one_line_without_the_person(response, says):
    async with client(lambda _: response) as links:
        with pytest.raises(LinkFault, match=says) as fault:
            await links.link(people(1))
    assert "Exemple0" not in str(fault.value)


def test_an_identity_is_read_from_its_columns():
    identity = read_identity(COLUMNS, CELLS)
    assert isinstance(identity, PivotIdentity)
    assert identity.given_names == ("Claire", "Marie")
    assert read_identity(COLUMNS, CELLS | {"lieu": "", "pays": "99350"}).birth_place == ""


@pytest.mark.parametrize(
    ("column", "cell", "problem"),
    [
        ("prenoms", " ", "is no given names of a pivot identity"),
        ("ne", "06/05/1984", "is no birth date of a pivot identity"),
        ("sexe", "F", "is no gender of a pivot identity"),
        ("lieu", "Nantes", "is no birth place of a pivot identity"),
    ],
)
def test_a_bad_identity_names_its_column(column, cell, problem):
    found = read_identity(COLUMNS, CELLS | {column: cell})
    assert isinstance(found, CellProblem)
    assert (found.column, found.problem) == (column, problem)


async def test_bad_rows_do_not_shift_the_good_ones():
    def answer(request: httpx.Request) -> httpx.Response:
        names = [i["family_name"] for i in json.loads(request.content)["identities"]]
        return httpx.Response(200, json={"pseudonyms": [name.encode().ljust(16, b".").hex() for name in names]})

    async with client(answer) as links:
        rows = [CELLS | {"nom": "A"}, CELLS | {"sexe": "?"}, CELLS | {"nom": "B"}]
        found = await ByIdentity(COLUMNS, links).find(rows)
    assert [f if isinstance(f, CellProblem) else f.strip(b".") for f in found][::2] == [b"A", b"B"]
    assert isinstance(found[1], CellProblem)


async def test_pseudonyms_in_a_column():
    good, bad, short = await ByPseudonym("p").find([{"p": "0f" * 16}, {"p": "Claire"}, {"p": "0f"}])
    assert good == b"\x0f" * 16
    assert isinstance(bad, CellProblem)
    assert isinstance(short, CellProblem)


def test_a_draw_is_the_same_everywhere_and_reaches_everybody():
    assert [draw("s", f"A{n}", 10) for n in range(5)] == [draw("s", f"A{n}", 10) for n in range(5)]
    assert {draw("s", f"A{n}", 10) for n in range(200)} == set(range(10))
    assert draw("s", "A1", 1_000_000) != draw("t", "A1", 1_000_000)


def test_a_pool_is_read_as_link_writes_it(tmp_path):
    path = tmp_path / "pool.csv"
    path.write_text(f"row,pseudonym\n2,{'01' * 16}\n3,{'02' * 16}\n")
    assert read_pool(path) == [b"\x01" * 16, b"\x02" * 16]
    path.write_text("row,pseudonym\n2,Claire\n")
    with pytest.raises(SubjectsFault, match=r"pool\.csv:2: is not 32 hexadecimal digits"):
        read_pool(path)
