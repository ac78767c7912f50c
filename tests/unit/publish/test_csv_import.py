"""A CSV file with something wrong in it: what is wrong is named, the rest goes."""

import csv
import gzip
import io
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lutece.reports import COLUMNS, MAPPING, invent_reports
from passerelle.config import KafkaAccess
from passerelle.publish.csv_import import BATCH_ROWS, CsvImport, Published, Tally, event_id
from passerelle.publish.mapping import load_mapping
from passerelle.publish.outgoing import PublishFault
from passerelle.publish.producer import DepartmentProducer, Placed
from passerelle.publish.rows import BrokenOff, CsvFault, Rejected
from passerelle.publish.subjects import Drawn
from passerelle_schemas.catalogue import Catalogue
from passerelle_schemas.documents import DocumentFault

ROOT = Path(__file__).parents[3]
CATALOGUE = Catalogue.load(ROOT / "schemas" / "contracts")
NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
CANARY = "Zébulon-Canari"
POOL = [bytes([n]) * 16 for n in range(1, 9)]


class Recording(DepartmentProducer):
    """The real checks; instead of a broker, a list."""

    def __init__(self, department="citizen-desk", takes=None):
        access = KafkaAccess(bootstrap_servers="127.0.0.1:1", username=department, password="none")
        super().__init__(access, department, CATALOGUE)
        self.sent = []
        self.takes = takes

    async def publish_all(self, events):
        for event in events:
            if len(self.sent) == self.takes:
                raise PublishFault("away")
            self.sent.append(event)
            yield Placed(topic=event.topic, partition=0, offset=len(self.sent) - 1, tag=event.tag)


def rows(count):
    return list(invent_reports(count))


def as_csv(lines, columns=COLUMNS):
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue().encode()


async def run(path, *, mapping=MAPPING, publication="p", complete=None, producer=None, from_row=0):
    producer = producer or Recording()
    job = CsvImport(
        path=path,
        mapping=load_mapping(mapping, CATALOGUE)[0],
        publication=publication,
        now=lambda: NOW,
        complete=complete,
        from_row=from_row,
    )
    tally, outcomes = Tally(), []
    async for outcome in job.run(producer, Drawn("id_dmr", "s", POOL)):
        tally.add(outcome)
        outcomes.append(outcome)
    return tally, outcomes, producer


async def rejected(tmp_path, content: bytes):
    path = tmp_path / "in.csv"
    path.write_bytes(content)
    tally, outcomes, _ = await run(path)
    return tally, [(o.row, o.column, o.problem) for o in outcomes if isinstance(o, Rejected)]


async def test_every_row_of_a_good_file_goes_plain_and_zipped(tmp_path):
    content = as_csv(rows(BATCH_ROWS + 7))
    for name, data in (("a.csv", content), ("a.csv.gz", gzip.compress(content)), ("b.csv", b"\xef\xbb\xbf" + content)):
        (tmp_path / name).write_bytes(data)
        tally, _, producer = await run(tmp_path / name)
        assert (tally.input_rows, tally.published, tally.rejected, tally.all_went) == (507, 507, 0, True)
        assert len({dict(e.headers)["ce_id"] for e in producer.sent}) == 507


async def test_what_is_published_is_what_the_file_said(tmp_path):
    [row] = rows(1)
    (tmp_path / "a.csv").write_bytes(as_csv([row | {"conseilquartier": ""}]))
    _, [outcome], producer = await run(tmp_path / "a.csv", complete=lambda _, value: value | {"reporter_phone": "0"})
    assert outcome == Published(row=2, topic="outbox.citizen-desk.report-filed", partition=0, offset=0)
    _, value = CATALOGUE.decode(producer.sent[0].value)
    assert value["report_id"] == row["id_dmr"]
    assert value["neighbourhood"] is None
    assert value["filed_on"].isoformat() == row["datedecl"]
    assert (value["reporter_phone"], value["reporter_email"]) == ("0", None)
    assert dict(producer.sent[0].headers)["ce_time"] == b"2026-11-23T09:00:00.000Z"


