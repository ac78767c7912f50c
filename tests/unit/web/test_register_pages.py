"""The register: what is found, what is counted, how it is drawn, what changed, and that its commands hold."""

import itertools
import random
import re
from datetime import date

import pytest
from typer.testing import CliRunner

from passerelle.cli import app as command_line
from passerelle.web.register.figures import chosen, flow_figures, links, months
from passerelle.web.register.listing import State, Wanted, rows, state_of
from passerelle.web.register.sankey import PHONE, WIDE, Link, sankey
from passerelle.web.register.verifying import CHECKPOINT_FILE, KEY_FILE, PROOF_FILE, Commands
from passerelle.web.register.versions import changes, pieces
from passerelle_consent.policy.agreements import Agreement
from passerelle_consent.policy.bundle import PolicyBundle
from unit.web.town import lutece
from unit.web.town import town as a_town


def some_links(seed):
    print(f"seed {seed}")
    dice = random.Random(seed)
    names = ["tax", "schools", "roads", "parks", "police", "nursery", "housing"]
    pairs = dice.sample([(s, r) for s in names for r in names if s != r], dice.randint(1, 20))
    return [
        Link(source=s, recipient=r, basis=dice.choice(["6-1-a", "6-1-e"]), count=dice.choice([None, 20, 300, 9_000]))
        for s, r in pairs
    ]


@pytest.mark.parametrize("canvas", [WIDE, PHONE], ids=["wide", "phone"])
@pytest.mark.parametrize("seed", range(20))
def test_a_drawing_is_the_same_whatever_the_order_and_nothing_overlaps(seed, canvas):
    links_ = some_links(seed)
    drawn = sankey(links_, canvas)
    assert drawn == sankey(links_[::-1], canvas)
    for side in (True, False):
        bars = [bar for bar in drawn.bars if bar.sends is side]
        for above, below in itertools.pairwise(bars):
            assert above.y + above.height < below.y
            assert below.middle - above.middle >= canvas.slot  # names neither
        assert all(bar.y >= -1e-6 and bar.y + bar.height <= drawn.height + 1e-6 for bar in bars)


@pytest.mark.parametrize("seed", range(20))
def test_bands_are_as_wide_as_their_counts(seed):
    drawn = sankey(some_links(seed), WIDE)
    told = [band for band in drawn.bands if band.link.count]
    assert len({round(band.width / band.link.count, 9) for band in told}) <= 1
    assert {band.width for band in drawn.bands if not band.link.count} <= {WIDE.hairline}
    for bar in drawn.bars:
        own = [b for b in drawn.bands if (b.link.source if bar.sends else b.link.recipient) == bar.name]
        assert bar.height == pytest.approx(sum(band.width for band in own))


def test_nothing_is_drawn_of_nothing():
    assert sankey([], WIDE).height == 0


AGREED = [
    {"agreement": "a@1", "source": "tax", "basis": "6-1-a"},
    {"agreement": "b@1", "source": "registry", "basis": "6-1-a"},
]
JOINED = {"id": "tariff", "recipient": "schools", "agreements": ["a@1", "b@1"], "description": {"fr": "", "en": ""}}


def counts(**told):
    flow = {"flow": "tariff", "permit": None, "redact": None, "deny": None, **told}
    return {"fewer_than": 20, "months": [{"month": "2026-05", "flows": [flow]}]}


def test_what_is_made_from_two_departments_counts_for_both():
    (flow,) = flow_figures([JOINED], AGREED, counts(permit=40, redact=30), "2026-05")
    assert {(a.source, a.recipient, a.count) for a in links([flow])} == {
        ("tax", "schools", 70),
        ("registry", "schools", 70),
    }


def test_too_few_is_not_nought():
    (flow,) = flow_figures([JOINED], AGREED, counts(), "2026-05")
    assert flow.sent is None
    assert [link.count for link in links([flow])] == [None, None]


def test_the_month_with_something_to_show_is_shown_unless_another_is_asked_for():
    body = {"months": [{"month": "2026-06", "flows": []}, *counts(permit=50, deny=50)["months"]]}
    known = months(body)
    assert chosen(known, "").month == "2026-05"
    assert chosen(known, "2026-06").month == "2026-06"
    assert chosen(known, "x").refused == 0.5
    assert chosen([], "") is None


