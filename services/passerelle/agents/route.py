"""A route: at most one proposal of one event, and no state. Pure."""

from collections.abc import Callable, Sequence

from passerelle.agents.lineage import Outbox, Recipe, RuleFault, Sources, View
from passerelle.agents.proposing import Answer, Choice, Out, proposal
from passerelle.agents.reading import Heard
from passerelle_consent.policy.flows import Flow
from passerelle_consent.wire import Origin
from passerelle_schemas.catalogue import Catalogue


class Route:
    """Stateless: one event of one outbox → at most one proposal."""

    kind = "route"

    def __init__(
        self,
        *,
        name: str,
        outbox: Outbox,
        flows: Sequence[Flow],
        choose: Callable[..., Answer],
        reads: frozenset[str],
        fields: Sources | None,
        catalogue: Catalogue,
    ) -> None:
        self.name = name
        self.outboxes = (outbox,)
        self._choice = Choice(name, flows, choose, catalogue)
        self._choice.check(name, outbox, reads)
        self._reads = reads
        self._recipe = self._made(fields)

    @property
    def flows(self) -> tuple[str, ...]:
        """Ids of the flows that this rule may propose for."""
        return tuple(self._choice.flows)

    @property
    def event(self) -> str:
        """The event type that it proposes."""
        return self._choice.contract.type

    @property
    def lineage(self) -> dict[str, tuple[str, ...]]:
        """Field → sources."""
        return self._recipe.lineage if self._recipe else dict(self.outboxes[0].contract.sources)

    def apply(self, heard: Heard) -> Sequence[Out]:
        """Raises what the author's functions raise."""
        if heard.contract is not self.outboxes[0].contract:
            return ()  # another version of the event: its own rules take it
        flow = self._choice.pick(View(heard.value, self._reads))
        if flow is None:
            return ()
        value = self._recipe.make([heard.value]) if self._recipe else heard.framed
        at = heard.record
        origin = Origin(rule=self.name, topic=at.topic, partition=at.partition, offset=at.offset)
        return (
            proposal(
                flow,
                origin,
                department=heard.contract.department,
                time=heard.event.time,
                subject=heard.subject,
                value=value,
            ),
        )

    def _made(self, fields: Sources | None) -> Recipe | None:
        """None: the flow carries the outbox's own event, which passes as it is, bytes untouched."""
        passes = self._choice.contract is self.outboxes[0].contract
        if passes == (fields is None):
            return None if fields is None else Recipe(self.name, self._choice.contract, fields, self.outboxes)
        if passes:
            raise RuleFault(f"{self.event} passes unchanged: it takes no fields", where=self.name)
        raise RuleFault(f"{self.event} is derived: say how each field is made (fields=…)", where=self.name)