@pytest.mark.parametrize(
    ("column", "cell", "problem"),
    [
        ("datedecl", "2026-02-30", "is not a date as %Y-%m-%d"),
        ("datedecl", "", "is empty"),
        ("arrondissement", "premier", "is not a whole number"),
        ("arrondissement", "²", "is not a whole number"),
        ("arrondissement", "21", "is not between 1 and 20"),
        ("lon", "nan", "is not a decimal number"),
        ("lat", "91.5", "is not between -90 and 90"),
        ("adresse", "x" * 10_001, "is longer than 10000 characters"),
    ],
)
async def test_a_bad_cell_is_named_by_row_and_column(tmp_path, column, cell, problem):
    lines = rows(4)
    lines[2][column] = cell
    tally, found = await rejected(tmp_path, as_csv(lines))
    assert found == [(4, column, problem)]
    assert (tally.published, tally.all_went) == (3, False)


async def test_invalid_utf8_spoils_its_row_alone(tmp_path):
    lines = rows(3)
    lines[1]["adresse"] = "MARQUE"
    tally, found = await rejected(tmp_path, as_csv(lines).replace(b"MARQUE", b"rue \xe9\xff"))
    assert found == [(3, "adresse", "is not UTF-8")]
    assert tally.published == 2


async def test_a_short_row_names_the_first_missing_column_and_a_long_one_its_length(tmp_path):
    content = as_csv(rows(3)).splitlines(keepends=True)
    content[1] = b"L1,Type,Sous-type\r\n"
    content[3] = content[3].rstrip() + b",extra\r\n"
    tally, found = await rejected(tmp_path, b"".join(content))
    assert found == [(2, "adresse", "is missing"), (4, None, "has 13 cells, the header 12")]
    assert tally.published == 1


async def test_an_open_quote_is_one_rejected_row_and_the_rest_goes(tmp_path):
    content = as_csv(rows(2)) + b'"A"B,C\r\n' + as_csv(rows(1)).splitlines(keepends=True)[1]
    tally, found = await rejected(tmp_path, content)
    assert [(row, column) for row, column, _ in found] == [(4, None)]
    assert tally.published == 3


async def test_a_quote_open_to_the_end_says_which_lines_it_swallowed(tmp_path):
    tally, found = await rejected(tmp_path, as_csv(rows(2)) + b'"open\nmore\nmore\n')
    assert found == [(4, None, "is not CSV, a quote is out of place: lines 4 to 6 were passed over")]
    assert tally.published == 2


@pytest.mark.parametrize("cut", [0.3, 0.6, 0.95])
async def test_a_gzip_that_breaks_off_gives_the_whole_rows_before(tmp_path, cut):
    content = as_csv(rows(3000))
    packed = gzip.compress(content)
    path = tmp_path / "a.csv.gz"
    path.write_bytes(packed[: int(len(packed) * cut)])
    tally, outcomes, _ = await run(path)
    assert isinstance(outcomes[-1], BrokenOff)
    assert tally.broken == BrokenOff(row=tally.published + 2, problem="the gzip file breaks off")
    assert 0 < tally.published == tally.input_rows < 3000
    assert not tally.all_went


async def test_a_damaged_gzip_is_reported_not_raised(tmp_path):
    packed = bytearray(gzip.compress(as_csv(rows(3000))))
    packed[len(packed) // 2 :: 7] = bytes(len(packed[len(packed) // 2 :: 7]))
    (tmp_path / "a.csv.gz").write_bytes(packed)
    tally, _, _ = await run(tmp_path / "a.csv.gz")
    assert tally.broken is not None
    assert not tally.all_went


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is empty"),
        (as_csv([], tuple(c for c in COLUMNS if c != "lon")), "row 1, column lon: is missing"),
    ],
)
async def test_a_file_without_its_columns_publishes_nothing(tmp_path, content, problem):
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    with pytest.raises(CsvFault) as fault:
        await run(path)
    assert str(fault.value) == f"{path}: {problem}"
    assert fault.value.exit_code == 1