@pytest.mark.parametrize(
    ("first", "last", "state"),
    [
        ("2026-05-02", None, State.TO_COME),
        ("2026-05-01", "2026-05-01", State.IN_FORCE),
        ("2026-01-01", "2026-04-30", State.OVER),
    ],
)
def test_both_days_of_an_agreement_are_in_force(first, last, state):
    assert state_of(first, last, date(2026, 5, 1)) is state


def test_what_makes_no_sense_is_not_looked_for():
    assert not Wanted.of({"q": "x", "service": "nobody", "base": "6-1-z", "etat": "?"}, ["tax"])
    wanted = Wanted.of({"q": " cantine ", "service": "tax", "base": "6-1-a", "etat": "en-vigueur"}, ["tax"])
    assert wanted.asked == {"search": "cantine", "department": "tax", "basis": "6-1-a"}


def test_what_is_in_force_comes_first():
    listed = [
        {"id": "a", "version": 1, "in_force_from": "2026-01-01", "in_force_until": "2026-02-01"},
        {"id": "a", "version": 2, "in_force_from": "2026-02-02", "in_force_until": None},
    ]
    assert [row.agreement["version"] for row in rows(listed, date(2026, 5, 1))] == [2, 1]


def signed(**other):
    _, bundle = lutece()
    (found,) = (a for a in bundle.agreements if a.id == "meal-tariff-income")
    return {**found.model_dump(mode="json", by_alias=True), **other}


def test_what_changed_is_told_and_nothing_else():
    assert changes(signed(), signed(signed=[{"by": "X", "on": "2026-01-01"}]), "fr") == []
    event = {"fields": {"income_year": {"fr": "Dater.", "en": "Date it."}}}
    after = signed(retention="P24M", law="CGI", events={"tax.income-assessed.v1": event}, subjects=["minor"])
    found = {(c.what, str(c.before), str(c.after)) for c in changes(signed(), after, "en")}
    at = "tax.income-assessed.v1#"
    assert found == {
        ("field", str((at + "reference_income_cents", "Work out the band; the amount itself is not shared.")), "None"),
        ("field", "None", str((at + "income_year", "Date it."))),
        ("retention", "P12M", "P24M"),
        ("law", "None", "CGI"),
        ("subjects", "['adult', 'protected-adult']", "['minor']"),
    }


def test_words_are_compared_one_by_one():
    told = [(p.kind, p.text) for p in pieces("Gardé 12 mois, puis effacé.", "Gardé 24 mois, puis effacé.")]
    assert told == [("same", "Gardé "), ("gone", "12 "), ("new", "24 "), ("same", "mois, puis effacé.")]


@pytest.fixture
async def told(town):
    """A town with something to count: one flow enough, another too little."""
    bearing = await town.citizen()
    flows = [flow.id for flow in town.told.flows]
    town.told.decide(bearing.pseudonym.hex(), flow=flows.index("move.tax"), count=40)
    town.told.decide(bearing.pseudonym.hex(), flow=flows.index("birth.nursery"), count=7)
    town.told.index_all()
    return town


@pytest.mark.parametrize("prefix", ["", "/en"])
async def test_the_register_shows_what_is_enough_and_hides_what_is_not(told, prefix):
    async with told.visitor() as visitor:
        shown = (await visitor.get(f"{prefix}/registre")).text
    table = shown.partition("<caption>")[2].partition("</table>")[0]
    assert '<span class="p-num">40</span>' in table
    assert not {'<span class="p-num">7</span>', '<span class="p-num">0</span>'} & set(table.split("><"))
    assert ("moins de 20" in table) or ("fewer than 20" in table)
    assert 'class="sk-l"' in shown
    assert "lutece.example/passerelle" in shown


async def test_a_search_finds_agreements_and_says_when_there_is_none(town):
    async with town.visitor() as visitor:
        found = (await visitor.get("/registre?service=schools&base=6-1-a")).text
        none = (await visitor.get("/registre?q=introuvable")).text
    assert "meal-tariff-income" in found
    assert "disability-badge" not in found.partition('id="liste"')[2]
    assert "Aucun accord ne correspond" in none


