"""Answers that a client may already have: entity tags, and `If-None-Match` (RFC 9110 §8.8.3, §13.1.2)."""

import re
from typing import Annotated

from fastapi import Header, Response

ENTITY_TAG = r'(W/)?"[\x21\x23-\x7e]*"'
IfNoneMatch = Annotated[
    str | None, Header(max_length=1_000, description="Answer 304 if what is shown is this `ETag`'s.")
]


def is_known(tag: str, if_none_match: str | None) -> bool:
    """Whether the client has it: compared weakly, as for every safe request. ``tag`` is a strong one."""
    if if_none_match is None:
        return False
    known = {found[0].removeprefix("W/") for found in re.finditer(ENTITY_TAG, if_none_match)}
    return if_none_match.strip() == "*" or tag in known


def not_modified(tag: str, **headers: str) -> Response:
    """Return the answer 304."""
    return Response(status_code=304, headers={"ETag": tag, **headers})
