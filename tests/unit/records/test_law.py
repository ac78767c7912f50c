"""What the law lets people say, over HTTP: guardians, objections and answers, restriction, overrides, expiry."""

from dataclasses import replace
from datetime import UTC, date, datetime
from functools import partial

import pytest
import sqlalchemy as sa

from passerelle_consent.policy.standing import Actor, Protection, State
from passerelle_consent.records import expiry, objections, sql
from passerelle_consent.records.changes import Asked
from passerelle_consent.records.objections import Finding
from passerelle_consent.records.policy_book import PolicyBook
from passerelle_consent.records.problems import Problem
from passerelle_consent.wire import JournalType
from unit.records.fakes import AGREEMENTS, City, agreement, citizen, identity, until

OFFICER = {"scope": "officer", "department": "civil-registry"}
SOURCE = OFFICER
DESK_OFFICER = {"scope": "officer", "department": "citizen-desk"}
SECOND = {"scope": "officer", "department": "emergency", "sub": "second-officer"}
DAY_MS = 86_400_000


def of_minors(agreement_id, **consent):
    made = agreement(agreement_id, recipient="schools").model_dump(mode="json", by_alias=True)
    return type(AGREEMENTS[0]).model_validate(
        {**made, "subjects": ["adult", "minor", "protected-adult"], "consent": consent}
    )


@pytest.fixture
async def city(store_url):
    extra = [
        of_minors("alone", guardians="one"),
        of_minors("both", guardians="both"),
        of_minors("own-voice", own_voice={"age": 15, "law": "Loi n° 78-17, article 45"}),
        of_minors("a-year", valid_for="P1Y"),
        of_minors("a-month", valid_for="P30D"),
        agreement("frail-to-police", basis="6-1-d", recipient="police"),
        agreement("frail-once", basis="6-1-d", recipient="emergency", until=date(2026, 2, 1)),
    ]
    city = City(store_url, agreements=[*AGREEMENTS, *extra])
    await city.up()
    yield city
    await city.down()


async def family(city, born="2015-06-01"):
    """A child and two parents, as the civil registry records them: their pseudonyms at the portal."""
    child = {**identity("Petit"), "birth_date": born}
    (kid,) = (await city.call("POST", "/v1/links", {"identities": [child]})).json()["pseudonyms"]
    parents = await city.link("Mère", "Père")
    for parent in parents:
        assert (await appoint(city, kid, parent)).status_code == 200
    return kid, *parents


async def appoint(city, ward, guardian, relation="parent", **more):
    body = {"guardian": guardian, "relation": relation, "evidence": "EC-2015/114", "valid_from": "2015-06-01T00:00:00Z"}
    return await city.call("POST", f"/v1/subjects/{ward}/guardians", {**body, **more}, DESK_OFFICER)


def guardian(pseudonym):
    return citizen(pseudonym, "citizen guardian")


def slug(answer):
    return answer.json()["type"].rpartition(":")[2]


async def swept(city, sweep, **more):
    told = {} if sweep is expiry.remind else {"partitions": 4}  # a reminder is no change
    more = {"new_id": city.records._parts.new_id, "now_ms": city.clock.now_ms, **told, **more}
    done = await city.store.write(partial(sweep, **more))
    city.records._relay.wake()
    return done


def standing_of(city, pseudonym):
    return city.broker.standings(city.ref(pseudonym))[-1]


async def test_a_link_keeps_of_a_birth_date_only_when_a_minor_comes_of_age(city):
    kid, mother, _ = await family(city)
    assert standing_of(city, kid).minor_until_ms == datetime(2033, 6, 1, tzinfo=UTC).timestamp() * 1000
    assert standing_of(city, mother).minor_until_ms is None


async def test_a_parent_gives_for_a_child_and_the_child_does_not(city):
    kid, mother, _ = await family(city)
    refused = await city.say("give", kid, "alone")
    assert (refused.status_code, slug(refused), refused.json()["why"]) == (403, "cannot-speak", "guardian-speaks")
    given = await city.say("give", kid, "alone", token=guardian(mother))
    assert (given.status_code, given.json()["state"]) == (200, "given")
    assert given.json()["standing"]["agreements"][0]["by"] == "guardian"


async def test_a_stranger_is_no_guardian(city):
    kid, *_ = await family(city)
    (stranger,) = await city.link("Inconnu")
    answer = await city.say("give", kid, "alone", token=guardian(stranger))
    assert (answer.status_code, slug(answer)) == (403, "not-guardian")


