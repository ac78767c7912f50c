"""How often a caller may call: a token bucket for each principal, and for each address that shows no good token.

Limits keep one caller from taking the service from the others; they are no quota. Told by the RateLimit header fields
(draft-ietf-httpapi-ratelimit-headers) on every answer, and by Retry-After on a refusal.
"""

import math
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from passerelle_consent.records import problems
from passerelle_consent.records.ports import Clock, Principal, Role
from passerelle_consent.records.problems import Problem

BUCKETS_MAX = 50_000
"""Callers remembered at a time, the latest: some 10 MB. Whoever is forgotten begins with a full bucket."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Limit:
    """A bucket of ``burst`` requests, filled again at ``a_second``."""

    name: str
    a_second: float
    burst: int

    @property
    def policy(self) -> str:
        """RateLimit-Policy: a quota, and the seconds in which it is filled."""
        return f'"{self.name}";q={self.burst};w={math.ceil(self.burst / self.a_second)}'


STRANGER = Limit(name="address", a_second=50, burst=500)
"""No token, or a bad one: the public register, health, and those who try keys. An address may be a whole office."""

LIMITS: Mapping[Role, Limit] = MappingProxyType(
    {
        # A person, with a page that asks for a change until it is in effect.
        Role.CITIZEN: Limit(name="citizen", a_second=20, burst=200),
        Role.GUARDIAN: Limit(name="guardian", a_second=20, burst=200),
        # A department's systems share one principal: 200 links of 1,000 people a second are beyond the store anyway.
        Role.DEPARTMENT: Limit(name="department", a_second=200, burst=2_000),
        Role.OFFICER: Limit(name="officer", a_second=50, burst=500),
        Role.AUDITOR: Limit(name="auditor", a_second=50, burst=500),
        Role.OPERATOR: Limit(name="operator", a_second=50, burst=500),
    }
)


FILES = Limit(name="files", a_second=1_000, burst=10_000)
"""The log's files, each a few kilobytes that a cache may keep: one reader of a whole log gets some 500 a second."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Bucket:
    held: float
    at_ms: int


class Rates:
    """The buckets, in this process's memory: a service that starts again forgets them."""

    def __init__(self, clock: Clock, limits: Mapping[Role, Limit] = LIMITS, stranger: Limit = STRANGER) -> None:
        self._clock = clock
        self._limits = limits
        self._stranger = stranger
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def principal(self, principal: Principal, *, files: bool = False) -> Mapping[str, str]:
        """Take one request of this caller; return the header fields. Raises `Problem` rate-limited."""
        if files:
            return self._take(f"files of principal {principal.name}", FILES)
        limits = [self._limits[role] for role in principal.roles] or [self._stranger]
        return self._take(f"principal {principal.name}", max(limits, key=lambda limit: limit.a_second))

    def address(self, address: str, *, files: bool = False) -> Mapping[str, str]:
        """Take one request of an address without a good token. Raises `Problem` rate-limited."""
        if files:
            return self._take(f"files of address {address}", FILES)
        return self._take(f"address {address}", self._stranger)

    def _take(self, who: str, limit: Limit) -> Mapping[str, str]:
        now_ms = self._clock()
        bucket = self._buckets.pop(who, None) or _Bucket(held=limit.burst, at_ms=now_ms)
        filled = bucket.held + max(0, now_ms - bucket.at_ms) / 1000 * limit.a_second
        bucket = _Bucket(held=min(limit.burst, filled), at_ms=now_ms)
        taken = bucket.held >= 1
        self._buckets[who] = replace(bucket, held=bucket.held - 1) if taken else bucket
        while len(self._buckets) > BUCKETS_MAX:
            self._buckets.popitem(last=False)
        fields = _fields(limit, self._buckets[who].held)
        if taken:
            return fields
        wait_s = math.ceil((1 - bucket.held) / limit.a_second)
        raise Problem(problems.RATE_LIMITED, headers={**fields, "Retry-After": str(max(1, wait_s))})


def _fields(limit: Limit, held: float) -> Mapping[str, str]:
    """RateLimit: what is left, and the seconds until all of it is there again."""
    full_s = math.ceil((limit.burst - held) / limit.a_second)
    return {"RateLimit-Policy": limit.policy, "RateLimit": f'"{limit.name}";r={int(held)};t={full_s}'}
