"""Dealing: every row is run, each answer lands in its row, whoever dies on the way."""

import time
from contextlib import contextmanager, suppress

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st

from plangym_lite import WorkerDiedError
from plangym_lite.transitions import BatchSpec, Rows
from plangym_lite.vectorization.dispatch.dispatcher import ATTEMPTS, IN_HAND, Deal
from plangym_lite.vectorization.memory.blocks import Block
from plangym_lite.vectorization.memory.chunks import PIECES, pieces_of
from plangym_lite.vectorization.memory.layout import Layout
from plangym_lite.vectorization.memory.queue import RowQueue
from plangym_lite.vectorization.worker.channel import LateError
from tests.vectorization.helpers import ScriptedWorker

SPEC = BatchSpec(spaces.Discrete(9), spaces.Discrete(9), (1,), np.dtype(np.float64))


QUEUE = RowQueue()


class Batch:
    """A batch of scripted rows, and what was gathered of it."""

    def __init__(self, size, workers, blocking=False):
        self.size, self.block = size, Block(Layout(SPEC, size))
        self.gathered = np.zeros(size, int)
        self.infos = [None] * size
        numbers = np.arange(size)
        rows = Rows(numbers % 9, numbers[:, None].astype(float), numbers + 1)
        self.deal = Deal(
            workers,
            self.block,
            rows,
            replace=lambda index: workers[index].restart(),
            collect=self.collect,
            blocking=blocking,
            queue=QUEUE,
        )

    def collect(self, start, stop, infos, odd):
        self.gathered[start:stop] += 1
        self.infos[start:stop] = infos

    def check(self):
        numbers, out = np.arange(self.size), self.block.columns.out
        assert (self.gathered == 1).all()
        assert QUEUE.take() is None
        assert self.infos == [{"row": row} for row in range(self.size)]
        assert (out.states[:, 0] == numbers + 1).all()
        assert (out.rewards == numbers % 9 * 100 + numbers + 1).all()


@contextmanager
def scripted(*scripts):
    workers = [ScriptedWorker(**script) for script in scripts]
    yield workers
    for worker in workers:
        worker.close()


delays = st.lists(st.integers(0, 5), min_size=1, max_size=6)
scripts = st.fixed_dictionaries(
    {"delays": delays},
    optional={"deaths": st.sets(st.integers(0, 12), max_size=4), "appetite": st.integers(0, 9)},
)


@given(st.integers(1, 120), st.lists(scripts, min_size=1, max_size=5), st.booleans(), st.booleans())
def test_every_row_is_run_whatever_dies_in_whatever_order(size, given_scripts, blocking, all_take):
    if all_take:
        given_scripts = [{"appetite": 2, **script} for script in given_scripts]
    with scripted(*given_scripts) as workers:
        batch = Batch(size, workers, blocking)
        if sum(len(script.get("deaths", ())) for script in given_scripts) < ATTEMPTS:
            batch.deal.run()
            batch.check()
        else:
            with suppress(WorkerDiedError):  # three deaths over one row, by chance
                batch.deal.run()
                batch.check()


@given(
    st.integers(1, 60),
    st.lists(st.fixed_dictionaries({"delays": delays}), min_size=1),
    st.integers(0, 5),
    st.data(),
)
def test_error_of_the_first_row_after_all_have_answered(size, given_scripts, appetite, data):
    given_scripts = [{"appetite": appetite, **script} for script in given_scripts]
    bad = data.draw(st.sets(st.integers(0, size - 1), min_size=1, max_size=3))
    with scripted(*({**script, "bad_rows": bad} for script in given_scripts)) as workers:
        with pytest.raises(ValueError, match=f"^row {min(bad)}$"):
            Batch(size, workers).deal.run()
        assert not any(worker.under_way for worker in workers)
        good = Batch(size, workers)
        for worker in workers:
            worker.bad_rows = set()
        good.deal.run()
        good.check()


@pytest.mark.parametrize("size", [1, 7, 40])
@pytest.mark.parametrize("n_workers", [1, 3])
@pytest.mark.parametrize("forgetful", [False, True])
@pytest.mark.parametrize("appetite", [0, 1, 20])
@pytest.mark.parametrize("part", [0.5, 0.9])
def test_row_that_kills_every_time(size, n_workers, forgetful, appetite, part):
    deadly = int(part * size)
    script = {"deadly_rows": {deadly}, "forgetful": forgetful, "appetite": appetite}
    with scripted(*[script] * n_workers) as workers:
        with pytest.raises(WorkerDiedError, match=f"row {deadly} ended its worker 3 times"):
            Batch(size, workers).deal.run()
        for worker in workers:
            worker.deadly_rows = set()
        good = Batch(size, workers)
        good.deal.run()
        good.check()


