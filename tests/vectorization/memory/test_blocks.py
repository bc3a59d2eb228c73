"""Shared memory: no block is reused under somebody's hands, none is left behind."""

import errno
import gc
import mmap
import os
import signal
import tempfile
import time

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st

from plangym_lite.transitions import BatchSpec, Form
from plangym_lite.vectorization.memory import blocks as shared
from plangym_lite.vectorization.memory.arenas import Arena, make_arena
from plangym_lite.vectorization.memory.blocks import Block, BlockPool
from plangym_lite.vectorization.memory.layout import Layout
from tests.vectorization.helpers import block_of

IMAGE = spaces.Box(0, 255, (64, 64), np.uint8)
SPEC = BatchSpec(IMAGE, spaces.Discrete(2), (5,), np.dtype(np.float64))
BLOCK_BYTES = Layout(SPEC, 8).nbytes


@pytest.fixture
def pool():
    pool = BlockPool(SPEC)
    yield pool
    pool.close()


def open_descriptors():
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


class Pending:
    """A promise whose answer comes when it is told so."""

    def __init__(self):
        self.is_done = False

    def done(self):
        return self.is_done


def test_block_is_reused_when_nobody_holds_it(pool):
    first, roomy = pool.acquire(5)
    assert roomy
    assert pool.acquire(8)[0] is first
    assert pool.acquire(9)[0] is not first


@pytest.mark.parametrize(
    "view_of",
    [
        lambda images: images,
        lambda images: images[2],
        lambda images: images[::2, 3:, 5],
        lambda images: images.reshape(-1)[7:9].T,
        lambda images: memoryview(images[1]),
        lambda images: np.asarray(images)[None].view(np.int8),
        lambda images: {"deep": [images[0, 0, 0:1]]},
    ],
)
def test_block_is_not_reused_while_any_view_of_it_lives(pool, view_of):
    block, _ = pool.acquire(8)
    view = view_of(block.lease())
    assert not block.is_free
    assert pool.acquire(8)[0] is not block
    del view
    assert block.is_free
    assert block in (pool.acquire(8)[0], pool.acquire(8)[0])


def test_copies_do_not_hold_the_block(pool):
    block, _ = pool.acquire(8)
    images = block.lease()
    copies = images[2].copy(), images.sum(), images[0].tolist(), np.array(images)
    del images
    assert block.is_free
    assert len(copies) == 4


def test_block_is_not_reused_while_a_call_writes_into_it(pool):
    block, _ = pool.acquire(8)
    pending = Pending()
    block.outstanding.append(pending)
    assert pool.acquire(8)[0] is not block
    pending.is_done = True
    assert block.is_free


def test_what_is_written_on_one_side_is_read_on_the_other():
    ours = block_of(Layout(SPEC, 8))
    arena = Arena(ours.arena.nbytes, os.dup(ours.arena.fd))
    theirs = Block(Layout(SPEC, 8), arena, ours.offset, ours.number)
    arena.close()
    theirs.columns.out.observs[3] = 77
    images = ours.lease()
    ours.arena.close()
    assert (images[3] == 77).all()
    assert (images[2] == 0).all()


def test_beyond_the_limit_images_must_be_copied():
    pool = BlockPool(SPEC, limit=2 * BLOCK_BYTES)
    held, answers = [], []
    for _ in range(5):
        block, roomy = pool.acquire(8)
        answers.append(roomy)
        if roomy:
            held.append(block.lease())
    assert not answers[-1]
    assert len(held) < 3
    assert len(pool.blocks) <= 3
    held.clear()
    assert pool.acquire(8)[1]
    pool.close()


def test_free_blocks_make_room_for_one_of_another_size():
    pool, dropped = BlockPool(SPEC, limit=6 * BLOCK_BYTES), []
    pool.on_drop.append(dropped.append)
    small, _ = pool.acquire(8)
    number = small.number
    large, _ = pool.acquire(48)
    assert dropped == [number]
    assert pool.blocks == [large]
    pool.close()
    assert dropped == [number, large.number]


def test_free_blocks_of_many_sizes_do_not_pile_up(pool):
    for size in (8, 16, 32, 64, 128, 256, 512):
        pool.acquire(size)
    assert len(pool.blocks) <= shared.SPARE_BLOCKS


def test_discarded_block_is_never_handed_out_again(pool):
    block, _ = pool.acquire(8)
    images = block.lease()
    pool.discard(block)
    pool.discard(block)
    assert pool.acquire(8)[0] is not block
    images[0] = 1  # its memory lives as long as it is held


def test_no_name_in_shared_memory(pool):
    before = set(os.listdir("/dev/shm"))
    pool.acquire(100)
    assert set(os.listdir("/dev/shm")) == before


def test_without_memfd_a_file_on_disk_does(monkeypatch):
    monkeypatch.delattr(os, "memfd_create")
    folder = set(os.listdir(tempfile.gettempdir()))
    block = block_of(Layout(SPEC, 8))
    assert not {name for name in set(os.listdir(tempfile.gettempdir())) - folder if "lite" in name}
    block.lease()[:] = 5
    assert (block.columns.out.observs == 5).all()


