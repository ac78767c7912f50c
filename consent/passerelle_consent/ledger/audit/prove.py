"""Prove from a published log: that an entry is in it, and that one size of it contains another.

A proof is checked before it is handed out: whoever asks never gets one that does not verify.
"""

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Self

from passerelle_consent.ledger.audit.published import PublishedLog
from passerelle_consent.ledger.faults import Invalid, Unclear
from passerelle_consent.ledger.log import tiles, tree
from passerelle_consent.ledger.log.checkpoint import Checkpoint, open_checkpoint
from passerelle_consent.ledger.log.consistency import ConsistencyProof
from passerelle_consent.ledger.log.entries import Entry
from passerelle_consent.ledger.log.note import Verifier
from passerelle_consent.ledger.log.tiles import TILE_WIDTH, Tile

MAGIC = "c2sp.org/tlog-proof@v1"
PROOF_BYTES_MAX = 1 << 20
"""An entry of 64 KiB in base64, 63 hashes and a note of 256 KiB fit with room."""

_INDEX = re.compile(r"index (0|[1-9][0-9]{0,18})")


class NotInLog(Unclear):
    """The log, as far as it is published, has no such entry."""

    exit_code = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class InclusionProof:
    """C2SP tlog-proof, with the entry itself as its extra data: enough to check it alone."""

    index: int
    entry: bytes
    hashes: tuple[bytes, ...]
    note: bytes
    """The signed checkpoint, as published."""

    def check(self, verifier: Verifier) -> tuple[Entry, Checkpoint]:
        """Return the entry and the checkpoint that vouches for it. Raises `Invalid` or `Unclear`."""
        checkpoint = open_checkpoint(self.note, verifier)
        tree.verify_inclusion(
            index=self.index,
            size=checkpoint.size,
            leaf=tree.leaf_hash(self.entry),
            proof=self.hashes,
            root_hash=checkpoint.root,
        )
        return Entry.parse(self.entry), checkpoint

    def encode(self) -> bytes:
        """Return the text of a ``.tlog-proof`` file."""
        lines = [MAGIC, f"extra {_base64(self.entry)}", f"index {self.index}", *map(_base64, self.hashes), "", ""]
        return "\n".join(lines).encode() + self.note

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Raises `Invalid`. A proof without the entry as its extra data is refused: ours always have it."""
        head, separator, note = data.partition(b"\n\n")
        if len(data) > PROOF_BYTES_MAX or not separator:
            raise Invalid("not a tlog-proof")
        try:
            lines = head.decode("ascii").split("\n")
            magic, extra, index, *hashes = lines if len(lines) >= len(("magic", "extra", "index")) else [""] * 3
            entry = base64.b64decode(extra.removeprefix("extra "), validate=True)
            proof = tuple(base64.b64decode(h, validate=True) for h in hashes)
        except (UnicodeDecodeError, binascii.Error, ValueError):
            raise Invalid("not a tlog-proof") from None
        match = _INDEX.fullmatch(index)
        if magic != MAGIC or match is None:
            raise Invalid("not a tlog-proof")
        result = cls(index=int(match[1]), entry=entry, hashes=proof, note=note)
        if result.encode() != data:
            raise Invalid("the tlog-proof is not in its canonical form")
        return result


def prove_inclusion(log: PublishedLog, verifier: Verifier, index: int) -> InclusionProof:
    """Prove that entry ``index`` is under the current checkpoint. Raises `NotInLog`, `Invalid`, `Unclear`."""
    checkpoint, note = log.checkpoint(verifier)
    if not 0 <= index < checkpoint.size:
        raise NotInLog(f"there is no entry {index}: the log has {checkpoint.size}", where=log.where)
    number, offset = divmod(index, TILE_WIDTH)
    width = min(TILE_WIDTH, checkpoint.size - number * TILE_WIDTH)
    proof = InclusionProof(
        index=index,
        entry=log.bundle(Tile(level=None, index=number, width=width))[offset],
        hashes=tuple(tree.inclusion_proof(index, checkpoint.size, log.source(checkpoint.size))),
        note=note,
    )
    proof.check(verifier)
    return proof


def find(log: PublishedLog, verifier: Verifier, ident: bytes) -> int:
    """Index of the entry of this decision id (or other entry's id). Reads the bundles in turn. Raises `NotInLog`."""
    checkpoint, _ = log.checkpoint(verifier)
    quoted = b'"' + ident.hex().encode() + b'"'
    for bundle in tiles.bundles(checkpoint.size):
        for index, raw in enumerate(log.bundle(bundle), bundle.start):
            # The id also stands in the entry that regards this one, so a hit is looked at.
            if quoted in raw and Entry.parse(raw).ident == ident:
                return index
    raise NotInLog(f"no entry has the id {ident.hex()}", where=log.where)


def prove_consistency(log: PublishedLog, verifier: Verifier, old: int, new: int | None = None) -> ConsistencyProof:
    """Prove that the log at size ``new`` (default: now) begins with the log at size ``old``. Raises as `find` does."""
    checkpoint, note = log.checkpoint(verifier)
    new = checkpoint.size if new is None else new
    if not 0 < old <= new <= checkpoint.size:
        raise NotInLog(f"no proof leads from size {old} to size {new}: the log has {checkpoint.size}", where=log.where)
    source = log.source(checkpoint.size)
    proof = ConsistencyProof(
        old=old,
        new=new,
        old_root=tree.root(old, source),
        new_root=tree.root(new, source),
        hashes=tuple(tree.consistency_proof(old, new, source)),
        note=note,
        to_signed=tuple(tree.consistency_proof(new, checkpoint.size, source)),
    )
    try:
        proof.check(verifier)
    except Invalid:
        hint = "run: ledger fsck"
        raise Invalid("the tiles do not lead to the signed root", where=log.where, hint=hint) from None
    return proof


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
