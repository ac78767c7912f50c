"""What the city tells a citizen of its own accord: an override, an answer, a restriction that is to be lifted.

A notice is a code with the names of an agreement and a recipient; its words are made when it is read.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from passerelle_consent.records import problems, sql
from passerelle_consent.records.changes import Asked
from passerelle_consent.records.ports import SubjectRef
from passerelle_consent.records.problems import Problem
from passerelle_schemas.catalogue import Text

NEWEST = 2**62
"""Later than any instant."""


class Code(StrEnum):
    """What is told. Closed: each has its words in both languages."""

    OVERRIDE_OPENED = "override-opened"
    OVERRIDE_JUSTIFIED = "override-justified"
    OVERRIDE_NOT_JUSTIFIED = "override-not-justified"
    OBJECTION_UPHELD = "objection-upheld"
    OBJECTION_RESUMED = "objection-resumed"
    RESTRICTION_TO_BE_LIFTED = "restriction-to-be-lifted"
    OBJECTION_MOOT = "objection-moot"
    CONSENT_ENDING = "consent-ending"
    CONSENT_EXPIRED = "consent-expired"
    PROTECTION_OVER = "protection-over"
    PROTECTION_EASED = "protection-eased"


WORDS: Mapping[Code, Text] = {
    Code.OVERRIDE_OPENED: Text(
        fr=(
            "Parce que votre vie pouvait être en danger, vos informations ont été ouvertes au service "
            "{recipient}, pour 72 heures au plus. Un autre responsable vérifie si c'était justifié."
        ),
        en=(
            "Because your life may have been in danger, your information was opened to the department "
            "{recipient}, for 72 hours at most. Another officer checks whether that was justified."
        ),
    ),
    Code.OVERRIDE_JUSTIFIED: Text(
        fr="L'ouverture de vos informations au service {recipient} a été vérifiée : elle était justifiée.",
        en="The opening of your information to the department {recipient} was checked: it was justified.",
    ),
    Code.OVERRIDE_NOT_JUSTIFIED: Text(
        fr=(
            "L'ouverture de vos informations au service {recipient} a été vérifiée : elle n'était pas "
            "justifiée, et elle a pris fin. Vous pouvez saisir la déléguée à la protection des données ou la "
            "CNIL."
        ),
        en=(
            "The opening of your information to the department {recipient} was checked: it was not justified,"
            " and it has ended. You can turn to the data protection officer or to the CNIL."
        ),
    ),
    Code.OBJECTION_UPHELD: Text(
        fr="Votre opposition est acceptée : le service {recipient} ne reçoit plus ces informations.",
        en="Your objection is accepted: the department {recipient} no longer receives this information.",
    ),
    Code.OBJECTION_RESUMED: Text(
        fr=(
            "Votre opposition n'a pas pu être suivie : la loi permet que le service {recipient} reçoive ces "
            "informations. Le motif est indiqué. Vous pouvez vous opposer de nouveau, ou saisir la CNIL."
        ),
        en=(
            "Your objection could not be followed: the law lets the department {recipient} receive this "
            "information. The ground is stated. You can object again, or turn to the CNIL."
        ),
    ),
    Code.RESTRICTION_TO_BE_LIFTED: Text(
        fr=(
            "La limitation que vous aviez obtenue va être levée dans sept jours. Si vous n'êtes pas d'accord,"
            " répondez avant cette date."
        ),
        en="The restriction that you had obtained will be lifted in seven days. If you disagree, answer before then.",
    ),
    Code.OBJECTION_MOOT: Text(
        fr=(
            "Vous vous étiez opposé à ce que le service {recipient} reçoive ces informations. La convention a changé "
            "et repose sur une autre base : votre opposition n'attend plus de réponse. Le registre public dit ce qui "
            "vaut désormais, avec votre accord ou parce que la loi l'impose."
        ),
        en=(
            "You had objected to the department {recipient} receiving this information. The agreement has changed and "
            "rests on another basis: your objection waits for no answer any more. The public register says what holds "
            "now, with your consent or because the law asks for it."
        ),
    ),
    Code.CONSENT_ENDING: Text(
        fr=(
            "Votre accord pour le service {recipient} prend fin dans moins de trente jours. Sans renouvellement, "
            "rien ne sera plus transmis. Vous n'avez rien à faire si cela vous convient."
        ),
        en=(
            "Your consent for the department {recipient} ends in less than thirty days. Unless you renew it, "
            "nothing more will be shared. You need do nothing if that suits you."
        ),
    ),
    Code.PROTECTION_OVER: Text(
        fr="La mesure de protection inscrite est arrivée à son terme : vous décidez de nouveau seul de vos données.",
        en="The protection on record has come to its end: you decide alone about your data again.",
    ),
    Code.PROTECTION_EASED: Text(
        fr=(
            "La mesure de protection inscrite est arrivée à son terme. Une mesure plus légère demeure : vous êtes "
            "assisté, et vous décidez de vos données."
        ),
        en=(
            "The protection on record has come to its end. A lighter one remains: you are assisted, and you decide "
            "about your data."
        ),
    ),
    Code.CONSENT_EXPIRED: Text(
        fr=(
            "Votre accord pour le service {recipient} est arrivé à son terme. Rien n'est plus transmis. Vous "
            "pouvez le renouveler."
        ),
        en=(
            "Your consent for the department {recipient} has come to its end. Nothing is shared any more. You"
            " can renew it."
        ),
    ),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Notice:
    """One notice. Times are epoch milliseconds."""

    id: bytes
    code: Code
    agreement: str | None
    recipient: str | None
    at_ms: int
    read_ms: int | None

    @classmethod
    def of(cls, row: sa.Row[Any]) -> "Notice":
        """Read a row of `notices`."""
        read = {name: getattr(row, name) for name in cls.__slots__}
        return cls(**{**read, "code": Code(row.code)})

    def words(self) -> Text:
        """Return what it says."""
        words = WORDS[self.code]
        return Text(fr=words.fr.format(recipient=self.recipient), en=words.en.format(recipient=self.recipient))


def leave(
    conn: sa.Connection, asked: Asked, code: Code, *, agreement: str | None = None, recipient: str | None = None
) -> None:
    """Leave a notice about what is being done, under the id of its change."""
    put(conn, asked.id, asked.ref, code, at_ms=asked.at_ms, agreement=agreement, recipient=recipient)


def put(
    conn: sa.Connection,
    ident: bytes,
    ref: SubjectRef,
    code: Code,
    *,
    at_ms: int,
    agreement: str | None = None,
    recipient: str | None = None,
) -> None:
    """Leave a notice about what nobody did."""
    row = {"id": ident, "ref": ref, "code": code.value, "agreement": agreement, "recipient": recipient}
    conn.execute(sql.INSERT_NOTICE, {**row, "at_ms": at_ms})


def newest(conn: sa.Connection, ref: SubjectRef, *, before: tuple[int, bytes], limit: int) -> list[Notice]:
    """Return a subject's notices, the newest first; ``before`` is the (time, id) last seen."""
    at = {"ref": ref, "at_ms": before[0], "id": before[1], "limit": limit}
    return [Notice.of(row) for row in conn.execute(sql.NOTICES_TO, at)]


def mark_read(conn: sa.Connection, ref: SubjectRef, notice: bytes, *, at_ms: int) -> None:
    """Note that it was read; once, however often. Raises `Problem` unknown-notice."""
    conn.execute(sql.READ_NOTICE, {"of": notice, "whose": ref, "read_ms": at_ms})
    if conn.scalar(sql.NOTICE_TO, {"id": notice, "ref": ref}) is None:
        raise Problem(problems.UNKNOWN_NOTICE)
