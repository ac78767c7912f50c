"""A receipt is the city's signed file, and a paper of it that everybody can read and keep."""

import io
import re
import unicodedata

import pytest
from pypdf import PdfReader

from passerelle_consent.receipts.keys import KeySet
from passerelle_consent.receipts.seal import open_sealed
from unit.web.test_citizen import CANTEEN, said

LATIN, GREEK, CYRILLIC = range(0xC0, 0x250), range(0x386, 0x3CF), range(0x400, 0x460)
LETTERS = [chr(n) for block in (LATIN, GREEK, CYRILLIC) for n in block if chr(n).isalpha()]
MARKUP = "#panic()*x*$1$@y"


@pytest.fixture
async def claire(town):
    return await town.citizen("Morel")


async def withdrawn(visitor):
    """Say yes and no; return the receipt's number."""
    await said(visitor, CANTEEN, "give")
    return (await said(visitor, CANTEEN, "withdraw")).headers["location"].rpartition("/")[2]


def text(pdf):
    """Its words. Ligatures are one glyph: they are read as their letters."""
    return unicodedata.normalize("NFKC", "\n".join(sheet.extract_text() for sheet in pdf.pages))


async def opened(town, signed):
    """The record in a signed receipt. Raises if the city's keys did not sign it."""
    keys = await town.site.consent.public("/v1/keys")
    return open_sealed(signed, KeySet(entries=tuple(keys.body["keys"]))).content["dpv:hasRecordOfActivity"]


async def test_the_file_is_what_the_city_signed(town, claire):
    async with town.visitor(claire) as visitor:
        ident = await withdrawn(visitor)
        answer = await visitor.get(f"/mes-partages/recu/{ident}.jws")
    record = await opened(town, answer.text)
    assert record["dct:identifier"] == ident
    assert "attachment" in answer.headers["content-disposition"]


async def test_the_paper_says_the_instant_is_tagged_and_carries_the_signed_file(town, claire):
    async with town.visitor(claire) as visitor:
        ident = await withdrawn(visitor)
        for prefix, language, title in (("", "fr", "Accord retiré"), ("/en", "en", "Consent withdrawn")):
            pdf = PdfReader(io.BytesIO((await visitor.get(f"{prefix}/mes-partages/recu/{ident}.pdf")).content))
            page = (await visitor.get(f"{prefix}/mes-partages/accord/{CANTEEN}/accuse/{ident}")).text
            root = pdf.trailer["/Root"]
            assert (root["/Lang"], root["/MarkInfo"]["/Marked"]) == (language, True)
            assert root["/StructTreeRoot"]["/K"]
            metadata = root["/Metadata"].get_data().decode()
            assert "<pdfuaid:part>1</pdfuaid:part>" in metadata
            assert "<pdfaid:part>3</pdfaid:part>" in metadata
            assert title in text(pdf)
            assert re.search(r"\d\d:\d\d:\d\d[.,]\d{3}", page)[0] in text(pdf)
            (signed,) = [held for files in pdf.attachments.values() for held in files]
            assert (await opened(town, signed.decode()))["dct:identifier"] == ident


async def test_a_name_is_written_with_every_letter_of_europe_and_is_never_markup(town, claire):
    async with town.visitor(claire, name=f"{MARKUP} {''.join(LETTERS)}") as visitor:
        ident = await withdrawn(visitor)
        shown = (await visitor.get(f"/mes-partages/recu/{ident}.pdf")).content
    read = text(PdfReader(io.BytesIO(shown)))
    assert MARKUP in read
    assert not [letter for letter in LETTERS if unicodedata.normalize("NFKC", letter) not in read]


async def test_a_name_that_cannot_be_written_costs_nobody_the_receipt(town, claire):
    async with town.visitor(claire, name="山田 花子") as visitor:
        ident = await withdrawn(visitor)
        answer = await visitor.get(f"/mes-partages/recu/{ident}.pdf")
    assert answer.status_code == 200
    assert "Accord retiré" in text(PdfReader(io.BytesIO(answer.content)))


async def test_nobody_has_the_receipt_of_somebody_else(town, claire):
    async with town.visitor(claire) as visitor:
        ident = await withdrawn(visitor)
    async with town.visitor(await town.citizen("Autre")) as other:
        for kind in ("pdf", "jws"):
            assert (await other.get(f"/mes-partages/recu/{ident}.{kind}")).status_code == 404
