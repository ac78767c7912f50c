"""A public consultation from its publication to the leaf of the ledger: one voice each, and nobody's afterwards."""

import hashlib
import json
import os
from functools import partial

import pytest
import sqlalchemy as sa

from passerelle_consent.records import consultations, problems, sql, voices
from passerelle_consent.records.consultations import Announced, Answer, Outcome, Phase, Ruling
from passerelle_consent.records.problems import Problem
from passerelle_consent.records.store import Store
from passerelle_consent.records.voices import Side, Voice
from passerelle_consent.wire import JournalType, decode_journal

DAY_MS = 86_400_000
OPENS_MS, CLOSES_MS = 10 * DAY_MS, 40 * DAY_MS
ANNE, BILAL, CHLOE = (bytes([n]) * 16 for n in (1, 2, 3))
ENTRY = b"e" * 16
ANSWER = Answer(outcome=Outcome.AMENDED, fr="Nous retirons le revenu.", en="We drop the income.")


def announced(**other):
    said = {"question": {"fr": "Partager la tranche ?", "en": "Share the band?"}}
    plain = {"id": "meal-tariff-2027", "agreement": "meal-tariff-income@2", "department": "tax", "document": said}
    return Announced(**{**plain, "opens_ms": OPENS_MS, "closes_ms": CLOSES_MS, **other})


@pytest.fixture
async def store(store_url):
    store = Store(store_url)
    await store.open()
    yield store
    await store.close()


@pytest.fixture
async def run(store):
    """Run a script of a consultation that is published."""
    await store.write(partial(consultations.publish, announced=announced(), at_ms=DAY_MS, voice_key=os.urandom(32)))

    async def run(script, *args, **named):
        return await store.write(lambda conn: script(conn, "meal-tariff-2027", *args, **named))

    return run


async def refused(kind, awaitable):
    with pytest.raises(Problem) as caught:
        await awaitable
    assert caught.value.kind is kind


def answered(run, said=ANSWER, at_ms=CLOSES_MS):
    return run(consultations.answer, said, entry_id=ENTRY, at_ms=at_ms, partitions=4)


async def test_what_is_published_is_never_edited(store):
    publish = partial(consultations.publish, at_ms=DAY_MS, voice_key=os.urandom(32))
    first = await store.write(partial(publish, announced=announced()))
    assert await store.write(partial(publish, announced=announced(), voice_key=b"x" * 32)) == first
    other = announced(document={"question": {"fr": "Autre ?", "en": "Another?"}})
    await refused(problems.CONSULTATION_PUBLISHED, store.write(partial(publish, announced=other)))


async def test_it_opens_after_it_is_published(store):
    late = partial(consultations.publish, announced=announced(), at_ms=OPENS_MS + 1, voice_key=b"k" * 32)
    await refused(problems.CONSULTATION_IN_THE_PAST, store.write(late))


async def test_phases_follow_the_clock_and_the_answer(run):
    held = await run(consultations.find)
    phases = [held.phase(at) for at in (OPENS_MS - 1, OPENS_MS, CLOSES_MS - 1, CLOSES_MS)]
    assert phases == [Phase.ANNOUNCED, Phase.OPEN, Phase.OPEN, Phase.CLOSED]
    await answered(run)
    assert (await run(consultations.find)).phase(CLOSES_MS) is Phase.ANSWERED


async def test_each_has_one_voice_and_the_last_word_counts(run):
    said = ((ANNE, Voice.SUPPORT), (BILAL, Voice.SUPPORT), (CHLOE, Voice.OBJECT), (ANNE, Voice.OBJECT), (BILAL, None))
    for ref, voice in said:
        await run(voices.raise_voice, ref, voice, at_ms=OPENS_MS)
    assert await run(voices.voice_of, ANNE) is Voice.OBJECT
    assert await run(voices.voice_of, BILAL) is None
    result = json.loads(await answered(run))
    assert result["voices"] == {"support": 0, "object": 2}


@pytest.mark.parametrize("at_ms", [OPENS_MS - 1, CLOSES_MS])
async def test_voices_and_arguments_are_heard_while_it_is_open_only(run, at_ms):
    await refused(problems.CONSULTATION_NOT_OPEN, run(voices.raise_voice, ANNE, Voice.SUPPORT, at_ms=at_ms))
    argue = run(voices.argue, ANNE, Side.FOR, language="fr", text="Utile.", at_ms=at_ms)
    await refused(problems.CONSULTATION_NOT_OPEN, argue)


async def test_after_the_closing_nobody_can_tell_whose_a_voice_was(run, store):
    await run(voices.raise_voice, ANNE, Voice.SUPPORT, at_ms=OPENS_MS)
    await run(voices.argue, ANNE, Side.FOR, language="fr", text="Utile.", at_ms=OPENS_MS)
    await store.write(partial(consultations.close_due, now_ms=CLOSES_MS))
    held = await run(consultations.find)
    assert (held.voice_key, held.supports, held.objects) == (None, 1, 0)
    assert await run(voices.voice_of, ANNE) is None
    assert await store.read(lambda conn: conn.scalar(sa.select(sa.func.count()).select_from(sql.voices))) == 0
    assert await store.read(lambda conn: conn.scalars(sa.select(sql.arguments.c.tag)).all()) == [None]


