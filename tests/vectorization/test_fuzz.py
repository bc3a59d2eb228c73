"""Fuzz: whatever is done to a ParallelEnv, in any order, it answers like a plain environment."""

import multiprocessing
import os
import re
import shutil
import signal
import tempfile
import threading
from pathlib import Path

import pytest
from gymnasium import spaces
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from plangym_lite import ClosedError
from plangym_lite.vectorization import ParallelEnv
from tests.same import assert_same
from tests.toys import STAY, OpaqueToy, ToyEnv, ToyError

RAISE, DIE = 3, 4
N_WORKERS = 2


class Fuzzed(ToyEnv):
    """A toy with two more actions: one raises, one may end the worker; else it stays.

    Args:
        orders: path of a file; the first worker that finds it there removes it and dies.
    """

    def __init__(self, orders):
        self._orders = orders
        super().__init__("fuzzed", slip=0.3, time_limit=9)

    def build_engine(self):
        super().build_engine()
        self.action_space = spaces.Discrete(5)

    def _decode(self, action):
        if action == RAISE:
            raise ToyError("it was told to")
        if action == DIE and multiprocessing.parent_process() is not None:
            self._die_if_told()
        return super()._decode(min(action, STAY) if action >= RAISE else action)

    def _die_if_told(self):
        try:
            os.unlink(self._orders)
        except FileNotFoundError:
            return
        os.kill(os.getpid(), signal.SIGKILL)


class OpaqueFuzzed(Fuzzed, OpaqueToy):
    """The same with states that are not arrays."""


class Interrupts:
    """Ctrl-C that comes a while after a block was entered, and only if it is still inside."""

    def __init__(self, delay):
        self._timer = threading.Timer(delay, os.kill, (os.getpid(), signal.SIGINT))
        self._armed = False

    def _handle(self, *args):
        if self._armed:
            self._armed = False
            raise KeyboardInterrupt

    def run(self, function):
        """What ``function`` returns; ``None`` if it was interrupted."""
        before = signal.signal(signal.SIGINT, self._handle)
        try:
            self._armed = True
            self._timer.start()
            result = function()
            self._armed = False
            return result
        except KeyboardInterrupt:
            return None
        finally:
            self._armed = False
            self._timer.join()
            signal.signal(signal.SIGINT, before)


actions = st.sampled_from([0, 1, 2, 2, DIE])
indices = st.integers(0, 10**6)
rows = st.lists(st.tuples(actions, indices, st.integers(1, 4)), max_size=40)
sequences = st.integers(1, 5).flatmap(
    lambda steps: st.lists(
        st.tuples(st.lists(actions, min_size=steps, max_size=steps), indices, st.integers(1, 3)),
        max_size=20,
    )
)
timeouts = st.sampled_from([None, None, 30])
workers = st.integers(0, N_WORKERS - 1)


