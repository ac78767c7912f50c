"""Erasure (GDPR Art. 17): what the store forgets, what the bus is told and when, and how somebody begins anew."""

import asyncio

import pytest
import sqlalchemy as sa

from passerelle_consent.records import sql
from passerelle_consent.records.service import ROLL_MS
from passerelle_consent.wire import ROLL_KEY, JournalType, decode_erasure
from unit.records.fakes import citizen, identity, until

NOT_A_REF = {
    ("overrides", "id"),
    ("guardianships", "id"),
    ("objections", "id"),
    ("notices", "id"),
    ("changes", "id"),
    ("erasures", "id"),
    ("outbox", "settles"),
    ("idempotency", "change"),
    ("voices", "tag"),  # `voices.forget`
    ("arguments", "tag"),
}
"""Columns of 16 bytes that name something else than a person."""
LEFT_ALONE = {"changes"}
"""Needed until the fence has passed; then stripped."""


async def erase(city, pseudonym, **headers):
    answer = await city.call("POST", f"/v1/subjects/{pseudonym}/erasure", {}, citizen(pseudonym), **headers)
    city.asked[answer.headers.get("location")] = citizen(pseudonym)
    return answer


async def stored(city):
    """All that the store holds. Of SQLite every byte; of PostgreSQL every row, since a server's files are its own."""
    path = sa.make_url(city.store_url).database
    if not city.store_url.startswith("sqlite"):
        return repr([await rows(city, table.name) for table in sql.metadata.sorted_tables]).encode("latin-1", "replace")
    # By a process of its own: closing a file here would drop the locks that SQLite holds on it in this process.
    files = [f"{path}{end}" for end in ("", "-wal", "-shm")]
    cat = await asyncio.create_subprocess_exec("/bin/cat", *files, stdout=asyncio.subprocess.PIPE)
    return (await cat.communicate())[0]


async def holds(city, raw):
    found = await stored(city)
    return raw in found or repr(raw)[2:-1].encode() in found


async def until_gone(city, raw):
    async with asyncio.timeout(20):
        while await holds(city, raw):  # noqa: ASYNC110 - a file has no event
            await asyncio.sleep(0.01)


async def rows(city, table):
    return await city.store.read(lambda conn: conn.execute(sa.text(f"select * from {table}")).all())  # noqa: S608


async def known(city):
    (pseudonym,) = await city.link("Durand")
    await city.link("Durand", token="tax")
    await city.say("give", pseudonym)
    return pseudonym, city.ref(pseudonym)


def test_every_column_that_may_name_a_person_is_called_ref_or_guardian():
    """A column of another name would be passed over by `sql.erasing`: name it so, or add it to the list above."""
    sixteen = {
        (t.name, c.name)
        for t in sql.metadata.sorted_tables
        for c in t.c
        if isinstance(c.type, sa.LargeBinary) and c.type.length == 16
    }
    assert {(t, c) for t, c in sixteen if c not in ("ref", "guardian")} == NOT_A_REF


def test_every_table_about_a_subject_is_erased():
    engine = sa.create_engine("sqlite://")
    sql.metadata.create_all(engine)
    about = [t for t in sql.metadata.sorted_tables if "ref" in t.c and t.c.ref.type.python_type is bytes]
    assert {t.name for t in about} >= {"subjects", "links", "stances", "overrides", *LEFT_ALONE}
    with engine.begin() as conn:
        for table, ref in [(t, ref) for t in about for ref in (b"a" * 16, b"b" * 16)]:
            conn.execute(sa.insert(table), {c.name: ref if c.name == "ref" else filler(c, ref) for c in table.c})
        for statement in sql.erasing():
            conn.execute(statement, {"ref": b"a" * 16})
        left = {t.name: {row.ref for row in conn.execute(sa.select(t.c.ref))} for t in about}
    assert {name for name, refs in left.items() if b"a" * 16 in refs} == LEFT_ALONE
    assert all(b"b" * 16 in refs for refs in left.values())