async def test_a_voice_holds_neither_ref_nor_time(run, store):
    await run(voices.raise_voice, ANNE, Voice.SUPPORT, at_ms=OPENS_MS)
    row = await store.read(lambda conn: conn.execute(sa.select(sql.voices)).one())
    assert set(row._mapping) == {"consultation", "tag", "stance"}
    assert row.tag != ANNE


async def test_an_argument_is_read_by_an_officer_before_everybody(run):
    first = await run(voices.argue, ANNE, Side.FOR, language="fr", text="Utile.", at_ms=OPENS_MS)
    second = await run(voices.argue, BILAL, Side.AGAINST, language="en", text="Ms Roe says no.", at_ms=OPENS_MS)
    assert [a.n for a in await run(voices.arguments, Ruling.WAITING, after=0, limit=9)] == [first, second]
    await run(voices.moderate, first, Ruling.PUBLISHED)
    await run(voices.moderate, second, Ruling.PERSONAL_DATA)
    assert [a.text for a in await run(voices.arguments, Ruling.PUBLISHED, after=0, limit=9)] == ["Utile."]
    result = json.loads(await answered(run))
    assert result["arguments"] == [{"side": "for", "language": "fr", "text": "Utile."}]
    await refused(problems.CONSULTATION_ANSWERED, run(voices.moderate, second, Ruling.PUBLISHED))


async def test_an_argument_that_replaces_another_is_ruled_on_anew_under_a_number_of_its_own(run):
    read = await run(voices.argue, ANNE, Side.FOR, language="fr", text="Utile.", at_ms=OPENS_MS)
    unread = await run(voices.argue, ANNE, Side.FOR, language="fr", text="Tout autre chose.", at_ms=OPENS_MS)
    assert unread != read
    await refused(problems.UNKNOWN_ARGUMENT, run(voices.moderate, read, Ruling.PUBLISHED))
    assert await run(voices.arguments, Ruling.PUBLISHED, after=0, limit=9) == []


async def test_there_is_a_bound_on_arguments(run, monkeypatch):
    monkeypatch.setattr(voices, "ARGUMENTS_PER_CONSULTATION_MAX", 1)
    await run(voices.argue, ANNE, Side.FOR, language="fr", text="Utile.", at_ms=OPENS_MS)
    again = run(voices.argue, BILAL, Side.FOR, language="fr", text="Utile.", at_ms=OPENS_MS)
    await refused(problems.ENOUGH_ARGUMENTS, again)


async def test_the_ledger_holds_the_digest_of_the_result(run, store):
    await refused(problems.CONSULTATION_STILL_OPEN, answered(run, at_ms=CLOSES_MS - 1))
    result = await answered(run)
    row = await store.read(lambda conn: conn.execute(sa.select(sql.outbox.c.value)).one())
    entry = decode_journal(row.value)
    assert (entry.type, entry.agreements) == (JournalType.CONSULTED, ("meal-tariff-income@2",))
    assert entry.digest == hashlib.sha256(result).digest()
    held = await run(consultations.find)
    assert json.loads(result)["published"] == held.digest.hex()


async def test_an_answer_is_given_once(run, store):
    result = await answered(run)
    assert await answered(run) == result
    other = Answer(outcome=Outcome.ABANDONED, fr="Non.", en="No.")
    await refused(problems.CONSULTATION_ANSWERED, answered(run, other))
    assert await store.read(lambda conn: conn.scalar(sa.select(sa.func.count()).select_from(sql.outbox))) == 1


async def test_an_erased_person_has_no_voice_left(run, store):
    for ref in (ANNE, BILAL):
        await run(voices.raise_voice, ref, Voice.SUPPORT, at_ms=OPENS_MS)
    await run(voices.argue, ANNE, Side.FOR, language="fr", text="Utile.", at_ms=OPENS_MS)
    await store.write(partial(voices.forget, ref=ANNE))
    assert await run(voices.voice_of, ANNE) is None
    assert await run(voices.voice_of, BILAL) is Voice.SUPPORT
    assert await run(voices.arguments, Ruling.WAITING, after=0, limit=9) == []


async def test_consultations_are_listed_by_their_opening_page_by_page(store):
    for n in range(5):
        one = announced(id=f"ask-{n}", opens_ms=OPENS_MS + DAY_MS * (n // 2))
        await store.write(partial(consultations.publish, announced=one, at_ms=DAY_MS, voice_key=os.urandom(32)))
    seen, before = [], None
    while page := await store.read(partial(consultations.newest, before=before, limit=2)):
        seen += [held.id for held in page]
        before = page[-1].opens_ms, page[-1].id
    assert seen == ["ask-4", "ask-3", "ask-2", "ask-1", "ask-0"]
