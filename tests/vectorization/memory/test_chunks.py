"""Pieces are the batch, and each is taken by one."""

import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plangym_lite import make
from plangym_lite.vectorization.memory.chunks import PIECES, TOGETHER, Piece, pieces_of
from plangym_lite.vectorization.memory.queue import AT_ONCE, RowQueue


@given(
    st.integers(0, 3000),
    st.integers(1, 70),
    st.none() | st.integers(1, 50),
    st.sampled_from([0.5, 0.75, 0.94, 1.0]),
    st.integers(1, 20),
    st.booleans(),
)
def test_pieces_are_the_batch(size, n_workers, largest, share, n_frames, are_taken):
    sizes = PIECES._replace(largest=largest, share=share)
    pieces = pieces_of(size, n_workers, sizes, n_frames, are_taken)
    assert [row for piece in pieces for row in range(*piece)] == list(range(size))
    lengths = [stop - start for start, stop in pieces]
    assert all(length >= 1 for length in lengths)
    dealt_together = 0 if are_taken else 2 * n_workers
    assert lengths[dealt_together:] == sorted(lengths[dealt_together:], reverse=True)
    assert max(lengths, default=0) == next(iter(lengths), 0)
    assert len(pieces) >= min(size, n_workers) or max(lengths) <= PIECES.smallest
    most = size if are_taken else largest or size  # only what is dealt need be small
    assert not lengths or lengths[0] <= min(most, -(-size // n_workers))


def test_second_pieces_are_small_and_then_they_shrink():
    lengths = [stop - start for start, stop in pieces_of(256, 2, PIECES)]
    assert lengths == [96, 96, 8, 8, 12, 12, 8, 8, 4, 4]
    lengths = [stop - start for start, stop in pieces_of(64, 2, PIECES, n_frames=80)]
    assert lengths == [24, 24, 1, 1, 4, 4, 2, 2, 1, 1]


def test_pieces_that_are_taken_shrink_from_the_first():
    lengths = [stop - start for start, stop in pieces_of(256, 2, PIECES, are_taken=True)]
    assert lengths == [96, 96, 16, 16, 8, 8, 4, 4, 2, 2, 2, 2]
    assert len(pieces_of(2, 2, PIECES, are_taken=True)) == 2


def test_pieces_are_large_where_rows_are_stepped_together():
    sizes = PIECES._replace(fewest=TOGETHER)
    lengths = [stop - start for start, stop in pieces_of(256, 2, sizes, n_frames=3)]
    assert lengths == [96, 96, 32, 32]
    with make("CartPole-v1", n_workers=2) as env:
        assert env.batch_spec.together
        assert env.is_batched
        assert env.batch_env[0].spec.together
    with make("CartPole-v1", obs_type="rgb") as env:
        assert not env.batch_spec.together


# ---- the queue -----------------------------------------------------------------------------------


@pytest.fixture
def queue():
    queue = RowQueue()
    yield queue
    queue.close()


@pytest.mark.parametrize("n_pieces", [0, 1, 3, AT_ONCE, AT_ONCE + 1, 5 * AT_ONCE - 7])
def test_what_was_put_in_comes_out_in_order(queue, n_pieces):
    pieces = [Piece(row, 2 * row + 1) for row in range(n_pieces)]
    if n_pieces <= 3 * AT_ONCE:
        assert queue.put(pieces) == n_pieces
        assert list(queue) == pieces
    else:
        n_put = queue.put(pieces)
        assert list(queue) == pieces[:n_put]
    assert queue.take() is None


def test_what_finds_no_room_stays_outside(queue):
    pieces = [Piece(row, row + 1) for row in range(100_000)]
    n_put = queue.put(pieces)
    assert 0 < n_put < len(pieces)
    assert queue.put(pieces[:AT_ONCE]) == 0
    assert list(queue) == pieces[:n_put]


def test_each_piece_is_taken_by_one(queue):
    other_end = RowQueue(os.dup(queue.fd))
    pieces = [Piece(row, row + 1) for row in range(2 * AT_ONCE)]
    hands = [[] for _ in range(4)]
    go = threading.Barrier(5)

    def take(hand, end):
        go.wait()
        hand.extend(end)

    threads = [
        threading.Thread(target=take, args=(hand, end))
        for hand, end in zip(hands, [queue, other_end] * 2, strict=True)
    ]
    for thread in threads:
        thread.start()
    assert queue.put(pieces) == len(pieces)
    go.wait()
    for thread in threads:
        thread.join()
    assert sorted(piece for hand in hands for piece in hand) == pieces
    other_end.close()


def test_it_closes_its_ends_once():
    before = len(os.listdir("/proc/self/fd"))
    queue = RowQueue()
    queue.close()
    queue.close()
    del queue
    RowQueue()
    assert len(os.listdir("/proc/self/fd")) == before
