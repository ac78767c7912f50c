"""The ledger's master keys as files of the home: `master.key` is current, `master.<id>.key` were before.

Changed in steps, each on disk before the next, so that after a crash at any of them every key that may have wrapped
something is still there, and `advance` goes on: the new one is made (`master.next.key`), the current one gets its name
by id, the new one takes its place.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from passerelle.keys import LEDGER_MASTER, KeyFault, key_bytes, read_key
from passerelle_consent.ledger.log.commitments import KEY_BYTES, MasterKey
from passerelle_consent.ledger.log.masters import missing


class MasterFiles:
    """`ledger.log.masters.Masters` over a home's keys: files are read anew, so that running services follow."""

    def __init__(self, keys: Path, *, make: bool = False) -> None:
        """``make``: a home that never had a master gets one. Raises `KeyFault`."""
        self._keys = keys
        self._current = keys / f"{LEDGER_MASTER}.key"
        self._next = self._current.with_name("master.next.key")
        if make and not self._files():
            key_bytes(keys, LEDGER_MASTER, KEY_BYTES)
        # From the start: what one has read of the database before a master was destroyed opens all the same.
        self._known = self._read()

    def current(self) -> MasterKey:
        """Return the one that wraps from now on. Raises `KeyFault`."""
        try:
            return MasterKey.of(read_key(self._current, KEY_BYTES))
        except FileNotFoundError:
            hint = "if this ledger was ever started, bring it back from a backup: nothing opens without it"
            raise KeyFault("the ledger's master key is not there", where=str(self._current), hint=hint) from None

    def opening(self, ident: str) -> MasterKey:
        """Return the one that has wrapped a key. Raises `Unclear` when it is not there, `KeyFault`."""
        if ident not in self._known:
            self._known = self._known | self._read()
        if ident not in self._known:
            self.current()  # that none is there at all is said in its own words
            raise missing(ident)
        return self._known[ident]

    @property
    def advancing(self) -> bool:
        """Whether `advance` was begun and ended half-way."""
        return self._next.exists()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep out whoever else would change the masters. Raises `KeyFault`, also when there is none."""
        self.current()
        with self._folder() as folder:
            try:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise KeyFault("the master key is being rotated already", where=str(self._current)) from None
            yield

    def advance(self) -> MasterKey:
        """Make a new master current, or finish doing so; those before stay. Raises `KeyFault`."""
        new = MasterKey.of(key_bytes(self._keys, f"{LEDGER_MASTER}.next", KEY_BYTES))
        self._sync()
        if (old := self.current()).id != new.id:
            _link(self._current, self._current.with_name(f"master.{old.id}.key"))
            self._sync()
            draft = self._current.with_name(".master.key.next")
            draft.unlink(missing_ok=True)
            _link(self._next, draft)
            draft.replace(self._current)
            self._sync()
        self._next.unlink()
        self._sync()
        return new

    def destroy_others(self) -> None:
        """Overwrite and remove all but the current one, as well as the disk forgets. Raises `KeyFault`."""
        current = self.current()
        for path, master in self._files().items():
            if master.id != current.id:
                # Under another name first: half overwritten, it would be a key file that cannot be read.
                path.rename(path.with_name(f".{path.name}.gone"))
        self._sync()
        for path in self._current.parent.glob(".master.*.gone"):
            _overwrite(path)
            path.unlink()
        self._sync()

    def _read(self) -> dict[str, MasterKey]:
        return {master.id: master for master in self._files().values()}

    def _files(self) -> dict[Path, MasterKey]:
        found = {}
        for path in self._current.parent.glob("master*.key"):
            try:
                found[path] = MasterKey.of(read_key(path, KEY_BYTES))
            except FileNotFoundError:
                continue  # renamed or destroyed since it was listed
        return found

    def _sync(self) -> None:
        with self._folder() as folder:
            os.fsync(folder)

    @contextmanager
    def _folder(self) -> Iterator[int]:
        descriptor = os.open(self._current.parent, os.O_RDONLY)
        try:
            yield descriptor
        finally:
            os.close(descriptor)


def _link(path: Path, name: Path) -> None:
    """Give a file another name; one that has it has it since a crash."""
    with suppress(FileExistsError):
        name.hardlink_to(path)


def _overwrite(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(bytes(path.stat().st_size))
        file.flush()
        os.fsync(file.fileno())
