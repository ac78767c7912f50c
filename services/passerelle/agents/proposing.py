"""What a rule's author answers, and the proposal that comes of it. Pure."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from passerelle.agents.lineage import Outbox, RuleFault, View
from passerelle.envelope import Event, Headers, proposal_headers, proposal_id, source_of
from passerelle_consent.policy.flows import Flow
from passerelle_consent.wire import Origin
from passerelle_schemas import topics
from passerelle_schemas.catalogue import Catalogue, Contract

PROPOSAL_BYTES_MAX = 900_000
"""Below the broker's default message.max.bytes of 1 MiB, with room for headers: a larger one is refused here, since the
broker's refusal would leave a gap in the producer's sequence."""

Answer = str | bool | None
"""What a rule's function returns: the flow's id (True, where there is one only), or None or False for nothing."""


class NoRecipient(Exception):
    """Raised by a rule's function: this event belongs to nobody here. It goes to the dead letters as `no-recipient`."""


class WrongAnswer(Exception):
    """A rule's function returned neither a declared flow nor nothing."""


class TooLarge(Exception):
    """A proposal would not fit a record."""


class Out(NamedTuple):
    """One record to send. ``key`` decides the partition; None: partition 0 (dead letters)."""

    topic: str
    key: bytes | None
    value: bytes
    headers: Headers


class Choice:
    """The flows that a rule may propose for, and the author's function that picks."""

    def __init__(self, rule: str, flows: Sequence[Flow], choose: Callable[..., Answer], catalogue: Catalogue) -> None:
        events = {f.event for f in flows}
        if len(events) != 1:
            raise RuleFault(f"its flows carry {len(events)} event types, one wanted", where=rule)
        self.flows: Mapping[str, Flow] = {f.id: f for f in flows}
        self.contract: Contract = catalogue.by_type(events.pop())
        self._choose = choose

    def check(self, rule: str, outbox: Outbox, reads: frozenset[str]) -> None:
        """A function may read only what the proposed event is made of: that one comes at all tells something, too."""
        covered = {source for sources in self.contract.sources.values() for source in sources}
        for name in sorted(reads):
            if f"{outbox.contract.type}#{name}" not in covered:
                raise RuleFault(
                    f"reads {name} of {outbox.contract.type}, which is no source of {self.contract.type}",
                    where=rule,
                    hint='name it in the contract\'s "passerelle.from", so that an agreement must cover it',
                )

    def pick(self, *views: View) -> Flow | None:
        """Raises `WrongAnswer`, and whatever the author's function raises."""
        answer = self._choose(*views)
        if answer is None or answer is False:
            return None
        if answer is True and len(self.flows) == 1:
            return next(iter(self.flows.values()))
        if isinstance(answer, str) and answer in self.flows:
            return self.flows[answer]
        raise WrongAnswer


def proposal(flow: Flow, origin: Origin, *, department: str, time: str, subject: bytes, value: bytes) -> Out:
    """Return the record for the exchange. Raises `TooLarge`."""
    if len(value) > PROPOSAL_BYTES_MAX:
        raise TooLarge
    event = Event(id=proposal_id(origin, flow.id), source=source_of(department), type=flow.event, time=time)
    return Out(topics.EXCHANGE, subject, value, proposal_headers(event, flow=flow.id, origin=origin))
