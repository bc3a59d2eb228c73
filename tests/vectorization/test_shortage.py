"""Shortage: without descriptors, memory or room every answer is the same, only slower."""

import os
import resource
from contextlib import contextmanager
from itertools import pairwise

import numpy.ma  # noqa: F401  # opens files when it is used first
import pytest

from plangym_lite import SubprocVectorEnv, WorkerDiedError
from plangym_lite.vectorization import ParallelEnv
from plangym_lite.vectorization.memory import blocks
from tests.same import assert_same
from tests.toys import LEFT, RIGHT, NestedToy, OpaqueToy, ToyEnv, ToyError
from tests.vectorization.helpers import run_python
from tests.vectorization.subjects import MAKERS, Subject

PICKS = [(index % 60, 1 + index % 4) for index in range(45)]


@contextmanager
def no_descriptors():
    """This process can open nothing more."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, before[1]))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            os.dup(0)
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize("name", ["toy", "opaque states", "nested", "images in infos", "atari rgb"])
@pytest.mark.parametrize("use_caller", [True, False])
def test_without_descriptors_batches_are_the_same(name, use_caller, caplog):
    subject = Subject(MAKERS[name])
    with ParallelEnv(MAKERS[name], n_workers=2, use_caller=use_caller) as env:
        env.sync_states(subject.env.get_state())
        paths = [[subject.actions[index]] * 3 for index, _ in PICKS]
        states = [subject.states[index] for index, _ in PICKS]
        with no_descriptors():
            forms = ("list", "array", "objects")
            batches = [subject.batch(env.step_batch, PICKS, form) for form in forms]
            rollouts = env.rollout_batch(paths, states)
            assert env._batch_env._pool.blocks == []
        for batch in batches:
            subject.check(PICKS, batch)
        assert len(caplog.records) == 1
        assert_same(subject.env.rollout_batch(paths, states), rollouts)
        subject.check(PICKS, subject.batch(env.step_batch, PICKS))
        assert env._batch_env._pool.blocks  # shared again
    subject.env.close()


def test_errors_and_timeouts_without_descriptors():
    with ParallelEnv(ToyEnv, n_workers=2, fail_at=0) as env, ToyEnv() as local:
        with no_descriptors():
            with pytest.raises(ToyError):
                env.step_batch([LEFT] * 40)
            batch = env.step_batch([RIGHT] * 40, timeout=20)
        assert_same(local.step_batch([RIGHT] * 40), batch)


def test_row_that_ends_its_worker_in_ordinary_memory(monkeypatch):
    monkeypatch.setattr(blocks, "make_arena", lambda *sizes: None)
    with ParallelEnv(ToyEnv, n_workers=2, use_caller=False, exit_at=0) as env, ToyEnv() as local:
        with pytest.raises(WorkerDiedError, match="row 7 ended its worker 3 times"):
            env.step_batch([RIGHT] * 7 + [LEFT] + [RIGHT] * 9)
        assert_same(local.step_batch([RIGHT] * 20), env.step_batch([RIGHT] * 20))


@pytest.mark.parametrize("toy", [ToyEnv, NestedToy, OpaqueToy])
def test_vector_env_in_ordinary_memory(monkeypatch, toy):
    def run():
        with SubprocVectorEnv([toy] * 3) as env:
            env.action_space.seed(2)
            actions = [env.action_space.sample() for _ in range(6)]
            return [env.reset(seed=5), *(env.step(action) for action in actions)]

    expected = run()
    monkeypatch.setattr(blocks, "make_arena", lambda *sizes: None)
    assert_same(expected, run())


@pytest.mark.parametrize("n", [1, 3])
def test_vector_env_reserves_rows_for_its_own_size(n):
    with SubprocVectorEnv([ToyEnv] * n) as env:
        env.reset()
        env.step([RIGHT] * n)
        (block,) = env.group._pool.blocks
        assert block.layout.capacity == n


def test_a_worker_that_could_map_nothing_maps_it_later():
    def constructor():
        toy = ToyEnv()
        toy.allow = lambda more: resource.setrlimit(
            resource.RLIMIT_NOFILE,
            ((100 if more else os.dup(0)), resource.getrlimit(resource.RLIMIT_NOFILE)[1]),
        )
        return toy

    with ParallelEnv(constructor, n_workers=1) as env, ToyEnv() as local:
        env.batch_env[0].call("allow", False).result()
        with pytest.raises(OSError, match="too many files open"):
            env.step_batch([RIGHT] * 9)
        env.batch_env[0].call("allow", True).result()
        assert_same(local.step_batch([RIGHT] * 9), env.step_batch([RIGHT] * 9))


def test_interrupted_batch_is_not_overwritten_while_workers_go_on():
    with ParallelEnv(ToyEnv, n_workers=1, use_caller=False, sleep_at=0, sleep_for=0.4) as env:
        with pytest.raises(TimeoutError):
            env.step_batch([LEFT] * 3, timeout=0.2)
        pool = env._batch_env._pool
        batch = env.step_batch([RIGHT] * 3)
        every = [*pool.blocks, *pool._leaving]
        spans = sorted((block.offset, block.offset + block.layout.nbytes) for block in every)
        assert all(one[1] <= other[0] for one, other in pairwise(spans))
    with ToyEnv() as local:
        assert_same(local.step_batch([RIGHT] * 3), batch)


MANY_HELD = """
import os, resource, sys
import gymnasium as gym, numpy as np, plangym_lite

class Game(gym.Env):
    observation_space = gym.spaces.Box(0, 255, (64, 64, 4), np.uint8)
    action_space = gym.spaces.Discrete(9)
    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return np.zeros((64, 64, 4), np.uint8), {}
    def step(self, action):
        self.t += int(action)
        return np.full((64, 64, 4), self.t % 256, np.uint8), 1.0, False, False, {}

resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
env = plangym_lite.make(Game, n_workers=2, use_caller=False)
state, *_ = env.reset(seed=0)

def counts():
    pids = [os.getpid(), *(worker.pid for worker in env.batch_env)]
    return [len(os.listdir(f"/proc/{pid}/fd")) for pid in pids]

held, seen = [], []
for number in range(int(sys.argv[1])):
    held.append(env.step_batch([number % 9, 1], [state, state]).observs)
    if number % 100 == 20:
        seen.append(counts())
assert all((images[0] == n % 9).all() and (images[1] == 1).all() for n, images in enumerate(held))
assert all(images.base is not None for images in held)
env.close()
print(max(last - first for first, last in zip(seen[0], seen[-1])), max(map(max, seen)))
"""


@pytest.mark.timeout(120)  # on a busy machine
@pytest.mark.parametrize("n", [500, pytest.param(5000, marks=pytest.mark.slow)])
def test_descriptors_are_flat_over_held_batches(n):
    grown, most = map(int, run_python("-c", MANY_HELD, str(n), timeout=110).split())
    assert grown <= (0 if n < 1000 else 8)  # arenas, each as large as all before
    assert most < 64
