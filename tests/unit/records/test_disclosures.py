"""What citizens and auditors can ask of the ledger: who received what and why, who looked, and the proof."""

from datetime import UTC, datetime

import pytest

from passerelle_consent.ledger.audit.folder import LogFolder
from passerelle_consent.ledger.audit.prove import InclusionProof
from passerelle_consent.ledger.audit.scan import scan
from passerelle_consent.policy.agreements import Basis
from passerelle_consent.policy.decide import Reason, Verdict
from passerelle_consent.records.http.access import RULES
from passerelle_consent.records.ports import Role
from passerelle_consent.records.words import WORDS, What
from passerelle_consent.wire import JournalType
from unit.ledger.fakes import ON_SQLITE, SIGNER
from unit.records.fakes import START_MS, citizen, until

AUDITOR = {"scope": "auditor", "department": "citizen-desk"}


def reads(city):
    return [e for e in city.broker.journal() if e.type is JournalType.READ]


async def test_a_citizen_reads_who_received_what_and_why(told, marie):
    (decision,) = told.decide(marie, verdict=Verdict.REDACT, reason=Reason.CONSENT_WITHDRAWN, withheld=("hint",))
    (shown,) = (await told.get("disclosures", citizen(marie))).json()["disclosures"]
    assert (shown["decision"], shown["recipient"], shown["flow"]) == (decision, "schools", "tariff")
    assert shown["verdict"] == {"code": "redact", "fr": "Transmis en partie", "en": "Shared in part"}
    assert shown["reason"]["fr"] == "Vous aviez retiré votre accord."
    assert [f["name"] for f in shown["fields"]] == ["band"]
    assert shown["fields"][0]["needs"] == [{"fr": "Parce que", "en": "Because"}] * 2
    assert shown["withheld"] == ["hint"]
    assert shown["purpose"] == {"code": "dpv:ServiceProvision", "fr": "Parce que", "en": "Because"}
    assert [(a["agreement"], a["basis"]["code"], a["law"]) for a in shown["agreements"]] == [
        ("home@1", "6-1-a", None),
        ("income@1", "6-1-e", "Code, art. 1"),
    ]
    assert shown["proof"] == f"/v1/subjects/me/proof/{decision}"


async def test_a_denial_released_nothing(told, marie):
    told.decide(marie, verdict=Verdict.DENY, reason=Reason.OBJECTED)
    (shown,) = (await told.get("disclosures", citizen(marie))).json()["disclosures"]
    assert (shown["verdict"]["code"], shown["fields"]) == ("deny", [])


async def test_nobody_sees_what_is_about_others(told, marie):
    (other,) = await told.city.link("Petit")
    told.decide(other)
    assert (await told.get("disclosures", citizen(marie))).json() == {"disclosures": []}


async def test_pages_hold_ten_thousand_decisions_once_and_in_order_while_more_come_in(told, marie):
    told.town.now_ms = START_MS
    expected = [d for _ in range(10) for d in told.decide(marie, count=1_000)][::-1]
    seen, path = [], "/v1/subjects/me/disclosures?limit=200"
    while path:
        answer = await told.city.call("GET", path, token=citizen(marie))
        seen += [d["decision"] for d in answer.json()["disclosures"]]
        path = answer.links["next"]["url"] if "next" in answer.links else None
        if len(seen) % 2_000 == 0:
            told.decide(marie)
    assert seen == expected


async def test_filters_by_agreement_recipient_verdict_and_time(told, marie):
    denied = told.decide(marie, verdict=Verdict.DENY, reason=Reason.OBJECTED)
    permitted = told.decide(marie)

    async def found(query):
        return [d["decision"] for d in (await told.get("disclosures", citizen(marie), query)).json()["disclosures"]]

    between = datetime.fromtimestamp(START_MS / 1000 + 2, UTC).isoformat().replace("+00:00", "Z")
    assert await found("?verdict=deny") == denied
    assert await found("?recipient=schools") == permitted + denied
    assert await found("?recipient=tax") == []
    moved = told.decide(marie, flow=1)
    assert await found("?agreement=income") == permitted + denied
    assert await found("?agreement=home&until=2100-01-01T00:00:00Z") == moved + permitted + denied
    assert await found("?agreement=hom") == []
    assert await found(f"?since={between}") == moved + permitted
    assert await found(f"?until={between}") == denied


async def test_the_proof_verifies_alone(told, marie):
    (decision,) = told.decide(marie)
    answer = await told.get(f"proof/{decision}", citizen(marie))
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    entry, checkpoint = InclusionProof.parse(answer.content).check(SIGNER.verifier)
    assert (entry.ident.hex(), checkpoint.size) == (decision, 5)