async def test_an_agreement_that_asks_both_parents_waits_for_the_second_and_either_withdraws(city):
    kid, mother, father = await family(city)
    first = await city.say("give", kid, "both", token=guardian(mother))
    assert first.json()["state"] == "requested"
    again = await city.say("give", kid, "both", token=guardian(mother))
    assert again.json()["state"] == "requested"
    second = await city.say("give", kid, "both", token=guardian(father))
    assert second.json()["state"] == "given"
    withdrawn = await city.say("withdraw", kid, "both", token=guardian(mother))
    assert (withdrawn.status_code, withdrawn.json()["state"]) == (200, "withdrawn")


async def test_what_one_parent_gave_does_not_wait_for_ever(city):
    kid, mother, father = await family(city)
    await city.say("give", kid, "both", token=guardian(mother))
    city.clock.now_ms += 31 * DAY_MS
    assert (await city.say("give", kid, "both", token=guardian(father))).json()["state"] == "requested"


async def test_a_no_ends_what_waits(city):
    kid, mother, father = await family(city)
    await city.say("give", kid, "both", token=guardian(mother))
    assert (await city.say("refuse", kid, "both", token=guardian(father))).json()["state"] == "refused"
    assert (await city.say("give", kid, "both", token=guardian(father))).json()["state"] == "requested"


async def test_at_fifteen_a_child_has_a_voice_where_the_agreement_says_so(city):
    kid, mother, _ = await family(city, born="2011-04-30")
    given = await city.say("give", kid, "own-voice")
    assert given.json()["state"] == "given"
    refused = await city.say("give", kid, "own-voice", token=guardian(mother))
    assert refused.json()["why"] == "subject-speaks"
    taken_back = await city.say("withdraw", kid, "own-voice", token=guardian(mother))
    assert taken_back.json()["state"] == "withdrawn"


async def test_a_guardian_past_the_term_changes_nothing(city):
    kid, *_ = await family(city)
    (aunt,) = await city.link("Tante")
    await appoint(city, kid, aunt, "tutor", until="2026-05-02T00:00:00Z")
    city.clock.now_ms += 2 * DAY_MS
    before = standing_of(city, kid)
    answer = await city.say("give", kid, "alone", token=guardian(aunt))
    assert (answer.status_code, slug(answer)) == (403, "guardianship-not-valid")
    assert standing_of(city, kid) == before


async def test_emancipation_and_majority_end_a_parents_power(city):
    kid, mother, _ = await family(city, born="2009-03-01")
    path = f"/v1/subjects/{kid}/emancipation"
    assert (await city.call("POST", path, {"evidence": "TJ-26/0077"}, DESK_OFFICER)).status_code == 200
    assert slug(await city.say("give", kid, "alone", token=guardian(mother))) == "guardianship-not-valid"
    assert (await city.say("give", kid, "alone")).json()["state"] == "given"
    assert slug(await city.call("POST", path, {"evidence": "TJ-26/0077"}, DESK_OFFICER)) == "no-minor"
    child, other, _ = await family(city, born="2008-05-02")
    city.clock.now_ms += 2 * DAY_MS
    assert slug(await city.say("give", child, "alone", token=guardian(other))) == "guardianship-not-valid"
    assert (await city.say("give", child, "alone")).json()["state"] == "given"


async def test_a_tutor_represents_an_adult_and_a_curator_does_not_speak_in_their_place(city):
    adult, tutor, curator = await city.link("Majeur", "Tuteur", "Curateur")
    assert slug(await appoint(city, adult, tutor, "parent")) == "wrong-relation"
    appointed = (await appoint(city, adult, tutor, "tutor")).json()["acknowledgement"]
    assert standing_of(city, adult).protection is Protection.REPRESENTATION
    assert (await city.say("give", adult, "alone")).json()["why"] == "guardian-speaks"
    assert (await city.say("give", adult, "alone", token=guardian(tutor))).json()["state"] == "given"
    await appoint(city, adult, curator, "curator")
    ended = await city.call(
        "POST", f"/v1/subjects/{adult}/guardians/{appointed}/end", {"evidence": "TJ-26/0078"}, DESK_OFFICER
    )
    assert ended.status_code == 200
    assert standing_of(city, adult).protection is Protection.ASSISTANCE
    assert (await city.say("give", adult, "alone", token=guardian(curator))).json()["why"] == "subject-speaks"


