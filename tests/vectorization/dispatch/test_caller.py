"""The caller takes rows too: the same answers, whoever runs them."""

import os
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path
from statistics import median

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import plangym_lite
from plangym_lite import make
from plangym_lite.vectorization import ParallelEnv
from tests.same import assert_same, collect_states
from tests.toys import RIGHT, STAY, ToyEnv

MAKERS = {
    "atari": lambda: make("ALE/MsPacman-v5", obs_type="rgb", frameskip=2),
    "cartpole": lambda: make("CartPole-v1"),
}


@pytest.fixture(scope="module", params=MAKERS)
def trio(request):
    """The same environment without processes, with two and the caller, and with two alone."""
    kind = MAKERS[request.param]
    with (
        kind() as local,
        ParallelEnv(kind, n_workers=2) as env,
        ParallelEnv(kind, n_workers=2, use_caller=False) as others,
    ):
        states, actions = collect_states(local, 40)
        yield local, (env, others), states, actions


@settings(max_examples=10)
@given(picks=st.lists(st.integers(0, 39), min_size=1, max_size=12), steps=st.integers(1, 4))
def test_the_same_rows(trio, picks, steps):
    local, several, states, actions = trio
    for env in several:
        before = env.get_state()
        rows = [actions[i] for i in picks], [states[i] for i in picks], 2
        assert_same(local.step_batch(*rows), env.step_batch(*rows))
        sequences = [[actions[(i + k) % 40] for k in range(steps)] for i in picks], *rows[1:]
        assert_same(local.rollout_batch(*sequences), env.rollout_batch(*sequences))
        assert_same(before, env.get_state())


def test_a_worker_that_dies_changes_nothing(trio):
    local, _, states, actions = trio
    for options in ({}, {"use_caller": False}):
        with ParallelEnv(local.clone, n_workers=2, **options) as env:
            for _ in range(3):
                with suppress(ProcessLookupError):  # the caller may have run all rows before
                    os.kill(env.batch_env[0].pid, signal.SIGKILL)
                rows = actions[:19], states[:19], 5
                assert_same(local.step_batch(*rows), env.step_batch(*rows))


def test_images_stay_as_they_are_while_the_caller_goes_on():
    with make("ALE/Pong-v5", obs_type="rgb", n_workers=2) as env:
        held, copies = [], []
        for _ in range(6):
            batch = env.step_batch([env.sample_action() for _ in range(4)])
            held.append(batch.observs)
            copies.append(batch.observs.copy())
            env.step(env.sample_action())
        assert_same(copies, held)


class Fragile(gym.Wrapper):
    """A user's wrapper, which may do anything."""


class Where(ToyEnv):
    """Says in which process it was stepped."""

    def advance(self, action, n_frames):
        *step, info = super().advance(action, n_frames)
        return *step, {**info, "pid": os.getpid()}


def processes_of(env, n_batches=20):
    """The processes that ran rows of some batches."""
    state, pids = env.get_state(), set()
    for _ in range(n_batches):
        batch = env.step_batch([RIGHT] * 200, [state] * 200, 5)
        pids |= {info["pid"] for info in batch.infos}
    return pids


@pytest.mark.parametrize(
    ("maker", "trusted"),
    [
        (ToyEnv, False),
        (lambda: make("CartPole-v1"), True),
        (lambda: make("CartPole-v1", wrappers=[Fragile]), False),
    ],
)
def test_only_trusted_environments_run_in_the_callers_process(maker, trusted):
    with ParallelEnv(maker, n_workers=1) as env:
        assert env.plan_env.is_trusted is trusted
    if maker is ToyEnv:
        with ParallelEnv(Where, n_workers=2) as env:
            assert os.getpid() not in processes_of(env)


@pytest.mark.parametrize("use_caller", [True, False])
def test_the_user_may_say_who_runs_rows(use_caller):
    with ParallelEnv(Where, n_workers=2, use_caller=use_caller) as env:
        pids = processes_of(env)
        assert (os.getpid() in pids) is use_caller
        assert pids - {os.getpid()} <= {worker.pid for worker in env.batch_env}


def test_blocking_is_one_worker_a_batch_in_turn():
    with ParallelEnv(Where, n_workers=3, blocking=True, use_caller=True) as env:
        state = env.get_state()
        ran = [
            {info["pid"] for info in env.step_batch([RIGHT] * 40, [state] * 40, 3).infos}
            for _ in range(6)
        ]
        pids = [worker.pid for worker in env.batch_env]
        assert ran == [{pid} for pid in pids * 2]


def test_what_was_done_is_counted():
    with ParallelEnv(Where, n_workers=2, use_caller=False, sleep_at=STAY, sleep_for=0.01) as env:
        state = env.get_state()
        env.step_batch([STAY] * 30, [state] * 30, 2)
        before = env.stats
        assert (before.batches, before.rows, before.frames) == (1, 30, 60)
        assert before.seconds > 0.1
        assert (before.replacements, before.rows_again) == (0, 0)
        pid = env.batch_env[0].pid
        killer = threading.Timer(0.1, os.kill, [pid, signal.SIGKILL])
        killer.start()
        env.step_batch([STAY] * 60, [state] * 60, 2)
        killer.join()
        assert env.stats.replacements == 1
        assert 0 < env.stats.rows_again < 60


def test_no_more_workers_are_rung_than_there_are_cores(monkeypatch):
    monkeypatch.setattr("plangym_lite.vectorization.dispatch.batch_env.usable_cores", lambda: 2)
    with ParallelEnv(MAKERS["atari"], n_workers=5, use_caller=False) as env, ToyEnv():
        state = env.get_state()
        rung = set()
        for index, worker in enumerate(env.batch_env):
            take_chunks = worker.take_chunks
            worker.take_chunks = lambda *args, index=index, take=take_chunks: (
                rung.add(index),
                take(*args),
            )[1]
        for _ in range(5):
            batch = env.step_batch([0] * 64, np.stack([state] * 64))
        assert len(batch.infos) == 64
        assert rung == {0, 1}


def test_a_batch_passes_few_calls_and_files():
    """Of the caller, without those that run the rows; see docs/walk.md."""
    root, calls, inside = str(Path(plangym_lite.__file__).parent), [], []

    def note(frame, event, argument):
        code = frame.f_code
        if not code.co_filename.startswith(root):
            return
        if code.co_name == "make_transitions":
            (inside.append if event == "call" else inside.remove)(frame)
        elif event == "call" and not inside:
            calls[-1].append(code.co_filename)

    toy = {"sleep_at": STAY, "sleep_for": 1e-3, "use_caller": True}
    with ParallelEnv(ToyEnv, n_workers=2, **toy) as env:
        rows = [STAY] * 2, [env.get_state()] * 2
        for _ in range(10):
            env.step_batch(*rows)
        for _ in range(21):
            calls.append([])
            sys.setprofile(note)
            try:
                env.step_batch(*rows)
            finally:
                sys.setprofile(None)
    assert median(len(set(files)) for files in calls) <= 12
    assert 20 < median(len(files) for files in calls) <= 90
