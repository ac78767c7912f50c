import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from passerelle_consent.ledger.faults import Invalid
from passerelle_consent.ledger.log import tiles, tree
from passerelle_consent.ledger.log.tiles import RightEdge, Tile


@pytest.mark.parametrize(
    ("tile", "path"),
    [
        (Tile(level=0, index=0), "tile/0/000"),
        (Tile(level=0, index=1234, width=5), "tile/0/x001/234.p/5"),
        (Tile(level=1, index=1234067), "tile/1/x001/x234/067"),
        (Tile(level=None, index=273, width=112), "tile/entries/273.p/112"),
        (Tile(level=63, index=999), "tile/63/999"),
        (Tile(level=2, index=1000), "tile/2/x001/000"),
    ],
)
def test_paths(tile, path):
    assert tile.path == path
    assert Tile.parse(path) == tile


@given(st.none() | st.integers(0, 63), st.integers(0, 2**62), st.integers(1, 256))
def test_every_path_reads_back(level, index, width):
    tile = Tile(level=level, index=index, width=width)
    assert Tile.parse(tile.path) == tile


@pytest.mark.parametrize(
    "path",
    [
        "tile/00/000",
        "tile/64/000",
        "tile/0/0",
        "tile/0/x000/001",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/05",
        "tile/0/001/234",
        "tile/entries/abc",
        "tile/0/000.p",
        "../tile/0/000",
        "tile/0/\u0660\u0660\u0660",
    ],
)
def test_no_path_of_a_tile(path):
    with pytest.raises(Invalid, match="not the path"):
        Tile.parse(path)


def test_the_example_of_the_specification():
    """tlog-tiles, "Partial Tiles": a tree of 70,000."""
    found = list(tiles.hash_tiles(70_000))
    assert [t for t in found if t.width != 256] == [
        Tile(level=0, index=273, width=112),
        Tile(level=1, index=1, width=17),
        Tile(level=2, index=0, width=1),
    ]
    assert sum(t.level == 0 and t.width == 256 for t in found) == 273
    assert sum(t.level == 1 and t.width == 256 for t in found) == 1
    assert list(tiles.hash_tiles(256)) == [Tile(level=0, index=0), Tile(level=1, index=0, width=1)]


@given(st.integers(0, 10**5), st.integers(0, 2000))
def test_what_is_new_is_what_the_smaller_tree_lacks(since, more):
    new = set(tiles.hash_tiles(since + more)) | set(tiles.bundles(since + more))
    old = set(tiles.hash_tiles(since)) | set(tiles.bundles(since))
    assert {*tiles.hash_tiles(since + more, since), *tiles.bundles(since + more, since)} == new - old


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_bundles_round_trip(entries):
    assert tiles.unpack(tiles.pack(entries), len(entries)) == entries


def test_a_bundle_that_is_cut_or_of_another_width_is_refused():
    bundle = tiles.pack([b"one", b"two"])
    for end in range(1, len(bundle)):
        with pytest.raises(Invalid):
            tiles.unpack(bundle[:end], 2)
    with pytest.raises(Invalid, match="holds 2 entries where 3 belong"):
        tiles.unpack(bundle, 3)
    with pytest.raises(Invalid, match="does not fit"):
        tiles.pack([bytes(65_536)])


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 700), max_size=6), st.data())
def test_tiles_grown_in_any_batches_are_the_tree(batches, data):
    hashes = [tree.leaf_hash(b"%d" % i) for i in range(sum(batches))]
    edge, kept, size = RightEdge(), {}, 0
    for batch in batches:
        changed = edge.append(hashes[size : size + batch])
        assert all(len(tile) > len(kept.get(key, b"")) for key, tile in changed.items())
        kept.update(changed)
        size += batch
    plain = tree.source_of(hashes)
    assert edge.root() == tree.root(size, plain)
    assert {(t.level, t.index, t.width) for t in tiles.hash_tiles(size)} == {
        (level, index, len(tile) // 32) for (level, index), tile in kept.items()
    }
    source = tiles.source_of(lambda level, index: kept[level, index])
    assert tree.root(size, source) == edge.root()
    assert RightEdge.of(size, lambda level, index: kept[level, index]).root() == edge.root()
    if size:
        index, old = data.draw(st.integers(0, size - 1)), data.draw(st.integers(1, size))
        assert tree.inclusion_proof(index, size, source) == tree.inclusion_proof(index, size, plain)
        assert tree.consistency_proof(old, size, source) == tree.consistency_proof(old, size, plain)
        assert tree.root(old, source) == tree.root(old, plain)


def test_an_edge_does_not_grow_from_a_tile_that_is_too_short():
    with pytest.raises(Invalid):
        RightEdge.of(5, lambda *_: bytes(32 * 4))
