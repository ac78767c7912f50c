"""Citizens are told in short sentences and in words of theirs: `services/passerelle/web/locale/PLAIN-LANGUAGE.md`."""

import re

import pytest

from passerelle.web.languages import Language, typeset, words
from unit.web.test_words import messages
from unit.web.town import lutece

WORDS_MAX = 20
CITIZENS = (
    *(f"templates/{name}" for name in ("citizen/", "account/", "problems/", "welcome", "sign", "help", "resume")),
    "templates/consultations/consultation",
    "citizen/",
    "words.py",
)
OF_THE_CITY = ("templates/account/staff.html",)
OURS = re.compile(
    r"\b(payload|hash|token|topic|opt-in|opt-out|jeton|flux|hachage|ledger|leaf|JWS|JSON|API|pseudonym\w*|finalité|"
    r"traitement|data subject|controller|dérogation)\b|\b(RGPD|GDPR)(?!, [Aa]rticle)",
    re.IGNORECASE,
)


def wrong(text):
    """The sentences of a text that are too long, and those with words of ours."""
    for sentence in re.split(r"(?<=[.?!;:])\s+", re.sub(r"%\(\w+\)s", "X", text)):
        if len(re.findall(r"[\w’'-]+", sentence)) > WORDS_MAX or OURS.search(sentence):
            yield sentence


def test_pages():
    english = words(Language.EN)._messages
    found = []
    for where, message in messages():
        if where.startswith(CITIZENS) and not where.startswith(OF_THE_CITY):
            french = (message,) if isinstance(message, str) else message
            found += [(where, bad) for text in (*french, *english[french[0]]) for bad in wrong(text)]
    assert found == []


def test_notices_and_purposes():
    told = [
        (a.id, text) for a in lutece()[1].agreements for text in (a.notice.fr, a.notice.en, a.purpose.fr, a.purpose.en)
    ]
    assert told
    assert [(where, bad) for where, text in told for bad in wrong(text)] == []


@pytest.mark.parametrize(
    "text", ["Votre jeton est là.", "A leaf of the ledger.", "Le RGPD vous protège.", " ".join(["mot"] * 21)]
)
def test_what_is_not_plain_is_found(text):
    assert list(wrong(text))


def test_french_punctuation_never_begins_a_line():
    assert typeset("Et « cela » ? Oui : tout ; voilà !", Language.FR) == (
        "Et «\u00a0cela\u00a0»\u00a0? Oui\u00a0: tout\u00a0; voilà\u00a0!"
    )
    assert typeset("This : is English ?", Language.EN) == "This : is English ?"