async def test_a_proof_of_somebody_elses_decision_is_as_unknown_as_one_that_never_was(told, marie):
    (other,) = await told.city.link("Petit")
    (decision,) = told.decide(other)
    for ident in (decision, "0" * 32):
        answer = await told.city.call("GET", f"/v1/subjects/me/proof/{ident}", token=citizen(marie))
        assert answer.json()["type"].endswith(":unknown-decision")


async def test_a_citizen_scans_the_published_log_with_their_own_key(told, marie):
    """The proof of non-delivery by its subject: the key comes from the service, all else from public files."""
    (mine,) = told.decide(marie)
    (other,) = await told.city.link("Petit")
    told.decide(other)
    answer = await told.get("ledger-key", citizen(marie))
    assert answer.headers["cache-control"] == "no-store"
    found = scan(LogFolder(told.town.folder), SIGNER.verifier, bytes.fromhex(answer.text))
    assert [p.entry.ident.hex() for p in found.decisions] == [mine]
    assert reads(told.city) == []


async def test_an_auditor_gets_a_key_under_a_mandate_that_the_subject_sees(told, marie):
    path = f"/v1/subjects/{marie}/ledger-key"
    told.decide(marie)
    assert (await told.city.call("GET", path, token=AUDITOR)).json()["type"].endswith(":mandate-needed")
    assert (await told.city.call("GET", path, token="tax")).status_code == 403
    answer = await told.city.call("GET", path, token=AUDITOR, mandate="M-7")
    assert (answer.status_code, len(answer.text)) == (200, 65)
    await until(lambda: reads(told.city))
    (read,) = reads(told.city)
    assert (read.what, read.mandate) == ("ledger-key", "M-7")


async def test_there_is_no_key_to_what_the_ledger_does_not_hold(told):
    (fresh,) = await told.city.link("Petit")
    answer = await told.city.call("GET", "/v1/subjects/me/ledger-key", token=citizen(fresh))
    assert answer.json()["type"].endswith(":no-entries")


async def test_a_department_that_reads_a_standing_is_seen_to(told, marie):
    (tax,) = await told.city.link("Durand", token="tax")
    assert (await told.city.call("GET", f"/v1/subjects/{tax}/standing", token="tax")).status_code == 200
    await until(lambda: reads(told.city))
    told.integrate()
    (shown,) = (await told.get("readers", citizen(marie))).json()["readers"]
    assert (shown["department"], shown["reader"]["code"], shown["what"]["code"]) == ("tax", "department", "standing")
    assert shown["mandate"] is None
    ident = shown["proof"].rpartition("/")[2]
    entry, _ = InclusionProof.parse((await told.get(f"proof/{ident}", citizen(marie))).content).check(SIGNER.verifier)
    assert (entry.type, entry.department) == ("read", "tax")


async def test_what_the_subject_reads_is_no_entry(told, marie):
    told.decide(marie)
    for what in ("standing", "disclosures", "readers", "changes"):
        await told.get(what, citizen(marie))
    assert reads(told.city) == []


async def test_an_auditor_needs_a_mandate_and_the_citizen_sees_it(told, marie):
    told.decide(marie)
    path = f"/v1/subjects/{marie}/disclosures"
    refused = await told.city.call("GET", path, token=AUDITOR)
    assert refused.json()["type"].endswith(":mandate-needed")
    assert reads(told.city) == []
    answer = await told.city.call("GET", path, token=AUDITOR, mandate="CNIL-2026/114")
    assert len(answer.json()["disclosures"]) == 1
    await until(lambda: reads(told.city))
    told.integrate()
    (shown,) = (await told.get("readers", citizen(marie))).json()["readers"]
    assert (shown["reader"]["code"], shown["what"]["code"], shown["mandate"]) == (
        "auditor",
        "disclosures",
        "CNIL-2026/114",
    )
    assert b"CNIL-2026" not in b"".join(p.read_bytes() for p in told.town.folder.rglob("*") if p.is_file())


async def test_an_auditor_reads_a_subjects_entries_under_a_mandate_and_the_citizen_sees_it(told, marie):
    (other,) = await told.city.link("Petit")
    told.decide(other)
    (decision,) = told.decide(marie, verdict=Verdict.REDACT, reason=Reason.CONSENT_WITHDRAWN, withheld=("hint",))
    path = f"/v1/subjects/{marie}/entries"
    assert (await told.city.call("GET", path, token=AUDITOR)).json()["type"].endswith(":mandate-needed")
    answer = await told.city.call("GET", path, token=AUDITOR, mandate="CNIL-2026/115")
    redacted, linked = answer.json()["entries"]
    assert (redacted["entry"]["decision"], redacted["private"]["withheld"]) == (decision, ["hint"])
    assert linked["entry"]["type"] == "linked"
    assert told.city.ref(marie).hex() not in answer.text
    await until(lambda: reads(told.city))
    told.integrate()
    (read,) = (await told.get("entries", citizen(marie), "?type=read")).json()["entries"]
    assert read["private"] == {"reader": "auditor", "what": "entries", "mandate": "CNIL-2026/115"}
    await told.get(f"proof/{read['entry']['id']}", citizen(marie))


