"""The dispatcher: every row is run, each answer lands in its row, whoever dies on the way."""

import time
from contextlib import contextmanager, suppress

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st

from plangym_lite import WorkerDiedError
from plangym_lite.transitions import BatchSpec, Rows
from plangym_lite.vectorization.dispatch.dispatcher import AHEAD, ATTEMPTS, Dispatcher, Stats
from plangym_lite.vectorization.memory.chunks import MOST_CHUNKS, chunks_of
from plangym_lite.vectorization.memory.layout import Layout
from plangym_lite.vectorization.worker.channel import LateError
from tests.vectorization.helpers import ScriptedWorker, block_of

SPEC = BatchSpec(spaces.Discrete(9), spaces.Discrete(9), (1,), np.dtype(np.float64))


class Caller:
    """Runs rows as the scripted workers do."""

    def __init__(self, bad_rows=()):
        self.bad_rows, self.ran = set(bad_rows), []

    def make_transitions(self, rows, out):
        numbers = range(rows.first, rows.first + len(rows.dts))
        if bad := sorted(self.bad_rows & set(numbers)):
            raise ValueError(f"row {bad[0]}")
        out.states[:] = rows.states + 1
        out.rewards[:] = rows.actions * 100 + rows.dts
        self.ran += numbers
        return [{"row": row} for row in numbers]


class Pool:
    """A dispatcher of scripted workers, and the batches that it runs."""

    def __init__(self, workers, in_turn=False):
        replace = lambda index: workers[index].restart()  # noqa: E731
        self.workers, self.stats = workers, Stats()
        self.dispatcher = Dispatcher(workers, replace, self.stats, in_turn)

    def run(self, size, least=1, **options):
        self.block = block_of(Layout(SPEC, size))
        numbers = np.arange(size)
        rows = Rows(numbers % 9, numbers[:, None].astype(float), numbers + 1)
        self.block.columns.fill(rows)
        chunks = chunks_of(size, len(self.workers), least)
        batch = self.dispatcher.run(self.block, rows, chunks, **options)
        if batch.error is not None:
            raise batch.error[1]
        out = self.block.columns.out
        assert batch.infos == [{"row": row} for row in range(size)]
        assert (out.states[:, 0] == numbers + 1).all()
        assert (out.rewards == numbers % 9 * 100 + numbers + 1).all()


@contextmanager
def pool_of(*scripts, in_turn=False):
    workers = [ScriptedWorker(**script) for script in scripts]
    pool = Pool(workers, in_turn)
    yield pool
    pool.dispatcher.interrupt()
    for worker in workers:
        worker.close()


delays = st.lists(st.integers(0, 5), min_size=1, max_size=6)
scripts = st.fixed_dictionaries(
    {"delays": delays},
    optional={
        "deaths": st.sets(st.integers(0, 12), max_size=4),
        "takes": st.booleans(),
        "appetite": st.integers(0, 9),
        "refuses": st.sets(st.integers(0, 12), max_size=4),
    },
)


@given(st.integers(1, 120), st.lists(scripts, min_size=1, max_size=5), st.booleans(), st.booleans())
def test_every_row_is_run_whatever_dies_in_whatever_order(size, given_scripts, in_turn, by_caller):
    if any(script.get("appetite") == 0 for script in given_scripts):
        given_scripts = [*given_scripts, {"appetite": 1}]
        in_turn = False
    with pool_of(*given_scripts, in_turn=in_turn) as pool:
        caller = Caller() if by_caller and not in_turn else None
        for _ in range(3):
            with suppress(WorkerDiedError):  # three deaths over one row, by chance
                pool.run(size, caller=caller)


@given(
    st.integers(1, 60),
    st.lists(st.fixed_dictionaries({"delays": delays, "takes": st.booleans()}), min_size=1),
    st.booleans(),
    st.data(),
)
def test_error_of_the_first_row_after_all_were_reported(size, given_scripts, by_caller, data):
    bad = data.draw(st.sets(st.integers(0, size - 1), min_size=1, max_size=3))
    with pool_of(*({**script, "bad_rows": bad} for script in given_scripts)) as pool:
        with pytest.raises(ValueError, match=f"^row {min(bad)}$"):
            pool.run(size, caller=Caller(bad) if by_caller else None)
        for worker in pool.workers:
            worker.bad_rows = set()
        pool.run(size)


@pytest.mark.parametrize("size", [1, 7, 40])
@pytest.mark.parametrize("n_workers", [1, 3])
@pytest.mark.parametrize("takes", [True, False])
@pytest.mark.parametrize("part", [0.5, 0.9])
def test_row_that_kills_every_time(size, n_workers, takes, part):
    deadly = int(part * size)
    with pool_of(*[{"deadly_rows": {deadly}, "takes": takes}] * n_workers) as pool:
        with pytest.raises(WorkerDiedError, match=f"row {deadly} ended its worker 3 times"):
            pool.run(size, least=4)
        for worker in pool.workers:
            worker.deadly_rows = set()
        pool.run(size, least=4)
        lives = sum(worker.life for worker in pool.workers)
        assert lives == ATTEMPTS


