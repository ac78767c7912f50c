"""Options that several groups of commands share."""

from typing import Annotated

import typer

from passerelle.config import consent_url

ConsentUrl = Annotated[
    str,
    typer.Option(
        "--consent-url",
        help="The consent service; otherwise PASSERELLE_CONSENT_URL, or this city's own.",
        default_factory=consent_url,
        show_default=False,
    ),
]