async def test_the_stronger_protection_stands_while_its_guardian_does(city):
    adult, tutor, curator = await city.link("Majeur", "Tuteur", "Curateur")
    await appoint(city, adult, tutor, "tutor")
    await appoint(city, adult, curator, "curator")
    assert standing_of(city, adult).protection is Protection.REPRESENTATION


async def test_a_guardianship_that_was_over_when_it_was_recorded_protects_nobody(city):
    adult, tutor = await city.link("Majeur", "Tuteur")
    await appoint(city, adult, tutor, "tutor", until="2020-01-01T00:00:00Z")
    assert standing_of(city, adult).protection is None


async def test_a_guardianship_that_has_not_begun_can_be_ended(city):
    adult, tutor = await city.link("Majeur", "Tuteur")
    recorded = (await appoint(city, adult, tutor, "tutor", valid_from="2027-01-01T00:00:00Z")).json()
    assert standing_of(city, adult).protection is Protection.REPRESENTATION
    path = f"/v1/subjects/{adult}/guardians/{recorded['acknowledgement']}/end"
    assert (await city.call("POST", path, {"evidence": "TJ-26/0079"}, DESK_OFFICER)).status_code == 200
    assert standing_of(city, adult).protection is None


async def test_a_protection_ends_with_the_term_of_its_guardianship(city):
    adult, tutor, curator = await city.link("Majeur", "Tuteur", "Curateur")
    await appoint(city, adult, tutor, "tutor", until="2026-05-10T00:00:00Z")
    await appoint(city, adult, curator, "curator", until="2026-05-20T00:00:00Z")
    for end_ms, left in ((10 * DAY_MS, Protection.ASSISTANCE), (10 * DAY_MS, None)):
        city.clock.now_ms += end_ms
        assert await swept(city, expiry.sweep_protections) == 1
        assert await swept(city, expiry.sweep_protections) == 0
        await until(lambda left=left: standing_of(city, adult).protection is left)
    assert await notices_of(city, adult) == ["protection-over", "protection-eased"]


async def test_a_protected_adult_whose_tutor_was_erased_stays_protected(city):
    adult, tutor = await city.link("Majeur", "Tuteur")
    await appoint(city, adult, tutor, "tutor")
    await city.store.write(lambda conn: conn.execute(sa.delete(sql.guardianships)))
    assert await swept(city, expiry.sweep_protections) == 0
    assert standing_of(city, adult).protection is Protection.REPRESENTATION


@pytest.mark.parametrize("department", ["tax", "emergency"])
async def test_only_the_departments_that_the_city_names_record_who_speaks_for_whom(city, department):
    ward, parent = await city.link("Petit", "Mère")
    before = list(city.broker.records)
    officer = {"scope": "officer", "department": department}
    own = [city.register.pseudonyms(department, [city.ref(p)])[0].hex() for p in (ward, parent)]
    said = {"guardian": own[1], "relation": "tutor", "evidence": "TJ-1", "valid_from": "2026-01-01T00:00:00Z"}
    asked = {"guardians": said, f"guardians/{'0' * 32}/end": {"evidence": "TJ-1"}, "emancipation": {"evidence": "TJ-1"}}
    for path, body in asked.items():
        refused = await city.call("POST", f"/v1/subjects/{own[0]}/{path}", body, officer)
        assert (refused.status_code, slug(refused)) == (403, "not-a-registrar")
    assert city.broker.records == before


async def test_where_the_city_names_nobody_nobody_records_a_guardian(city):
    city.records._parts = replace(city.records._parts, registrars=frozenset())
    ward, parent = await city.link("Petit", "Mère")
    assert slug(await appoint(city, ward, parent, "tutor")) == "not-a-registrar"


async def test_a_guardian_at_the_counter_is_named_and_on_record(city):
    kid, mother, _ = await family(city)
    (stranger,) = await city.link("Voisin")
    given = await city.say("give", kid, "alone", token=guardian(mother))
    assert given.status_code == 200
    refused = {
        "guardian-needed": [{"by": "guardian"}, {"by": "subject", "guardian": mother}, {"guardian": mother}],
        "not-guardian": [{"by": "guardian", "guardian": stranger}],
        "cannot-speak": [{"by": "subject"}, {}],
    }
    for problem, bodies in refused.items():
        for body in bodies:
            assert slug(await city.say("withdraw", kid, "alone", token="desk", **body)) == problem, body
    ended = await city.say("withdraw", kid, "alone", token="desk", by="guardian", guardian=mother)
    assert (ended.status_code, ended.json()["state"]) == (200, "withdrawn")
    assert standing_of(city, kid).stances["alone"].by is Actor.GUARDIAN


