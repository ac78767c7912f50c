"""The bytes of the bus's own topics. Pure: no client, no clock.

Each value is one version byte and an Avro body of a schema that stands here: these records never leave the bus, so
they need no registry. Parsers refuse what they do not know (`BadRecord`); they never leak another error.
"""

from passerelle_consent.wire.body import BadRecord
from passerelle_consent.wire.decisions import (
    DecisionBatch,
    DecisionRecord,
    DecisionRows,
    FlowUse,
    Kind,
    Source,
    decode_decisions,
    encode_decisions,
    read_decisions,
)
from passerelle_consent.wire.erasure import ERASURE, Erasure, decode_erasure, encode_erasure
from passerelle_consent.wire.journal import Cause, JournalEntry, JournalType, decode_journal, encode_journal
from passerelle_consent.wire.letters import DeadLetter
from passerelle_consent.wire.marks import (
    FenceMark,
    Mark,
    decode_fence,
    decode_mark,
    encode_fence,
    encode_mark,
    mark_key,
)
from passerelle_consent.wire.origin import Origin, decision_id
from passerelle_consent.wire.standings import (
    POLICY_KEY,
    ROLL_KEY,
    SUBJECT_REF_BYTES,
    decode_standing,
    encode_standing,
)

__all__ = [
    "ERASURE",
    "POLICY_KEY",
    "ROLL_KEY",
    "SUBJECT_REF_BYTES",
    "BadRecord",
    "Cause",
    "DeadLetter",
    "DecisionBatch",
    "DecisionRecord",
    "DecisionRows",
    "Erasure",
    "FenceMark",
    "FlowUse",
    "JournalEntry",
    "JournalType",
    "Kind",
    "Mark",
    "Origin",
    "Source",
    "decision_id",
    "decode_decisions",
    "decode_erasure",
    "decode_fence",
    "decode_journal",
    "decode_mark",
    "decode_standing",
    "encode_decisions",
    "encode_erasure",
    "encode_fence",
    "encode_journal",
    "encode_mark",
    "encode_standing",
    "mark_key",
    "read_decisions",
]
