"""Arenas: slices never overlap, pages of free ones go back, and nothing leaks when one fails."""

import errno
import gc
import mmap
import os
from contextlib import suppress
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plangym_lite.vectorization.memory import arenas
from plangym_lite.vectorization.memory.arenas import Arena, make_arena
from plangym_lite.vectorization.worker.handler import RequestHandler
from tests.vectorization.memory.test_blocks import BLOCK_BYTES, SPEC, Layout, open_descriptors

PAGE = mmap.PAGESIZE


def bytes_of(fd):
    return os.fstat(fd).st_blocks * 512


@given(st.lists(st.tuples(st.integers(1, 9 * PAGE), st.floats(0, 1)), max_size=40))
def test_slices_do_not_overlap_and_all_come_back(steps):
    arena, first = make_arena(1, [60 * PAGE])
    taken = {first: 1}
    for nbytes, part in steps:
        offset = arena.take(nbytes)
        if offset is None:  # no gap is large enough
            free = np.ones(60, bool)
            for start, size in taken.items():
                free[start // PAGE : -(-(start + size) // PAGE)] = False
            assert "1" * -(-nbytes // PAGE) not in "".join(map(str, free.astype(int)))
        else:
            taken[offset] = nbytes
        if taken and part < 0.6:
            start = sorted(taken)[int(part * len(taken))]
            arena.give_back(start, taken.pop(start))
        spans = sorted((start, start + size) for start, size in taken.items())
        assert all(one[1] <= other[0] for one, other in pairwise(spans))
        assert bytes_of(arena.fd) == sum(-(-size // PAGE) * PAGE for size in taken.values())
    for start, size in taken.items():
        arena.give_back(start, size)
    assert arena.is_empty
    assert bytes_of(arena.fd) == 0
    arena.close()


def test_pages_that_are_held_stay_and_others_go():
    arena, first = make_arena(5 * PAGE, [40 * PAGE])
    second = arena.take(5 * PAGE)
    whole = np.frombuffer(arena.memory, np.uint8)
    whole[first : first + 5 * PAGE], whole[second : second + 5 * PAGE] = 1, 2
    arena.give_back(first, 5 * PAGE)
    assert (whole[second : second + 5 * PAGE] == 2).all()
    assert bytes_of(arena.fd) == 5 * PAGE
    assert arena.take(3 * PAGE) == first
    assert not whole[:PAGE].any()
    arena.close()


@pytest.mark.parametrize("why", [errno.EMFILE, errno.ENOMEM])
def test_failed_mapping_leaks_nothing(monkeypatch, why):
    def failing(*args, **kwargs):
        raise OSError(why, os.strerror(why))

    before = open_descriptors()
    monkeypatch.setattr(mmap, "mmap", failing)
    assert make_arena(BLOCK_BYTES, [BLOCK_BYTES]) is None
    assert open_descriptors() == before
    theirs = os.memfd_create("received")
    os.ftruncate(theirs, 4 * BLOCK_BYTES)
    handler = RequestHandler(None)
    shape = SPEC, 8, Layout(SPEC, 8).form, 0
    with pytest.raises(OSError, match=os.strerror(why)):
        handler.handle(lambda: theirs, "@attach", (1, 0, 4 * BLOCK_BYTES, 0, True, *shape), {})
    assert open_descriptors() == before


@pytest.mark.parametrize("error", [OverflowError, KeyboardInterrupt])
def test_interrupt_in_mapping_leaks_nothing(monkeypatch, error):
    def failing(*args, **kwargs):
        raise error

    before = open_descriptors()
    monkeypatch.setattr(arenas, "_map", failing)
    with suppress(KeyboardInterrupt):
        assert make_arena(BLOCK_BYTES, [BLOCK_BYTES]) is None
    assert open_descriptors() == before


def test_where_only_small_arenas_can_be_had(monkeypatch):
    truncate = os.ftruncate

    def limited(fd, size):
        if size > 1 << 20:
            raise OSError(errno.EFBIG, "File too large")
        truncate(fd, size)

    monkeypatch.setattr(os, "ftruncate", limited)
    arena, _ = make_arena(BLOCK_BYTES, [1 << 28, BLOCK_BYTES])
    assert arena.nbytes < 2 * BLOCK_BYTES
    arena.close()


def test_forked_child_gives_back_nothing_of_its_parents():
    arena, offset = make_arena(PAGE, [4 * PAGE])
    page = np.frombuffer(arena.memory, np.uint8, PAGE, offset)
    page[:] = 7
    child = os.fork()
    if child == 0:
        try:
            arena.give_back(offset, PAGE)
            os._exit(int(not (page == 7).all()))
        except BaseException:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert (page == 7).all()
    arena.close()


def test_a_mapping_lives_as_long_as_its_views():
    before = open_descriptors()
    arena, offset = make_arena(PAGE, [4 * PAGE])
    page = np.frombuffer(arena.memory, np.uint8, PAGE, offset)
    page[:] = 9
    arena.close()
    del arena
    gc.collect()
    assert (page == 9).all()
    del page
    assert open_descriptors() == before


def test_an_arena_of_another_process_is_mapped_by_its_descriptor():
    ours, offset = make_arena(PAGE, [4 * PAGE])
    theirs = Arena(ours.nbytes, os.dup(ours.fd), ours.number)
    np.frombuffer(ours.memory, np.uint8, PAGE, offset)[:] = 5
    assert (np.frombuffer(theirs.memory, np.uint8, PAGE, offset) == 5).all()
    for arena in (ours, theirs):
        arena.close()
