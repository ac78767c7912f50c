"""A department's side of public consultations: what it asks, over the consent service, and what it makes of the result.

A consultation is published as a file says, and never edited; it closes by itself on its day. Once it is answered, its
result goes into the version that it was about (`consultation:` with the result's SHA-256, which a leaf of the ledger
holds), and that version is signed and locked as any other.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import yaml
from pydantic import AwareDatetime, BaseModel, ConfigDict

from passerelle_consent.policy.agreements import Agreement
from passerelle_schemas.catalogue import Text
from passerelle_schemas.documents import Document
from passerelle_schemas.faults import Fault

TIMEOUT_S = 30.0
PAGES_MAX = 1_000
"""Of fifty each: a city that holds more has another way to list them."""


class NoAnswer(Fault):
    """The consent service cannot be reached."""


class Refused(Fault):
    """The consent service said no, or the answer is no."""

    exit_code = 1


class Asked(BaseModel):
    """A consultation as its file says. ``draft``: the agreement's own file, beside this one or by a path from it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    draft: Path
    question: Text
    arguments_for: tuple[Text, ...] = ()
    arguments_against: tuple[Text, ...] = ()
    opens: AwareDatetime
    closes: AwareDatetime


def read_asked(path: Path) -> dict[str, Any]:
    """Return the body that publishes what a file asks. Raises `DocumentFault` with file and line of every problem."""
    asked = Document(path).parse(Asked)
    draft = Document(path.parent / asked.draft).parse(Agreement)
    said = asked.model_dump(mode="json", exclude={"draft"})
    return {**said, "draft": draft.model_dump(mode="json", by_alias=True, exclude_unset=True)}


class Consultations:
    """The consent service's consultations. Everything raises `NoAnswer`, `Refused`."""

    def __init__(self, client: httpx.Client) -> None:
        """``client`` has the service's address and, for what only an officer does, the officer's token."""
        self._client = client

    def publish(self, consultation: str, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Publish, once: the same again changes nothing."""
        return self._said("PUT", _at(consultation), asked)

    def every(self) -> Iterator[dict[str, Any]]:
        """Yield all that were ever published, the latest to open first."""
        path: str | None = "/v1/consultations?limit=50"
        for _ in range(PAGES_MAX):
            if path is None:
                return
            answer = self._ask("GET", path)
            yield from answer.json()["consultations"]
            path = answer.links.get("next", {}).get("url")

    def one(self, consultation: str) -> dict[str, Any]:
        """Return a consultation as anybody sees it."""
        return self._said("GET", _at(consultation))

    def waiting(self, consultation: str) -> list[dict[str, Any]]:
        """Return the first page of the citizens' arguments that an officer is still to read."""
        return list(self._said("GET", f"{_at(consultation)}/arguments/waiting?limit=200")["arguments"])

    def rule(self, consultation: str, n: int, ruling: str) -> None:
        """Publish an argument, or say why not."""
        self._ask("PUT", f"{_at(consultation)}/arguments/{n}/ruling", {"ruling": ruling})

    def answer(self, consultation: str, outcome: str, words: Text) -> dict[str, Any]:
        """Answer one that is over: its result becomes a leaf of the ledger."""
        return self._said("POST", f"{_at(consultation)}/answer", {"outcome": outcome, "answer": words.model_dump()})

    def result(self, consultation: str) -> bytes:
        """Return the result: the bytes whose SHA-256 the ledger holds."""
        return self._ask("GET", f"{_at(consultation)}/result").content

    def _said(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        said: dict[str, Any] = self._ask(method, path, body).json()
        return said

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> httpx.Response:
        where = str(self._client.base_url)
        try:
            answer = self._client.request(method, path, json=body)
        except httpx.TransportError as exc:
            hint = "start it: passerelle consent serve"
            raise NoAnswer(f"no answer ({type(exc).__name__})", where=where, hint=hint) from None
        if answer.is_success:
            return answer
        raise Refused(_why(answer), where=where)


def close(consultations: Consultations, consultation: str, agreements: Path) -> Path:
    """Write the version that was consulted about, with its result, into the agreements' folder; return the file.

    Raises `Refused` where nothing came of the draft or another file stands there, and what the service raises.
    """
    raw = consultations.result(consultation)
    if json.loads(raw)["outcome"] == "abandoned":
        raise Refused("the draft was abandoned: nothing is to be signed", where=consultation)
    draft = consultations.one(consultation)["published"]["draft"]
    block = {"id": consultation, "result": hashlib.sha256(raw).hexdigest()}
    version = Agreement.model_validate({**draft, "consultation": block})
    path = agreements / version.source / f"{version.id}.v{version.version}.yaml"
    plain = version.model_dump(mode="json", by_alias=True, exclude_unset=True)
    if path.exists() and Document(path).parse(Agreement) != version:
        raise Refused(
            "this version stands there and says something else", where=str(path), hint="compare, then mend it"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(plain, allow_unicode=True, sort_keys=False, width=120), encoding="utf-8")
    return path


def _at(consultation: str) -> str:
    return f"/v1/consultations/{consultation}"


def _why(answer: httpx.Response) -> str:
    """In the words of the problem (RFC 9457), with the first thing that is wrong where it tells."""
    try:
        problem = answer.json()
        title = str(problem["title"])
    except (ValueError, KeyError, TypeError):
        return f"the consent service said no ({answer.status_code})"
    wrong = [f"{'.'.join(map(str, e['where']))}: {e['what']}" for e in problem.get("errors", ())]
    return f"{title} {wrong[0]}" if wrong else title
