"""Threads, forks and calls from inside: one call at a time, and a sentence for what cannot be."""

import multiprocessing
import os
import signal
import sys
import threading
import time
from contextlib import suppress

import gymnasium as gym
import numpy as np
import pytest

from plangym_lite import make
from plangym_lite.errors import ForkedError, ReentrantCallError
from plangym_lite.vectorization import ParallelEnv
from tests.same import assert_same
from tests.toys import RIGHT, STAY, ToyEnv

KINDS = {
    "trusted": lambda: make("CartPole-v1"),
    "atari": lambda: make("ALE/Pong-v5", obs_type="ram"),
    "a toy": lambda: ToyEnv(slip=0.3),
}


def run_threads(*functions, patience=50):
    """Run functions in threads; raise what the first of them raised."""
    errors = []

    def guarded(function):
        try:
            function()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(function,)) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(patience)
    if errors:
        raise errors[0]
    assert not any(thread.is_alive() for thread in threads)


@pytest.mark.parametrize("n_workers", [None, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_threads_that_share_an_environment_get_their_own_rows(kind, n_workers):
    env = ParallelEnv(KINDS[kind], n_workers=n_workers) if n_workers else KINDS[kind]()
    state, *_ = env.reset(seed=0)

    def work(seed):
        rng = np.random.default_rng(seed)
        with KINDS[kind]() as mine:
            mine.set_state(state)
            for number in range(25):
                size = int(rng.integers(1, 40))
                rows = rng.integers(0, 2, size), [state] * size, 3
                assert_same(mine.step_batch(*rows), env.step_batch(*rows))
                if number % 5 == seed:
                    assert_same(mine.step(1, state), env.step(1, state))
                    env.set_state(state)

    with env:
        run_threads(lambda: work(0), lambda: work(1), lambda: work(2))


PLAIN = {  # one frame a step, no sticky actions, no time limit
    "CartPole-v1": (lambda: gym.make("CartPole-v1", max_episode_steps=-1), {}),
    "ALE/Pong-v5": (
        lambda: gym.make(
            "ALE/Pong-v5",
            obs_type="ram",
            frameskip=1,
            repeat_action_probability=0.0,
            max_episode_steps=-1,
        ),
        {"obs_type": "ram", "frameskip": 1},
    ),
}


def plain_episode(env, seed, length=60):
    """What plain Gymnasium gives: the actions, and observation, reward and flags after each."""
    env.reset(seed=seed)
    env.action_space.seed(seed)
    episode = []
    while len(episode) < length:
        action = env.action_space.sample()
        obs, reward, *ends, _ = env.step(action)
        episode.append((action, obs.copy(), float(reward), *ends))
        if any(ends):
            break
    return episode


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", PLAIN)
def test_two_threads_get_the_rows_of_plain_gymnasium(name):
    """Each thread follows episodes in random batches, always from the states that it got."""
    make_plain, options = PLAIN[name]
    done, wrong = [0, 0], [0, 0]
    with make(name, n_workers=2, **options) as env, make_plain() as plain:
        episodes = [plain_episode(plain, seed) for seed in range(12)]
        firsts = [env.reset(seed=seed)[0] for seed in range(len(episodes))]

        def work(number):
            rng = np.random.default_rng(number)
            at, states = [0] * len(episodes), list(firsts)
            for _ in range(10_000):
                chosen = rng.permutation(len(episodes))[: rng.integers(1, len(episodes) + 1)]
                expected = [episodes[k][at[k]] for k in chosen]
                batch = env.step_batch([row[0] for row in expected], [states[k] for k in chosen])
                for row, (k, (_, obs, *numbers)) in enumerate(zip(chosen, expected, strict=True)):
                    got = [field[row] for field in batch[2:5]]
                    same = (batch.observs[row] == obs).all() and got == numbers
                    wrong[number] += not same
                    at[k] = (at[k] + 1) % len(episodes[k])
                    states[k] = batch.states[row] if at[k] else firsts[k]
                done[number] += 1

        run_threads(lambda: work(0), lambda: work(1), patience=500)
    assert (sum(done), wrong) == (20_000, [0, 0])


LATE = {
    "step_batch": lambda env, state: env.step_batch([RIGHT], [state], timeout=0.2),
    "reset": lambda env, state: env.reset(timeout=0.2),
    "sync_states": lambda env, state: env.sync_states(state, timeout=0.2),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("call", LATE)
def test_waiting_counts_for_the_timeout(call):
    with ParallelEnv(ToyEnv, n_workers=1, sleep_at=STAY, sleep_for=0.6) as env:
        state = env.get_state()
        started = threading.Event()

        def slow():
            started.set()
            env.step_batch([STAY] * 2, [state] * 2)

        def quick():
            started.wait()
            time.sleep(0.1)
            before = time.monotonic()
            with pytest.raises(TimeoutError, match="another thread"):
                LATE[call](env, state)
            assert time.monotonic() - before < 0.5

        run_threads(slow, quick)
        assert env.step_batch([RIGHT], [state]).rewards.shape == (1,)


class Slow(ToyEnv):
    """Counts how often it is built, which takes a while."""

    n_built = 0

    def build_engine(self):
        Slow.n_built += 1
        time.sleep(0.2)
        super().build_engine()


@pytest.mark.timeout(60)
@pytest.mark.parametrize("n_workers", [None, 1])
def test_threads_build_a_delayed_environment_once(n_workers):
    Slow.n_built = 0
    if n_workers:
        env = ParallelEnv(Slow, n_workers=n_workers, delay_setup=True)
    else:
        env = Slow(delay_setup=True)
    with env:
        run_threads(*[lambda: env.batch_spec] * 3)
        assert Slow.n_built == 1  # in this process
        assert env.step_batch([RIGHT]).rewards.shape == (1,)


class Recursive(ToyEnv):
    """Calls the environment that it is in, from inside a step."""

    of: "ParallelEnv | None" = None

    def advance(self, action, n_frames):
        if self.of is not None:
            env, self.of = self.of, None
            try:
                env.step_batch([RIGHT])
            finally:
                self.of = env
        return super().advance(action, n_frames)


def test_a_call_from_inside_a_call_is_refused():
    with ParallelEnv(Recursive, n_workers=1, use_caller=True) as env, ToyEnv() as other:
        state = env.get_state()
        env.plan_env.of = env
        with pytest.raises(ReentrantCallError, match="from inside"):
            env.step(RIGHT)
        env.plan_env.of = other  # another environment may be called there
        assert env.step(RIGHT).obs is not None
        env.plan_env.of = None
        assert env.step_batch([RIGHT] * 3, [state] * 3).rewards.shape == (3,)


def _use(env, found):
    try:
        env.step_batch([RIGHT])
    except Exception as error:
        found.put((type(error).__name__, str(error)))
    env.close()
    os._exit(0)


def test_a_forked_child_is_refused_and_may_close_it():
    context = multiprocessing.get_context("fork")
    with ParallelEnv(ToyEnv, n_workers=2) as env:
        found = context.SimpleQueue()
        child = context.Process(target=_use, args=(env, found))
        child.start()
        name, text = found.get()
        child.join(30)
        assert name == ForkedError.__name__
        assert f"process {os.getpid()}" in text
        assert [worker.is_alive() for worker in env.batch_env] == [True, True]
        assert env.step_batch([RIGHT] * 4).rewards.shape == (4,)


class InterruptAt:
    """A profile function: Ctrl-C after the n-th call of a function in the files of the lock."""

    FILES = "vectorization/env.py", "plangym_lite/system.py"

    def __init__(self, n):
        self.left = n

    def __call__(self, frame, event, _):
        if event in ("call", "c_return") and frame.f_code.co_filename.endswith(self.FILES):
            self.left -= 1
            if self.left == 0:
                sys.setprofile(None)
                signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("timeout", [None, 30])
def test_an_interrupt_leaves_no_lock(timeout):
    with ParallelEnv(lambda: make("CartPole-v1"), n_workers=2) as env:
        state, *_ = env.reset(seed=0)
        calls = {
            "step_batch": lambda: env.step_batch([0] * 8, [state] * 8, timeout=timeout),
            "sync_states": lambda: env.sync_states(state, timeout=timeout),
            "get_state": env.get_state,
        }
        for name, call in calls.items():
            for n in range(1, 200):
                profile = InterruptAt(n)
                with suppress(KeyboardInterrupt):
                    sys.setprofile(profile)
                    call()
                sys.setprofile(None)
                thread = threading.Thread(target=env.get_state, daemon=True)
                thread.start()
                thread.join(10)
                assert not thread.is_alive(), f"{name} kept its lock, interrupted at call {n}"
                if profile.left > 0:
                    break
            assert 5 < n < 199
