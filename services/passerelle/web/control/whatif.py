"""What a changed agreement would have decided instead, of what was decided since a day. Reads; delivers nothing.

`passerelle policy replay` does the same over any length of time; a page answers within seconds or not at all.
"""

import shutil
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from passerelle_consent.policy.bundle import PolicyBundle
from passerelle_consent.policy.replay import Report
from passerelle_schemas.faults import Fault

if TYPE_CHECKING:
    from passerelle.city.manifest import Manifest
    from passerelle.replay import Replaying

ENTRIES_MAX = 100_000
"""Some ten seconds."""
NAME = "draft.yaml"


class TooMuch(Fault):
    """More was decided since then than a page decides again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WhatIf:
    """The city's policy, and its past."""

    manifest: "Manifest"
    past: Callable[[int], AbstractContextManager["Replaying"]] = field(repr=False)
    """Opens what was decided since an instant (milliseconds)."""

    def agreement(self, ident: str, version: int) -> str:
        """The file of an agreement, to begin a draft with. Raises `Fault`."""
        return self._file(f"{ident}@{version}").read_text(encoding="utf-8")

    def refs(self) -> list[str]:
        """The agreements that a draft can take the place of."""
        return sorted(a.ref for a in self.manifest.policy_bundle().agreements)

    def run(self, ref: str, draft: str, since_ms: int) -> Report:
        """Decide again with one agreement as the draft has it. Raises `Fault`: with the draft's line, or `TooMuch`."""
        with tempfile.TemporaryDirectory() as folder:
            changed = Path(folder) / "agreements"
            shutil.copytree(self.manifest.agreements, changed)
            # The lock of published versions is the city's; a draft is not one of them.
            (changed / "digests.lock.yaml").unlink(missing_ok=True)
            draft_path = changed / self._file(ref).relative_to(self.manifest.agreements)
            draft_path.write_text(draft, encoding="utf-8")
            try:
                bundle = PolicyBundle.load(self.manifest.contracts, self.manifest.flows, changed)
            except Fault as fault:
                raise Fault(str(fault).replace(str(draft_path), NAME).replace(folder, "")) from None
        with self.past(since_ms) as replaying:
            if replaying.entries > ENTRIES_MAX:
                raise TooMuch(
                    f"{replaying.entries} entries since then: more than {ENTRIES_MAX}",
                    hint="choose a later day, or run: passerelle policy replay --with <folder> --since <day>",
                )
            return replaying.run(bundle.table())

    def _file(self, ref: str) -> Path:
        ident, _, version = ref.partition("@")
        for path in sorted(self.manifest.agreements.rglob("*.yaml")):
            text = path.read_text(encoding="utf-8")
            if f"\nid: {ident}\n" in f"\n{text}" and f"\nversion: {version}\n" in text:
                return path
        raise Fault(f"no agreement {ref}", where=str(self.manifest.agreements))