async def test_guardians_and_wards_are_shown_to_those_concerned(city):
    kid, mother, father = await family(city)
    shown = (await city.call("GET", f"/v1/subjects/{kid}/guardians", None, guardian(mother))).json()["guardians"]
    assert {g["guardian"] for g in shown} == {mother, father}
    wards = (await city.call("GET", "/v1/subjects/me/wards", None, citizen(mother))).json()["wards"]
    assert [w["pseudonym"] for w in wards] == [kid]
    assert wards[0]["until"] == wards[0]["minor_until"] == "2033-06-01T00:00:00.000Z"


async def test_an_office_that_ends_before_majority_says_both(city):
    kid, _, _ = await family(city)
    (aunt,) = await city.link("Tante")
    await appoint(city, kid, aunt, "tutor", until="2027-01-01T00:00:00Z")
    (ward,) = (await city.call("GET", "/v1/subjects/me/wards", None, citizen(aunt))).json()["wards"]
    assert (ward["until"], ward["minor_until"]) == ("2027-01-01T00:00:00.000Z", "2033-06-01T00:00:00.000Z")


async def test_a_guardian_sees_what_waits_for_another_word_and_whether_it_is_their_own(city):
    kid, mother, father = await family(city)
    await city.say("give", kid, "both", token=guardian(mother))

    async def waiting(who):
        answer = await city.call("GET", f"/v1/subjects/{kid}/approvals", None, who)
        return [(a["agreement"], a["mine"]) for a in answer.json()["approvals"]]

    assert await waiting(guardian(mother)) == [("both", True)]
    assert await waiting(guardian(father)) == [("both", False)]
    assert await waiting(citizen(kid)) == [("both", False)]
    await city.say("give", kid, "both", token=guardian(father))
    assert await waiting(guardian(mother)) == []


@pytest.mark.parametrize(
    ("more", "problem"),
    [({"guardian": "0" * 32}, "unknown-guardian"), ({"until": "2014-01-01T00:00:00Z"}, "malformed-request")],
)
async def test_an_appointment_that_is_none(city, more, problem):
    kid, mother, _ = await family(city)
    before = standing_of(city, kid)
    answer = await appoint(city, kid, **{"guardian": mother, **more})
    assert slug(answer) == problem
    assert standing_of(city, kid) == before


async def test_nobody_is_their_own_guardian(city):
    kid, *_ = await family(city)
    assert slug(await appoint(city, kid, kid)) == "own-guardian"


async def objected(city):
    (pseudonym,) = await city.link("Durand")
    made = await city.say("object", pseudonym, "moves-to-cleanliness")
    (shown,) = (await city.call("GET", "/v1/objections", None, SOURCE)).json()["objections"]
    assert shown["id"] == made.json()["acknowledgement"]
    return pseudonym, shown


async def answer(city, shown, body, who=SOURCE, **headers):
    path = f"/v1/subjects/{shown['pseudonym']}/objections/{shown['id']}/answer"
    return await city.call("POST", path, body, who, **headers)


async def test_an_objection_is_due_in_a_calendar_month_and_then_stands_out(city):
    _, shown = await objected(city)
    assert shown["due_at"].startswith("2026-06-01T00:00:00")
    assert not shown["overdue"]
    city.clock.now_ms += 31 * DAY_MS
    (late,) = (await city.call("GET", "/v1/objections", None, SOURCE)).json()["objections"]
    assert late["overdue"]
    due = (await city.call("GET", "/v1/operations/attention", None, "operator")).json()
    nothing_else = {"erasures_open": 0, "erasures_overdue": 0, "consents_ending": 0}
    assert due == {"reviews_open": 0, "reviews_overdue": 0, "answers_open": 1, "answers_overdue": 1, **nothing_else}


def reads(city):
    """Of whom the ledger is told that somebody looked, and at what."""
    return sorted((e.subject, e.what) for e in city.broker.journal() if e.type is JournalType.READ)


async def test_whoever_is_in_a_list_that_an_officer_reads_can_see_it(city):
    refs = []
    for name in ("Durand", "Petit"):
        pseudonym, *_ = await opened(city, name=name)
        await city.say("object", pseudonym, "moves-to-cleanliness")
        refs.append(city.ref(pseudonym))
    await city.call("GET", "/v1/objections?limit=1", None, SOURCE)  # of the second one nothing is shown
    await until(lambda: city.broker.journal()[-1].type is JournalType.READ)
    assert reads(city) == [(refs[0], "objections")]
    await city.call("GET", "/v1/overrides", None, SECOND)
    await until(lambda: len([e for e in city.broker.journal() if e.what == "overrides"]) == 2)
    assert {(e.department, e.reader) for e in city.broker.journal() if e.what == "overrides"} == {
        ("emergency", "officer")
    }


