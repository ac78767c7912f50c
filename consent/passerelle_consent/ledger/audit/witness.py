"""C2SP tlog-witness: keep the last checkpoint of each log, check that the next contains it, and cosign.

`Witness.add` is one `add-checkpoint`. Checking and keeping happen under one lock, of threads and of processes, and what
is kept is on disk before the cosignature leaves: a witness that has cosigned size N never cosigns another tree of N, or
a smaller one.
"""

import base64
import fcntl
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Self

from passerelle_consent.ledger.faults import Invalid, Unclear
from passerelle_consent.ledger.log import tree
from passerelle_consent.ledger.log.checkpoint import Checkpoint, open_checkpoint
from passerelle_consent.ledger.log.cosignature import Cosigner
from passerelle_consent.ledger.log.note import NOTE_BYTES_MAX, Note, Verifier

HASHES_MAX = 63
"""tlog-witness: a client sends no more lines of proof."""
REQUEST_BYTES_MAX = NOTE_BYTES_MAX + 4096
SPLITS_MAX = 16
"""Kept for each log: one is proof enough, and a log that has split must not fill the disk."""

PLAIN = "text/plain; charset=utf-8"
SIZE_TYPE = "text/x.tlog.size"

_OLD = re.compile(r"old (0|[1-9][0-9]{0,18})")


@dataclass(frozen=True, kw_only=True, slots=True)
class AddRequest:
    """A checkpoint, and the proof that it contains the one of size ``old``."""

    old: int
    proof: tuple[bytes, ...]
    note: bytes

    def encode(self) -> bytes:
        """Return the body of the request."""
        lines = [f"old {self.old}", *(base64.b64encode(h).decode() for h in self.proof), "", ""]
        return "\n".join(lines).encode() + self.note

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """Raises `Invalid` for anything but the one spelling of a request."""
        head, separator, note = body.partition(b"\n\n")
        try:
            old, *hashes = head.decode("ascii").split("\n")
            proof = tuple(base64.b64decode(h, validate=True) for h in hashes)
        except ValueError:
            raise Invalid("not an add-checkpoint request") from None
        match = _OLD.fullmatch(old)
        if not separator or match is None or len(proof) > HASHES_MAX or any(len(h) != tree.HASH_BYTES for h in proof):
            raise Invalid("not an add-checkpoint request")
        request = cls(old=int(match[1]), proof=proof, note=note)
        if request.encode() != body:
            raise Invalid("the request is not in its canonical form")
        return request


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """What goes back: an HTTP status, and a body for a program or a person."""

    status: int
    body: str
    type: str = PLAIN


class Refused(Exception):
    """The checkpoint is not cosigned."""

    def __init__(self, status: int, body: str, kind: str = PLAIN) -> None:
        super().__init__(body)
        self.reply = Reply(status=status, body=body if body.endswith("\n") else f"{body}\n", type=kind)


