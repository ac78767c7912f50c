"""The day itself: departments publish, citizens speak, and some change their minds while traffic runs."""

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path

import httpx
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from lutece import opinions, reports, stories
from lutece.citizens import SEED, Citizen, Population
from lutece.consulted import Consulted
from lutece.day import DayCounts, DayEvent
from lutece.pace import Pace, Paced
from lutece.stage import DESK, Stage
from lutece.voices import Choice, Desk, InboxEnds, Withdrawal, change_minds
from passerelle.issuer import Bearing, LocalIssuer
from passerelle.publish.csv_import import CsvImport, Tally
from passerelle.publish.link import LinkClient
from passerelle.publish.mapping import CellProblem, load_mapping
from passerelle.publish.outgoing import Outgoing
from passerelle.publish.producer import DepartmentProducer
from passerelle.publish.rows import Row
from passerelle.publish.subjects import Cells
from passerelle_schemas.faults import Fault

DAY_COUNTS = DayCounts(reports=1_500, moves=300, canteen=250, births=40, frail=60, badges=60)
EVENTS_PER_SECOND = 150
"""The day's own pace: some 2,500 events in 17 s."""
ROWS_PER_SECOND = 700
"""A file's pace: below what one agent worker and two gate workers do on two cores that they share with the rest."""

REPORT = "citizen-desk.report-filed.v1"
REGISTRAR = "civil-registry"
"""The department whose officers record who speaks for a child."""

FRAIL_REGISTER = "social-action"
"""The department whose officers open overrides for the heat plan."""

VOICES = 6
WITHDRAWALS_PER_VOICE_MAX = 60


@dataclass(kw_only=True)
class Day:
    """What was published and said."""

    published: int = 0
    tallies: list[Tally] = field(default_factory=list)
    withdrawals: list[Withdrawal] = field(default_factory=list)


Pseudonyms = Mapping[str, Sequence[bytes]]
"""Department → its pseudonyms, by citizen number."""


def play(city: Stage, people: Population, events: Sequence[DayEvent], files: Sequence[Path], console: Console) -> Day:
    """Play the day to its end. Raises `Fault`; of several at once, the first."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        try:
            return asyncio.run(_Play(city, people, events, files, progress).run())
        except* Fault as group:
            raise _first(group) from None


def _first(group: BaseExceptionGroup[Fault]) -> Fault:
    """One department's fault ends the others' work: the first is the one to tell."""
    first: BaseException = group
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    assert isinstance(first, Fault)  # noqa: S101 - the group holds nothing else
    return first


def citizen(pseudonym: bytes) -> Bearing:
    """Whom the portal's sign-in says that somebody is; for whom they may speak, the service knows."""
    return Bearing(scopes=["citizen", "guardian"], department=DESK, pseudonym=pseudonym)