async def test_a_gzip_that_is_none(tmp_path):
    path = tmp_path / "a.csv.gz"
    path.write_bytes(as_csv(rows(1)))
    with pytest.raises(CsvFault, match="row 1: the gzip file is damaged"):
        await run(path)


async def test_no_cell_is_ever_quoted(tmp_path):
    lines = rows(12)
    for line, column in zip(lines, COLUMNS, strict=True):
        line[column] = CANARY + "\x00" if column == "id_dmr" else CANARY
    path = tmp_path / "a.csv"
    path.write_bytes(as_csv(lines))
    tally, outcomes, _ = await run(path)
    assert tally.rejected > 0
    assert CANARY not in repr(outcomes) + repr(tally)


async def test_the_same_publication_repeats_its_ids_and_another_does_not(tmp_path):
    (tmp_path / "a.csv").write_bytes(as_csv(rows(3)))
    sent = [(await run(tmp_path / "a.csv", publication=p))[2].sent for p in ("one", "one", "two")]
    ids = [[dict(e.headers)["ce_id"] for e in s] for s in sent]
    assert ids[0] == ids[1]
    assert not set(ids[0]) & set(ids[2])
    assert [e.key for e in sent[0]] == [e.key for e in sent[2]], "the reporter comes from the report, not the run"
    assert event_id("one", 2) != event_id("one", 3)


async def test_an_import_that_broke_off_goes_on_behind_the_last_row_that_went(tmp_path):
    lines = rows(9)
    lines[1]["type"] = ""
    (tmp_path / "a.csv").write_bytes(as_csv(lines))
    whole = (await run(tmp_path / "a.csv"))[2].sent
    first, tally = Recording(takes=4), Tally()
    job = CsvImport(
        path=tmp_path / "a.csv", mapping=load_mapping(MAPPING, CATALOGUE)[0], publication="p", now=lambda: NOW
    )
    with pytest.raises(PublishFault):  # noqa: PT012 - what came before it counts
        async for outcome in job.run(first, Drawn("id_dmr", "s", POOL)):
            tally.add(outcome)
    assert [rejected.row for rejected in tally.shown] == [3]
    later, _, second = await run(tmp_path / "a.csv", from_row=tally.next_row)
    assert [dict(e.headers)["ce_id"] for e in first.sent + second.sent] == [dict(e.headers)["ce_id"] for e in whole]
    assert later.rejected == 0


async def test_a_value_that_the_contract_refuses_is_a_rejected_row(tmp_path):
    (tmp_path / "a.csv").write_bytes(as_csv(rows(1)))
    _, [outcome], _ = await run(tmp_path / "a.csv", complete=lambda _, value: value | {"district": CANARY})
    assert outcome == Rejected(
        row=2, column="arrondissement", problem="citizen-desk.report-filed.v1: field district does not fit its type"
    )


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("citizen-desk.report-filed.v1", "citizen-desk.unknown.v1", "event: no contract citizen-desk.unknown.v1"),
        ("report_id:", "report_number:", "has no field report_number"),
        ("operator: { column: intervenant }", "", "nothing fills field operator"),
        ("type: date", "type: datum", "Input should be 'str', 'int', 'float', 'date' or 'bool'"),
        ("{ column: type }", '{ column: type, empty: "null" }', "cannot be null"),
        ("by: drawn", "by: guess", "key"),
        ("{ column: type }", "{}", "column: Field required"),
        ("{ column: type }", '{ column: "" }', "column: String should have at least 1 character"),
    ],
)
def test_a_mapping_that_does_not_fit_names_file_and_line(tmp_path, old, new, says):
    path = tmp_path / "m.yaml"
    path.write_text(MAPPING.read_text().replace(old, new, 1))
    with pytest.raises(DocumentFault) as fault:
        load_mapping(path, CATALOGUE)
    assert says in str(fault.value)
    assert str(fault.value).startswith(f"{path}:")
