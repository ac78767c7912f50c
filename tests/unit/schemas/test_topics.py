"""The partitioner must be everybody's: a subject's records meet in one partition or the fence means nothing."""

import pytest

from passerelle_schemas.topics import murmur2, partition_of

# Computed once with the Java client's Utils.murmur2 (kafka-clients 4.3.1); 16 bytes is the size of every key of ours.
JAVA = {
    b"": 275646681,
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}


@pytest.mark.parametrize(("key", "expected"), JAVA.items())
def test_murmur2_is_javas(key: bytes, expected: int):
    assert murmur2(key) == expected & 0xFFFFFFFF


def test_partition_is_within_the_count():
    assert {partition_of(bytes([i] * 16), 4) for i in range(64)} == {0, 1, 2, 3}
