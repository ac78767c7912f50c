"""A join at work: the state is brought up to the batch, the batch stepped and sent, then both become one step."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from time import monotonic
from typing import Protocol

import structlog

from passerelle.agents.logged import NOT_TAKEN, Logged
from passerelle.agents.patience import BrokerFault
from passerelle.agents.proposing import Out
from passerelle.agents.reading import Batch, Record
from passerelle.agents.rules import Run, unwatched
from passerelle.agents.state import Memory, Open, StaleCheckpoint, State

log = structlog.get_logger()

SLICE = 500
"""Records between two returns to the event loop: some 10 ms, so that heartbeats and other partitions go on."""

Send = Callable[[Sequence[Out]], Awaitable[None]]
ReadLog = Callable[[str, int, int, int], AsyncIterator[tuple[Sequence[Record], int]]]
"""(join log, partition, first offset, end) → pages of records, each with the offset that follows it."""


PassesOver = Callable[[str, Record], bool]
"""(rule, record) → whether the rule did not come back from it before."""


class Progress(Protocol):
    """Whoever waits for a batch (`patience.Patience`)."""

    def progress(self) -> None:
        """Something was achieved: wait as long again."""


class Folder:
    """Runs one join on the partitions that this worker owns."""

    def __init__(
        self,
        component: str,
        join: Logged,
        open_: Open,
        read_log: ReadLog,
        send: Send,
        *,
        run: Run = unwatched,
        passes_over: PassesOver = lambda _rule, _record: False,
    ) -> None:
        self._component = component
        self._join = join
        self._open = open_
        self._read_log = read_log
        self._send = send
        self._run = run
        self._passes_over = passes_over
        self._states: dict[int, State] = {}
        self._locks: dict[int, asyncio.Lock] = {}

    async def process(self, batch: Batch, patience: Progress) -> None:
        """Step through one batch of the join's log. Raises `KafkaError`, `BrokerFault`; the state is then as it was."""
        # The lock holds off a task of the last generation that is still at work on this partition.
        async with self._locks.setdefault(batch.partition, asyncio.Lock()):
            state = self._state(batch.partition)
            try:
                await self._catch_up(state, batch, patience)
                await self._step(state, batch)
            except (StaleCheckpoint, sqlite3.Error) as exc:
                self._fall_back(batch.partition, state, exc)
            finally:
                state.rollback()

    async def _step(self, state: State, batch: Batch) -> None:
        outs: list[Out] = []
        for i, record in enumerate(batch.records):
            if i % SLICE == SLICE - 1:
                await asyncio.sleep(0)
            if record.offset >= state.next:  # below: folded, proposed and acknowledged before
                step, over = partial(self._join.step, state, record), partial(self._join.pass_over, state, record)
                outs += self._run(self._component, self._join.name, record, step, over)
        await self._send(outs)
        last = batch.records[-1]
        if last.offset >= state.next:
            state.commit(last.offset + 1, last.timestamp - self._join.hold_ms)

    async def _catch_up(self, state: State, batch: Batch, patience: Progress) -> None:
        """Fold what lies between the state and the batch. Proposes nothing: whoever owned it did."""
        first, began, start, count = batch.records[0].offset, monotonic(), state.next, 0
        if start >= first:
            return
        async for records, next_ in self._read_log(self._join.log, batch.partition, start, first):
            for record in records:
                self._fold(state, record)
            count += len(records)
            state.commit(next_, records[-1].timestamp - self._join.hold_ms if records else 0)
            patience.progress()
        state.commit(first, 0)
        seconds = round(monotonic() - began, 2)
        log.info("folded", rule=self._join.name, partition=batch.partition, records=count, since=start, seconds=seconds)

    def _fold(self, state: State, record: Record) -> None:
        over = self._passes_over(self._join.name, record)
        try:
            self._join.pass_over(state, record) if over else self._join.fold(state, record)
        except NOT_TAKEN:
            return  # went to the dead letters when it was first seen

    def _state(self, partition: int) -> State:
        if partition not in self._states:
            self._states[partition] = self._open(self._join.log, partition)
        return self._states[partition]

    def _fall_back(self, partition: int, state: State, exc: Exception) -> None:
        """Give the checkpoint up and fold again in memory: slower, and right whoever else has the file."""
        log.warning("checkpoint given up", rule=self._join.name, partition=partition, error=type(exc).__name__)
        state.rollback()
        state.close()
        self._states[partition] = Memory()
        raise BrokerFault("checkpoint given up") from exc
