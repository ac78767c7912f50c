"""The digest lock: a published version of an agreement is never edited (DESIGN §5).

`digests.lock.yaml` in the agreements' folder holds ``<id>@<version>: <sha256>`` of what each file says (RFC 8785 of the
parsed document, so that a comment may still be mended). A citizen's consent, a decision and a leaf of the ledger name
``id@version``: what they name must stay what it was.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import rfc8785
import yaml
from pydantic import RootModel

from passerelle_consent.policy.agreements import Agreement
from passerelle_schemas.documents import Document

LOCK = "digests.lock.yaml"
_HEAD = "# Digest of each published version of an agreement. `passerelle city lint --lock` adds what is new.\n"


class _Digests(RootModel[dict[str, str]]):
    """Agreement ref → SHA-256, hexadecimal."""


def digest_of(agreement: Agreement) -> str:
    """SHA-256 of what the agreement says, in hexadecimal. The order of what stands for a set does not count."""
    said = agreement.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    said["subjects"] = sorted(said["subjects"])
    if "compatible_with" in said["notice"]:
        said["notice"]["compatible_with"] = sorted(said["notice"]["compatible_with"])
    return hashlib.sha256(rfc8785.dumps(said)).hexdigest()


def problems_of_lock(folder: Path, read: Iterable[tuple[Document, Agreement]]) -> Iterator[str]:
    """Yield file and line of each agreement that is not what was published, or not published yet."""
    lock = folder / LOCK
    document = Document(lock) if lock.exists() else None
    locked = _digests(document)
    present = set()
    for its_document, agreement in read:
        present.add(agreement.ref)
        if agreement.ref not in locked:
            yield its_document.problem(
                ("id",), f"{agreement.ref} is not in {LOCK}: `passerelle city lint --lock` adds it"
            )
        elif locked[agreement.ref] != digest_of(agreement):
            yield its_document.problem(
                ("version",), f"{agreement.ref} was published, and edited since: a change is a new version"
            )
    if document is not None:
        for ref in sorted(locked.keys() - present):
            yield document.problem((ref,), "no such agreement: a published version stays")


def add_missing(folder: Path, agreements: Iterable[Agreement]) -> list[str]:
    """Lock the versions that are not yet; change none. Returns what was added. Raises `DocumentFault`."""
    lock = folder / LOCK
    locked = dict(_digests(Document(lock) if lock.exists() else None))
    added = {a.ref: digest_of(a) for a in agreements if a.ref not in locked}
    if added:
        lock.write_text(_HEAD + yaml.safe_dump({**locked, **added}, sort_keys=True, width=200), encoding="utf-8")
    return sorted(added)


def _digests(document: Document | None) -> Mapping[str, str]:
    return {} if document is None or document.value is None else document.parse(_Digests).root