@pytest.mark.parametrize("who", ["auditor", "operator", {"scope": "auditor", "department": "tax"}])
async def test_others_see_that_an_override_is_there_and_not_whose(city, who):
    await opened(city)
    (shown,) = (await city.call("GET", "/v1/overrides", None, who)).json()["overrides"]
    assert shown["pseudonym"] is None
    assert reads(city) == []


async def test_only_a_ground_with_its_law_resumes_and_it_can_be_objected_to_again(city):
    pseudonym, shown = await objected(city)
    assert slug(await answer(city, shown, {"outcome": "resumed", "ground": "waste-law"})) == "ground-needed"
    assert slug(await answer(city, shown, {"outcome": "upheld", "ground": "x-y", "law": "CGCT"})) == "ground-needed"
    resumed = await answer(city, shown, {"outcome": "resumed", "ground": "waste-law", "law": "CGCT, art. L. 2224-13"})
    assert (resumed.status_code, resumed.json()["state"]) == (200, "resumed")
    assert standing_of(city, pseudonym).stances["moves-to-cleanliness"].state is State.RESUMED
    assert (await city.say("object", pseudonym, "moves-to-cleanliness")).json()["state"] == "objected"


async def test_an_upheld_objection_stays_and_is_answered_once(city):
    pseudonym, shown = await objected(city)
    assert (await answer(city, shown, {"outcome": "upheld"})).json()["state"] == "objected"
    assert slug(await answer(city, shown, {"outcome": "upheld"})) == "objection-answered"
    entry = next(e for e in city.broker.journal() if e.type is JournalType.ANSWERED)
    assert entry.regarding.hex() == shown["id"]
    (notice,) = (await city.call("GET", "/v1/subjects/me/notices", None, citizen(pseudonym))).json()["notices"]
    assert notice["code"] == "objection-upheld"
    assert "cleanliness" in notice["words"]["fr"]


async def test_two_officers_who_answer_at_once_give_one_answer(city):
    _, shown = await objected(city)
    held = await city.store.read(lambda conn: objections.find(conn, bytes.fromhex(shown["id"]), "civil-registry"))
    await answer(city, shown, {"outcome": "upheld"})
    asked = Asked(
        id=b"2" * 16, ref=held.ref, department="civil-registry", principal="other", at_ms=held.due_ms, partitions=4
    )
    found = city.records.book.agreement("moves-to-cleanliness", asked.at_ms)
    late = partial(objections.answer, asked=asked, objection=held, agreement=found, outcome=Finding.RESUMED)
    with pytest.raises(Problem, match="objection-answered"):
        await city.store.write(partial(late, ground="waste-law", law="CGCT, art. L. 2224-13"))


async def test_an_objection_that_no_longer_stands_is_not_answered_and_nothing_is_changed(city):
    _, shown = await objected(city)
    await city.store.write(lambda conn: conn.execute(sa.update(sql.stances).values(state="given")))
    refused = await answer(city, shown, {"outcome": "upheld"})
    assert (refused.status_code, slug(refused), refused.json()["state"]) == (409, "illegal-transition", "given")
    (still,) = (await city.call("GET", "/v1/objections", None, SOURCE)).json()["objections"]
    assert still == shown


async def test_an_objection_is_closed_once_the_agreement_rests_on_consent(city):
    pseudonym, shown = await objected(city)
    assert await swept(city, objections.close_moot, book=city.records.book) == 0
    later = agreement("moves-to-cleanliness", recipient="cleanliness", version=2)
    book = PolicyBook([*city.agreements, later])
    assert await swept(city, objections.close_moot, book=book) == 1
    assert await swept(city, objections.close_moot, book=book) == 0
    assert (await city.call("GET", "/v1/objections", None, SOURCE)).json()["objections"] == []
    due = (await city.call("GET", "/v1/operations/attention", None, "operator")).json()
    assert due["answers_open"] == 0
    (notice,) = (await city.call("GET", "/v1/subjects/me/notices", None, citizen(pseudonym))).json()["notices"]
    assert (notice["code"], notice["agreement"]) == ("objection-moot", "moves-to-cleanliness@2")
    await until(lambda: city.broker.journal()[-1].regarding == bytes.fromhex(shown["id"]))
    assert standing_of(city, pseudonym).stances["moves-to-cleanliness"].state is State.OBJECTED  # nothing is given


