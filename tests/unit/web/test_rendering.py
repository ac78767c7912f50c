"""What is written once: messages when a template is compiled, and parts of pages that look the same whoever looks."""

import re
from collections import Counter

from passerelle.web import fragments
from passerelle.web.citizen.history import shown
from passerelle.web.fragments import Fragments
from passerelle.web.languages import Language
from passerelle.web.rendering import TEMPLATES, environment

MESSAGE = "Vous n’avez pas encore répondu."


def rendered(template, language=Language.EN):
    return environment(language).from_string(template).render(of="<b>", gettext=None, _=None)


def test_what_nothing_is_filled_into_is_said_when_the_template_is_compiled():
    for template in ('{{ _("' + MESSAGE + '") }}', "{% trans %}" + MESSAGE + "{% endtrans %}"):
        said = rendered(template)
        assert said == environment(Language.EN).spoken.gettext(MESSAGE) != MESSAGE
        assert rendered(template, Language.FR) == MESSAGE


def test_what_is_filled_in_is_escaped():
    env = environment(Language.FR)
    template = "{% trans day=of %}Non depuis le {{ day }}.{% endtrans %}"
    assert env.from_string(template).render(of="<b>") == "Non depuis le &lt;b&gt;."


class Counting:
    name = "row"

    def __init__(self):
        self.calls = []

    def __call__(self, *args):
        self.calls.append(args)
        return f"{args}"


def test_a_part_is_written_once_for_each_key_and_forgotten_at_some_time(monkeypatch):
    macro, held = Counting(), Fragments()
    assert held.kept(macro, ("a",), "one") == held.kept(macro, ("b",), "one")
    held.kept(macro, ("c",), "two")
    assert macro.calls == [("a",), ("c",)]
    monkeypatch.setattr(fragments, "KEPT_MAX", 1)
    held.kept(macro, ("d",), "three")
    held.kept(macro, ("e",), "one")
    assert macro.calls[2:] == [("d",), ("e",)]


def test_no_two_macros_that_are_kept_have_one_name():
    """What is kept is found by its macro's name: another template's would be shown in its place."""
    written = [path.read_text() for path in TEMPLATES.rglob("*.html")]
    made = Counter(name for text in written for name in re.findall(r"{% macro (\w+)\(", text))
    kept = {name for text in written for name in re.findall(r"visit\.kept\((\w+)", text)}
    assert kept
    assert {name: made[name] for name in kept} == dict.fromkeys(kept, 1)


async def test_the_languages_do_not_share_what_is_kept(town):
    async with town.visitor(await town.citizen("Durand")) as visitor:
        french, english = [(await visitor.get(f"{prefix}/mes-partages")).text for prefix in ("", "/en")]
        assert "Rien ne passe." in french
        assert "Rien ne passe." not in english
        assert (await visitor.get("/mes-partages")).text.count("p-bridge") == french.count("p-bridge")


DISCLOSURE = {
    "policy": "ab",
    "flow": "tax.schools",
    "recipient": "schools",
    "verdict": {"code": "redact"},
    "reason": {"code": "valid-basis"},
    "fields": [{"name": "income"}],
    "withheld": ["address"],
    "agreements": [{"agreement": "income@1"}],
}


def test_two_rows_are_alike_only_if_they_say_the_same():
    others = {
        "policy": "cd",
        "flow": "tax.roads",
        "recipient": "roads",
        "verdict": {"code": "deny"},
        "reason": {"code": "objected"},
        "fields": [{"name": "street"}],
        "withheld": [],
        "agreements": [{"agreement": "income@2"}],
    }
    assert len({shown(DISCLOSURE), *(shown({**DISCLOSURE, name: value}) for name, value in others.items())}) == 9
