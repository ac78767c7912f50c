"""Query parameters: one that a route does not have is refused, so that no filter is silently left out."""

import re

from fastapi import Request
from fastapi.dependencies.models import Dependant

from passerelle_consent.records import problems
from passerelle_consent.records.http.answers import refuses
from passerelle_consent.records.problems import Problem

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,39}")
"""What is named in the answer: it is the sender's own text, and may be anything."""


@refuses(problems.UNKNOWN_PARAMETER)
async def only_known(request: Request) -> None:
    """Raise `Problem` unknown-parameter, which names it: a dependency of routers that are asked with filters."""
    known = set(_names(request.scope["route"].dependant))
    for name in request.query_params:
        if name not in known:
            raise Problem(problems.UNKNOWN_PARAMETER, parameter=name if _NAME.fullmatch(name) else "?")


def _names(dependant: Dependant) -> list[str]:
    own = [parameter.alias for parameter in dependant.query_params]
    return own + [name for inner in dependant.dependencies for name in _names(inner)]