async def test_another_department_does_not_answer(city):
    _, shown = await objected(city)
    refused = await answer(city, shown, {"outcome": "upheld"}, {"scope": "officer", "department": "tax"})
    assert slug(refused) == "unknown-objection"


async def test_a_restriction_is_fenced_and_lifted_by_the_citizen_at_once(city):
    (pseudonym,) = await city.link("Durand")
    path = f"/v1/subjects/{pseudonym}/restriction"
    restricted = await city.call("POST", path, {"ground": "18-1-a"}, citizen(pseudonym))
    assert (restricted.status_code, restricted.json()["status"]) == (200, "in-effect")
    assert standing_of(city, pseudonym).restricted_since_ms is not None
    assert slug(await city.call("POST", path, {"ground": "18-1-a"}, citizen(pseudonym))) == "restricted-already"
    await until(lambda: JournalType.FENCED in [e.type for e in city.broker.journal()])
    assert (await city.call("POST", f"{path}/lifting", {}, citizen(pseudonym))).status_code == 200
    assert standing_of(city, pseudonym).restricted_since_ms is None
    assert slug(await city.call("POST", f"{path}/lifting", {}, citizen(pseudonym))) == "not-restricted"


async def test_only_who_may_give_lifts_a_restriction(city):
    adult, tutor, curator = await city.link("Majeur", "Tuteur", "Curateur")
    await appoint(city, adult, tutor, "tutor")
    await appoint(city, adult, curator, "curator")
    path = f"/v1/subjects/{adult}/restriction"
    assert (await city.call("POST", path, {"ground": "18-1-a"}, citizen(adult))).status_code == 200
    for who, why in ((citizen(adult), "guardian-speaks"), (guardian(curator), "wrong-relation")):
        refused = await city.call("POST", f"{path}/lifting", {}, who)
        assert (slug(refused), refused.json()["why"]) == ("cannot-speak", why)
    assert (await city.call("POST", f"{path}/lifting", {}, guardian(tutor))).status_code == 200


async def test_a_childs_restriction_is_lifted_by_a_parent_and_not_by_the_child(city):
    kid, mother, _ = await family(city)
    path = f"/v1/subjects/{kid}/restriction"
    assert (await city.call("POST", path, {"ground": "18-1-a"}, citizen(kid))).status_code == 200
    assert slug(await city.call("POST", f"{path}/lifting", {}, citizen(kid))) == "cannot-speak"
    assert (await city.call("POST", f"{path}/lifting", {}, guardian(mother))).status_code == 200


async def test_the_city_lifts_a_restriction_only_after_it_has_told_the_citizen(city):
    (pseudonym,) = await city.link("Durand")
    path = f"/v1/subjects/{pseudonym}/restriction"
    await city.call("POST", path, {"ground": "18-1-c"}, citizen(pseudonym))
    assert slug(await city.call("POST", f"{path}/lifting", {}, DESK_OFFICER)) == "lifting-not-announced"
    told = await city.call("POST", f"{path}/announcement", {}, DESK_OFFICER)
    assert told.json() == (await city.call("POST", f"{path}/announcement", {}, DESK_OFFICER)).json()
    assert slug(await city.call("POST", f"{path}/lifting", {}, DESK_OFFICER)) == "lifting-not-announced"
    (notice,) = (await city.call("GET", "/v1/subjects/me/notices", None, citizen(pseudonym))).json()["notices"]
    assert notice["code"] == "restriction-to-be-lifted"
    city.clock.now_ms += 7 * DAY_MS
    assert (await city.call("POST", f"{path}/lifting", {}, DESK_OFFICER)).status_code == 200


async def opened(city, hours=72, name="Durand"):
    (pseudonym,) = await city.link(name)
    (at_emergency,) = await city.link(name, token={"scope": "department", "department": "emergency"})
    body = {"agreements": ["frail-to-emergency"], "reason_code": "heat-wave", "hours": hours}
    answer = await city.call("POST", f"/v1/subjects/{at_emergency}/overrides", body, "officer")
    return pseudonym, at_emergency, answer.json()["acknowledgement"]


async def review(city, subject, override, outcome, *, who=SECOND):
    path = f"/v1/subjects/{subject}/overrides/{override}/review"
    return await city.call("POST", path, {"outcome": outcome}, who)


