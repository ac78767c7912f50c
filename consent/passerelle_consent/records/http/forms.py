"""In which form something public is read: plain JSON or JSON-LD, in which language, and whether the reader has it."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Header, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from passerelle_consent.receipts.document import Issue
from passerelle_consent.records.http.calls import records_of
from passerelle_consent.records.http.conditional import IfNoneMatch, is_known, not_modified
from passerelle_consent.records.http.languages import Language, asked_for

LINKED = "application/ld+json"

FRESH = "public, max-age=300"
"""The register changes with a release of the policy; five minutes late is early enough."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reader:
    """How the register is read: in which form and language, and what the reader has already."""

    request: Request
    response: Response
    language: Language
    linked: bool
    """As JSON-LD."""
    if_none_match: str | None

    def shown(
        self, tag: str, plain: Callable[[], BaseModel], linked: Callable[[], dict[str, Any]] | None = None
    ) -> Any:
        """Answer 304, the plain form or, where there is one and it is asked for, JSON-LD.

        ``tag`` tells of what the plain form shows. JSON-LD names the city and its departments besides, which change
        without the policy: its tag is its own digest.
        """
        document = linked() if linked is not None and self.linked else None
        digest = tag if document is None else hashlib.sha256(json.dumps(document).encode()).hexdigest()
        tag = f'"{digest}"'
        caching = {"Cache-Control": FRESH, "Vary": "Accept, Accept-Language"}
        if is_known(tag, self.if_none_match):
            return not_modified(tag, **caching)
        self.response.headers.update({"ETag": tag, **caching})
        if document is None:
            return plain()
        said = {"Content-Language": self.language, **self.response.headers}
        return JSONResponse(document, media_type=LINKED, headers=said)

    @property
    def issue(self) -> Issue:
        """What every JSON-LD document is written with."""
        records = records_of(self.request)
        return Issue(controller=records.controller, catalogue=records.catalogue, policy=records.policy)


async def reader(
    request: Request,
    response: Response,
    language: Annotated[Language, Depends(asked_for)],
    accept: Annotated[str, Header(max_length=200)] = "application/json",
    if_none_match: IfNoneMatch = None,
) -> Reader:
    """Gather how the register is read: a dependency."""
    linked = LINKED in accept
    return Reader(request=request, response=response, language=language, linked=linked, if_none_match=if_none_match)


Read = Annotated[Reader, Depends(reader)]
_KNOWN: dict[str, Any] = {"headers": {"ETag": {"schema": {"type": "string"}, "description": "For `If-None-Match`."}}}
CONDITIONAL: dict[int | str, dict[str, Any]] = {
    200: _KNOWN,
    304: {"description": "It is still what this `If-None-Match` names."},
}
"""What a route that is read so may answer besides its problems."""

FORMS = {**CONDITIONAL, 200: {**_KNOWN, "content": {LINKED: {"schema": {"type": "object"}}}}}
"""The same, where there is JSON-LD too."""
