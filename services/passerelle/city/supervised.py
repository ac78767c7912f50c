"""What a supervisor started, on record: whoever comes later finds it, also when the supervisor was killed.

A pid counts only together with its birth (`process`), so that nobody else's process is ever ended.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Self

from passerelle.city import process
from passerelle.city.node import write_private
from passerelle.config import Home
from passerelle_schemas.faults import Fault


@dataclass(frozen=True, kw_only=True, slots=True)
class Started:
    """A process, and how often it was started again."""

    pid: int
    born: str
    restarts: int = 0

    @property
    def alive(self) -> bool:
        """Whether it still lives."""
        return process.alive(self.pid, self.born)


@dataclass(frozen=True, kw_only=True, slots=True)
class Supervised:
    """A supervisor and its components, in the order of their start."""

    supervisor: Started
    ready: bool = False
    """Whether everything that was asked for has said that it is ready."""
    consent_url: str = ""
    """Where the consent service listens; "" where there is none."""
    components: Mapping[str, Started] = field(default_factory=dict)

    @classmethod
    def find(cls, home: Home) -> Self | None:
        """Return the record of this home; None when there is none. Raises `Fault`."""
        path = home.supervised_file
        try:
            said = json.loads(path.read_text(encoding="utf-8"))
            components = {name: Started(**one) for name, one in said.pop("components").items()}
            return cls(**{**said, "supervisor": Started(**said["supervisor"])}, components=components)
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError, AttributeError):
            raise Fault("is not a record of running components", where=str(path), hint="remove that file") from None

    def write(self, home: Home) -> None:
        """Keep the record."""
        write_private(home.supervised_file, json.dumps(asdict(self), indent=1))

    def end(self, home: Home, *, term_seconds: float) -> None:
        """End what is left: the supervisor, which ends the others in good order, then what a dead one left behind."""
        # Each component has its own bound within the supervisor's; together they are waited for one after the other.
        process.stop(self.supervisor.pid, self.supervisor.born, term_seconds=term_seconds * (len(self.components) + 2))
        for one in reversed(list(self.components.values())):
            process.stop(one.pid, one.born, term_seconds=term_seconds)
        home.supervised_file.unlink(missing_ok=True)
