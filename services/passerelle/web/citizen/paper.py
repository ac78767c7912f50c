"""What a receipt says on paper, in the reader's language and time. Pure."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from passerelle.web.citizen.whose import Whose
from passerelle_consent.receipts.told import LABELS, all_at, at, in_language, lines, text_at

WordsOf = Callable[[str, str], str]
"""The words of (event type, field)."""

_ABOVE = frozenset({"state", "at", "effect"})
"""What stands above the lines, in larger type."""
_FIELD = "urn:passerelle:field:"


@dataclass(frozen=True, kw_only=True, slots=True)
class Paper:
    """All that the paper says."""

    language: str
    city: str
    title: str
    """What was said: `Accord retiré`."""
    issued_to: str
    day: str
    """The line above the instant: what happened then, and on which day."""
    instant: str
    """To the millisecond, in the city's time."""
    zone: str
    lead: str
    details: str
    """Heading of the lines."""
    lines: tuple[tuple[str, str], ...]
    """Label and words; words may be of several lines."""
    proof: str
    """Heading of what it proves."""
    proves: tuple[str, ...]
    attachment: str
    """Name of the signed receipt within the file."""
    attached: str
    """What that is."""
    created: datetime


def paper_of(receipt: Mapping[str, Any], whose: Whose, words_of: WordsOf, *, attachment: str) -> Paper:
    """Return the paper of a receipt that `seal.open_sealed` returned. ``attachment``: the signed file's name in it."""
    visit = whose.visit
    language = visit.language.value
    status = at(receipt, "dpv:hasRecordOfActivity", "dpv:hasConsentStatus")
    said_at = text_at(status, "dpv:isIndicatedAtTime", "@value")
    in_effect = text_at(status, "passerelle:inEffectAt", "@value")
    instant = in_effect or said_at
    day = visit.formats.day(instant)
    said = dict(lines(receipt, language))
    name = visit.person.name if visit.person else ""
    return Paper(
        language=language,
        city=str(getattr(visit.site.city, language)),
        title=_capital(said["state"]),
        issued_to=(
            visit.say("Remis à %(name)s, qui parle pour une autre personne.", name=name)
            if whose.ward
            else visit.say("Remis à %(name)s.", name=name)
        ),
        day=visit.say("Effectif le %(day)s à", day=day) if in_effect else visit.say("Dit le %(day)s à", day=day),
        instant=visit.formats.instant(instant),
        zone=visit.say("Heure de la ville (%(offset)s), à la milliseconde.", offset=visit.formats.offset(instant)),
        lead=(
            visit.say(
                "À partir de cet instant, plus rien n’est envoyé sous cet accord à : %(to)s.", to=said["recipient"]
            )
            if in_effect
            else visit.say("C’est l’instant où la ville a enregistré votre réponse.")
        ),
        details=visit.say("En détail"),
        lines=tuple(_lines(receipt, said, whose, words_of, said_at=said_at if in_effect else "")),
        proof=visit.say("Ce que ce papier prouve"),
        proves=(
            visit.say("Le fichier signé %(name)s est joint à ce PDF. C’est lui qui fait preuve.", name=attachment),
            visit.say("Il montre, même contre la ville, ce que vous avez dit et quand. Il se vérifie sans nous :"),
            f"passerelle receipt verify {attachment}",
            visit.say("Il ne prouve pas ce qu’un service a fait de données reçues avant."),
        ),
        attachment=attachment,
        attached=visit.say("Le reçu, signé par la ville"),
        created=datetime.fromisoformat(text_at(receipt, "dct:created", "@value")),
    )


def _lines(
    receipt: Mapping[str, Any], said: Mapping[str, str], whose: Whose, words_of: WordsOf, *, said_at: str
) -> Iterator[tuple[str, str]]:
    visit = whose.visit
    agreement = said["agreement"].partition("@")[0]
    shown = {
        **said,
        "data": "\n".join(_data(receipt, words_of)),
        # The receipt names the service's address, for programs; people go to the page.
        "control": said["control"] and visit.site.public_url + visit.to(whose.at(agreement)),
    }
    if said_at:
        day, instant = visit.formats.day(said_at), visit.formats.instant(said_at)
        yield visit.say("Dit le"), f"{day}, {instant}"
    for name, words in shown.items():
        if words and name not in _ABOVE:
            yield in_language(LABELS[name], visit.language.value), words


def _data(receipt: Mapping[str, Any], words_of: WordsOf) -> Iterator[str]:
    """Each piece of data by the words of its contract, and why it is needed."""
    for datum in all_at(at(receipt, "dpv:hasRecordOfActivity", "dpv:hasProcess"), "dpv:hasPersonalData"):
        event, _, field = text_at(datum, "@id").removeprefix(_FIELD).partition(":")
        need = text_at(datum, "dpv:hasJustification", "@value")
        words = words_of(event, field)
        yield f"{words} – {need}" if need else words


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]
