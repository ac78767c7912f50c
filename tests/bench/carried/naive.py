"""Naive Faust agents around the SDK's own pure rules: what differs from the SDK is who carries the records."""

import tempfile
from pathlib import Path

import faust

from passerelle.agents.app import _FAUST
from passerelle.agents.join import Join
from passerelle.agents.logged import Hop
from passerelle.agents.transport import Boot
from passerelle_schemas.topics import EXCHANGE, partition_of

PARTITIONS = 4
RAW = {"key_type": bytes, "value_type": bytes, "key_serializer": "raw", "value_serializer": "raw"}


class Message:
    """A Faust message as a record."""

    __slots__ = ("headers", "key", "offset", "partition", "timestamp", "topic", "value")

    def __init__(self, message):
        self.topic, self.partition, self.offset = message.topic, message.partition, message.offset
        self.timestamp = int(message.timestamp * 1000)
        self.key, self.value, self.headers = message.key, message.value, message.headers


class Naive:
    """A Faust app that runs the rules of an `AgentApp` one event at a time, with Faust's own Table for a join."""

    def __init__(self, declared, *, waits):
        options = {**_FAUST, **declared._late(), "datadir": str(Path(tempfile.gettempdir()) / declared.id)}
        self.app = type("NaiveApp", (faust.App,), {"BootStrategy": Boot})(declared.id, **options)
        self._declared, self._waits = declared, waits
        logs = [rule.log for rule in declared.rules.values() if isinstance(rule, Join)]
        self._topics = {name: self.app.topic(name, **RAW) for name in (EXCHANGE, *logs)}
        for rule in declared.rules.values():
            agent = self._join(rule) if isinstance(rule, Join) else self._stateless(rule)
            source = rule.log if isinstance(rule, Join) else rule.outboxes[0].topic
            self.app.agent(self.app.topic(source, **RAW), name=rule.name)(agent)

    def _stateless(self, rule):
        reader = self._declared.reader(rule.outboxes[0].topic, self._declared._keyring())

        async def agent(stream):
            async for event in stream.events():
                (heard,) = reader.read([Message(event.message)])
                await self._send(rule.apply(heard))

        return _named(agent, rule)

    def _join(self, rule):
        schema = faust.Schema(**RAW)
        held = InTable(self.app.Table(table_of(rule), partitions=PARTITIONS, schema=schema))

        async def agent(stream):
            async for event in stream.events():
                await self._send(rule.step(held, Message(event.message)))

        return _named(agent, rule)

    async def _send(self, outs):
        for out in outs:
            at = partition_of(out.key, PARTITIONS)
            sent = await self._topics[out.topic].send(key=out.key, value=out.value, headers=out.headers, partition=at)
            if self._waits:
                await sent


class InTable:
    """A join's state in a Faust Table, which writes each change to its changelog."""

    def __init__(self, table):
        self._table = table

    def get(self, subject):
        from passerelle.agents.entry import unpack

        found = self._table.get(subject)
        return unpack(found) if found else []

    def put(self, subject, held):
        from passerelle.agents.entry import pack

        self._table[subject] = pack(held)


def table_of(join):
    return join.name.partition(".")[2]


def topics_of(declared):
    """What a worker needs beside the city's topics: name → partitions. Faust's changelogs are among them."""
    joins = [rule for rule in declared.rules.values() if isinstance(rule, Join)]
    logs = {j.log: PARTITIONS for j in joins}
    changelogs = {f"{declared.id}-{table_of(j)}-changelog": PARTITIONS for j in joins}
    return {f"deadletter.{declared.id}": 1, **logs, **changelogs}


def _named(agent, rule):
    kind = "hop" if isinstance(rule, Hop) else rule.kind
    agent.__name__ = agent.__qualname__ = f"{kind}_{rule.name}"
    return agent
