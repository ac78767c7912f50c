"""For each kind of dead letter, what it is to try its record again.

* a refused *row* of an outbox is given back to the relay, which checks it again;
* what a *webhook* did not hand on is handed on now, when the citizen's standing still allows it;
* what no *table* could hold is put there now, under the same condition;
* what the *gate* could not take is proposed once more, and decided by today's standing;
* what an *agent* could not take is heard again by its routes, or folded again by the join or aggregate whose log it is
  in, and their proposals are decided by today's standing. What never came into that log goes in order through it: a
  single record of an outbox is not heard again by a join.

Each is made ready first, which changes nothing: what cannot be done is said before the ledger is told of it.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from passerelle_consent.wire import DeadLetter
from passerelle_schemas.faults import Fault

if TYPE_CHECKING:
    import httpx

    from passerelle.agents.declared import Declarations
    from passerelle.agents.logged import Logged
    from passerelle.agents.proposing import Out
    from passerelle.agents.reading import Record
    from passerelle.city.manifest import Manifest
    from passerelle.config import KafkaAccess, Settings
    from passerelle.dead_letters import Waiting
    from passerelle.issuer import Bearing
    from passerelle.receive.delivery import Delivery, Erased
    from passerelle.receive.recheck import Recheck


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the command line named."""

    database: str | None = None
    url: str | None = None
    consent_url: str = ""


@dataclass(kw_only=True)
class Outcome:
    """What became of it: a line for the operator, and letters that came back."""

    said: str
    letters: list[DeadLetter] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Desk:
    """What a replay needs."""

    here: "Settings"
    manifest: "Manifest"
    access: "KafkaAccess"
    bearing: "Bearing"
    """The owner's."""
    asked: Asked
    teller: "Bearing | None" = None
    """As whom the ledger is told; None: as the owner."""

    def auth(self) -> "httpx.Auth":
        """As the owner, or as an operator of the bus. Raises `Fault`."""
        from passerelle.provider import bearer

        return bearer(self.here, self.manifest, self.bearing)

    def ready(self, waiting: "Waiting") -> Callable[[], Outcome]:
        """Return what tries the record of a letter again. Raises `Fault`."""
        way = waiting.letter.component
        if way == "relay":
            return _row(waiting, self)
        if way in ("webhook", "table"):
            return _handed_on(waiting, self)
        if way == "gate":
            return _proposed(waiting, self)
        return _heard(waiting, self)


def _row(waiting: "Waiting", desk: Desk) -> Callable[[], Outcome]:
    from passerelle.publish.outbox_table import OutboxTable

    database = desk.asked.database
    if database is None:
        raise Fault("this one is a row of the department's outbox", hint="say where: --database postgresql://…")

    def act() -> Outcome:
        with OutboxTable(database, alone=False) as table:
            given = table.give_back(waiting.letter.offset)
        return Outcome(said="given back to the relay" if given else "no such row is refused any more")

    return act


def _proposed(waiting: "Waiting", desk: Desk) -> Callable[[], Outcome]:
    from passerelle.gate.again import again
    from passerelle.letters import propose, record_of

    if waiting.letter.rule is None:
        hint = f"passerelle deadletters discard {waiting.reference} --owner gate --cause never-valid"
        raise Fault("tells no origin: no replay makes it readable", where=waiting.reference, hint=hint)
    record = record_of(desk.access, waiting.letter)

    def act() -> Outcome:
        propose(desk.access, record, again(record.headers, waiting.run))
        return Outcome(said="proposed once more: the gate decides by today's standing")

    return act


def _heard(waiting: "Waiting", desk: Desk) -> Callable[[], Outcome]:
    from passerelle.agents.logged import Logged
    from passerelle.agents.reading import Refusal
    from passerelle.city.modules import imported

    letter = waiting.letter
    (app,) = [agents for agents in desk.manifest.agents if agents.principal == waiting.owner]
    if letter.reason == Refusal.TOO_SLOW and desk.teller not in (None, desk.bearing):
        hint = f"passerelle deadletters replay {waiting.reference} --owner {waiting.owner}"
        raise Fault("its rule did not come back: no page waits for it", where=waiting.reference, hint=hint)
    city: Declarations = imported(app.module, desk.manifest.path).city
    rule = city.rules.get(letter.rule or "")
    if isinstance(rule, Logged) and rule.log == letter.topic:
        return _folded(waiting, desk, rule)
    return _routed(waiting, desk, city)


def _folded(waiting: "Waiting", desk: Desk, rule: "Logged") -> Callable[[], Outcome]:
    """What the record proposes of the state as it was then, by the rule of today."""
    from aiokafka.errors import KafkaError

    from passerelle.agents.once_more import once_more
    from passerelle.letters import record_of

    letter = waiting.letter
    record = record_of(desk.access, letter)
    try:
        records = asyncio.run(_of_subject(desk, rule.log, record))
    except (KafkaError, TimeoutError) as exc:
        raise Fault(f"cannot be read ({type(exc).__name__})", where=rule.log, hint="is the broker up?") from None
    outs = _within_bounds(lambda: once_more(waiting.owner, rule, records, letter.offset))
    if outs is None:
        return lambda: Outcome(said="a later event of the same citizen has said it since: nothing is proposed")
    return _proposing(waiting, desk, outs)


async def _of_subject(desk: Desk, log: str, record: "Record") -> "list[Record]":
    """All of the record's subject that its partition holds. Raises `KafkaError`."""
    from passerelle.agents.history import ends_of, read

    ends = await ends_of(desk.access, log, desk.manifest.partitions)
    pages = read(desk.access, log, record.partition, 0, ends[record.partition])
    return [one async for page, _ in pages for one in page if one.key == record.key]


