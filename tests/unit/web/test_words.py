"""Every French sentence of the pages has its English one, and no sentence stands in a page untranslated."""

import re
from collections import Counter
from io import BytesIO
from pathlib import Path

import pytest
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po

from passerelle.web import languages
from passerelle.web.languages import Language, words
from passerelle.web.rendering import TEMPLATES, environment

WEB = Path(languages.__file__).parent
SPOKEN = ("title", "placeholder", "alt", "aria-label", "data-l", "aria-description")
NAMES = {"Passerelle", "English", "Français", "§", "PDF", "JWS"}


def messages():
    how = [("**.py", "python"), ("templates/**.html", "jinja2.ext.babel_extract")]
    options = {"templates/**.html": {"trimmed": "true", "silent": "false"}}
    keywords = {"_": None, "gettext": None, "ngettext": (1, 2), "say": None, "N_": None}
    for file, line, message, _, _ in extract_from_dir(WEB, how, options, keywords):
        yield f"{file}:{line}", message


def test_every_sentence_is_translated():
    english = words(Language.EN)
    lacking = []
    for where, message in messages():
        one = message if isinstance(message, str) else message[0]
        forms = english._messages.get(one)
        if not forms or not all(forms):
            lacking.append(f"{where}: {one}")
    assert not lacking, "\n".join(lacking)


def test_a_sentence_stands_in_one_catalogue():
    """In two, the one that is read last is said on the other's pages too: a citizen would clear where one erases."""
    catalogues = sorted((WEB / "locale/en").glob("*.po"))
    read = [read_po(BytesIO(file.read_bytes())) for file in catalogues]
    said = Counter(message.id for catalogue in read for message in catalogue if message.id)
    assert [message for message, times in said.items() if times > 1] == []


def test_translations_fill_in_the_same_values():
    for french, english in words(Language.EN)._messages.items():
        for said in english:
            assert set(re.findall(r"%\(\w+\)s", said)) == set(re.findall(r"%\(\w+\)s", french)), french


def test_no_translation_is_of_a_sentence_that_is_gone():
    said = {message if isinstance(message, str) else message[0] for _, message in messages()}
    assert set(words(Language.EN)._messages) <= said


@pytest.mark.parametrize("path", sorted(TEMPLATES.rglob("*.html")), ids=lambda p: str(p.relative_to(TEMPLATES)))
def test_no_words_stand_in_a_template_untranslated(path):
    env = environment(Language.FR)
    spoken, in_trans, kept = [], False, []
    for _, token, value in env.lex(path.read_text()):
        if token == "name" and value in ("trans", "endtrans"):
            in_trans = value == "trans"
        if token == "data":
            kept.append("" if in_trans else value)
        elif token == "variable_begin":
            kept.append("{")
        elif token == "variable_end":
            kept.append("}")
    html = "".join(kept)
    for attribute in SPOKEN:
        spoken += re.findall(rf'\s{attribute}="([^"{{}}]*)"', html)
    spoken += re.findall(r">([^<]*)<", re.sub(r"<[^>]*$", "", re.sub(r"^[^<]*>", "", html)))
    wrong = [s.strip() for s in spoken if re.search(r"[^\W\d_]{2,}", re.sub("|".join(NAMES), "", s))]
    assert not wrong, wrong