class FuzzedWorkers(RuleBasedStateMachine):
    """``env`` has workers, ``model`` has none; ``home`` is the state that all were put into."""

    def __init__(self):
        super().__init__()
        self.env = None
        self.folder = tempfile.mkdtemp(prefix="plangym-lite-fuzz-")
        self.orders = os.path.join(self.folder, "orders")

    @initialize(kind=st.sampled_from([Fuzzed, OpaqueFuzzed]), use_caller=st.booleans())
    def open(self, kind, use_caller):
        self.kind, self.model, self.use_caller = kind, kind(self.orders), use_caller
        self.env = self.make_env()
        self.states = []
        self.put(self.model.get_state())

    def make_env(self):
        """The environment with workers."""
        options = {"n_workers": N_WORKERS, "use_caller": self.use_caller}
        return ParallelEnv(self.kind, orders=self.orders, **options)

    def put(self, state):
        """All are in this state."""
        self.env.set_state(state)
        self.model.set_state(state)
        self.home = state
        self.remember([state])

    def remember(self, states):
        self.states = [*self.states, *states][-50:]

    def batch_of(self, rows):
        """Arguments from rows of ``(actions, index of a state, dt)``."""
        states = [self.states[index % len(self.states)] for _, index, _ in rows]
        return [action for action, _, _ in rows], states, [dt for *_, dt in rows]

    # ---- the environment itself -------------------------------------------------------------

    @rule(seed=st.one_of(st.integers(0, 99), st.none()))
    def reset(self, seed):
        if seed is None:
            assert_same(self.model.reset(), self.env.reset())
        else:
            assert_same(self.model.reset(seed=seed), self.env.reset(seed=seed))
        self.home = self.model.get_state()
        self.remember([self.home])

    @rule(action=actions, dt=st.integers(1, 4), index=st.one_of(st.none(), indices))
    def step(self, action, dt, index):
        state = None if index is None else self.states[index % len(self.states)]
        expected = self.model.step(action, state, dt, return_state=True)
        assert_same(expected, self.env.step(action, state, dt, return_state=True))
        self.remember([expected.state])

    @rule(index=indices)
    def set_state(self, index):
        self.put(self.states[index % len(self.states)])

    @rule(index=st.one_of(st.none(), indices), blocking=st.booleans(), timeout=timeouts)
    def sync_states(self, index, blocking, timeout):
        state = None if index is None else self.states[index % len(self.states)]
        self.env.sync_states(state, blocking, timeout)
        if state is not None:
            self.model.set_state(state)
        self.home = self.model.get_state()
        assert_same(self.home, self.env.get_state())

    # ---- batches ----------------------------------------------------------------------------

    @rule(rows=rows, dies=st.booleans(), timeout=timeouts)
    def step_batch(self, rows, dies, timeout):
        batch = self.batch_of(rows)
        if dies:
            Path(self.orders).touch()
        expected = self.model.step_batch(*batch)
        assert_same(expected, self.env.step_batch(*batch, timeout=timeout))
        self.remember(expected.states[-5:])

    @rule(rows=sequences, dies=st.booleans(), observs=st.sampled_from(["last", "all", None]))
    def rollout_batch(self, rows, dies, observs):
        batch = self.batch_of(rows)
        if dies:
            Path(self.orders).touch()
        expected = self.model.rollout_batch(*batch, observs)
        assert_same(expected, self.env.rollout_batch(*batch, observs))
        self.remember(expected.states[-5:])

    @rule(batch=st.lists(actions, max_size=20), dt=st.integers(1, 3))
    def step_batch_from_here(self, batch, dt):
        assert_same(self.model.step_batch(batch, dt=dt), self.env.step_batch(batch, dt=dt))
        with self.kind(self.orders) as there:
            there.set_state(self.home)
            got = self.env.batch_env.make_transitions(batch, dt=dt)
            assert_same(there.step_batch(batch, dt=dt), got)

    @rule(rows=rows, place=indices, rolls_out=st.booleans())
    def row_that_raises(self, rows, place, rolls_out):
        place %= len(rows) + 1
        batch, states, dts = self.batch_of([*rows[:place], (RAISE, 0, 1), *rows[place:]])
        with self.kind(self.orders) as running:
            states[place] = running.get_state()
        run = self.env.step_batch
        if rolls_out:
            batch, run = [[action] for action in batch], self.env.rollout_batch
        with pytest.raises(ToyError, match="told to") as caught:
            run(batch, states, dts)
        if hasattr(caught.value, "__notes__"):
            assert f"in row {place} of the batch" in caught.value.__notes__[0]

    # ---- faults -----------------------------------------------------------------------------

    @rule(worker=workers)
    def kill(self, worker):
        os.kill(self.env.batch_env[worker].pid, signal.SIGKILL)

    @rule(worker=workers, rows=rows.filter(lambda rows: len(rows) > 16))
    def stall(self, worker, rows):
        self.sync_states(None, True, None)  # none is dead, none is still starting
        process = self.env.batch_env[worker]
        pid, batch = process.pid, self.batch_of(rows)
        os.kill(pid, signal.SIGSTOP)
        late = ""
        try:
            got = self.env.step_batch(*batch, timeout=0.5)
        except TimeoutError as error:
            late = str(error)
        if late:
            assert re.search(f"worker {worker} .*pid={pid}", late), late
            assert process.pid != pid
        else:  # others took all rows
            assert_same(self.model.step_batch(*batch), got)
            os.kill(pid, signal.SIGCONT)

    @rule(rows=rows, delay=st.floats(0, 0.01), rolls_out=st.booleans())
    def interrupt(self, rows, delay, rolls_out):
        batch = self.batch_of(rows)
        if rolls_out:
            batch[0][:] = [[action] * 3 for action in batch[0]]
        ours, theirs = [
            env.rollout_batch if rolls_out else env.step_batch for env in (self.model, self.env)
        ]
        got = Interrupts(delay).run(lambda: theirs(*batch))
        if got is not None:
            assert_same(ours(*batch), got)

    @rule(index=indices, delay=st.floats(0, 0.003))
    def interrupted_sync(self, index, delay):
        state = self.states[index % len(self.states)]
        Interrupts(delay).run(lambda: self.env.sync_states(state))
        self.put(state)

    # ---- ends -------------------------------------------------------------------------------

    @rule(stays=st.booleans())
    def clone(self, stays):
        copy = self.env.clone()
        assert_same(self.model.get_state(), copy.get_state())
        assert_same(self.model.step_batch([2, 0]), copy.step_batch([2, 0]))
        if stays:
            self.env, copy = copy, self.env
            self.home = self.model.get_state()
        copy.close()

    @rule()
    def close(self):
        self.env.close()
        self.env.close()
        with pytest.raises(ClosedError):
            self.env.step_batch([2])
        self.env = self.make_env()
        self.put(self.model.get_state())

    def teardown(self):
        if self.env is not None:
            self.env.close()
        shutil.rmtree(self.folder)


unraisable = "ignore::pytest.PytestUnraisableExceptionWarning"  # an interrupt inside a finalizer
common = {
    "deadline": None,
    "suppress_health_check": list(HealthCheck),
    "phases": [Phase.generate],  # to shrink what fails would take minutes
}


@pytest.mark.timeout(180)  # on a busy machine; else a few seconds
@pytest.mark.filterwarnings(unraisable)
class TestFuzz(FuzzedWorkers.TestCase):
    settings = settings(max_examples=3, stateful_step_count=20, **common)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.filterwarnings(unraisable)
class TestLongFuzz(FuzzedWorkers.TestCase):
    settings = settings(max_examples=150, stateful_step_count=50, **common)