def test_no_memory_and_no_disk(monkeypatch):
    def full(fd, offset, size):
        raise OSError(28, "No space left on device")

    before = open_descriptors()
    monkeypatch.setattr(os, "posix_fallocate", full)
    assert make_arena(BLOCK_BYTES, [BLOCK_BYTES]) is None
    assert open_descriptors() == before


def test_descriptors_are_closed_over_many_cycles():
    def cycle():
        pool = BlockPool(SPEC)
        held = [pool.acquire(size)[0].lease() for size in (8, 8, 20)]
        pool.close()
        assert len(held) == 3

    cycle()
    before = open_descriptors()
    for _ in range(50):
        cycle()
    assert open_descriptors() == before


def test_forgotten_pool_closes_its_descriptors():
    before = open_descriptors()
    BlockPool(SPEC).acquire(8)
    assert open_descriptors() == before


def test_interrupt_while_a_block_is_made_leaves_none_behind(pool, monkeypatch):
    reserve, before = os.posix_fallocate, open_descriptors()

    def interrupted(*args):
        reserve(*args)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)

    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", interrupted)
        for size in (8, 64, 512):
            with pytest.raises(KeyboardInterrupt):
                pool.acquire(size)
    pool.close()
    assert open_descriptors() == before


# ---- held, given back, run short -----------------------------------------------------------------

LARGE = BatchSpec(spaces.Box(0, 255, (300, 300, 3), np.uint8), spaces.Discrete(2), None, None)


def pages_of(pool):
    return sum(os.fstat(arena.fd).st_blocks for arena in pool._arenas) * 512


@given(
    st.lists(
        st.tuples(
            st.integers(1, 30),  # rows
            st.booleans(),  # with states
            st.sampled_from(["hold", "hold", "let go", "let go of all", "discard", "interrupt"]),
            st.floats(0, 0.999),
        ),
        max_size=60,
    ),
    st.integers(1, 40),
)
def test_what_is_held_keeps_its_content(steps, limit):
    pool, held, pending = BlockPool(SPEC, limit * BLOCK_BYTES), [], []
    for number, (size, with_states, what, part) in enumerate(steps):
        block, may_lease = pool.acquire(size, Form(states=with_states))
        assert block.is_free
        assert block.layout.capacity >= size
        block.columns.out.observs[:] = number % 256
        for promise, other in pending:  # a worker goes on writing into what was interrupted
            if not promise.is_done:
                other.columns.out.rewards[:] = other.columns.out.observs[:] = 255
        assert (block.columns.out.observs == number % 256).all()
        if what == "hold" and may_lease:
            held.append((number % 256, block.lease()[:size]))
        elif what == "let go" and held:
            held.pop(int(part * len(held)))
        elif what == "let go of all":
            held.clear()
        elif what == "discard":
            pool.discard(block)
        elif what == "interrupt":
            pending.append((Pending(), block))
            block.outstanding.append(pending[-1][0])
            pool.discard(block)
        if pending and part < 0.3:
            pending.pop(0)[0].is_done = True
        for value, images in held:
            assert (images == value).all()
    pool.close()
    assert all((images == value).all() for value, images in held)


def test_held_blocks_cost_no_descriptors(pool):
    held = [pool.acquire(8)[0].lease()]
    before = open_descriptors()
    held += [pool.acquire(8)[0].lease() for _ in range(2000)]
    assert open_descriptors() == before
    assert len(pool._arenas) == 1


def test_arenas_stay_few(pool, monkeypatch):
    monkeypatch.setattr(shared, "ARENA_BYTES", 4 * BLOCK_BYTES)
    held = [pool.acquire(8)[0].lease() for _ in range(1000)]
    assert len(pool._arenas) <= 10
    assert len({image.__array_interface__["data"][0] for image in held}) == 1000


def test_pages_are_given_back_after_views_are_dropped(pool):
    held = [pool.acquire(8)[0].lease() for _ in range(40)]
    full = pages_of(pool)
    assert full >= 40 * BLOCK_BYTES
    del held[1:]
    for _ in range(200):  # the program goes on, and has no use for so many
        pool.acquire(8)
    assert pages_of(pool) < full / 6
    assert not held[0].any()


def test_a_cycle_of_held_batches_uses_warm_blocks(pool):
    numbers = []
    for _ in range(6):
        blocks = [pool.acquire(8)[0] for _ in range(1)]
        held = []
        for _ in range(50):
            block, _ = pool.acquire(8)
            held.append(block.lease())
            blocks.append(block)
        numbers.append({block.number for block in blocks})
    assert len(set.union(*numbers)) <= 51
    assert len(held) == 50