class Kept:
    """The last checkpoint of each log, in a folder: ``<hash of the origin>/checkpoint``, log's and witness's signature.

    The folder can be served as it is: it is what tlog-witness's monitoring prefix wants.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold all that is kept, among threads and processes: each opens the file for itself."""
        with (self._folder / "lock").open("wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def note(self, origin: str) -> bytes | None:
        """Return the note that was cosigned last. Raises `Unclear` when it cannot be read: nothing is then cosigned."""
        path = self._place(origin) / "checkpoint"
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise Unclear(f"cannot be read ({exc.strerror})", where=str(path)) from None

    def by_hash(self, name: str) -> bytes | None:
        """Return the note of the log whose origin has this hash."""
        if not re.fullmatch(r"[0-9a-f]{64}", name):
            return None
        path = self._folder / name / "checkpoint"
        return path.read_bytes() if path.is_file() else None

    def keep(self, origin: str, note: bytes) -> None:
        """Write a note so that a crash leaves the old one or the new one, on disk."""
        self._write(self._place(origin) / "checkpoint", note)

    def keep_split(self, origin: str, size: int, note: bytes) -> None:
        """Keep a checkpoint that contradicts the one cosigned: with it, the proof that the log has two histories."""
        place = self._place(origin)
        name = f"split-{size}-{sha256(note).hexdigest()[:16]}"
        if not (place / name).exists() and len(list(place.glob("split-*"))) < SPLITS_MAX:
            self._write(place / name, note)

    def _place(self, origin: str) -> Path:
        return self._folder / sha256(origin.encode()).hexdigest()

    def _write(self, path: Path, data: bytes) -> None:
        path.parent.mkdir(exist_ok=True)
        draft = path.with_name(f".{path.name}.draft")
        with draft.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        for folder in (path.parent, self._folder):
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


class Witness:
    """One witness of some logs."""

    def __init__(self, *, cosigner: Cosigner, logs: Sequence[Verifier], kept: Kept, now_s: Callable[[], int]) -> None:
        self.cosigner = cosigner
        self._logs = {log.name: log for log in logs}
        self._kept = kept
        self._now_s = now_s

    def add(self, body: bytes) -> Reply:
        """Answer one `add-checkpoint`. Raises `Unclear` when what is kept cannot be read or is not this log's."""
        try:
            request, checkpoint, note = self._opened(body)
            with self._kept.locked():
                return self._cosign(request, checkpoint, note)
        except Refused as refused:
            return refused.reply

    def latest(self, origin_hash: str) -> bytes | None:
        """Return the last note cosigned for the log whose origin has this SHA-256, in hexadecimal."""
        return self._kept.by_hash(origin_hash)

    def _opened(self, body: bytes) -> tuple[AddRequest, Checkpoint, Note]:
        """Check all that does not depend on what is kept."""
        try:
            request = AddRequest.parse(body)
            note = Note.parse(request.note)
            origin = Checkpoint.parse(note.text).origin
        except Invalid as fault:
            raise Refused(400, str(fault)) from None
        if origin not in self._logs:
            raise Refused(404, "no such log here")
        try:
            checkpoint = open_checkpoint(request.note, self._logs[origin])
        except (Invalid, Unclear) as fault:
            raise Refused(403, str(fault)) from None
        if request.old > checkpoint.size:
            raise Refused(400, "the old size is above the checkpoint's")
        return request, checkpoint, note

    def _cosign(self, request: AddRequest, checkpoint: Checkpoint, note: Note) -> Reply:
        before = self._before(checkpoint.origin)
        if request.old != (before.size if before else 0):
            raise Refused(409, f"{before.size if before else 0}\n", SIZE_TYPE)
        try:
            check_consistent(before, checkpoint, request.proof)
        except Invalid as fault:
            if before is not None and before.size == checkpoint.size and before.root != checkpoint.root:
                self._kept.keep_split(checkpoint.origin, checkpoint.size, request.note)
            raise Refused(422, str(fault)) from None
        line = self.cosigner.sign(note.text, self._now_s())
        verifier = self._logs[checkpoint.origin]
        signatures = (*note.signed_by(verifier.name, verifier.key_id), line)
        self._kept.keep(checkpoint.origin, Note(text=note.text, signatures=signatures).encode())
        return Reply(status=200, body=line.encode())

    def _before(self, origin: str) -> Checkpoint | None:
        """Return the checkpoint cosigned last. What is kept is believed only under both signatures."""
        kept = self._kept.note(origin)
        if kept is None:
            return None
        note = Note.parse(kept)
        if self.cosigner.key.time_s(note) is None:
            raise Unclear("what this witness keeps is not under its key", where=origin, hint="another key, or damage")
        return open_checkpoint(kept, self._logs[origin])


def check_consistent(before: Checkpoint | None, checkpoint: Checkpoint, proof: Sequence[bytes]) -> None:
    """Check that a checkpoint contains the one before, as tlog-witness has it. Raises `Invalid`."""
    if checkpoint.size == 0 and checkpoint.root != tree.EMPTY_ROOT:
        raise Invalid("the root of an empty tree is another")
    if before is None or before.size == 0:
        if proof:
            raise Invalid("a proof from the empty tree is empty")
        return
    tree.verify_consistency(
        old=before.size, new=checkpoint.size, old_root=before.root, new_root=checkpoint.root, proof=proof
    )
