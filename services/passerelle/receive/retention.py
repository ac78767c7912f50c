"""Until when a recipient may keep a delivery: the shortest retention that the agreements of its flow allow."""

from collections.abc import Callable
from datetime import UTC, datetime

from passerelle.receive.delivery import Delivery
from passerelle_consent.policy.bundle import PolicyBundle
from passerelle_consent.policy.days import end_ms


def delete_by(policy: PolicyBundle) -> Callable[[Delivery], datetime | None]:
    """Return what tells a delivery's last instant at the recipient; None where its policy knows no such flow.

    It is counted from when the gate released it, by the agreements as this department's copy of the policy has them.
    """
    by_ref = {agreement.ref: agreement for agreement in policy.agreements}
    allowed = {flow.id: [by_ref[ref].retention for ref in flow.agreements if ref in by_ref] for flow in policy.flows}

    def until(delivery: Delivery) -> datetime | None:
        released_ms = int(delivery.appended.timestamp() * 1000)
        ends = [end_ms(released_ms, retention) for retention in allowed.get(delivery.flow, ())]
        return datetime.fromtimestamp(min(ends) / 1000, UTC) if ends else None

    return until
