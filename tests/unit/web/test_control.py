"""The control room: counts, the map, and its pages, over a broker that a test plays."""

import itertools

import pytest

from passerelle.web.control.flow_map import BOX_GAP, BOX_HEIGHT, Node, flow_map
from passerelle.web.control.pulse import WINDOW_S, Pulse
from passerelle.web.control.seen import Look, Seen
from passerelle.web.visit import FORM_TOKEN
from passerelle_consent.wire import Cause
from unit.web.control_room import FLOW, a_room
from unit.web.control_room import ONE_REFERENCE as LETTER_REFERENCE
from unit.web.town import form_token, people

NOW = 1_800_000_000


def test_a_minute_is_counted_by_flow_verdict_and_reason():
    pulse = Pulse()
    pulse.add(NOW - 5, [(FLOW, "permit", "valid-basis")] * 6 + [(FLOW, "redact", "valid-basis")] * 2)
    pulse.add(NOW - 5, [(FLOW, "deny", "consent-withdrawn")] * 2)
    pulse.add(NOW - 120, [(FLOW, "deny", "objected")])
    (pace,) = pulse.flows(NOW)
    assert (pace.per_minute, pace.redacted, pace.denied) == (10, 0.2, 0.2)
    assert pulse.denials(NOW) == [("consent-withdrawn", 2), ("objected", 1)]


def test_memory_is_bounded_by_the_window():
    pulse = Pulse()
    for second in range(NOW, NOW + 3 * WINDOW_S):
        pulse.add(second, [(FLOW, "permit", "valid-basis")])
    assert len(pulse._seconds) == WINDOW_S
    pulse.add(NOW, [(FLOW, "permit", "valid-basis")])
    assert len(pulse._seconds) == WINDOW_S


def test_the_series_has_every_second_also_the_empty_ones():
    pulse = Pulse()
    pulse.add(NOW - 3, [(FLOW, "deny", "objected")])
    series = pulse.series(NOW)
    assert len(series) == WINDOW_S
    assert [s.deny for s in series[-4:]] == [0, 1, 0, 0]


def test_rates_are_of_the_last_minute():
    seen = Seen()
    for n, at in enumerate((0.0, 30.0, 60.0, 90.0)):
        seen.add(Look(at=at, ends={"exchange": 100 * n}, lags={}))
    assert seen.per_minute(["exchange"]) == pytest.approx(200)
    assert seen.per_minute(["outbox.tax.x"]) == 0


def test_boxes_of_the_map_do_not_overlap_and_lines_join_what_is_read():
    left = [Node(id=d, name=d, said="", per_minute=10.0) for d in ("tax", "housing", "schools")]
    agents = [Node(id="agents.a", name="a", said="", per_minute=5.0, late=True)]
    drawn = flow_map(left, agents, left[:1], {"agents.a": ["tax"]})
    tops = [box.y for box in drawn.left]
    assert [b - a for a, b in itertools.pairwise(tops)] == [BOX_HEIGHT + BOX_GAP] * 2
    assert [line.kind for line in drawn.lines] == ["flow", "late", "flow"]


@pytest.fixture
def room(town, tmp_path):
    return a_room(town, tmp_path)


@pytest.mark.parametrize("path", ["", "/messages", "/contrats", "/essai", "/essai?accord=meal-tariff-income@1"])
@pytest.mark.parametrize("prefix", ["", "/en"])
async def test_pages_are_for_operators(town, room, path, prefix):
    async with town.visitor(people()["operator"]) as operator, town.visitor(people()["auditor"]) as auditor:
        assert (await operator.get(f"{prefix}/controle{path}")).status_code == 200
        assert (await auditor.get(f"{prefix}/controle{path}")).status_code == 403
    async with town.visitor() as stranger:
        assert (await stranger.get(f"{prefix}/controle{path}")).headers["location"].startswith(f"{prefix}/connexion")


async def test_the_overview_says_who_is_late_and_why_things_are_denied(town, room):
    async with town.visitor(people()["operator"]) as operator:
        shown = (await operator.get("/controle")).text
    assert "agents.lutece a 5\u202f000 messages de retard" in shown
    assert "consent-withdrawn" in shown


async def test_a_broker_that_does_not_answer_is_said(town, room):
    room.watch.seen.looks.clear()
    async with town.visitor(people()["operator"]) as operator:
        shown = (await operator.get("/controle")).text
    assert "Le courtier ne répond pas" in shown


@pytest.mark.parametrize(("what", "kind"), [("rejouer", "replay"), ("jeter", "discard")])
async def test_a_letter_is_settled_as_the_operator(town, room, what, kind):
    async with town.visitor(people()["operator"]) as operator:
        shown = await operator.get("/controle/messages")
        said = {"owner": "gate", "reference": LETTER_REFERENCE, "cause": Cause("rule-mended").value, "faire": what}
        answer = await operator.post("/controle/messages", data={**said, FORM_TOKEN: form_token(shown)})
    assert answer.status_code == 303
    assert room.done == [(kind, "gate", LETTER_REFERENCE, Cause("rule-mended"), ["operator"])]


async def test_a_draft_that_is_no_agreement_is_refused_with_its_line(town, room):
    async with town.visitor(people()["operator"]) as operator:
        shown = await operator.get("/controle/essai?accord=meal-tariff-income@1")
        said = {"accord": "meal-tariff-income@1", "brouillon": "id: nothing\nversion: x\n", "depuis": "2026-11-20"}
        answer = await operator.post("/controle/essai", data={**said, FORM_TOKEN: form_token(shown)})
    assert answer.status_code == 422
    assert "draft.yaml:2" in answer.text
    assert "passerelle" not in answer.text.partition('role="alert"')[2].partition("</div>")[0].lower()
