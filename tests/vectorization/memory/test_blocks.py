"""Shared memory: no block is reused under somebody's hands, none is left behind."""

import gc
import os
import signal
import tempfile
import time

import numpy as np
import pytest
from gymnasium import spaces

from plangym_lite.transitions import BatchSpec
from plangym_lite.vectorization.memory import blocks as shared
from plangym_lite.vectorization.memory.arenas import Arena
from plangym_lite.vectorization.memory.blocks import Block, BlockPool
from plangym_lite.vectorization.memory.layout import Layout

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
    ours = Block(Layout(SPEC, 8))
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
    block = Block(Layout(SPEC, 8))
    assert not {name for name in set(os.listdir(tempfile.gettempdir())) - folder if "lite" in name}
    block.lease()[:] = 5
    assert (block.columns.out.observs == 5).all()


def test_no_memory_and_no_disk(monkeypatch):
    def full(fd, offset, size):
        raise OSError(28, "No space left on device")

    before = open_descriptors()
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(MemoryError, match="smaller batches"):
        Block(Layout(SPEC, 8))
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