async def test_an_override_is_told_to_the_citizen_and_reviewed_by_another_officer(city):
    pseudonym, subject, override = await opened(city)
    (notice,) = (await city.call("GET", "/v1/subjects/me/notices", None, citizen(pseudonym))).json()["notices"]
    assert (notice["code"], notice["recipient"]) == ("override-opened", "emergency")
    assert slug(await review(city, subject, override, "justified", who="officer")) == "own-override"
    assert (await review(city, subject, override, "justified")).json()["state"] == "justified"
    assert slug(await review(city, subject, override, "justified")) == "reviewed-already"
    assert standing_of(city, pseudonym).overrides
    entry = next(e for e in city.broker.journal() if e.type is JournalType.REVIEWED)
    assert entry.regarding.hex() == override


async def test_a_citizen_sees_by_whom_and_why_their_data_was_opened_and_what_the_review_found(city):
    pseudonym, subject, override = await opened(city)
    _, _, later = await opened(city)

    async def shown(query=""):
        return await city.call("GET", f"/v1/subjects/me/overrides{query}", None, citizen(pseudonym))

    first = (await shown()).json()["overrides"]
    assert {o["id"] for o in first} == {override, later}
    assert {(o["department"], o["reason_code"], o["review"]) for o in first} == {("emergency", "heat-wave", None)}
    await review(city, subject, override, "justified")
    page = await shown("?limit=1")
    rest = await city.call("GET", page.links["next"]["url"], None, citizen(pseudonym))
    both = page.json()["overrides"] + rest.json()["overrides"]
    assert {o["id"]: o["review"] for o in both} == {override: "justified", later: None}


async def test_an_override_opens_the_agreements_that_it_names_and_no_others(city):
    pseudonym, *_ = await opened(city)
    assert [o.agreement for o in standing_of(city, pseudonym).overrides] == ["frail-to-emergency"]
    entry = next(e for e in city.broker.journal() if e.type is JournalType.OVERRIDE)
    assert (entry.agreements, entry.recipient) == (("frail-to-emergency@1",), "emergency")


@pytest.mark.parametrize(
    ("named", "problem"),
    [
        (["moves-to-tax"], "not-vital-interests"),
        (["frail-to-emergency", "moves-to-tax"], "not-vital-interests"),
        (["frail-to-emergency", "frail-to-police"], "not-vital-interests"),
        (["frail-to-nobody"], "unknown-agreement"),
        (["frail-once"], "agreement-not-in-force"),
        ([], "malformed-request"),
    ],
)
async def test_an_override_names_vital_interests_of_one_recipient(city, named, problem):
    (subject,) = await city.link("Durand", token={"scope": "department", "department": "emergency"})
    body = {"agreements": named, "reason_code": "heat-wave", "hours": 1}
    refused = await city.call("POST", f"/v1/subjects/{subject}/overrides", body, "officer")
    assert slug(refused) == problem
    assert JournalType.OVERRIDE not in [e.type for e in city.broker.journal()]


async def test_an_override_that_was_not_justified_ends_behind_the_fence(city):
    pseudonym, subject, override = await opened(city)
    city.gate.diligent = False
    city.records._parts = replace(city.records._parts, patience_s=0)
    assert (await review(city, subject, override, "not-justified")).status_code == 202
    await until(lambda: standing_of(city, pseudonym).overrides == ())


async def test_an_unreviewed_override_stands_out_after_seventy_two_hours(city):
    _, subject, override = await opened(city)
    (shown,) = (await city.call("GET", "/v1/overrides", None, "officer")).json()["overrides"]
    assert (shown["id"], shown["pseudonym"], shown["overdue"]) == (override, subject, False)
    assert (shown["officer"], shown["agreements"]) == ("officer emergency None", ["frail-to-emergency"])
    city.clock.now_ms += 3 * DAY_MS
    (late,) = (await city.call("GET", "/v1/overrides", None, "auditor")).json()["overrides"]
    assert (late["overdue"], late["pseudonym"]) == (True, None)
    assert (await city.call("GET", "/v1/operations/attention", None, "operator")).json()["reviews_overdue"] == 1


async def test_a_consent_is_over_in_time_and_recorded_and_can_be_given_anew(city):
    (pseudonym,) = await city.link("Durand")
    given = await city.say("give", pseudonym, "a-year")
    assert given.json()["standing"]["agreements"][0]["until"].startswith("2027-05-01T00:00:00")
    city.clock.now_ms += 366 * DAY_MS
    assert await swept(city, expiry.sweep, book=city.records.book) == 1
    assert await swept(city, expiry.sweep, book=city.records.book) == 0
    shown = (await city.call("GET", "/v1/subjects/me/standing", None, citizen(pseudonym))).json()
    assert shown["agreements"][0]["state"] == "expired"
    assert (await city.say("give", pseudonym, "a-year")).json()["state"] == "given"