def test_worker_that_was_dead_before_the_batch():
    with pool_of({}, {}) as pool:
        pool.workers[1].dead = True
        pool.run(30)
        assert [worker.life for worker in pool.workers] == [0, 1]


def test_worker_that_dies_as_soon_as_it_is_replaced():
    with pool_of({}) as pool:
        pool.workers[0].restart = lambda: None
        pool.workers[0].dead = True
        with pytest.raises(WorkerDiedError):
            pool.run(5)


def test_what_a_dead_worker_had_taken_runs_again():
    with pool_of({"deaths": {3}, "delays": (2,)}, {"delays": (9,)}) as pool:
        pool.run(200, least=8)
        first, second = pool.workers
        assert [worker.life for worker in pool.workers] == [1, 0]
        lost = {row for start, stop in first.ran[:3] for row in range(start, stop)}
        again = [start for start, stop in first.ran[3:] + second.ran if stop - start == 1]
        assert again  # the rows of the chunk that it died over, one by one
        assert not lost & set(again)  # but not those that it had run before
        assert pool.stats.rows_again == len(lost) + len(again)


@pytest.mark.parametrize("in_turn", [True, False])
@pytest.mark.parametrize("size", [3, 5, 12, 40, 300])
def test_workers_that_cannot_take_get_their_share(size, in_turn):
    with pool_of(*[{"delays": (3,), "takes": False}] * 3, in_turn=in_turn) as pool:
        pool.run(size)
        assert all(worker.most_under_way <= AHEAD for worker in pool.workers)
        shares = [sum(stop - start for start, stop in worker.ran) for worker in pool.workers]
        assert shares[0] == size if in_turn else min(shares) > 0


def test_one_question_a_worker():
    with pool_of(*[{"delays": (3,)}] * 3) as pool:
        pool.run(300)
        assert [worker.asked for worker in pool.workers] == [1, 1, 1]
        chunks = chunks_of(300, 3, 1)
        assert sum(len(worker.ran) for worker in pool.workers) == len(chunks)


def test_no_more_workers_are_rung_than_chunks_or_cores():
    with pool_of({}, {}, {}, {}) as pool:
        pool.run(2)
        assert [worker.asked for worker in pool.workers] == [1, 1, 0, 0]
        pool.run(100, most_rung=3, caller=Caller())
        assert [worker.asked for worker in pool.workers] == [2, 2, 1, 0]


def test_who_took_nothing_is_not_waited_for():
    with pool_of({"delays": (10**9,), "appetite": 0}, {}) as pool:
        caller = Caller()
        pool.run(40, caller=caller)
        assert len(caller.ran) == 40
        pool.run(40)  # the one that is slow to wake up may not be needed
        assert pool.workers[0].ran == []


def test_an_answer_to_an_earlier_batch_may_hold_rows_of_this_one():
    with pool_of({"delays": (60,)}) as pool:
        (worker,) = pool.workers
        pool.run(6, caller=Caller())
        assert not worker.ran  # it has not woken up
        pool.run(9)
        assert sum(stop - start for start, stop in worker.ran) == 9
        assert worker.asked <= AHEAD


def test_more_chunks_than_the_queue_takes_at_once():
    with pool_of({"deaths": {0}}, {"delays": (1,)}) as pool:
        pool.run(4 * MOST_CHUNKS, least=4 * MOST_CHUNKS)
        assert max(stop - start for worker in pool.workers for start, stop in worker.ran) == 1


def test_workers_take_turns():
    with pool_of({}, {}, {}, in_turn=True) as pool:
        for _ in range(7):
            pool.run(20)
        assert [worker.asked for worker in pool.workers] == [3, 2, 2]


def test_nothing_of_an_interrupted_batch_is_left():
    with pool_of({"appetite": 1, "delays": (2,)}, {"hangs": {1}}) as pool:
        with pytest.raises(LateError):
            pool.run(300, deadline=time.monotonic() + 0.05)
        assert 1 in pool.dispatcher.interrupt()
        pool.workers[1].restart()
        pool.run(9)
        assert pool.workers[0].appetite == 1


def test_nothing_goes_on_past_the_deadline():
    with pool_of({"delays": (10**9,)}) as pool:
        with pytest.raises(LateError):
            pool.run(20, deadline=time.monotonic() + 0.05)
        pool.dispatcher.interrupt()
        with pytest.raises(LateError):
            pool.run(20, deadline=time.monotonic() - 1)


def test_interrupt_is_raised_at_once():
    class Interrupted(Caller):
        def make_transitions(self, rows, out):
            raise KeyboardInterrupt

    with pool_of({"delays": (10**9,)}) as pool, pytest.raises(KeyboardInterrupt):
        pool.run(20, caller=Interrupted())
