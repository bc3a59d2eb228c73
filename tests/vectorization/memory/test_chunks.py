"""Chunks are the batch, in order, and each is worth some time."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plangym_lite import make
from plangym_lite.transitions import Form, Rows
from plangym_lite.vectorization.memory.chunks import (
    MOST_CHUNKS,
    ChunkSizes,
    Takers,
    chunks_of,
)


def lengths_of(*args):
    return [stop - start for start, stop in chunks_of(*args)]


@given(
    st.integers(1, 5000), st.integers(1, 70), st.integers(1, 300), st.none() | st.integers(1, 50)
)
def test_chunks_are_the_batch(size, n_takers, least, largest):
    chunks = chunks_of(size, n_takers, least, largest)
    assert [row for chunk in chunks for row in range(*chunk)] == list(range(size))
    lengths = [stop - start for start, stop in chunks]
    assert all(length >= 1 for length in lengths)
    if largest is None:
        assert len(chunks) <= MOST_CHUNKS
        assert all(length >= min(least, size) / 2 for length in lengths)
        assert max(lengths) == lengths[0] or lengths[-1] - lengths[0] <= least
        assert len(chunks) >= min(n_takers, size // least)
    else:
        assert max(lengths) <= max(largest, least / 2 + min(largest, size))


def test_chunks_get_smaller():
    assert lengths_of(256, 2, 2) == [96, 96, 16, 16, 8, 8, 4, 4, 2, 2, 2, 2]
    assert lengths_of(256, 2, 16) == [96, 96, 16, 16, 16, 16]
    assert lengths_of(2, 2, 1) == [1, 1]
    assert lengths_of(2, 2, 2) == [2]


def test_chunks_of_one_size():
    assert lengths_of(300, 2, 1, 128) == [128, 128, 22, 22]
    assert lengths_of(100, 2, 1, 128) == [50, 50]


def planned(sizes, seconds, size, takers=2, form=None, n_batches=1):
    """The chunks of a batch, after some that took so many seconds a frame."""
    rows = Rows(None, None, np.ones(size, np.int64))
    takers = takers if isinstance(takers, Takers) else Takers(takers)
    for _ in range(n_batches):
        plan = sizes.plan(rows, form or Form(), takers)
        sizes.learn(plan, seconds * size)
    return plan.chunks


@given(st.floats(1e-7, 1e-2), st.integers(1, 4096), st.integers(2, 16))
def test_a_chunk_is_worth_the_while(seconds, size, n_takers):
    chunks = planned(ChunkSizes(), seconds, size, n_takers)
    if len(chunks) > 1:
        assert all((stop - start) * seconds >= 50e-6 for start, stop in chunks)


def test_estimates_follow_and_are_kept_by_kind():
    sizes, numbers = ChunkSizes(), Form(observs=None)
    assert len(planned(sizes, 1.0, 8)) > 1
    assert len(planned(sizes, 1e-6, 8, form=numbers)) == 1
    assert len(planned(sizes, 1e-3, 8, form=numbers, n_batches=2000)) > 1
    assert len(planned(sizes, 1e-6, 8, form=numbers, n_batches=300)) == 1
    assert len(planned(sizes, 1.0, 8)) > 1


def test_the_caller_keeps_a_batch_of_little_work():
    for seconds, shared in ((180e-6, False), (220e-6, True)):
        assert (len(planned(ChunkSizes(), seconds, 2, Takers(2, True))) > 1) is shared
        assert len(planned(ChunkSizes(), seconds, 2, Takers(2))) > 1


def test_rows_stepped_at_once_come_in_large_chunks():
    assert len(planned(ChunkSizes(), 5e-6, 64)) > 1
    assert len(planned(ChunkSizes(is_batched=True), 5e-6, 64)) == 1
    with make("CartPole-v1", n_workers=2) as env:
        assert env.batch_spec.is_batched
        assert env.is_batched
        assert env.batch_env[0].spec.is_batched
    with make("CartPole-v1", obs_type="rgb") as env:
        assert not env.batch_spec.is_batched


@pytest.mark.parametrize(("steps", "frames"), [(None, 3.0), (5, 15.0)])
def test_frames_of_a_row(steps, frames):
    rows = Rows(None, None, np.full(7, 3))
    assert ChunkSizes().plan(rows, Form(steps=steps), Takers(2)).frames == frames
