"""How each Avro type is written in Python: its annotation, and the way to and from what the codec takes. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from passerelle_schemas.faults import Fault
from passerelle_schemas.shape import PRIMITIVES, Shape

_PRIMITIVES: Mapping[str, str] = {
    "null": "None",
    "boolean": "bool",
    "int": "int",
    "long": "int",
    "float": "float",
    "double": "float",
    "bytes": "bytes",
    "string": "str",
    "fixed": "bytes",
}
_LOGICAL: Mapping[str, str] = {
    "date": "_datetime.date",
    "time-millis": "_datetime.time",
    "time-micros": "_datetime.time",
    "timestamp-millis": "_datetime.datetime",
    "timestamp-micros": "_datetime.datetime",
    "local-timestamp-millis": "_datetime.datetime",
    "local-timestamp-micros": "_datetime.datetime",
    "decimal": "_decimal.Decimal",
    "uuid": "_uuid.UUID",
}
"""What the codec makes of each."""


ENUM_MARK = "enum "
"""Before a class in ``classes``: a name that is referred to does not say what it names."""


class NotWritable(Fault):
    """Avro can say it and a Python annotation cannot, or two branches could not be told apart."""

    exit_code = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Python:
    """One type: its annotation, and expressions around a value; None where the value is taken as it is."""

    annotation: str
    to_avro: Callable[[str], str] | None = None
    from_avro: Callable[[str], str] | None = None

    def to(self, value: str) -> str:
        """The expression that makes the codec's value."""
        return self.to_avro(value) if self.to_avro else value

    def back(self, value: str) -> str:
        """The expression that makes it from the codec's value."""
        return self.from_avro(value) if self.from_avro else value


def python_of(shape: Shape, classes: Mapping[str, str]) -> Python:
    """``classes`` maps full names to the classes that are written for them. Raises `NotWritable`."""
    if isinstance(shape, str):
        return Python(annotation=_PRIMITIVES[shape]) if shape in PRIMITIVES else _named(classes[shape])
    if isinstance(shape, list):
        return _union([branch for branch in shape if branch != "null"], "null" in shape, classes)
    if shape["type"] in ("record", "enum"):
        return _named(classes[shape["name"]])
    if shape["type"] in ("array", "map"):
        return _container(shape, classes)
    return Python(annotation=_LOGICAL.get(shape.get("logicalType", ""), _PRIMITIVES[shape["type"]]))


def _named(name: str) -> Python:
    if name.startswith(ENUM_MARK):
        name = name.removeprefix(ENUM_MARK)
        return Python(annotation=name, to_avro="{}.value".format, from_avro=f"{name}({{}})".format)
    return Python(annotation=name, to_avro="{}.to_avro()".format, from_avro=f"{name}.from_avro({{}})".format)


def _container(shape: Mapping[str, Any], classes: Mapping[str, str]) -> Python:
    if shape["type"] == "array":
        item = python_of(shape["items"], classes)
        return Python(
            annotation=f"tuple[{item.annotation}, ...]",
            to_avro=lambda value: f"[{item.to('item')} for item in {value}]",
            from_avro=lambda value: f"tuple({item.back('item')} for item in {value})",
        )
    item = python_of(shape["values"], classes)
    return Python(
        annotation=f"Mapping[str, {item.annotation}]",
        to_avro=lambda value: f"{{key: {item.to('item')} for key, item in {value}.items()}}",
        from_avro=lambda value: f"{{key: {item.back('item')} for key, item in {value}.items()}}",
    )


def _union(branches: list[Shape], nullable: bool, classes: Mapping[str, str]) -> Python:  # noqa: FBT001 - two words
    written = [python_of(branch, classes) for branch in branches]
    if len(written) > 1 and any(branch.to_avro for branch in written):
        raise NotWritable(
            "a union of several branches holds primitive types alone", hint="name one type for each field"
        )
    annotations = " | ".join(dict.fromkeys(branch.annotation for branch in written))
    if not nullable or not written:
        return written[0] if len(written) == 1 else Python(annotation=annotations or "None")
    only = written[0]
    if only.to_avro is None:
        return Python(annotation=f"{annotations} | None")
    return Python(
        annotation=f"{annotations} | None",
        to_avro=lambda value: f"None if {value} is None else {only.to(value)}",
        from_avro=lambda value: f"None if {value} is None else {only.back(value)}",
    )
