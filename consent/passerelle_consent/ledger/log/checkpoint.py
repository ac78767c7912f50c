"""C2SP tlog-checkpoint: the signed head of the log. Pure."""

import base64
import re
from dataclasses import dataclass
from typing import Self

from passerelle_consent.ledger.faults import Invalid, Unclear
from passerelle_consent.ledger.log.note import Note, Signer, Verifier, open_note

LINES_MIN = 3
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")
_HASH = re.compile(r"[A-Za-z0-9+/]{43}=")


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """Size and root of the tree of the log named ``origin``."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()
    """Opaque lines of other logs; ours writes none (tlog-checkpoint, "Note text", 4)."""

    def text(self) -> str:
        """Return the text of the note."""
        root = base64.b64encode(self.root).decode()
        return "\n".join((self.origin, str(self.size), root, *self.extensions)) + "\n"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises `Invalid` for anything but the one spelling of a checkpoint."""
        lines = text.split("\n")[:-1]
        origin, size, root, *extensions = lines if len(lines) >= LINES_MIN else [""] * LINES_MIN
        if not origin or not _SIZE.fullmatch(size) or not _HASH.fullmatch(root):
            raise Invalid("a checkpoint is origin, size and root, each on its line")
        checkpoint = cls(origin=origin, size=int(size), root=base64.b64decode(root), extensions=tuple(extensions))
        if checkpoint.text() != text or "" in extensions:
            raise Invalid("the checkpoint is not in its canonical form")
        return checkpoint

    def sign(self, signer: Signer) -> bytes:
        """Return the signed note. Whoever calls this has made sure that it is consistent with all signed before."""
        return signer.sign(self.text()).encode()


def open_checkpoint(data: bytes, verifier: Verifier) -> Checkpoint:
    """Open the checkpoint of the log whose key is ``verifier``.

    Raises `Unclear` for another log's checkpoint, `Invalid` for one that is malformed or whose signature is wrong.
    """
    origin = Checkpoint.parse(Note.parse(data).text).origin
    if origin != verifier.name:
        raise Unclear(f"the checkpoint of {origin}, not of {verifier.name}", hint="is this the log's vkey?")
    return Checkpoint.parse(open_note(data, [verifier]).text)