def test_what_an_erased_guardian_was_to_others_is_erased():
    engine = sa.create_engine("sqlite://")
    sql.metadata.create_all(engine)
    tables = [t for t in sql.metadata.sorted_tables if "guardian" in t.c]
    assert {t.name for t in tables} == {"guardianships", "approvals"}
    with engine.begin() as conn:
        for table in tables:
            conn.execute(
                sa.insert(table), {c.name: b"a" * 16 if c.name == "guardian" else filler(c, b"w" * 16) for c in table.c}
            )
        for statement in sql.erasing():
            conn.execute(statement, {"ref": b"a" * 16})
        assert [conn.execute(sa.select(t)).all() for t in tables] == [[], []]


def filler(column, ref):
    kind = column.type.python_type
    return ref if kind is bytes else ref.decode() if kind is str else 1


async def test_an_erasure_is_acknowledged_behind_the_fence_and_then_journalled_with_a_tombstone(slow_city):
    city = slow_city
    pseudonym, ref = await known(city)
    answer = await erase(city, pseudonym)
    body = answer.json()
    assert (answer.status_code, body["status"], body["state"]) == (202, "taking-effect", "erased")
    await until(lambda: len(city.broker.of("consent", ref)) == 3)
    record = city.broker.of("consent", ref)[-1]
    erasure = decode_erasure(record.value)
    assert (erasure.id.hex(), erasure.revision) == (body["acknowledgement"], 3)
    assert JournalType.ERASED not in [e.type for e in city.broker.journal()]
    city.gate.apply(record.partition, record.offset + 1)
    shown = await city.until_shown(answer.headers["location"], lambda body: body["status"] == "in-effect")
    assert (shown["state"], shown["recipient"]) == ("erased", None)
    await until(lambda: city.broker.of("consent", ref)[-1].value is None)
    assert [e.type for e in city.broker.journal()][-1] is JournalType.ERASED
    assert (city.broker.journal()[-1].id, city.broker.journal()[-1].subject) == (erasure.id, ref)


async def test_who_linked_received_or_may_have_received_is_told_and_what_the_law_keeps_is_said(city):
    pseudonym, _ = await known(city)
    body = (await erase(city, pseudonym)).json()
    # schools: a consent; cleanliness: a public task, but no department of this city; emergency: no override was opened
    assert body["notified"] == ["citizen-desk", "schools", "tax"]
    (kept,) = body["kept_by_law"]
    assert kept["departments"] == ["civil-registry", "cleanliness"]
    assert kept["law"] == "CGCT L. 2122-21"


async def test_nothing_stored_holds_the_ref_or_a_pseudonym(city):
    pseudonym, ref = await known(city)
    await city.say("withdraw", pseudonym, key="my-key")
    await city.call(
        "POST",
        f"/v1/subjects/{city.register.pseudonyms('emergency', [ref])[0].hex()}/overrides",
        {"agreements": ["frail-to-emergency"], "reason_code": "heat", "hours": 1},
        "officer",
    )
    assert await holds(city, ref)
    body = (await erase(city, pseudonym, Idempotency_Key="another")).json()
    await until(lambda: city.broker.of("consent", ref)[-1].value is None)
    await until_gone(city, ref)
    assert not await holds(city, bytes.fromhex(pseudonym))
    assert not await holds(city, pseudonym.encode())
    assert await rows(city, "idempotency") == []
    ((ident, whose, kind, *_),) = await rows(city, "changes")
    assert (ident.hex(), whose, kind) == (body["acknowledgement"], None, "erasure")


async def test_a_link_is_refused_while_the_erasure_takes_effect_and_begins_anew_after_it(slow_city):
    city = slow_city
    pseudonym, ref = await known(city)
    await erase(city, pseudonym)
    identities = [identity("Durand"), identity("Petit")]
    answer = await city.call("POST", "/v1/links", {"identities": identities})
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:passerelle:problem:erasure-under-way")
    assert answer.headers["retry-after"] == "1"
    await until(lambda: len(city.broker.of("consent", ref)) == 3)
    city.gate.apply(city.broker.of("consent", ref)[-1].partition, city.broker.of("consent", ref)[-1].offset + 1)
    await until(lambda: city.broker.of("consent", ref)[-1].value is None)
    assert await city.link("Durand") == [pseudonym]
    await until(lambda: city.broker.of("consent", ref)[-1].value is not None)
    assert (city.broker.standings(ref)[-1].revision, dict(city.broker.standings(ref)[-1].stances)) == (1, {})