class _Play:
    def __init__(
        self,
        city: Stage,
        people: Population,
        events: Sequence[DayEvent],
        files: Sequence[Path],
        progress: Progress,
    ) -> None:
        self._city = city
        self._people = people
        self._events = events
        self._files = files
        self._progress = progress
        self._reporters = reports.Reporters(people)
        self._day = Day()

    async def run(self) -> Day:
        departments = sorted({e.department for e in self._events} | {DESK, REGISTRAR})
        linked = await self._link(departments)
        async with AsyncExitStack() as open_:
            url, issuer = self._city.consent_url, self._city.issuer
            desk = await open_.enter_async_context(Desk(url, lambda pseudonym: issuer.bearer(citizen(pseudonym))))
            officer = issuer.bearer(Bearing(scopes=["officer"], department=FRAIL_REGISTER))
            officers = await open_.enter_async_context(Desk(url, lambda _: officer))
            registry = issuer.bearer(Bearing(scopes=["officer"], department=REGISTRAR))
            registrars = await open_.enter_async_context(Desk(url, lambda _: registry))
            producers = {d: await open_.enter_async_context(self._producer(d)) for d in departments}
            consulted = await open_.enter_async_context(self._consulted(url, issuer))
            choices = await self._speak(
                opinions.Speaker(desk=desk, pseudonyms=linked[DESK]),
                opinions.Speaker(desk=officers, pseudonyms=linked[FRAIL_REGISTER]),
                opinions.Speaker(desk=registrars, pseudonyms=linked[REGISTRAR]),
            )
            adults = [linked[DESK][c.number] for c in self._people.adults]
            await consulted.ask(adults)
            ends = open_.enter_context(InboxEnds(self._city.access("observer")))
            over = asyncio.Event()
            async with asyncio.TaskGroup() as group:
                voices = [
                    group.create_task(self._voice(desk, ends, choices[n::VOICES], n, over)) for n in range(VOICES)
                ]
                await self._publish(producers, linked)
                over.set()
            await consulted.answer()
            self._day.withdrawals = [w for voice in voices for w in voice.result()]
        return self._day

    def _consulted(self, url: str, issuer: LocalIssuer) -> Consulted:
        return Consulted(
            http=httpx.AsyncClient(base_url=url, timeout=30),
            officer_of=lambda department: issuer.bearer(Bearing(scopes=["officer"], department=department)),
            citizen=lambda pseudonym: issuer.bearer(citizen(pseudonym)),
            agreements={a.id: a for a in self._city.bundle.agreements},
        )

    def _producer(self, department: str) -> DepartmentProducer:
        return DepartmentProducer(self._city.access(department), department, self._city.bundle.catalogue)

    async def _link(self, departments: Sequence[str]) -> Pseudonyms:
        """Each department that publishes links the citizens that it knows: here, all of them."""
        bar = self._progress.add_task("linking citizens to their departments", total=len(departments))
        linked: dict[str, list[bytes]] = {}
        identities = [c.identity for c in self._people.citizens]
        for department in departments:
            auth = self._city.issuer.bearer(Bearing(scopes=["department"], department=department))
            async with LinkClient(self._city.consent_url, auth) as client:
                linked[department] = await client.link(identities)
            self._progress.advance(bar)
        return linked

    async def _speak(
        self, citizens: opinions.Speaker, officers: opinions.Speaker, registrars: opinions.Speaker
    ) -> list[Choice]:
        now_ms = time.time_ns() // 1_000_000
        told = stories.find(self._people, self._events)
        formed = opinions.form(self._events, self._contacts(), self._city.bundle, seed=SEED, now_ms=now_ms)
        said = formed.without(told.own)
        total = len(said.opinions) + len(said.overrides)
        bar = self._progress.add_task("citizens give, object; officers open overrides", total=total)
        await opinions.record_guardians(said, registrars)
        await opinions.speak(said, citizens, officers, lambda: self._progress.advance(bar))
        await stories.tell(
            told,
            stories.Offices(
                desk=citizens.desk,
                at_desk=citizens.pseudonyms,
                registry=registrars.desk,
                at_registry=registrars.pseudonyms,
                notices={a.id: a.notice.version for a in self._city.bundle.agreements},
            ),
        )
        keyring, partitions = self._city.keyring, self._city.manifest.partitions
        return opinions.choices(said, citizens.pseudonyms, keyring, DESK, partitions)

    def _contacts(self) -> list[Citizen]:
        """Who filed one of the reports to come and left a contact."""
        invented = (str(e.value["report_id"]) for e in self._events if e.type == REPORT)
        rows = (row for file in self._files for row in reports.read_reports(file))
        filed = (row.cells["id_dmr"] for row in rows if isinstance(row, Row))
        reporters = self._reporters
        return [reporters.of(number) for number in chain(invented, filed) if reporters.leaves_contact(number)]

    async def _voice(
        self, desk: Desk, ends: InboxEnds, choices: Sequence[Choice], number: int, over: asyncio.Event
    ) -> list[Withdrawal]:
        return await change_minds(desk, ends, choices, seed=SEED + number, until=over, most=WITHDRAWALS_PER_VOICE_MAX)

    async def _publish(self, producers: Mapping[str, DepartmentProducer], linked: Pseudonyms) -> None:
        pace = Pace(EVENTS_PER_SECOND)
        bar = self._progress.add_task("departments publish the day's events", total=len(self._events))
        async with asyncio.TaskGroup() as group:
            for department, producer in producers.items():
                own = [e for e in self._events if e.department == department]
                group.create_task(self._publish_day(Paced(producer, pace), own, linked[department], bar))
            group.create_task(self._publish_files(producers[DESK], linked[DESK]))

    async def _publish_day(
        self, producer: Paced, events: Iterable[DayEvent], pseudonyms: Sequence[bytes], bar: TaskID
    ) -> None:
        prepared = (
            producer.prepare(
                Outgoing(
                    type=e.type,
                    pseudonym=pseudonyms[e.citizen.number],
                    value=e.value,
                    event_id=e.event_id,
                    time=e.time,
                )
            )
            for e in events
        )
        async for _ in producer.publish_all(prepared):
            self._day.published += 1
            self._progress.advance(bar)

    async def _publish_files(self, producer: DepartmentProducer, pseudonyms: Sequence[bytes]) -> None:
        """One file after the other; each is a publication of its own, even the same file given twice."""
        mapping, _ = load_mapping(reports.MAPPING, self._city.bundle.catalogue)
        paced = Paced(producer, Pace(ROWS_PER_SECOND))
        for number, file in enumerate(self._files, 1):
            bar = self._progress.add_task(f"publishing {file.name}", total=None)
            tally = Tally()
            self._day.tallies.append(tally)
            source = CsvImport(
                path=file,
                mapping=mapping,
                publication=f"demonstration-{number}",
                now=lambda: datetime.now(UTC),
                complete=self._reporters.complete,
            )
            async for outcome in source.run(paced, _Reported(self._reporters, pseudonyms)):
                tally.add(outcome)
                self._progress.advance(bar)
            self._day.published += tally.published
            self._progress.update(bar, total=tally.input_rows)
            self._report(file, tally)

    def _report(self, file: Path, tally: Tally) -> None:
        for rejected in tally.shown:
            self._progress.console.print(f"  {file}: row {rejected.row}, {rejected.column}: {rejected.problem}")
        if tally.rejected > len(tally.shown):
            self._progress.console.print(f"  {file}: {tally.rejected - len(tally.shown)} more rows were rejected")
        if tally.broken:
            self._progress.console.print(f"  {file}: row {tally.broken.row}: {tally.broken.problem}")


class _Reported:
    """Finds who filed each report (`passerelle.publish.subjects.Subjects`)."""

    def __init__(self, reporters: reports.Reporters, pseudonyms: Sequence[bytes]) -> None:
        self._reporters = reporters
        self._pseudonyms = pseudonyms

    async def find(self, batch: Sequence[Cells]) -> list[bytes | CellProblem]:
        """The desk's pseudonym of each row's reporter."""
        return [self._pseudonyms[self._reporters.of(cells["id_dmr"]).number] for cells in batch]
