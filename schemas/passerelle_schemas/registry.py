"""The catalogue as a schema registry sees it: subjects, versions and ids (Confluent's API, its reading half). Pure.

A contract is found under two subjects: ``outbox.<department>.<event>-value``, which clients ask for by default when
they write to an outbox (TopicNameStrategy), and its full Avro name (RecordNameStrategy), which fits an inbox, where
many events meet. Its version is the ``v<n>`` of its type. Nothing is registered here: review publishes a contract.
"""

import json
from collections.abc import Mapping
from typing import Any

from passerelle_schemas.catalogue import Catalogue
from passerelle_schemas.compatibility import NotAvro, breaks, parsed
from passerelle_schemas.contract import Contract, Mode
from passerelle_schemas.shape import digest
from passerelle_schemas.topics import outbox

Answer = Any
"""What JSON can say."""

SUBJECT_UNKNOWN, VERSION_UNKNOWN, SCHEMA_UNKNOWN, NO_OWN_CONFIG = 40401, 40402, 40403, 40408
SCHEMA_INVALID, VERSION_INVALID, READ_ONLY = 42201, 42202, 42205


class Refusal(Exception):
    """A registry's no: ``error_code`` as Confluent's API has it, of which the first three digits are the status."""

    def __init__(self, error_code: int, message: str) -> None:
        super().__init__(message)
        self.error_code = error_code
        self.message = message

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.error_code // 100 if self.error_code > 999 else self.error_code  # noqa: PLR2004 - its own digits


class Registry:
    """Answers of a registry over one catalogue. Every method raises `Refusal`."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._by_id = {contract.schema_id: contract for contract in catalogue}
        self._subjects: dict[str, dict[int, Contract]] = {}
        for contract in sorted(catalogue, key=lambda contract: contract.version):
            for subject in subjects_of(contract):
                self._subjects.setdefault(subject, {})[contract.version] = contract

    def subjects(self) -> list[str]:
        """Every subject, sorted."""
        return sorted(self._subjects)

    def versions(self, subject: str) -> list[int]:
        """The versions of a subject."""
        return sorted(self._versions(subject))

    def version(self, subject: str, version: str) -> Answer:
        """One version: a number, ``latest`` or ``-1``."""
        return _described(subject, self._version(subject, version))

    def schema(self, subject: str, version: str) -> Answer:
        """The schema alone."""
        return dict(self._version(subject, version).schema)

    def by_id(self, schema_id: str) -> Answer:
        """The schema of an id, as text."""
        return {"schema": _text(self._contract(schema_id))}

    def schema_of_id(self, schema_id: str) -> Answer:
        """The schema of an id alone."""
        return dict(self._contract(schema_id).schema)

    def places_of_id(self, schema_id: str) -> Answer:
        """Under which subjects and versions an id is found."""
        contract = self._contract(schema_id)
        return [{"subject": subject, "version": contract.version} for subject in sorted(subjects_of(contract))]

    def lookup(self, subject: str, body: object) -> Answer:
        """Find a schema under a subject: by its shape, so that words and the order of attributes do not count."""
        asked = digest(_schema_in(body))
        for contract in self._versions(subject).values():
            if digest(contract.schema) == asked:
                return _described(subject, contract)
        raise Refusal(SCHEMA_UNKNOWN, "Schema not found")

    def register(self, subject: str, body: object) -> Answer:
        """Tell the id of what is published already, since clients register by themselves; refuse the rest."""
        try:
            return {"id": self.lookup(subject, body)["id"]}
        except Refusal as refusal:
            if refusal.error_code not in (SUBJECT_UNKNOWN, SCHEMA_UNKNOWN):
                raise
            raise self.read_only(subject) from None

    def read_only(self, subject: str) -> Refusal:
        """What every writing call is answered."""
        return Refusal(READ_ONLY, f"Subject {subject} is in read-only mode: contracts are published by review")

    def compatible(self, subject: str, version: str, body: object, *, verbose: bool) -> Answer:
        """Whether a schema would keep the promise that a version made."""
        proposed, contract = _schema_in(body), self._version(subject, version)
        labels = (f"v{contract.version}", "the proposed one")
        wrong = [what for _, what in breaks(contract.schema, proposed, contract.compatibility, labels=labels)]
        return {"is_compatible": not wrong, **({"messages": wrong} if verbose else {})}

    def mode_of(self, subject: str) -> Mode:
        """What the latest version of a subject promises."""
        return self._version(subject, "latest").compatibility

    def _versions(self, subject: str) -> Mapping[int, Contract]:
        try:
            return self._subjects[subject]
        except KeyError:
            raise Refusal(SUBJECT_UNKNOWN, f"Subject '{subject}' not found.") from None

    def _version(self, subject: str, version: str) -> Contract:
        known = self._versions(subject)
        if version in ("latest", "-1"):
            return known[max(known)]
        if not _is_number(version) or int(version) < 1:
            raise Refusal(
                VERSION_INVALID, "The specified version is not a valid version id: a number from 1, or latest"
            )
        if int(version) not in known:
            raise Refusal(VERSION_UNKNOWN, f"Version {version} not found.")
        return known[int(version)]

    def _contract(self, schema_id: str) -> Contract:
        if not _is_number(schema_id) or int(schema_id) not in self._by_id:
            raise Refusal(SCHEMA_UNKNOWN, f"Schema {schema_id} not found")
        return self._by_id[int(schema_id)]


def subjects_of(contract: Contract) -> list[str]:
    """Under which names a contract is found; an event that agents derive has no outbox."""
    topic = [] if contract.derived else [f"{outbox(contract.department, contract.event)}-value"]
    return [contract.name, *topic]


def _described(subject: str, contract: Contract) -> Answer:
    return {"subject": subject, "version": contract.version, "id": contract.schema_id, "schema": _text(contract)}


def _text(contract: Contract) -> str:
    return json.dumps(contract.schema, ensure_ascii=False, separators=(",", ":"))


def _is_number(text: str) -> bool:
    """Of at most ten digits, which hold every id."""
    return text.isascii() and text.isdigit() and len(text) <= 10  # noqa: PLR2004 - said above


def _schema_in(body: object) -> Mapping[str, Any]:
    """The Avro record in a request's body."""
    if not isinstance(body, dict) or not isinstance(body.get("schema"), str):
        raise Refusal(SCHEMA_INVALID, "The body must be an object with a schema, as text")
    if body.get("schemaType", "AVRO") != "AVRO" or body.get("references"):
        raise Refusal(SCHEMA_INVALID, "Schemas are Avro, without references")
    try:
        schema = json.loads(body["schema"])
        if not isinstance(schema, dict) or schema.get("type") != "record":
            raise Refusal(SCHEMA_INVALID, "The schema is not an Avro record")
        parsed(schema)
    except (ValueError, RecursionError, NotAvro) as exc:
        raise Refusal(SCHEMA_INVALID, f"The schema is invalid: {type(exc).__name__}") from None
    return schema
