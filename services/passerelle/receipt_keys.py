"""The file of public keys that receipts are checked with: every key that this city ever signed with stays in it."""

import json
import os
import secrets
from pathlib import Path

from passerelle_consent.receipts.keys import KEY_SET_BYTES_MAX, KeySet, UnknownKeys
from passerelle_consent.receipts.seal import Seal


def keep(seal: Seal, path: Path) -> KeySet:
    """Add the seal's public key to the file, and return all that are in it. Raises `UnknownKeys`.

    A file that cannot be read is not begun anew: receipts of earlier keys could be checked no more.
    """
    try:
        known = read_key_set(path) if path.exists() else KeySet()
        keys = known.holding(seal.jwk())
    except UnknownKeys as fault:
        raise UnknownKeys(fault.what, where=str(path), hint="put a copy back: old receipts need its keys") from None
    if keys != known:
        _replace(path, json.dumps({"keys": keys.entries}, indent=2) + "\n")
    return keys


def read_key_set(path: Path) -> KeySet:
    """Read a JWK set, no more of it than one may be long. Raises `UnknownKeys`."""
    try:
        with path.open("rb") as file:
            return KeySet.read(file.read(KEY_SET_BYTES_MAX + 1).decode())
    except UnicodeDecodeError:
        raise UnknownKeys("is no JWK set") from None
    except OSError as exc:
        raise UnknownKeys(f"cannot be read: {exc.strerror}") from None


def _replace(path: Path, text: str) -> None:
    """Write the file so that a reader sees the old one or the new one, and power lost leaves one of them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        with draft.open("x", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
