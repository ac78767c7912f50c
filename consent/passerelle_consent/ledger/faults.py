"""The two ways in which a reading of the ledger ends badly. A program must be able to tell them apart."""

from passerelle_schemas.faults import Fault


class Invalid(Fault):
    """What was read contradicts itself or its signature: damage, or tampering."""

    exit_code = 1


class Unclear(Fault):
    """There is not enough to judge: a file is missing or cannot be read, or a key is not the log's."""

    exit_code = 2
