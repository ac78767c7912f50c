"""The policy as the service uses it: current agreements, and its publication on `consent`."""

from collections.abc import Iterable
from hashlib import sha256

import sqlalchemy as sa
import structlog

from passerelle_consent.policy.agreements import Agreement, Basis
from passerelle_consent.policy.bundle import PolicyBundle
from passerelle_consent.records import problems, sayable, sql, standings
from passerelle_consent.records.ports import NewId
from passerelle_consent.records.problems import Problem
from passerelle_consent.records.standings import Row
from passerelle_consent.records.transitions import Action
from passerelle_consent.wire import POLICY_KEY, JournalEntry, JournalType
from passerelle_schemas.faults import Fault
from passerelle_schemas.topics import CONSENT

_log = structlog.get_logger("policy")


class NotItsResult(Fault):
    """A version names a consultation, and not what came of it."""


class PolicyBook:
    """What may be said about which agreement, today."""

    def __init__(self, agreements: Iterable[Agreement]) -> None:
        self._versions: dict[str, list[Agreement]] = {}
        for agreement in sorted(agreements, key=lambda a: a.version):
            self._versions.setdefault(agreement.id, []).append(agreement)

    def find(self, agreement_id: str, now_ms: int) -> Agreement | None:
        """Return the newest version in force, else the newest, else None."""
        return sayable.shown(self._versions.get(agreement_id, ()), now_ms)

    def version(self, agreement_id: str, version: int) -> Agreement:
        """Return one version. Raises `Problem` unknown-agreement, unknown-version."""
        versions = self.versions(agreement_id)
        found = next((a for a in versions if a.version == version), None)
        if found is None:
            raise Problem(problems.UNKNOWN_VERSION, versions=[a.version for a in versions])
        return found

    def all(self) -> list[Agreement]:
        """Return every version of every agreement, by id and version."""
        return [a for agreement_id in self.ids() for a in self._versions[agreement_id]]

    def versions(self, agreement_id: str) -> list[Agreement]:
        """Return every version of an agreement, in order. Raises `Problem` unknown-agreement."""
        versions = self._versions.get(agreement_id)
        if not versions:
            raise Problem(problems.UNKNOWN_AGREEMENT)
        return list(versions)

    def ids(self) -> list[str]:
        """Return the id of every agreement."""
        return sorted(self._versions)

    def has(self, ref: str) -> bool:
        """Whether ``id@version`` is published."""
        return any(a.ref == ref for versions in self._versions.values() for a in versions)

    def agreement(self, agreement_id: str, now_ms: int) -> Agreement:
        """Return the newest version in force, else the newest. Raises `Problem` unknown-agreement."""
        found = self.find(agreement_id, now_ms)
        if found is None:
            raise Problem(problems.UNKNOWN_AGREEMENT)
        return found

    def admit(self, agreement: Agreement, action: Action, notice: int | None, now_ms: int) -> None:
        """Check what does not depend on the subject. Raises `Problem`.

        To end a sharing is never refused for a stale notice or an agreement past its term: it must be as easy to
        withdraw as to give (GDPR Art. 7(3)).
        """
        sayable.admit(agreement, action, notice, now_ms)

    def recipients_unasked(self) -> set[str]:
        """Return who may receive something of a subject who never said a word: no consent or override is asked."""
        said = (Basis.CONSENT, Basis.VITAL_INTERESTS)
        return {a.recipient for versions in self._versions.values() for a in versions if a.basis not in said}

    def kept_by_law(self, now_ms: int) -> list[Agreement]:
        """Return the agreements in force whose parties may keep what they hold (GDPR Art. 17(3)(b))."""
        law = (Basis.LEGAL_OBLIGATION, Basis.PUBLIC_TASK)
        return [a for vs in self._versions.values() for a in vs if a.basis in law and a.is_in_force(now_ms)]

    def vital(self, agreement_ids: Iterable[str], now_ms: int) -> list[Agreement]:
        """Return what an override may open: agreements in force on vital interests, of one recipient.

        Raises `Problem` unknown-agreement, agreement-not-in-force, not-vital-interests.
        """
        found = [self.agreement(agreement_id, now_ms) for agreement_id in dict.fromkeys(agreement_ids)]
        if any(a.basis is not Basis.VITAL_INTERESTS for a in found) or len({a.recipient for a in found}) != 1:
            raise Problem(problems.NOT_VITAL_INTERESTS)
        if not all(a.is_in_force(now_ms) for a in found):
            raise Problem(problems.NOT_IN_FORCE)
        return found


def publish(conn: sa.Connection, bundle: PolicyBundle, *, at_ms: int, new_id: NewId, partitions: int) -> bool:
    """Put the policy on the outbox unless it is the one published last. Raises `BadBundle`, `NotItsResult`.

    Returns whether it did.

    One record on each partition of `consent`, a `policy` entry and one `agreement` entry for each version that was
    never published before.
    """
    if conn.scalar(sql.LAST_POLICY) == bundle.digest:
        return False
    known = set(conn.scalars(sql.PUBLISHED_AGREEMENTS))
    new = sorted(a.ref for a in bundle.agreements if a.ref not in known)
    _check_consultations(conn, [a for a in bundle.agreements if a.ref in new])
    packed = bundle.pack()
    rows = [Row(topic=CONSENT, partition=p, key=POLICY_KEY, value=packed) for p in range(partitions)]
    entries = [JournalEntry(id=new_id(), type=JournalType.POLICY, at_ms=at_ms, policy=bundle.digest)]
    entries += [
        JournalEntry(id=new_id(), type=JournalType.AGREEMENT, at_ms=at_ms, agreements=(ref,), policy=bundle.digest)
        for ref in new
    ]
    rows += [standings.journal_row(entry, partitions) for entry in entries]
    conn.execute(sql.INSERT_POLICY, {"digest": bundle.digest, "at_ms": at_ms, "bundle": packed})
    if new:
        conn.execute(sql.INSERT_AGREEMENTS, [{"ref": ref} for ref in new])
    standings.tell(conn, rows)
    return True


def _check_consultations(conn: sa.Connection, published: Iterable[Agreement]) -> None:
    """See that a new version has the result of its consultation, wherever that was held in this store."""
    for agreement in published:
        named = agreement.consultation
        if named is None:
            continue
        row = conn.execute(sql.CONSULTATION, {"id": named.id}).one_or_none()
        if row is None:  # a store that was made anew knows none of before
            _log.warning("consultation not known here", agreement=agreement.ref, consultation=named.id)
        elif row.agreement != agreement.ref or row.result is None or sha256(row.result).hexdigest() != named.result:
            hint = f"passerelle consent consultations close {named.id}"
            raise NotItsResult(f"names another result than that of {named.id}", where=agreement.ref, hint=hint)
