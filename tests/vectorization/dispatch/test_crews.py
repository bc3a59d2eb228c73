"""Who runs a batch: chosen by measurement, with the same answers whoever it is."""

import os
import signal

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plangym_lite import make
from plangym_lite.testing.toy import ToyEnv
from plangym_lite.transitions import Form, Rows
from plangym_lite.vectorization import ParallelEnv
from plangym_lite.vectorization.dispatch.crews import SHORT, Crew, CrewChoice, kind_of_batch
from tests.same import assert_same, collect_states

ALL = [Crew.WORKERS, Crew.CALLER, Crew.MIXED]


def run(choice, times, batches, kind="kind"):
    """Let ``batches`` batches be run by whoever is chosen; return who it was."""
    chosen = []
    for _ in range(batches):
        crew, is_timed = choice.pick(kind)
        chosen.append(crew)
        if is_timed:
            choice.learn(kind, crew, times[crew])
    return chosen


@given(st.permutations([1e-4, 2e-4, 3e-4]))
def test_the_quickest_gets_most_batches(seconds):
    times = dict(zip(ALL, seconds, strict=True))
    chosen = run(CrewChoice(ALL), times, 1000)
    assert set(chosen) == set(ALL)
    assert chosen.count(min(times, key=times.get)) > 950


def test_one_that_becomes_quicker_is_found_out():
    choice = CrewChoice(ALL)
    run(choice, {Crew.WORKERS: 3e-4, Crew.CALLER: 1e-4, Crew.MIXED: 2e-4}, 100)
    later = run(choice, {Crew.WORKERS: 3e-4, Crew.CALLER: 9e-4, Crew.MIXED: 2e-4}, 1000)
    assert later[-1] == Crew.MIXED


def test_one_slow_batch_changes_nothing():
    choice = CrewChoice(ALL)
    times = {Crew.WORKERS: 3e-4, Crew.CALLER: 1e-4, Crew.MIXED: 2e-4}
    run(choice, times, 20)
    choice.learn("kind", Crew.CALLER, 1.0)
    assert choice.pick("kind")[0] == Crew.CALLER


def test_long_batches_stay_with_the_workers():
    chosen = run(CrewChoice(ALL), dict.fromkeys(ALL, 2 * SHORT), 200)
    assert chosen.count(Crew.WORKERS) > 190
    assert chosen[:2] == [Crew.WORKERS] * 2


def test_a_slow_first_batch_keeps_nobody_from_being_tried():
    choice = CrewChoice(ALL)
    times = {Crew.WORKERS: 3e-4, Crew.CALLER: 1e-4, Crew.MIXED: 2e-4}
    run(choice, {**times, Crew.WORKERS: 2 * SHORT}, 1)
    assert run(choice, times, 30).count(Crew.CALLER) > 20


def test_without_a_choice_nothing_is_timed():
    assert set(run(CrewChoice([Crew.WORKERS]), {Crew.WORKERS: 1.0}, 9)) == {Crew.WORKERS}


def test_kinds_of_batches():
    def kind(size, dt, **form):
        return kind_of_batch(Rows(None, None, np.full(size, dt)), Form(**form))

    assert kind(5, 1) == kind(7, 1) != kind(8, 1)
    assert kind(4, 1) != kind(4, 9)
    assert kind(4, 1, steps=9) == kind(4, 9) != kind(4, 9, observs=None)


MAKERS = {
    "atari": lambda: make("ALE/MsPacman-v5", obs_type="rgb", frameskip=2),
    "cartpole": lambda: make("CartPole-v1"),
}


@pytest.fixture(scope="module", params=MAKERS)
def pair(request):
    """The same environment with three processes and without."""
    with MAKERS[request.param]() as local, ParallelEnv(MAKERS[request.param], n_workers=3) as env:
        states, actions = collect_states(local, 40)
        yield local, env, states, actions


def by(env, crew, monkeypatch):
    """Have all batches run by one crew."""
    monkeypatch.setattr(env.batch_env, "_choice", CrewChoice([crew]))


@pytest.mark.parametrize("crew", Crew)
@settings(max_examples=10)
@given(picks=st.lists(st.integers(0, 39), min_size=1, max_size=12), steps=st.integers(1, 4))
def test_every_crew_gives_the_same_rows(pair, crew, picks, steps):
    local, env, states, actions = pair
    before = env.get_state()
    with pytest.MonkeyPatch.context() as monkeypatch:
        by(env, crew, monkeypatch)
        rows = [actions[i] for i in picks], [states[i] for i in picks], 2
        assert_same(local.step_batch(*rows), env.step_batch(*rows))
        sequences = [[actions[(i + k) % 40] for k in range(steps)] for i in picks], *rows[1:]
        assert_same(local.rollout_batch(*sequences), env.rollout_batch(*sequences))
    assert_same(before, env.get_state())


@pytest.mark.parametrize("crew", Crew)
def test_a_worker_that_dies_changes_nothing(pair, crew, monkeypatch):
    local, _, states, actions = pair
    with ParallelEnv(local.clone, n_workers=2) as env:
        by(env, crew, monkeypatch)
        os.kill(env.batch_env[0].pid, signal.SIGKILL)
        rows = actions[:9], states[:9]
        assert_same(local.step_batch(*rows), env.step_batch(*rows))


def test_images_stay_as_they_are_while_the_caller_goes_on(monkeypatch):
    with make("ALE/Pong-v5", obs_type="rgb", n_workers=2) as env:
        by(env, Crew.MIXED, monkeypatch)
        held, copies = [], []
        for _ in range(6):
            batch = env.step_batch([env.sample_action() for _ in range(4)])
            held.append(batch.observs)
            copies.append(batch.observs.copy())
            env.step(env.sample_action())
        assert_same(copies, held)


class Fragile(gym.Wrapper):
    """A user's wrapper, which may do anything."""


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
        chosen = run(env.batch_env._choice, dict.fromkeys(Crew, 1e-4), 40)
        assert (Crew.CALLER in chosen) is trusted


@pytest.mark.parametrize("allowed", [True, False])
def test_the_user_may_say_who_runs_rows(allowed):
    maker = ToyEnv if allowed else MAKERS["cartpole"]
    with ParallelEnv(maker, n_workers=1, use_caller=allowed) as env:
        chosen = run(env.batch_env._choice, dict.fromkeys(Crew, 1e-4), 40)
        assert (Crew.CALLER in chosen) is allowed


def test_one_after_another_means_workers():
    with ParallelEnv(lambda: make("CartPole-v1"), n_workers=2, blocking=True) as env:
        assert set(run(env.batch_env._choice, dict.fromkeys(Crew, 1e-4), 40)) == {Crew.WORKERS}