def test_worker_that_was_dead_before_the_batch():
    with scripted({}, {}) as workers:
        workers[1].dead = True
        batch = Batch(30, workers)
        batch.deal.run()
        batch.check()
        assert [worker.life for worker in workers] == [0, 1]


def test_worker_that_dies_as_soon_as_it_is_replaced():
    with scripted({}) as (worker,):
        worker.restart = lambda: None
        worker.dead = True
        with pytest.raises(WorkerDiedError):
            Batch(5, [worker]).deal.run()


def test_dead_worker_is_replaced_once():
    with scripted({"deaths": {0}}, {}) as workers:
        batch = Batch(200, workers)
        batch.deal.run()
        batch.check()
        assert [worker.life for worker in workers] == [1, 0]


@pytest.mark.parametrize("blocking", [True, False])
@pytest.mark.parametrize("size", [3, 5, 12, 40, 300])
def test_every_worker_gets_its_share(size, blocking):
    with scripted(*[{"delays": (3,)}] * 3) as workers:
        Batch(size, workers, blocking).deal.run()
        first, *_ = pieces_of(size, 3, PIECES)
        largest = first.stop - first.start
        shares = [sum(stop - start for start, stop in worker.ran) for worker in workers]
        assert min(shares) > 0
        assert max(shares) - min(shares) <= largest


def test_workers_hold_few_pieces_at_a_time():
    with scripted({"delays": (3,)}, {"delays": (1, 9)}) as workers:
        Batch(300, workers).deal.run()
        assert all(worker.most_under_way <= IN_HAND for worker in workers)


def test_who_takes_pieces_is_dealt_one():
    with scripted(*[{"appetite": 99, "delays": (3,)}] * 3) as workers:
        batch = Batch(300, workers)
        batch.deal.run()
        batch.check()
        assert [worker.given for worker in workers] == [1, 1, 1]
        assert sum(len(worker.ran) for worker in workers) == len(
            pieces_of(300, 3, PIECES, are_taken=True)
        )


def test_what_nobody_took_is_dealt():
    with scripted({"appetite": 1}, {"appetite": 2, "delays": (1, 0, 2)}) as workers:
        batch = Batch(300, workers)
        batch.deal.run()
        batch.check()
        assert sum(worker.given for worker in workers) > len(workers)


def test_pieces_lost_with_who_took_them_are_dealt_again():
    with scripted({"appetite": 3, "deaths": {0}}, {"appetite": 99, "delays": (9,)}) as workers:
        batch = Batch(300, workers)
        batch.deal.run()
        batch.check()
        assert [worker.life for worker in workers] == [1, 0]
        taken = workers[0].ran[1:4]
        assert all(stop - start > 1 for start, stop in taken)  # before the death
        again = {start for worker in workers for start, stop in worker.ran if stop - start == 1}
        assert {row for piece in taken for row in range(*piece)} <= again


def test_no_piece_of_an_interrupted_batch_is_left():
    with scripted({"appetite": 1}, {"appetite": 1, "delays": (10**9,)}) as workers:
        batch = Batch(300, workers)
        with pytest.raises(LateError):
            batch.deal.run(deadline=time.monotonic() + 0.05)
        assert list(batch.deal.unfinished()) == [1]
        assert QUEUE.take() is None
        QUEUE.put(pieces_of(20, 2, PIECES))  # should an interrupt come in between
        workers[1].restart()
        batch = Batch(9, workers)
        for worker in workers:
            worker.delays = (0,)
        batch.deal.run()
        batch.check()


def test_blocking_is_one_worker_after_another():
    under_way = []
    with scripted({"delays": (1,)}, {"delays": (2,)}) as workers:
        batch = Batch(60, workers, blocking=True)
        for worker in workers:
            run_rows = worker.run_rows

            def counting(*args, run_rows=run_rows):
                under_way.append(sum(worker.under_way for worker in workers))
                return run_rows(*args)

            worker.run_rows = counting
        batch.deal.run()
        batch.check()
    assert set(under_way) == {0}


def test_nothing_goes_on_past_the_deadline():
    with scripted({}, {"delays": (10**9,)}) as workers:
        with pytest.raises(LateError):
            Batch(20, workers).deal.run(deadline=time.monotonic() + 0.05)
        with pytest.raises(LateError):
            Batch(20, [workers[0]]).deal.run(deadline=time.monotonic() - 1)


def test_interrupt_is_raised_at_once():
    with scripted({"delays": (0,)}, {"delays": (10**9,)}) as workers:
        batch = Batch(20, workers)

        def interrupted(*args):
            raise KeyboardInterrupt

        batch.collect = batch.deal._collect = interrupted
        with pytest.raises(KeyboardInterrupt):
            batch.deal.run()