@pytest.mark.parametrize("by", ["close", "being forgotten"])
def test_pages_are_given_back_after_the_pool_is_gone(by):
    pool = BlockPool(SPEC)
    held = [pool.acquire(8)[0].lease() for _ in range(10)]
    (arena,) = pool._arenas
    fd = os.dup(arena.fd)
    if by == "close":
        pool.close()
    del pool, arena
    held[0][:], held[9][:] = 4, 5
    del held[1:9]
    assert 2 * BLOCK_BYTES <= os.fstat(fd).st_blocks * 512 <= 2 * (BLOCK_BYTES + mmap.PAGESIZE)
    assert (held[0] == 4).all()
    assert (held[1] == 5).all()
    held.clear()
    assert os.fstat(fd).st_blocks == 0
    os.close(fd)


def test_an_arena_without_blocks_is_dropped(monkeypatch, pool):
    monkeypatch.setattr(shared, "ARENA_BYTES", 4 * BLOCK_BYTES)
    dropped, before = [], open_descriptors()
    pool.on_drop.append(dropped.append)
    held = [pool.acquire(8)[0].lease() for _ in range(30)]
    numbers = [arena.number for arena in pool._arenas]
    held.clear()
    pool.acquire(100)
    assert len(pool._arenas) < len(numbers)
    assert set(numbers) - {arena.number for arena in pool._arenas} <= set(dropped)
    pool.close()
    assert open_descriptors() == before


@pytest.mark.parametrize("fails", ["memfd_create", "ftruncate", "posix_fallocate"])
def test_where_no_block_can_be_had_ordinary_memory_serves(pool, monkeypatch, fails, caplog):
    monkeypatch.setattr(shared, "ARENA_BYTES", 0)
    first, _ = pool.acquire(8)
    images = first.lease()

    def failing(*args, **kwargs):
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(os, fails, failing)
        patch.setattr(tempfile, "TemporaryFile", failing)
        before = open_descriptors()
        blocks = [pool.acquire(2000)[0] for _ in range(2)]
        assert pool.acquire(2000, Form(states=False))[0].columns.out.states is None
        assert open_descriptors() == before
    assert [block.is_shared for block in blocks] == [False, False]
    assert len(caplog.records) == 1
    assert blocks[0].lease().shape[0] >= 2000
    assert blocks[0] not in pool.blocks
    assert pool.acquire(2000)[0].is_shared
    assert not images.any()


def test_without_descriptors_free_blocks_make_room(pool, monkeypatch):
    monkeypatch.setattr(shared, "ARENA_BYTES", 20 * BLOCK_BYTES)
    kept = pool.acquire(8)[0].lease()
    for size in (8, 16, 24):
        pool.acquire(size)
    monkeypatch.delattr(os, "memfd_create")
    monkeypatch.delattr(tempfile, "TemporaryFile")
    block, _ = pool.acquire(8 * 18)
    assert block.is_shared
    assert len(pool._arenas) == 1
    assert not kept.any()


@pytest.mark.parametrize("size", [1, 2, 3, 9, 33, 100])
def test_large_rows_are_not_rounded_up(size):
    pool = BlockPool(LARGE)
    block, _ = pool.acquire(size)
    assert block.layout.capacity == size
    pool.close()


@given(st.integers(1, 5000))
def test_small_rows_are_rounded_up_a_little(size):
    pool = BlockPool(SPEC)
    capacity, row = pool._capacity(size, Form()), BLOCK_BYTES / 8
    assert capacity >= size
    assert (capacity - size) * row <= shared.PADDING_BYTES * 1.2
    exact = BlockPool(SPEC, rounds_up=False)
    assert exact._capacity(size, Form()) == size


# ---- how much there is ---------------------------------------------------------------------------


def group(root, path, name, text):
    (root / path).mkdir(parents=True, exist_ok=True)
    (root / path / name).write_text(text)


@pytest.mark.parametrize(
    ("lines", "limits"),
    [
        ("0::/a/b\n", [300, 200]),
        ("0::/\n", []),
        ("9:name=systemd:/x\n4:memory:/a/c\n3:cpuset:/\n", [700, 900]),
        ("4:memory:/gone:with:colons\n0::/a\n", [900, 200]),
    ],
)
def test_limits_of_containers(tmp_path, lines, limits):
    membership, root = tmp_path / "cgroup", tmp_path / "fs"
    membership.write_text(lines)
    group(root, "a", "memory.max", "200\n")
    group(root, "a/b", "memory.max", "300\n")
    group(root, ".", "memory.max", "max\n")
    group(root, "memory", "memory.limit_in_bytes", "900\n")
    group(root, "memory/a/c", "memory.limit_in_bytes", "700\n")
    assert list(shared._group_limits(membership, root)) == limits


def test_a_pool_takes_no_more_than_its_container_has(monkeypatch):
    machine = shared._available_memory()
    assert BlockPool(SPEC).limit == machine * shared.LIMIT_SHARE
    monkeypatch.setattr(shared, "_group_limits", lambda *paths: iter([1 << 62, 1 << 20]))
    assert BlockPool(SPEC).limit == (1 << 20) * shared.LIMIT_SHARE


def test_without_control_groups(tmp_path):
    assert not list(shared._group_limits(tmp_path / "missing", tmp_path))