async def test_without_its_ledger_the_register_is_still_there(town, monkeypatch):
    (town.told.town.folder / "checkpoint").unlink()
    (town.told.town.folder / "index.sqlite").unlink(missing_ok=True)
    async with town.visitor() as visitor:
        answer = await visitor.get("/registre")
    assert answer.status_code == 200
    assert "Le point de contrôle n’est pas disponible" in answer.text


@pytest.fixture
async def amended(tmp_path):
    """A town whose tariff agreement has a second version, of which nothing runs yet."""
    _, bundle = lutece()
    after = signed(version=2, retention="P24M", in_force={"from": "2027-01-15", "until": None}, review="2028-01-01")
    agreements = [*bundle.agreements, Agreement.model_validate(after)]
    async with a_town(tmp_path, bundle=PolicyBundle.of(agreements, bundle.flows, bundle.catalogue)) as town:
        yield town


async def test_a_version_says_what_it_changes(amended):
    async with amended.visitor() as visitor:
        newest = await visitor.get("/registre/meal-tariff-income")
        assert newest.headers["location"] == "/registre/meal-tariff-income/1"
        shown = (await visitor.get("/registre/meal-tariff-income/2")).text
    changed = shown.partition('id="change"')[2].partition("</section>")[0]
    assert re.findall(r"(12|24)\smois", changed) == ["12", "24"]
    assert "À venir" in shown


@pytest.mark.parametrize("path", ["/registre/nothing", "/registre/nothing/1", "/registre/meal-tariff-income/9"])
async def test_what_is_not_there_is_said(town, path):
    async with town.visitor() as visitor:
        assert (await visitor.get(path)).status_code == 404


async def test_machines_read_the_same(town):
    async with town.visitor() as visitor:
        plain = (await visitor.get("/registre/donnees.json")).json()
        linked = await visitor.get("/en/registre/donnees.jsonld")
        one = (await visitor.get("/registre/meal-tariff-income/1/donnees.json")).json()
        one_linked = (await visitor.get("/registre/meal-tariff-income/1/donnees.jsonld")).json()
    assert len(plain["agreements"]) == len(linked.json()["@graph"]) == 21
    assert linked.headers["content-type"] == "application/ld+json"
    assert one["signed"]["id"] == "meal-tariff-income"
    assert one_linked["passerelle:sha256"] == one["digest"]


async def test_the_commands_on_the_page_are_real_and_hold(told, tmp_path, monkeypatch):
    """Whoever keeps the checkpoint and the key of the page proves with them, offline, that the log only grew."""
    async with told.visitor() as visitor:
        note = await visitor.get(f"/registre/{CHECKPOINT_FILE}")
        key = await visitor.get(f"/registre/{KEY_FILE}")
    assert note.headers["content-disposition"] == f'attachment; filename="{CHECKPOINT_FILE}"'
    size = int(note.text.splitlines()[1])
    told.told.decide((await told.citizen()).pseudonym.hex(), count=5)
    monkeypatch.chdir(tmp_path)
    (tmp_path / CHECKPOINT_FILE).write_bytes(note.content)
    (tmp_path / KEY_FILE).write_bytes(key.content)
    said = Commands(log_url=str(told.told.town.folder), size=size)

    def run(command):
        words = command.split()
        assert words.pop(0) == "passerelle"
        target = words[words.index(">") + 1] if ">" in words else None
        done = CliRunner().invoke(command_line, words[: words.index(">")] if target else words)
        assert done.exit_code == 0, done.output
        if target:
            (tmp_path / target).write_text(done.stdout)

    for command in said.later.splitlines():
        run(command)
    proof = CliRunner().invoke(command_line, ["ledger", "prove", said.log_url, "--index", "3", "--vkey", KEY_FILE])
    (tmp_path / PROOF_FILE).write_text(proof.stdout)
    run(said.own)
    run(said.everything.partition(" --token-file")[0])


async def test_the_service_is_asked_a_few_things_once_for_many_readers(town, monkeypatch):
    asked = []
    ask = town.site.consent._ask

    async def counted(method, path, **more):
        asked.append(path)
        return await ask(method, path, **more)

    monkeypatch.setattr(town.site.consent, "_ask", counted)
    async with town.visitor() as visitor:
        for _ in range(3):
            await visitor.get("/registre")
    # Agreements twice at most: all of them, and those that are looked for.
    assert len(asked) <= 6
