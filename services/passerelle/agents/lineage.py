"""Where each field of a derived event comes from: declared, and checked against the contract (DESIGN §5a, rule 7)."""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from passerelle_schemas import topics
from passerelle_schemas.catalogue import Contract
from passerelle_schemas.faults import Fault


class RuleFault(Fault):
    """A rule that its contracts or flows do not carry. Raised at import, before anything runs."""


@dataclass(frozen=True, slots=True)
class Field:
    """One declared source field of one outbox."""

    outbox: "Outbox"
    name: str

    @property
    def source(self) -> str:
        """As contracts write it in ``passerelle.from``: ``<type>#<field>``."""
        return f"{self.outbox.contract.type}#{self.name}"


@dataclass(frozen=True, slots=True)
class Derived:
    """A field made by a function of declared source fields, and of nothing else."""

    make: Callable[..., Any]
    fields: tuple[Field, ...]


@dataclass(frozen=True, slots=True)
class Folding:
    """A field of an aggregate: a fold over a window's events, of declared source fields and of nothing else."""

    step: Callable[..., Any]
    fields: tuple[Field, ...]
    start: Any

    def over(self, *columns: Sequence[Any]) -> Any:
        """The values of each source field, in the order of the events → what they come to."""
        state = deepcopy(self.start)  # a step may change what it is given
        for values in zip(*columns, strict=True):
            state = self.step(state, *values)
        return state


Source = Field | Derived | Folding
Sources = Mapping[str, Source]


def derived(make: Callable[..., Any], *fields: Field) -> Derived:
    """Declare a field computed as ``make(*values of fields)``."""
    if not fields:
        raise RuleFault("a derived field names the source fields that it is made of")
    return Derived(make, fields)


def folded(step: Callable[..., Any], *fields: Field, start: Any) -> Folding:
    """Declare a field of an aggregate: ``state = step(state, *values of fields)`` for each event, from ``start`` on."""
    if not fields:
        raise RuleFault("a folded field names the source fields that it is made of")
    return Folding(step, fields, start)


class Outbox:
    """What a department publishes. ``box.field`` (or ``box["field"]``, for a field named like a method) is a source."""

    def __init__(self, contract: Contract) -> None:
        if contract.derived:
            raise RuleFault(f"{contract.type} is derived: no department publishes it", hint="name an original event")
        self.contract = contract

    @property
    def topic(self) -> str:
        """The Kafka topic, shared by the event's versions."""
        return topics.outbox(self.contract.department, self.contract.event)

    def __getitem__(self, name: str) -> Field:
        if name not in self.contract.fields:
            raise RuleFault(
                f"{self.contract.type} has no field {name}", hint=f"it has {', '.join(self.contract.fields)}"
            )
        return Field(self, name)

    def __getattr__(self, name: str) -> Field:
        if name.startswith("_"):
            raise AttributeError(name)  # Python's own probes (copy, pickle) want this error, and no field is named so
        return self[name]

    def __repr__(self) -> str:
        return f"Outbox({self.contract.type})"


class View:
    """What a function of a rule sees of an event: the fields that it declared to read, as attributes."""

    __slots__ = ("_declared", "_value")

    def __init__(self, value: Mapping[str, Any], declared: frozenset[str]) -> None:
        self._value = value
        self._declared = declared

    def __getattr__(self, name: str) -> Any:
        if name not in self._declared:
            raise UndeclaredField(name)
        return self._value[name]

    def __repr__(self) -> str:
        return "View(…)"  # a view in a traceback or a log tells nothing about the person


class UndeclaredField(AttributeError):
    """A rule's function read a field that the rule did not declare."""


class Recipe:
    """How the fields of a derived event are made from the values of a rule's inputs."""

    def __init__(
        self, rule: str, contract: Contract, fields: Sources, inputs: Sequence[Outbox], *, folds: bool = False
    ) -> None:
        if any(isinstance(source, Folding) for source in fields.values()) and not folds:
            raise RuleFault("only an aggregate folds its fields", where=rule, hint="use derived(…)")
        self.contract = contract
        self._fields = fields
        self._steps: list[tuple[str, Callable[..., Any] | None, tuple[tuple[int, str], ...]]] = []
        sides = {box.contract.type: side for side, box in enumerate(inputs)}
        self._check(rule, sides)
        for name, source in fields.items():
            make, parts = _parts(source)
            self._steps.append((name, make, tuple((sides[f.outbox.contract.type], f.name) for f in parts)))

    @property
    def lineage(self) -> dict[str, tuple[str, ...]]:
        """Field → its sources, ``<type>#<field>``."""
        return {name: tuple(f.source for f in _parts(source)[1]) for name, source in self._fields.items()}

    def used(self, side: int) -> frozenset[str]:
        """The source fields that this recipe takes from one input."""
        return frozenset(name for _, _, parts in self._steps for at, name in parts if at == side)

    def make(self, values: Sequence[Mapping[str, Any]]) -> bytes:
        """Return the framed event, of one mapping per input. Raises what a function raises, `Undecodable`."""
        return self.contract.encode(self.values(values))

    def values(self, values: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return the event's fields, of one mapping per input. Raises what a function raises."""
        made = {}
        for name, make, parts in self._steps:
            taken = [values[side][field] for side, field in parts]
            made[name] = make(*taken) if make else taken[0]
        return made

    def _check(self, rule: str, sides: Mapping[str, int]) -> None:
        contract, declared = self.contract, self.lineage
        for name in (*declared, *contract.fields):
            if name not in contract.fields:
                raise RuleFault(f"{contract.type} has no field {name}", where=rule)
            if name not in declared:
                raise RuleFault(f"field {name} of {contract.type} is not made", where=rule)
        for name, sources in declared.items():
            for source in sources:
                if source.partition("#")[0] not in sides:
                    raise RuleFault(f"field {name}: {source} is not an input of this rule", where=rule)
            if set(sources) != set(contract.sources[name]):
                wanted = _listed(contract.sources[name])
                raise RuleFault(
                    f"field {name} is made of {_listed(sources)}; {contract.type} says {wanted}",
                    where=rule,
                    hint="the contract's \"passerelle.from\" and the rule's fields must name the same sources",
                )


def _parts(source: object) -> tuple[Callable[..., Any] | None, tuple[Field, ...]]:
    if isinstance(source, Derived):
        return source.make, source.fields
    if isinstance(source, Folding):
        return source.over, source.fields
    if isinstance(source, Field):
        return None, (source,)
    raise RuleFault(f"a field is outbox.field or derived(…), not {type(source).__name__}")


def _listed(sources: Sequence[str]) -> str:
    return ", ".join(sorted(sources))
