"""`passerelle consent say`: what a citizen says about an agreement, with a token of the city's own issuer."""

import time
from enum import StrEnum
from typing import Annotated

import typer

from passerelle.cli.options import ConsentUrl


class Word(StrEnum):
    """What a citizen can say."""

    GIVE = "give"
    REFUSE = "refuse"
    DEFER = "defer"
    WITHDRAW = "withdraw"
    OBJECT = "object"


def say(
    word: Annotated[Word, typer.Argument(help="give, refuse, defer, withdraw or object.", metavar="WORD")],
    agreement: Annotated[str, typer.Argument(help="About which agreement, by its id.")],
    *,
    department: Annotated[str, typer.Option("--department", "-d", help="Whose portal: the pseudonyms are of there.")],
    pseudonym: Annotated[str, typer.Option(help="The citizen's, of that department, as hexadecimal.")],
    guardian: Annotated[
        str | None, typer.Option(help="Who speaks for the citizen: a guardian of record, by their own pseudonym.")
    ] = None,
    notice: Annotated[int | None, typer.Option(min=1, help="The notice that was shown; otherwise the newest.")] = None,
    consent_url: ConsentUrl,
) -> None:
    """Say it, and return when it is in effect: of what takes away, nothing is delivered any more.

    For trials and for a desk's own tests: a city in production signs its citizens in. Exit code 1: it was refused.
    """
    import httpx

    from passerelle.city.manifest import Manifest
    from passerelle.cli.inbox import known_department
    from passerelle.config import settings
    from passerelle.issuer import Bearing, LocalIssuer
    from passerelle.saying import WAIT_S_MAX, notice_shown
    from passerelle.saying import say as tell
    from passerelle_consent.records.transitions import Action

    here = settings()
    manifest = Manifest.load(here.manifest_path)
    known_department(department, set(manifest.department_ids))
    whose = pseudonym_of(pseudonym, "--pseudonym")
    speaker = whose if guardian is None else pseudonym_of(guardian, "--guardian")
    scope = "citizen" if guardian is None else "guardian"
    auth = LocalIssuer(here.home, manifest).bearer(Bearing(scopes=[scope], department=department, pseudonym=speaker))
    action = Action(word.value)
    if notice is None and not action.takes_away:
        notice = notice_shown(manifest.policy_bundle(), agreement, time.time_ns() // 1_000_000)
    with httpx.Client(base_url=consent_url, timeout=WAIT_S_MAX) as client:
        said = tell(client, whose, agreement, action, notice=notice, auth=auth)
    typer.echo(f"{agreement}: {said.state}, {'in effect' if said.in_effect else 'recorded, and taking effect'}")


def pseudonym_of(text: str, option: str) -> bytes:
    """Raises `typer.BadParameter`, which does not quote it."""
    from passerelle.pseudonyms import REF_BYTES

    try:
        block = bytes.fromhex(text)
    except ValueError:
        block = b""
    if len(block) != REF_BYTES:
        raise typer.BadParameter(f"a pseudonym is {2 * REF_BYTES} hexadecimal digits", param_hint=option)
    return block
