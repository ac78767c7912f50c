"""Key files: made at first use, readable by their owner alone."""

import os
import secrets
from collections.abc import Callable
from pathlib import Path

from passerelle_schemas.faults import Fault

SECRET_BYTES = 24
"""192 bits: more than SCRAM-SHA-512's 8,192 iterations need to resist guessing."""

LEDGER_MASTER = "ledger/master"
"""The key that wraps subjects' keys: of the ledger, and of the consent service, which shows people their entries."""


class KeyFault(Fault):
    """A key file that cannot be read, or that others can read."""


def secret(folder: Path, name: str) -> str:
    """The text secret ``<name>.secret`` (URL-safe base64 of 24 random bytes). Raises `KeyFault`."""
    return _made_once(folder / f"{name}.secret", lambda: secrets.token_urlsafe(SECRET_BYTES).encode()).decode()


def key_bytes(folder: Path, name: str, size: int) -> bytes:
    """The binary key ``<name>.key`` of ``size`` bytes, stored as hexadecimal. Raises `KeyFault`."""
    path = folder / f"{name}.key"
    _made_once(path, lambda: secrets.token_hex(size).encode())
    return read_key(path, size)


def read_key(path: Path, size: int) -> bytes:
    """Read what `key_bytes` has written. Raises `KeyFault`, `FileNotFoundError`."""
    text = _read(path).decode("ascii", "replace")
    try:
        key = bytes.fromhex(text)
    except ValueError:
        raise KeyFault("is not hexadecimal", where=str(path)) from None
    if len(key) != size:
        raise KeyFault(f"holds {len(key)} bytes, {size} wanted", where=str(path))
    return key


def _made_once(path: Path, make: Callable[[], bytes]) -> bytes:
    try:
        return _read(path)
    except FileNotFoundError:
        pass
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    # Written aside and linked into place: of two processes that start together, both read the same key.
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(make())
        file.flush()
        os.fsync(file.fileno())
    try:
        path.hardlink_to(draft)
    except FileExistsError:
        pass  # another process was first: its key is the key
    finally:
        draft.unlink()
    return _read(path)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & 0o077:
                raise KeyFault("others can read this key file", where=str(path), hint=f"chmod 600 {path}")
            return file.read().strip()
    except PermissionError:
        raise KeyFault("cannot be read", where=str(path)) from None
