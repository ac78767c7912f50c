"""The difference between what a city must have on its broker and what is there. Pure.

What is refused is not worked around, and then nothing is applied. What opens a way around the gate is removed, whoever
put it there; what only closes (a DENY) is left to whoever set it, since taking it away would open something.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from passerelle.city.actual import Actual
from passerelle.city.desired import SCRAM_ITERATIONS, Acl, Desired, Topic
from passerelle_schemas.topics import CONSENT, DECISIONS, EXCHANGE, FENCE, JOURNAL, MARKS

NAMESPACES = {
    "TOPIC": ("outbox.", "inbox.", "agents.", "deadletter.", "relayed."),
    "GROUP": ("inbox.", "agents."),
    "TRANSACTIONAL_ID": ("gate-", "outbox-"),
}
NAMES = {
    "TOPIC": frozenset({EXCHANGE, CONSENT, JOURNAL, DECISIONS, MARKS, FENCE}),
    "GROUP": frozenset({"gate", "consent", "ledger", "observer"}),
    "TRANSACTIONAL_ID": frozenset({"consent-relay"}),
}


@dataclass(frozen=True, kw_only=True)
class Create:
    """A topic that is missing."""

    topic: Topic


@dataclass(frozen=True, kw_only=True)
class Alter:
    """Settings of a topic that differ: name → (as it is, as it must be)."""

    topic: str
    settings: Mapping[str, tuple[str | None, str]]


@dataclass(frozen=True, kw_only=True)
class SetPassword:
    """A SCRAM user that is missing, has another number of iterations, or whose password file is new."""

    user: str
    why: str


@dataclass(frozen=True, kw_only=True)
class Grant:
    """A right that is missing."""

    acl: Acl


@dataclass(frozen=True, kw_only=True)
class Revoke:
    """A right that nobody in the manifest asks for."""

    acl: Acl


Change = Create | Alter | SetPassword | Grant | Revoke


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What `apply` would do, in its order."""

    changes: tuple[Change, ...]
    refusals: tuple[str, ...]
    """Why nothing can be applied."""
    notes: tuple[str, ...]
    """What is left as it is, and somebody should know of."""

    @property
    def settled(self) -> bool:
        """Whether the cluster is as the manifest wants it."""
        return not self.changes and not self.refusals


def plan(desired: Desired, actual: Actual, known_passwords: frozenset[str]) -> Plan:
    """Compare. ``known_passwords`` are the users whose password was set from the key file as it is now.

    Rights are taken away first: whatever else fails then, nothing stays open.
    """
    unwanted = sorted(acl for acl in actual.acls - desired.acls if _concerns(acl, desired))
    changes: list[Change] = [Revoke(acl=acl) for acl in unwanted if acl.permission == "ALLOW"]
    changes += _topics(desired.topics, actual.topics)
    changes += _users(desired.users, actual.users, known_passwords)
    changes += [Grant(acl=acl) for acl in sorted(desired.acls - actual.acls)]
    denials = [
        f"DENY {acl.principal} {_right(acl)} stays: it was set by hand, and closes"
        for acl in unwanted
        if acl.permission == "DENY"
    ]
    return Plan(
        changes=tuple(changes),
        refusals=tuple(_refusals(desired.topics, actual.topics)),
        notes=(*_strangers(desired.topics, actual.topics), *denials),
    )


def _topics(desired: Mapping[str, Topic], actual: Mapping[str, Topic]) -> Iterator[Change]:
    for name, topic in sorted(desired.items()):
        if name not in actual:
            yield Create(topic=topic)
            continue
        has = actual[name].config
        differs = {key: (has.get(key), value) for key, value in topic.config.items() if has.get(key) != value}
        if differs:
            yield Alter(topic=name, settings=differs)


def _users(desired: frozenset[str], actual: Mapping[str, int], known_passwords: frozenset[str]) -> Iterator[Change]:
    for user in sorted(desired):
        if user not in actual:
            yield SetPassword(user=user, why="is missing")
        elif actual[user] != SCRAM_ITERATIONS:
            yield SetPassword(user=user, why=f"has {actual[user]} iterations")
        elif user not in known_passwords:
            yield SetPassword(user=user, why="its key file is new")


def _refusals(desired: Mapping[str, Topic], actual: Mapping[str, Topic]) -> Iterator[str]:
    for name, topic in sorted(desired.items()):
        if name in actual and actual[name].partitions != topic.partitions:
            yield (
                f"topic {name} has {actual[name].partitions} partitions, the manifest says {topic.partitions}: "
                "changing it would move persons between partitions"
            )


def _strangers(desired: Mapping[str, Topic], actual: Mapping[str, Topic]) -> Iterator[str]:
    for name in sorted(actual.keys() - desired.keys()):
        if _ours("TOPIC", name):
            yield f"topic {name} stays: no longer in the manifest, and data is never deleted here"


def _concerns(acl: Acl, desired: Desired) -> bool:
    """Whether a right is held by one of the city's principals, or reaches something of the city's."""
    if acl.principal in desired.users:
        return True
    if acl.pattern == "LITERAL":
        return acl.name == "*" or _ours(acl.resource, acl.name)
    return _reaches(acl.resource, acl.name)


def _ours(resource: str, name: str) -> bool:
    return name in NAMES.get(resource, ()) or name.startswith(NAMESPACES.get(resource, ()))


def _reaches(resource: str, prefix: str) -> bool:
    """Whether a PREFIXED right touches a name of the city's: either may begin with the other."""
    begun: Iterable[str] = (*NAMES.get(resource, ()), *NAMESPACES.get(resource, ()))
    return any(name.startswith(prefix) or prefix.startswith(NAMESPACES[resource]) for name in begun)


def _right(acl: Acl) -> str:
    """``WRITE TOPIC inbox.tax``, and in brackets what no right of ours ever has."""
    how = "" if acl.pattern == "LITERAL" else f" ({acl.pattern})"
    host = "" if acl.host == "*" else f" from {acl.host}"
    return f"{acl.operation} {acl.resource} {acl.name}{how}{host}"


def rows(changes: Iterable[Change]) -> Iterator[tuple[str, str, str]]:
    """What a person reads: (verb, what, detail)."""
    for change in changes:
        match change:
            case Create(topic=topic):
                yield "create", f"topic {topic.name}", f"{topic.partitions} partitions, {_settings(topic.config)}"
            case Alter(topic=name, settings=settings):
                yield "alter", f"topic {name}", ", ".join(f"{k}: {a} → {b}" for k, (a, b) in sorted(settings.items()))
            case SetPassword(user=user, why=why):
                yield "set", f"password of {user}", why
            case Grant(acl=acl):
                yield "grant", acl.principal, _right(acl)
            case Revoke(acl=acl):
                yield "revoke", acl.principal, _right(acl)


def _settings(config: Mapping[str, str]) -> str:
    return " ".join(f"{key}={value}" for key, value in sorted(config.items()))
