"""random_shooting: any space, the known optimum, repeatable."""

from __future__ import annotations

import numpy as np
import pytest

from plangym_lite import make
from plangym_lite.planners import random_shooting
from tests.toys import LEFT, RIGHT, NestedToy, OpaqueToy, ToyEnv


def start(env):
    return env.reset(seed=0)[0]


def plan(env, state=None, seed=0, **options):
    state = start(env) if state is None else state
    return random_shooting(env, state, rng=np.random.default_rng(seed), **options)


@pytest.mark.parametrize("kind", [ToyEnv, OpaqueToy])
def test_its_plan_is_the_best_one(kind):
    env = kind(size=6)
    output = plan(env, num_simulations=500, rollout_dt=1, discount=1.0)
    assert output.actions == [RIGHT] * 3
    assert output.value == pytest.approx(env.best_return)
    assert output.action_weights.tolist() == [0.0, 0.0, 1.0]
    state, score = start(env), 0.0
    for action in output.actions:
        state, _, reward, *_ = env.step(action, state)
        score += reward
    assert score == pytest.approx(output.value)


def test_looking_too_short_a_way_ahead_it_takes_the_coin():
    assert plan(ToyEnv(size=12), max_depth=3, rollout_dt=1).action == LEFT


def test_nested_actions():
    env = NestedToy(size=9)
    output = plan(env, rollout_dt=1, num_simulations=300)
    assert output.action_weights is None
    assert env.action_space.contains(output.action)
    assert output.value > 0.8


def test_continuous_actions():
    env = make("Pendulum-v1")
    output = plan(env)
    assert env.action_space.contains(output.action)
    assert output.value == output.search.returns.max()
    assert len(output.actions) == 20


@pytest.mark.parametrize(("max_depth", "rollout_dt"), [(1, 1), (1, 4), (10, 4), (12, 4)])
def test_depth_is_in_units_of_dt(max_depth, rollout_dt):
    env = make("Pendulum-v1")  # never ends
    output = plan(env, num_simulations=5, max_depth=max_depth, rollout_dt=rollout_dt)
    assert len(output.actions) == max_depth
    assert output.search.frames == 5 * max_depth
    assert (output.search.lengths == max_depth).all()


def test_rewards_are_discounted():
    env = ToyEnv(size=4)  # the treasure is one step away, the coin two
    output = plan(env, discount=0.0, rollout_dt=1)
    assert output.value == 1.0
    assert output.actions == [RIGHT]


def test_a_seed_decides_everything_whatever_the_workers():
    local, other = plan(ToyEnv(size=20), seed=3), plan(ToyEnv(size=20), seed=4)
    with make(ToyEnv, n_workers=2, size=20) as env:
        parallel = plan(env, seed=3)
    for output, same in ((parallel, True), (other, False)):
        assert np.array_equal(local.search.returns, output.search.returns) == same
    assert parallel.actions == local.actions


def test_planning_moves_nothing():
    env = NestedToy()
    state = start(env)
    env.action_space.seed(0)
    before = env.action_space.sample()
    env.action_space.seed(0)
    plan(env, state)
    assert np.array_equal(env.get_state(), state)
    assert env.action_space.sample() == before


def test_progress_is_counted():
    seen = []
    output = plan(ToyEnv(size=20), on_batch=lambda rows, frames: seen.append((rows, frames)))
    calls = -(-output.search.lengths // 4)  # a held action is one; not after the end
    assert output.search.simulator_calls == sum(rows for rows, _ in seen) == calls.sum()
    assert output.search.frames == sum(frames for _, frames in seen)


def test_the_last_state_may_be_worth_something():
    env = ToyEnv(size=20)
    output = plan(env, max_depth=2, rollout_dt=1, value_fn=lambda observs, states: observs[:, 0])
    assert output.actions == [RIGHT] * 2
    assert output.value == pytest.approx(0.99**2 * 4 - 0.01 * (1 + 0.99))


def test_from_a_terminal_state_nothing_is_expected():
    env = ToyEnv()
    state = start(env)
    for _ in range(2):
        state = env.step(LEFT, state).state
    output = plan(env, state, value_fn=lambda observs, states: np.ones(len(states)))
    assert output.value == 0.0
    assert output.search.frames == 0


@pytest.mark.parametrize(
    ("option", "value"),
    [("num_simulations", 0), ("max_depth", 0.5), ("rollout_dt", 0), ("discount", -1)],
)
def test_options_out_of_range_are_named(option, value):
    with pytest.raises(ValueError, match=option):
        plan(ToyEnv(), **{option: value})


def test_a_seed_is_not_a_generator():
    env = ToyEnv()
    with pytest.raises(TypeError, match="Generator"):
        random_shooting(env, start(env), rng=0)


def test_errors_of_the_environment_come_through():
    with pytest.raises(Exception, match="fails at action"):
        plan(ToyEnv(fail_at=RIGHT))


def test_a_value_function_says_one_number_for_each_row():
    with pytest.raises(ValueError, match="value_fn"):
        plan(ToyEnv(size=20), value_fn=lambda observs, states: observs)
