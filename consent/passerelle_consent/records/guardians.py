"""Who may speak for whom: guardianships of record."""

import sqlalchemy as sa

from passerelle_consent.records import problems
from passerelle_consent.records.ports import SubjectRef
from passerelle_consent.records.problems import Problem


def check(conn: sa.Connection, *, guardian: SubjectRef, ward: SubjectRef, at_ms: int) -> None:
    """Raise `Problem` not-guardian unless a guardianship is on record and valid at that time."""
    # None can be recorded yet, so none is: closed until then.
    _ = conn, guardian, ward, at_ms
    raise Problem(problems.NOT_GUARDIAN)