async def test_consents_to_what_the_city_no_longer_knows_keep_no_other_from_expiring(city, monkeypatch):
    first, second = await city.link("Durand", "Martin")
    await city.say("give", first, "a-year")
    await city.store.write(lambda conn: conn.execute(sa.update(sql.stances).values(agreement="gone")))
    await city.say("give", second, "a-year")
    city.clock.now_ms += 366 * DAY_MS
    monkeypatch.setattr(expiry, "PER_SWEEP_MAX", 1)
    assert await swept(city, expiry.sweep, book=city.records.book) == 1


async def test_a_consent_that_soon_ends_is_counted_until_it_is_renewed(city):
    (pseudonym,) = await city.link("Durand")
    await city.say("give", pseudonym, "a-year")

    async def ending():
        return (await city.call("GET", "/v1/operations/attention", None, "operator")).json()["consents_ending"]

    assert await ending() == 0
    city.clock.now_ms += 340 * DAY_MS
    assert await ending() == 1
    assert (await city.say("give", pseudonym, "a-year")).json()["state"] == "renewed"
    assert await ending() == 0


async def notices_of(city, pseudonym):
    return [
        n["code"]
        for n in (await city.call("GET", f"/v1/subjects/{pseudonym}/notices", None, citizen(pseudonym))).json()[
            "notices"
        ]
    ]


async def test_a_citizen_is_told_once_that_a_consent_ends_soon_and_again_after_a_renewal(city):
    (pseudonym,) = await city.link("Durand")
    for agreement_id in ("a-year", "a-month"):
        await city.say("give", pseudonym, agreement_id)
    told = []
    for days in (300, 40, 5):
        city.clock.now_ms += days * DAY_MS
        await swept(city, expiry.remind, book=city.records.book)  # unless the service has just done it itself
        told.append((await notices_of(city, pseudonym)).count("consent-ending"))
    assert told == [0, 1, 1]
    await city.say("give", pseudonym, "a-year")
    city.clock.now_ms += 340 * DAY_MS
    await swept(city, expiry.remind, book=city.records.book)
    assert (await notices_of(city, pseudonym)).count("consent-ending") == 2


async def test_an_expired_consent_that_nobody_has_swept_is_no_renewal(city):
    (pseudonym,) = await city.link("Durand")
    await city.say("give", pseudonym, "a-year")
    city.clock.now_ms += 366 * DAY_MS
    assert slug(await city.say("withdraw", pseudonym, "a-year")) == "illegal-transition"
    assert (await city.say("give", pseudonym, "a-year")).json()["state"] == "given"


async def test_the_source_asks_revokes_and_invalidates_and_nobody_else(city):
    (pseudonym,) = await city.link("Durand")
    (at_source,) = await city.link("Durand", token={"scope": "department", "department": "civil-registry"})

    async def office(action, who=SOURCE):
        path = f"/v1/subjects/{at_source}/agreements/moves-to-schools/{action}"
        return await city.call("POST", path, {}, who)

    assert (await office("request")).json()["state"] == "requested"
    assert (await city.say("defer", pseudonym)).json()["state"] == "deferred"
    assert (await city.say("give", pseudonym)).json()["state"] == "given"
    assert slug(await office("revoke", {"scope": "officer", "department": "tax"})) == "not-the-source"
    assert (await office("revoke")).json()["state"] == "revoked"
    await city.say("give", pseudonym)
    assert (await office("invalidate")).json()["state"] == "invalidated"


async def test_a_notice_is_marked_as_read_by_its_citizen(city):
    pseudonym, *_ = await opened(city)
    (notice,) = (await city.call("GET", "/v1/subjects/me/notices", None, citizen(pseudonym))).json()["notices"]
    (other,) = await city.link("Martin")
    path = f"/v1/subjects/me/notices/{notice['id']}/read"
    assert slug(await city.call("PUT", path, None, citizen(other))) == "unknown-notice"
    assert (await city.call("PUT", path, None, citizen(pseudonym))).status_code == 204
    (read,) = (await city.call("GET", "/v1/subjects/me/notices", None, citizen(pseudonym))).json()["notices"]
    assert read["read_at"] is not None