def _routed(waiting: "Waiting", desk: Desk, city: "Declarations") -> Callable[[], Outcome]:
    from passerelle.agents.route import Route
    from passerelle.agents.rules import applied
    from passerelle.letters import record_of

    letter = waiting.letter
    rules = [r for r in city.by_topic().get(letter.topic, ()) if letter.rule in (None, r.name)]
    routes = [r for r in rules if isinstance(r, Route)]
    if not rules or len(routes) < len(rules):
        what = "a join or an aggregate hears it, or no rule does any more: a single record is not run again"
        raise Fault(what, where=waiting.reference, hint="publish the event once more, or discard this letter")
    record = record_of(desk.access, letter)
    outcomes = city.reader(letter.topic, desk.manifest.keyring(desk.here.home)).read([record])
    outs = _within_bounds(
        lambda: [o for n, r in enumerate(routes) for o in applied(waiting.owner, r, outcomes, reports=n == 0)]
    )
    return _proposing(waiting, desk, outs)


def _proposing(waiting: "Waiting", desk: Desk, outs: "Sequence[Out]") -> Callable[[], Outcome]:
    from passerelle.gate.again import again
    from passerelle.letters import propose_all
    from passerelle_schemas.topics import EXCHANGE

    came_back = [DeadLetter.decode(out.value) for out in outs if out.topic != EXCHANGE]
    proposals = [(o.key or b"", o.value, again(o.headers, waiting.run)) for o in outs if o.topic == EXCHANGE]

    def act() -> Outcome:
        propose_all(desk.access, proposals, desk.manifest.partitions)
        if came_back:
            return Outcome(said=f"not taken again: {came_back[-1].reason}", letters=came_back)
        return Outcome(said=f"{len(proposals)} proposals: the gate decides by today's standing")

    return act


_Answer = TypeVar("_Answer")


def _within_bounds(work: Callable[[], _Answer]) -> _Answer:
    """What an author's functions answer, in the time that a worker gives them. Raises `Fault`."""
    from passerelle.agents.watching import SLOW_S

    answers: list[_Answer] = []
    # A daemon: what does not come back ends with the command.
    running = threading.Thread(target=lambda: answers.append(work()), name="once more", daemon=True)
    running.start()
    running.join(SLOW_S)
    if not answers:
        raise Fault(f"the rule does not come back from it within {SLOW_S:.0f} s", hint="mend it: it waits, or loops")
    return answers[0]


def _handed_on(waiting: "Waiting", desk: Desk) -> Callable[[], Outcome]:
    from passerelle.letters import record_of
    from passerelle.receive.delivery import parse
    from passerelle.receive.recheck import Recheck

    webhook = waiting.letter.component == "webhook"
    if webhook and desk.asked.url is None:
        raise Fault("this one is handed on over HTTP", hint="say where: --url https://…")
    if not webhook and desk.asked.database is None:
        raise Fault("this one goes into a table", hint="say where: --database postgresql://… or sqlite:///<path>")
    one = parse(record_of(desk.access, waiting.letter), desk.manifest.policy_bundle().catalogue)
    hand_on = _by_webhook if webhook else _by_table

    async def act() -> Outcome:
        import httpx

        async with httpx.AsyncClient(base_url=desk.asked.consent_url, auth=desk.auth()) as consent:
            return await hand_on(one, waiting, desk, Recheck(client=consent))

    return lambda: asyncio.run(act())


def _collecting(waiting: "Waiting") -> tuple[Any, list[DeadLetter]]:
    from passerelle.receive.burying import Burying

    letters: list[DeadLetter] = []

    async def keep(letter: DeadLetter) -> None:
        letters.append(letter)

    return Burying(waiting.letter.component, waiting.owner, keep), letters


async def _by_webhook(one: "Delivery | Erased", waiting: "Waiting", desk: Desk, recheck: "Recheck") -> Outcome:
    import httpx

    from passerelle.cli.webhook import checked_url, secret_of
    from passerelle.receive.delivery import Erased
    from passerelle.receive.retention import delete_by
    from passerelle.receive.webhook import Receiver, Webhook, utc_now

    burying, letters = _collecting(waiting)
    url, secret = checked_url(desk.asked.url or ""), secret_of(desk.here, waiting.owner)
    until = delete_by(desk.manifest.policy_bundle())
    async with httpx.AsyncClient(follow_redirects=False, trust_env=False) as http:
        receiver = Receiver(url=url, secret=secret, client=http, now=utc_now)
        webhook = Webhook(receiver, recheck, burying, pause=asyncio.sleep, delete_by=until)
        await (webhook.tell(one) if isinstance(one, Erased) else webhook.deliver(one, first_ask=True))
    if letters:
        return Outcome(said=f"not taken again: {letters[-1].reason}", letters=letters)
    return Outcome(said="sent" if webhook.counts.sent else "not allowed any more, and not sent")


async def _by_table(one: "Delivery | Erased", waiting: "Waiting", desk: Desk, recheck: "Recheck") -> Outcome:
    from passerelle.cli.into import database_of
    from passerelle.receive.delivery import Erased
    from passerelle.receive.into import InboxTables
    from passerelle.receive.retention import delete_by

    database: Any = database_of(desk.asked.database or "")
    burying, letters = _collecting(waiting)
    tables = InboxTables(database, burying, delete_by(desk.manifest.policy_bundle()))
    current = one if isinstance(one, Erased) else await recheck(one)
    if current is None:
        return Outcome(said="not allowed any more, and not kept")
    put: Callable[[Any, Any], Awaitable[None]] = tables.erase if isinstance(current, Erased) else tables.put
    try:
        async with database.transaction() as transaction:
            await put(current, transaction)
    finally:
        await database.close()
    if letters:
        return Outcome(said=f"not taken again: {letters[-1].reason}", letters=letters)
    return Outcome(said="in the table")
