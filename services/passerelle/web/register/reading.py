"""What the register's pages ask the consent service for. Raises `ServiceAway` and `Refused`."""

from typing import Any

from passerelle.web.service import Answer, ConsentService, ServiceAway

PAGE = 200
"""As many as the service gives at once."""
PAGES_MAX = 10
"""A city has some hundreds of agreements; beyond 2,000 versions a search narrows it down."""

LINKED = "application/ld+json"


async def everything(consent: ConsentService, path: str, member: str, **asked: Any) -> list[Any]:
    """Read a public list, page after page."""
    found: list[Any] = []
    cursor = None
    for _ in range(PAGES_MAX):
        answer = await consent.public(path, limit=PAGE, cursor=cursor, **asked)
        found += answer.body[member]
        cursor = answer.next_cursor
        if cursor is None:
            break
    return found


async def agreements(consent: ConsentService, **asked: str) -> list[Any]:
    """Read the agreements that are asked for."""
    return await everything(consent, "/v1/agreements", "agreements", **asked)


async def flows(consent: ConsentService) -> list[Any]:
    """Read the flows in force."""
    return await everything(consent, "/v1/flows", "flows")


async def or_none(consent: ConsentService, path: str) -> Any:
    """Read what the page can do without: the ledger may be away while the register is there."""
    try:
        return (await consent.public(path)).body
    except ServiceAway:
        return None


async def linked(consent: ConsentService, path: str, language: str, **asked: Any) -> Answer:
    """Read something as JSON-LD."""
    return await consent.public(path, headers={"Accept": LINKED, "Accept-Language": language}, **asked)
