"""YAML and JSON documents whose errors name the file, the line and the field."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from passerelle_schemas.faults import Fault

Model = TypeVar("Model", bound=BaseModel)
Location = tuple[str | int, ...]


class DocumentFault(Fault):
    """A document does not say what its kind of document must say. One line for each problem."""

    exit_code = 1

    def __init__(self, problems: Iterable[str], *, hint: str | None = None) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems), hint=hint)


# The C parser is ten times faster; where it was not built, the other reads the same.
_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Base):  # type: ignore[misc]
    """YAML as its version 1.2 has it: ``on``, ``off``, ``yes`` and ``no`` are words; true and false alone are not."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - how PyYAML is configured
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^(true|false)$"), ["t", "f"])


class Document:
    """One parsed file: ``value`` (plain Python) and the line of each of its values.

    JSON is read by the same parser, as it is YAML for all that Avro schemas write.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lines: dict[Location, int] = {(): 1}
        try:
            loader = _Loader(path.read_text(encoding="utf-8"))
            node = loader.get_single_node()
            self._lines.update(_lines(node, ()) if node is not None else ())
            self.value: Any = None if node is None else loader.construct_document(node)
        except OSError as exc:
            raise DocumentFault([f"{path}: cannot be read: {exc.strerror}"]) from None
        except UnicodeDecodeError as exc:
            raise DocumentFault([f"{path}: is not UTF-8 at byte {exc.start}"]) from None
        except yaml.MarkedYAMLError as exc:
            line = exc.problem_mark.line + 1 if exc.problem_mark else 1
            raise DocumentFault([f"{path}:{line}: {exc.problem}"]) from None
        except yaml.YAMLError as exc:
            raise DocumentFault([f"{path}: is not YAML: {type(exc).__name__}"]) from None

    def line(self, at: Location) -> int:
        """Return the line of a value; of the nearest value around it when it is missing."""
        while at not in self._lines:
            at = at[:-1]
        return self._lines[at]

    def problem(self, at: Location, what: str) -> str:
        """``file:line: field: what``, as an editor can jump to."""
        field = ".".join(map(str, at))
        return f"{self.path}:{self.line(at)}: {f'{field}: ' if field else ''}{what}"

    def parse(self, model: type[Model]) -> Model:
        """Validate as ``model``. Raises `DocumentFault` with every problem and its line."""
        try:
            return model.model_validate(self.value)
        except ValidationError as exc:
            problems = [self.problem(e["loc"], e["msg"].removeprefix("Value error, ")) for e in exc.errors()]
            raise DocumentFault(problems) from None


def _lines(node: yaml.Node, at: Location) -> Iterator[tuple[Location, int]]:
    yield at, node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield from _lines(value, (*at, key.value))
    elif isinstance(node, yaml.SequenceNode):
        for i, value in enumerate(node.value):
            yield from _lines(value, (*at, i))


def load(path: Path, model: type[Model]) -> Model:
    """Read one document as ``model``. Raises `DocumentFault`."""
    return Document(path).parse(model)


def load_all(paths: Iterable[Path], model: type[Model]) -> list[tuple[Document, Model]]:
    """Read every document; raise one `DocumentFault` with the problems of all of them."""
    read: list[tuple[Document, Model]] = []
    problems: list[str] = []
    for path in sorted(paths):
        try:
            document = Document(path)
            read.append((document, document.parse(model)))
        except DocumentFault as fault:
            problems += fault.problems
    if problems:
        raise DocumentFault(problems)
    return read