@pytest.mark.parametrize(
    "query", ["?verdict=deny", "?flow=moves", "?agreement=home@1&verdict=deny", "?reason=objected"]
)
async def test_a_subjects_entries_are_found_by_what_they_say(told, marie, query):
    denied = told.decide(marie, flow=1, verdict=Verdict.DENY, reason=Reason.OBJECTED)
    told.decide(marie)
    shown = (await told.get("entries", citizen(marie), query)).json()["entries"]
    assert [e["entry"]["decision"] for e in shown] == denied
    refused = await told.city.call("GET", f"/v1/subjects/me/entries{query}&verdikt=1", token=citizen(marie))
    assert refused.json()["parameter"] == "verdikt"


async def test_an_auditor_of_the_whole_city_has_no_pseudonyms(told, marie):
    answer = await told.city.call("GET", f"/v1/subjects/{marie}/readers", token="auditor", mandate="M-1")
    assert answer.json()["type"].endswith(":department-needed")


async def test_a_read_about_nobody_is_refused_and_journals_nothing(told, marie):
    answer = await told.city.call("GET", f"/v1/subjects/{'0' * 32}/disclosures", token=AUDITOR, mandate="M-1")
    assert answer.json()["type"].endswith(":unknown-subject")
    assert reads(told.city) == []


@ON_SQLITE
async def test_a_ledger_that_is_not_there_is_a_503(told, marie, tmp_path):
    told.city.records._parts.ledger._store._engine.dispose()
    (tmp_path / "ledger" / "ledger.sqlite").rename(tmp_path / "away")
    answer = await told.city.call("GET", "/v1/subjects/me/disclosures", token=citizen(marie))
    assert (answer.status_code, answer.json()["type"].rpartition(":")[2]) == (503, "ledger-unavailable")


async def appoint(city, ward, curator):
    evidence = {"evidence": "TJ-2025/7", "valid_from": "2025-06-01T00:00:00Z"}
    body = {"guardian": curator, "relation": "curator", **evidence}
    officer = {"scope": "officer", "department": "citizen-desk"}
    answer = await city.call("POST", f"/v1/subjects/{ward}/guardians", body, officer)
    assert answer.status_code in (200, 202), answer.text


async def test_a_guardian_of_record_reads_and_is_seen_to(told, marie):
    (curator,) = await told.city.link("Petit")
    told.decide(marie)
    path, who = f"/v1/subjects/{marie}/disclosures", citizen(curator, "citizen guardian")
    assert (await told.city.call("GET", path, token=who)).json()["type"].endswith(":not-guardian")
    assert reads(told.city) == []
    await appoint(told.city, marie, curator)
    assert len((await told.city.call("GET", path, token=who)).json()["disclosures"]) == 1
    await until(lambda: reads(told.city))
    assert [(r.reader, r.what, r.subject) for r in reads(told.city)] == [
        ("guardian", "disclosures", told.city.ref(marie))
    ]


ABOUT_SOMEBODY = sorted(path for method, path in RULES if method == "GET" and "{pseudonym}" in path)


@pytest.mark.parametrize("template", ABOUT_SOMEBODY)
async def test_whatever_somebody_else_reads_about_a_person_is_one_entry(told, marie, template):
    """From the table of rules, so that a new route that tells nobody is found."""
    (curator,) = await told.city.link("Petit")
    await appoint(told.city, marie, curator)
    path = template.format(pseudonym=marie, decision="0" * 32, change="0" * 32)
    for role in sorted(RULES["GET", template] - {Role.CITIZEN}):
        who = {"scope": role.value, "department": "citizen-desk"}
        before = len(reads(told.city))
        asks = citizen(curator, "guardian") if role is Role.GUARDIAN else who
        answer = await told.city.call("GET", path, token=asks, mandate="M-1")
        assert answer.status_code in (200, 404), answer.text
        await until(lambda before=before: len(reads(told.city)) > before)
        assert len(reads(told.city)) == before + 1
        last = reads(told.city)[-1]
        assert (last.subject, last.reader, last.department) == (told.city.ref(marie), role.value, "citizen-desk")


def test_every_code_has_its_words():
    closed = {member for kind in (Verdict, Reason, Basis, Role, What) for member in kind}
    assert closed == WORDS.keys()
    assert all(said.fr.strip() and said.en.strip() and said.fr != said.en for said in WORDS.values())
