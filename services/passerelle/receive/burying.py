"""Dead letters of a way out of an inbox, and the limit that keeps everything from becoming one."""

from collections.abc import Awaitable, Callable

from passerelle.publish.outgoing import Prepared
from passerelle.publish.producer import DepartmentProducer
from passerelle.receive.delivery import Delivery, Erased
from passerelle_consent.wire import DeadLetter
from passerelle_schemas.faults import Fault
from passerelle_schemas.topics import dead_letter, inbox

IN_A_ROW_MAX = 10
"""When so many in a row are not taken, the receiver or its address is wrong, not they."""


Write = Callable[[DeadLetter], Awaitable[None]]
"""Returns once a dead letter is on every replica."""


class TakesNothing(Fault):
    """An operator must look."""

    exit_code = 1


class Burying:
    """What one way out of one department's inbox could not hand on."""

    def __init__(self, component: str, department: str, write: Write) -> None:
        self._component = component
        self._department = department
        self._write = write
        self._in_a_row = 0
        self.count = 0

    def taken(self) -> None:
        """Begin the count anew."""
        self._in_a_row = 0

    async def bury(self, what: Delivery | Erased, reason: str) -> None:
        """Leave a reference and a reason, no payload, no person. Raises `TakesNothing`."""
        topic = inbox(self._department)
        letter = DeadLetter(
            component=self._component, reason=reason, topic=topic, partition=what.partition, offset=what.offset
        )
        await self._write(letter)
        self.count += 1
        self._in_a_row += 1
        if self._in_a_row >= IN_A_ROW_MAX:
            hint = f"mend it, then: passerelle deadletters list --owner {self._department}"
            raise TakesNothing(f"takes nothing: {reason}, {self._in_a_row} in a row", where=topic, hint=hint)


def writing(producer: DepartmentProducer, department: str) -> Write:
    """Write a department's dead letters as the department."""

    async def write(letter: DeadLetter) -> None:
        topic = dead_letter(department)
        async for _ in producer.publish_all([Prepared(topic=topic, key=b"", value=letter.encode(), headers=[])]):
            pass

    return write