async def test_asking_again_while_it_takes_effect_is_asking_once(slow_city):
    city = slow_city
    pseudonym, _ = await known(city)
    answers = [await erase(city, pseudonym), await erase(city, pseudonym), await erase(city, pseudonym)]
    assert {a.status_code for a in answers} == {202}
    assert len({a.json()["acknowledgement"] for a in answers}) == 1


async def test_an_erased_subject_is_unknown(city):
    pseudonym, _ = await known(city)
    assert (await erase(city, pseudonym)).status_code == 200
    for answer in (await erase(city, pseudonym), await city.say("give", pseudonym)):
        assert (answer.status_code, answer.json()["type"]) == (404, "urn:passerelle:problem:unknown-subject")


async def test_a_withdrawal_before_the_erasure_keeps_its_entry(slow_city):
    city = slow_city
    pseudonym, ref = await known(city)
    await city.say("withdraw", pseudonym)
    await erase(city, pseudonym)
    await until(lambda: len(city.broker.of("consent", ref)) == 4)
    record = city.broker.of("consent", ref)[-1]
    city.gate.apply(record.partition, record.offset + 1)  # the fence passes both at once
    await until(lambda: city.broker.journal()[-1].type is JournalType.ERASED)
    assert [e.type for e in city.broker.journal()][-2:] == [JournalType.FENCED, JournalType.ERASED]


async def test_an_erasure_that_had_not_taken_effect_is_completed_by_the_next_life(slow_city):
    city = slow_city
    pseudonym, ref = await known(city)
    await erase(city, pseudonym)
    await until(lambda: len(city.broker.of("consent", ref)) == 3)
    await city.down()
    await city.up()
    record = city.broker.of("consent", ref)[-1]
    city.gate.apply(record.partition, record.offset + 1)
    await until(lambda: city.broker.of("consent", ref)[-1].value is None)
    await until_gone(city, ref)


async def test_recipients_acknowledge_and_who_does_not_stands_out(city):
    pseudonym, _ = await known(city)
    ident = (await erase(city, pseudonym)).json()["acknowledgement"]
    told = await city.call("POST", f"/v1/erasures/{ident}/acknowledgement", token="tax")
    again = await city.call("POST", f"/v1/erasures/{ident}/acknowledgement", token="tax")
    assert (told.status_code, told.json()["department"], told.json()["overdue"]) == (200, "tax", False)
    assert told.json() == again.json()
    city.clock.now_ms += 31 * 86_400_000
    page = await city.call("GET", "/v1/erasures?limit=2", token="officer")
    rest = await city.call("GET", page.links["next"]["url"], token="officer")
    assert "next" not in rest.links
    found = {n["department"]: n["overdue"] for n in page.json()["notices"] + rest.json()["notices"]}
    assert found == {"citizen-desk": True, "schools": True, "tax": False}
    due = (await city.call("GET", "/v1/operations/attention", token="officer")).json()
    assert (due["erasures_open"], due["erasures_overdue"]) == (2, 2)
    late = (await city.call("GET", "/v1/erasures?overdue=true", token="officer")).json()["notices"]
    assert [n["department"] for n in late] == ["citizen-desk", "schools"]


@pytest.mark.parametrize("token", ["tax", "desk"])
async def test_an_erasure_that_others_were_told_of_is_unknown(city, token):
    answer = await city.call("POST", f"/v1/erasures/{'0' * 32}/acknowledgement", token=token)
    assert (answer.status_code, answer.json()["type"]) == (404, "urn:passerelle:problem:unknown-erasure")


async def test_consent_is_appended_to_twice_a_day_so_that_its_segments_close(city):
    await city.records.write(lambda _: None)
    city.clock.now_ms += ROLL_MS
    city.records._chores_due.set()
    await until(lambda: len(city.broker.of("consent", ROLL_KEY)) == 4)
    assert {(r.partition, r.value) for r in city.broker.of("consent", ROLL_KEY)} == {(p, None) for p in range(4)}
    city.records._chores_due.set()
    await city.link("Durand")
    assert len(city.broker.of("consent", ROLL_KEY)) == 4
