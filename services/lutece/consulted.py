"""What the city asks its people on the demonstration's day: one consultation that is open, one that is answered."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import httpx

from lutece.voices import VoiceFault
from passerelle_consent.policy.agreements import Agreement

OPEN, ANSWERED = "meal-tariff-2027", "move-bins-2027"
OPENS_AFTER = timedelta(seconds=2)
"""A consultation is published before it opens, not after."""
OPEN_FOR, SHORT = timedelta(days=30), timedelta(seconds=15)
"""The second one lasts as long as its voices take: a day of the demonstration is a minute."""
CLOSED_SECONDS_MAX = 60
VOTERS = 60
SUPPORTERS: Mapping[str, Sequence[bool]] = {
    OPEN: (True, True, False, False, False),
    ANSWERED: (False, True, True, True),
}
"""Who is for it, of so many in a row, and again."""
CALLS_AT_ONCE = 8

Text = Mapping[str, str]

QUESTIONS: Mapping[str, Text] = {
    OPEN: {
        "fr": "Faut-il garder la tranche du tarif de cantine deux ans, au lieu d’un ?",
        "en": "Should the canteen tariff band be kept for two years instead of one?",
    },
    ANSWERED: {
        "fr": "Faut-il garder votre nouvelle adresse un an, au lieu de deux, pour livrer les bacs ?",
        "en": "Should your new address be kept for one year instead of two, to deliver the bins?",
    },
}
FIRST: Mapping[str, tuple[Text, Text]] = {
    OPEN: (
        {"fr": "Vous n’apportez plus de papiers chaque année.", "en": "You no longer bring papers each year."},
        {"fr": "La ville garde plus longtemps une information sur vous.", "en": "The city keeps a fact longer."},
    ),
    ANSWERED: (
        {"fr": "Un an suffit pour livrer et échanger les bacs.", "en": "One year is enough to deliver the bins."},
        {"fr": "Un échange tardif demande un appel de plus.", "en": "A late exchange takes one more call."},
    ),
}
ARGUMENTS: Mapping[str, Sequence[tuple[str, str]]] = {
    OPEN: (
        ("for", "Chaque septembre, je cherche le même papier. Deux ans me vont."),
        ("for", "Avec trois enfants, une démarche de moins compte."),
        ("against", "Mon revenu a baissé cette année. Je préfère un nouveau calcul chaque rentrée."),
        ("against", "Un an, c’est clair. Deux ans, on oublie qu’on a dit oui."),
    ),
    ANSWERED: (
        ("for", "Une fois les bacs livrés, la ville n’a plus besoin de mon adresse."),
        ("against", "Nous avons changé de bac au bout de quinze mois : il faudra rappeler."),
    ),
}
WAITING = ("against", "Et si je déménage pendant ces deux ans ?")
"""Stays for an officer to read, in the one that is open."""
OUTCOME = "adopted"
ANSWER: Text = {
    "fr": "Nous gardons l’adresse un an. Pour un échange plus tard, appelez l’accueil : nous la redemanderons.",
    "en": "We keep the address for one year. For a later exchange, call the desk: we will ask for it again.",
}

Auth = Callable[[bytes], httpx.Auth]


@dataclass(frozen=True, kw_only=True)
class Consulted:
    """The city's consultations over the consent service. Raises `VoiceFault` for whatever it does not take."""

    http: httpx.AsyncClient
    officer_of: Callable[[str], httpx.Auth]
    citizen: Auth
    agreements: Mapping[str, Agreement]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.aclose()

    async def ask(self, people: Sequence[bytes]) -> None:
        """Publish both; let people speak in them, by their pseudonyms at the desk."""
        opens = datetime.now(UTC) + OPENS_AFTER
        for consultation, closes in ((OPEN, opens + OPEN_FOR), (ANSWERED, opens + SHORT)):
            await self._publish(consultation, opens, closes)
        await asyncio.sleep((opens - datetime.now(UTC)).total_seconds() + 0.1)
        await self._argue(people)
        free = asyncio.Semaphore(CALLS_AT_ONCE)

        async def votes(n: int, who: bytes) -> None:
            async with free:
                for consultation, supports in SUPPORTERS.items():
                    said = {"voice": "support" if supports[n % len(supports)] else "object"}
                    await self._call("PUT", f"{consultation}/voice", self.citizen(who), said)

        async with asyncio.TaskGroup() as group:
            for n, who in enumerate(people[:VOTERS]):
                group.create_task(votes(n, who))

    async def answer(self) -> None:
        """Answer the one that is over; wait until it is."""
        async with asyncio.timeout(CLOSED_SECONDS_MAX):
            while (await self._call("GET", ANSWERED, None)).json()["phase"] != "closed":  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.5)
        said = {"outcome": OUTCOME, "answer": ANSWER}
        await self._call("POST", f"{ANSWERED}/answer", self._officer(ANSWERED), said)

    async def _publish(self, consultation: str, opens: datetime, closes: datetime) -> None:
        pro, con = FIRST[consultation]
        said = {
            "draft": self._draft(consultation),
            "question": QUESTIONS[consultation],
            "arguments_for": [pro],
            "arguments_against": [con],
            "opens": opens.isoformat(),
            "closes": closes.isoformat(),
        }
        await self._call("PUT", consultation, self._officer(consultation), said)

    def _about(self, consultation: str) -> Agreement:
        return self.agreements["meal-tariff-income" if consultation == OPEN else "move-cleanliness"]

    def _draft(self, consultation: str) -> Mapping[str, Any]:
        """The next version: of the tariff kept for longer, of the bins for less long."""
        signed = self._about(consultation).model_dump(mode="json", by_alias=True, exclude_unset=True)
        return {
            **signed,
            "version": signed["version"] + 1,
            "in_force": {"from": "2027-03-01", "until": None},
            "retention": "P24M" if consultation == OPEN else "P12M",
            "review": "2028-06-30",
            **({"consent": {"valid_for": "P1Y"}} if consultation == OPEN else {}),
        }

    async def _argue(self, people: Sequence[bytes]) -> None:
        authors = iter(people)
        for consultation, arguments in ARGUMENTS.items():
            for side, text in arguments:
                said = {"side": side, "language": "fr", "text": text}
                held = await self._call("POST", f"{consultation}/arguments", self.citizen(next(authors)), said)
                path = f"{consultation}/arguments/{held.json()['n']}/ruling"
                await self._call("PUT", path, self._officer(consultation), {"ruling": "published"})
        side, text = WAITING
        said = {"side": side, "language": "fr", "text": text}
        await self._call("POST", f"{OPEN}/arguments", self.citizen(next(authors)), said)

    def _officer(self, consultation: str) -> httpx.Auth:
        return self.officer_of(self._about(consultation).source)

    async def _call(
        self, method: str, path: str, auth: httpx.Auth | None, body: Mapping[str, Any] | None = None
    ) -> httpx.Response:
        answer = await self.http.request(method, f"/v1/consultations/{path}", json=body, auth=auth)
        if not answer.is_success:
            raise VoiceFault(
                f"the consent service answered {answer.status_code} to a consultation: {answer.text[:200]}"
            )
        return answer
