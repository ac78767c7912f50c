"""The parser of segment files, on bytes put together here from the protocol's description."""

import struct

import pytest

from faults.segments import Commit, Span, Unparsable, batches, commits, spans

HEAD = struct.Struct(">qiibIhiqqqhii")


def varint(n):
    n = (n << 1) ^ (n >> 63)
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    return bytes([*out, n])


def record(delta, key, value):
    packed = (varint(-1) if b is None else varint(len(b)) + b for b in (key, value))
    body = b"\x00" + varint(300) + varint(delta) + b"".join(packed) + varint(0)
    return varint(len(body)) + body


def batch(base, records, *, producer=-1, attributes=0, magic=2):
    body = b"".join(record(i, k, v) for i, (k, v) in enumerate(records))
    n = len(records)
    return HEAD.pack(base, HEAD.size - 12 + len(body), 0, magic, 0, attributes, n - 1, 0, 0, producer, 0, 0, n) + body


def data(base, n, producer):
    return batch(base, [(b"k", b"v" * 200)] * n, producer=producer, attributes=0x10)


def marker(base, producer, kind):
    return batch(base, [(struct.pack(">hh", 0, kind), b"\x00" * 6)], producer=producer, attributes=0x30)


def written(tmp_path, name, *parts):
    folder = tmp_path / name
    folder.mkdir()
    (folder / "00000000000000000000.log").write_bytes(b"".join(parts))
    return folder


def test_transactions_of_two_producers_are_told_apart(tmp_path):
    log = [data(0, 2, 5), data(2, 1, 6), marker(3, 5, 1), data(4, 3, 6), marker(7, 6, 0), data(8, 1, 5)]
    assert spans(written(tmp_path, "inbox.roads-0", *log)) == [
        Span(first=0, last=1, marker=3, committed=True),
        Span(first=2, last=2, marker=7, committed=False),
        Span(first=4, last=6, marker=7, committed=False),
    ]


def test_a_batch_that_is_being_written_ends_the_reading(tmp_path):
    folder = written(tmp_path, "x-0", data(0, 2, 5), data(2, 2, 5)[:-3])
    assert [(b.first, b.last) for b in batches(folder)] == [(0, 1)]


def test_segments_follow_each_other(tmp_path):
    folder = written(tmp_path, "x-0", data(0, 2, 5))
    (folder / "00000000000000000002.log").write_bytes(marker(2, 5, 1))
    assert spans(folder) == [Span(first=0, last=1, marker=2, committed=True)]


def commit(group, topic, partition, offset, version=1):
    names = b"".join(struct.pack(">h", len(t)) + t.encode() for t in (group, topic))
    key = struct.pack(">h", version) + names + struct.pack(">i", partition)
    return key, struct.pack(">hqih", 3, offset, -1, 0) + b"\x00" * 8


def test_offsets_count_when_their_transaction_committed(tmp_path):
    both = [commit("gate", "exchange", 1, 70), commit("gate", "consent", 1, 9)]
    later = [commit("gate", "exchange", 1, 90)]
    other = [commit("reader", "inbox.roads", 0, 3), commit("gate", "x", 0, 1, version=2), (both[0][0], None)]
    written(
        tmp_path,
        "__consumer_offsets-3",
        batch(0, both, producer=5, attributes=0x10),
        batch(2, other),
        marker(5, 5, 1),
        batch(6, later, producer=5, attributes=0x10),
        marker(7, 5, 0),
        batch(8, later),
    )
    assert list(commits(tmp_path, "gate")) == [
        Commit("gate", {("exchange", 1): 70, ("consent", 1): 9}),
        Commit("gate", {("exchange", 1): 90}),
    ]


def test_an_unknown_format_is_refused(tmp_path):
    with pytest.raises(Unparsable, match="magic 1"):
        list(batches(written(tmp_path, "x-0", batch(0, [(b"k", b"v")], magic=1))))
    packed = next(batches(written(tmp_path, "y-0", batch(0, [(b"k", b"v")], attributes=0x02))))
    with pytest.raises(Unparsable, match="compressed"):
        list(packed.records())
