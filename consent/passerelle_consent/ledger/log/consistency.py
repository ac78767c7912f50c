"""A consistency proof that can be handed over and checked alone: one size of the log begins with another. Pure.

C2SP has no file for it. Ours is JSON: both sizes and roots, the hashes between them (RFC 6962, 2.1.2), and a signed
checkpoint with the hashes that lead there from the newer size, so that any two sizes are under a signature.
"""

import json
import re
from dataclasses import dataclass
from typing import Any, Self

from passerelle_consent.ledger.faults import Invalid
from passerelle_consent.ledger.log import tree
from passerelle_consent.ledger.log.checkpoint import Checkpoint, open_checkpoint
from passerelle_consent.ledger.log.note import Verifier

HASHES_MAX = 63
"""RFC 6962: no proof between two sizes below 2**63 has more."""

_HASH = re.compile(r"[0-9a-f]{64}")
_FIELDS = {
    "old": int,
    "new": int,
    "old_root": str,
    "new_root": str,
    "hashes": list,
    "checkpoint": str,
    "to_checkpoint": list,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class ConsistencyProof:
    """The tree of ``new`` entries begins with the tree of ``old``."""

    old: int
    new: int
    old_root: bytes
    new_root: bytes
    hashes: tuple[bytes, ...]
    note: bytes
    """A signed checkpoint, as published, of size ``new`` or more."""
    to_signed: tuple[bytes, ...]
    """From ``new`` to that checkpoint's size."""

    def check(self, verifier: Verifier) -> Checkpoint:
        """Return the checkpoint that vouches for it. Raises `Invalid` or `Unclear`."""
        checkpoint = open_checkpoint(self.note, verifier)
        tree.verify_consistency(
            old=self.old, new=self.new, old_root=self.old_root, new_root=self.new_root, proof=self.hashes
        )
        tree.verify_consistency(
            old=self.new,
            new=checkpoint.size,
            old_root=self.new_root,
            new_root=checkpoint.root,
            proof=self.to_signed,
        )
        return checkpoint

    def check_since(self, note: bytes, verifier: Verifier) -> None:
        """Check that it begins at a signed checkpoint kept from earlier. Raises `Invalid` or `Unclear`."""
        kept = open_checkpoint(note, verifier)
        if kept.size != self.old:
            raise Invalid(f"the proof is for size {self.old}, the checkpoint for size {kept.size}")
        if kept.root != self.old_root:
            raise Invalid(f"two histories: at size {self.old} the log has signed another root")

    def encode(self) -> str:
        """Return the JSON that `parse` reads, on one line."""
        return json.dumps(self.plain(), ensure_ascii=False)

    def plain(self) -> dict[str, Any]:
        """Return the object that `encode` writes."""
        return {
            "old": self.old,
            "new": self.new,
            "old_root": self.old_root.hex(),
            "new_root": self.new_root.hex(),
            "hashes": [h.hex() for h in self.hashes],
            "checkpoint": self.note.decode(),
            "to_checkpoint": [h.hex() for h in self.to_signed],
        }

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Raises `Invalid` for anything that `encode` would not have written, but for spaces."""
        try:
            read = json.loads(data.decode("utf-8"))
        except (ValueError, RecursionError):
            raise Invalid("neither a tlog-proof nor the JSON of a consistency proof") from None
        if not isinstance(read, dict) or {name: type(value) for name, value in read.items()} != _FIELDS:
            raise Invalid(f"a consistency proof is an object of {', '.join(_FIELDS)}")
        return cls(
            old=read["old"],
            new=read["new"],
            old_root=_hash(read["old_root"]),
            new_root=_hash(read["new_root"]),
            hashes=_hashes(read["hashes"]),
            note=read["checkpoint"].encode("utf-8", "surrogatepass"),
            to_signed=_hashes(read["to_checkpoint"]),
        )


def _hashes(read: list[Any]) -> tuple[bytes, ...]:
    if len(read) > HASHES_MAX:
        raise Invalid(f"a consistency proof has at most {HASHES_MAX} hashes")
    return tuple(_hash(h) for h in read)


def _hash(text: Any) -> bytes:
    if not isinstance(text, str) or not _HASH.fullmatch(text):
        raise Invalid("a hash in the proof is not 64 hexadecimal digits")
    return bytes.fromhex(text)
