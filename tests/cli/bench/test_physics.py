"""The lines about MuJoCo: both sides compute the same, on as many threads."""

import importlib.util
from contextlib import ExitStack

import numpy as np
import pytest

from plangym_lite.cli.bench import physics
from plangym_lite.cli.bench.ours import gather, play_rows, sequences, step_rows
from plangym_lite.cli.bench.physics import (
    CHEETAH,
    FORCELESS,
    decide,
    mujoco_batch,
    mujoco_rollout,
    on_threads,
    one_by_one,
    physics_works,
)
from plangym_lite.planners import cem, mppi

mujoco = pytest.importorskip("mujoco")
SIZE = 9
HAS_BATCH = importlib.util.find_spec("mujoco.batch") is not None


def spy_on(monkeypatch, owner, name, seen):
    """Keep the result of a method of a reference."""
    original = getattr(owner, name)

    def call(*args, **kwargs):
        seen.append(original(*args, **kwargs))
        return seen[-1]

    monkeypatch.setattr(owner, name, call)


@pytest.mark.parametrize("length", [1, 3])
def test_a_rollout_ends_where_ours_does(monkeypatch, length):
    rollout, seen = pytest.importorskip("mujoco.rollout"), []
    spy_on(monkeypatch, rollout.Rollout, "rollout", seen)
    with ExitStack() as stack:
        assert mujoco_rollout(stack, CHEETAH, SIZE, 2, length)() == SIZE * length
        env = on_threads(stack, CHEETAH, 2)
        states, actions = gather(env, SIZE)
        plays = actions[:, None] if length == 1 else sequences(env, SIZE, length)
        after = env.rollout_batch(plays, states).states
        numbers = env.physics_of(after)
    full = seen[0][0][:, -1]
    ours = np.hstack([numbers.time[:, None], numbers.qpos, numbers.qvel])
    assert np.array_equal(full[:, : ours.shape[1]], ours)


@pytest.mark.skipif(not HAS_BATCH, reason="mujoco before 3.17")
def test_a_batch_ends_where_ours_does(monkeypatch):
    batches, made = importlib.import_module("mujoco.batch"), []
    spy_on(monkeypatch, batches, "Batch", made)
    with ExitStack() as stack:
        assert mujoco_batch(stack, CHEETAH, SIZE, 2)() == SIZE
        found = made[-1].state.copy()
        env = on_threads(stack, CHEETAH, 2)
        states, actions = gather(env, SIZE)
        after = env.physics_of(env.step_batch(actions, states).states).integration
    assert np.array_equal(found, after)


def test_our_side_does_its_units():
    with ExitStack() as stack:
        env = on_threads(stack, "Reacher-v5", 2)
        assert env.is_batched
        assert step_rows(env, SIZE)() % SIZE == 0
        assert play_rows(env, SIZE, 4)() == SIZE * 4
        env = on_threads(stack, "Ant-v5", 2, **FORCELESS)
        assert env.is_batched
        assert "cfrc_ext" not in env._kernel.fields


def test_a_task_row_by_row_is_the_same_task():
    pytest.importorskip("dm_control")
    with ExitStack() as stack:
        pair = on_threads(stack, "cartpole-swingup", 2), one_by_one(stack, "cartpole-swingup")
        assert [env.is_batched for env in pair] == [True, False]
        states, actions = gather(pair[0], SIZE)
        found = [env.step_batch(actions, states).rewards for env in pair]
        assert np.array_equal(*found)
        for planner, calls in ((cem, 240), (mppi, 228)):
            assert [decide(planner, env, 240)() for env in pair] == [calls, calls]


def test_every_line_names_its_threads():
    works = physics_works(3)
    assert len({(work.name, work.reference) for work in works}) == len(works) == 20
    assert all("3 threads" in work.name for work in works)
    assert all(work.needs and work.at_least and work.aim for work in works)


def test_the_lines_can_be_made(monkeypatch):
    monkeypatch.setattr(physics, "ROWS", SIZE)
    for work in physics_works(1):
        is_there = HAS_BATCH or work.needs == "mujoco"
        if is_there and work.name.startswith(("Swimmer", CHEETAH)):
            with ExitStack() as stack:
                assert all(side() > 0 for side in work.make(stack))
