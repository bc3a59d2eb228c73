"""What holds for every planner: the known optimum, equal plans, calls counted, clear refusals."""

from __future__ import annotations

import inspect
from functools import partial

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from plangym_lite import UnknownEnvironmentError, make, planners
from plangym_lite.cli.play.options import PLANNERS
from plangym_lite.planners import PlanOutput
from plangym_lite.planners.sequences import ActionBox
from plangym_lite.planners.tree import goal_first
from plangym_lite.states.archive import StateArchive
from tests.toys import LEFT, RIGHT, ContinuousToy, NestedToy, OpaqueToy, ToyEnv

from .summary import summary

FOR_DISCRETE = ("mcts", "rollout_iw")
FOR_NUMBERS = ("cem", "mppi")
FOR_ALL = tuple(name for name in PLANNERS if name not in FOR_DISCRETE + FOR_NUMBERS)
EACH = [
    *((name, kind) for name in FOR_DISCRETE + FOR_ALL for kind in (ToyEnv, OpaqueToy)),
    *((name, ContinuousToy) for name in FOR_NUMBERS + FOR_ALL),
    *((name, NestedToy) for name in FOR_ALL),
]
BUDGET = 600


def start(env):
    return env.reset(seed=0)[0]


def plan(name, env, state=None, seed=0, **options) -> PlanOutput:
    state = start(env) if state is None else state
    options = {"budget": BUDGET, **options}
    return getattr(planners, name)(env, state, rng=np.random.default_rng(seed), **options)


def any_kind(name):
    return ContinuousToy if name in FOR_NUMBERS else ToyEnv


@pytest.mark.parametrize(("name", "kind"), EACH)
def test_it_walks_past_the_coin_to_the_treasure(name, kind):
    env, rng, score, state = kind(size=8), np.random.default_rng(1), 0.0, None
    state = start(env)
    for _ in range(20):
        output = getattr(planners, name)(env, state, budget=2000, discount=0.95, rng=rng)
        assert env.action_space.contains(output.action)
        state, _, reward, terminated, _, _ = env.step(output.action, state)
        score += reward
        if terminated:
            break
    assert score >= env.best_return - 0.05


@pytest.mark.parametrize("name", PLANNERS)
def test_a_seed_decides_everything_whatever_the_workers(name):
    kind = any_kind(name)
    options = {"budget": 60 if name == "rollout_iw" else BUDGET}  # less than it takes to work off
    local, other = (summary(plan(name, kind(size=30), seed=seed, **options)) for seed in (3, 4))
    with make(kind, n_workers=2, size=30) as env:
        parallel = summary(plan(name, env, seed=3, **options))
    assert local == parallel
    assert local != other


@pytest.mark.parametrize("name", PLANNERS)
def test_calls_are_counted_and_within_the_budget(name):
    seen = []
    output = plan(name, any_kind(name)(size=30), on_batch=lambda *counts: seen.append(counts))
    assert output.search.simulator_calls == sum(rows for rows, _ in seen)
    assert output.search.frames == sum(frames for _, frames in seen)
    assert 50 <= output.search.simulator_calls <= BUDGET


@pytest.mark.parametrize("name", PLANNERS)
def test_planning_moves_nothing(name):
    env = any_kind(name)()
    state = start(env)
    action = [-1.0] if name in FOR_NUMBERS else LEFT
    elsewhere = env.step(np.array(action), state).state
    env.set_state(state)
    env.action_space.seed(0)
    before = env.action_space.sample()
    env.action_space.seed(0)
    plan(name, env, elsewhere)
    assert np.array_equal(env.get_state(), state)
    assert env.action_space.sample() == before


@pytest.mark.parametrize("name", PLANNERS)
def test_from_a_terminal_state_nothing_is_expected(name):
    env = any_kind(name)()
    state = start(env)
    for _ in range(2):
        state = env.step(np.array([-1.0]) if name in FOR_NUMBERS else LEFT, state).state
    output = plan(name, env, state)
    assert output.value == 0.0
    assert output.search.frames == 0


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *((name, kind) for name in FOR_DISCRETE for kind in (ContinuousToy, NestedToy)),
        *((name, kind) for name in FOR_NUMBERS for kind in (ToyEnv, NestedToy)),
        ("cem", partial(make, "Acrobot-v1")),
    ],
)
def test_other_action_spaces_are_refused(name, kind):
    with pytest.raises(TypeError, match=f"{name} needs a .* random_shooting, fractal"):
        plan(name, kind())


@pytest.mark.parametrize("name", PLANNERS)
def test_options_out_of_range_are_named(name):
    known = inspect.signature(getattr(planners, name)).parameters
    for option in ("budget", "max_depth", "batch_size", "rollout_dt", "explore_steps", "horizon"):
        if option in known:
            with pytest.raises(ValueError, match=option):
                plan(name, any_kind(name)(), **{option: 0})
    with pytest.raises(ValueError, match="discount"):
        plan(name, any_kind(name)(), discount=1.5)
    with pytest.raises(TypeError, match="Generator"):
        getattr(planners, name)(any_kind(name)(), start(any_kind(name)()), rng=0)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("rollout_iw", {"risk_aversion": 0.5}),
        ("rollout_iw", {"features": "pretty"}),
        ("fractal", {"walkers": 1}),
        ("fractal", {"walkers": BUDGET + 1}),
        ("go_explore", {"repeat": 1.0}),
        ("random_shooting", {"budget": 4}),
        ("mcts", {"budget": 5}),
        ("cem", {"budget": 10}),
        ("mppi", {"budget": 10}),
        ("cem", {"elites": 0.0}),
        ("mppi", {"temperature": 0.0}),
    ],
)
def test_more_options_out_of_range_are_named(name, options):
    with pytest.raises(ValueError, match=next(iter(options))):
        plan(name, any_kind(name)(), **options)


@pytest.mark.parametrize("name", ["random_shooting", "mcts", "rollout_iw", "cem", "mppi"])
def test_a_value_function_sees_what_the_horizon_hides(name):
    env = any_kind(name)(size=40)
    options = {"horizon": 3} if name in FOR_NUMBERS else {"max_depth": 3}

    def value_fn(observs, states):
        assert states.shape == (len(observs), 4)
        return observs[:, 0] / 10  # the farther, the better

    action = plan(name, env, value_fn=value_fn, **options).action
    assert (action[0] > 1 / 3) if name in FOR_NUMBERS else action == RIGHT


@pytest.mark.parametrize("name", ["mcts", "rollout_iw"])
def test_a_policy_is_followed(name):
    def policy_fn(observs, states):
        assert len(observs) == len(states)
        return np.tile([0.0, 0.0, 2.0], (len(states), 1))

    options = {"budget": 20, "batch_size": 1}
    if name == "mcts":
        options["value_fn"] = lambda observs, states: np.zeros(len(states))
    output = plan(name, ToyEnv(size=16), policy_fn=policy_fn, max_depth=40, **options)
    assert output.actions == [RIGHT] * (13 if name == "rollout_iw" else len(output.actions))
    assert len(output.actions) >= 4


@pytest.mark.parametrize("name", ["mcts", "rollout_iw"])
@pytest.mark.parametrize(
    "policy_fn", [lambda observs, states: np.ones(3), lambda observs, states: -np.ones((1, 3))]
)
def test_a_policy_says_a_weight_for_each_action(name, policy_fn):
    with pytest.raises(ValueError, match="policy_fn must return"):
        plan(name, ToyEnv(), policy_fn=policy_fn)


@pytest.mark.parametrize("name", ["mcts", "rollout_iw", "go_explore"])
def test_an_archive_changes_nothing(name):
    archive = StateArchive()
    env = ToyEnv(size=30)
    plain, archived = plan(name, env), plan(name, env, archive=archive)
    assert summary(plain) == summary(archived)
    assert len(archive) >= 20
    if name != "go_explore":  # the subtree stays where it is
        state = env.step(plain.action, start(env)).state
        size = len(archive)
        options = {"state": state, "budget": 40}
        plain = plan(name, env, tree=plain.search, **options)
        archived = plan(name, env, tree=archived.search, **options)
        assert summary(plain) == summary(archived)
        assert len(archive) <= size + 41
    with pytest.raises(TypeError, match="archive keeps states that are arrays"):
        plan(name, OpaqueToy(), archive=StateArchive())


# ---- what the plan earns ------------------------------------------------------------------------


FAMILIES = {
    "classic control": "CartPole-v1",
    "numbers": "Pendulum-v1",
    "toy text": "Taxi-v4",
    "Box2D": "LunarLander-v3",
    "MuJoCo": "Hopper-v5",
    "Atari": "ALE/Boxing-v5",
    "MiniGrid": "MiniGrid-Empty-5x5-v0",
    "dm_control": "dm_control/cartpole-swingup-v0",
}


def earned(env, state, actions, discount):
    """What a plan earns step by step, and the last step."""
    total = 0.0
    for k, action in enumerate(actions):
        step = env.step(action, state)
        total += discount**k * step.reward
        state = step.state
        assert not (step.terminated or step.truncated) or k == len(actions) - 1
    return total, step


def check_value(name, env, **options):
    state = env.reset(seed=0)[0]
    output = plan(name, env, state, discount=0.9, **options)
    total, last = earned(env, state, output.actions, 0.9)
    if name != "mcts":
        assert output.value == pytest.approx(total, abs=1e-9)
    assert output.knew_the_dice
    assert output.not_finite == 0
    return output, last


@pytest.mark.parametrize("family", FAMILIES)
def test_the_value_is_what_replaying_the_plan_earns(family):
    try:
        env = make(FAMILIES[family])
    except (ImportError, UnknownEnvironmentError) as error:
        pytest.skip(str(error))
    is_discrete = isinstance(env.action_space, spaces.Discrete)
    with env:
        for name in FOR_ALL + (FOR_DISCRETE if is_discrete else FOR_NUMBERS):
            check_value(name, env, budget=64 if name == "rollout_iw" else 128)


@pytest.mark.parametrize("name", PLANNERS)
def test_held_actions_are_discounted_step_by_step(name):
    options = {"rollout_dt": 4} if name in ("random_shooting", "mcts", "fractal") else {}
    output, last = check_value(name, any_kind(name)(size=6), **options)
    assert last.terminated
    assert output.value <= 1.0


@pytest.mark.parametrize("name", [name for name in PLANNERS if name not in ("mcts", "fractal")])
def test_the_last_state_counts_with_its_value(name):
    def value_fn(observs, states):
        return observs[:, 0] / 10

    env = any_kind(name)(size=12)
    state = start(env)
    output = plan(name, env, state, discount=0.9, value_fn=value_fn)
    total, last = earned(env, state, output.actions, 0.9)
    if not last.terminated:
        total += 0.9 ** len(output.actions) * float(last.obs[0] / 10)
    assert output.value == pytest.approx(total, abs=1e-9)


class Once(ToyEnv):
    """Every episode is over after one step."""

    def advance(self, action, n_frames):
        return 1.0, True, False, {"n_step": 1}


@pytest.mark.parametrize("name", FOR_DISCRETE + FOR_ALL)
def test_plans_end_with_the_episode(name):
    assert len(plan(name, Once(), budget=200).actions) == 1


class Broken(ToyEnv):
    """Action 2 earns what is no number; the others 100 or 101, six times."""

    bad = -np.inf

    def advance(self, action, n_frames):
        self._elapsed += 1
        reward = self.bad if action == 2 else 100.0 + float(action)
        return reward, self._elapsed >= 6, False, {"n_step": 1}


class BrokenNan(Broken):
    bad = np.nan


class BrokenLow(Broken):
    """Finite rewards are far below 0, so that nothing seems better than a broken row."""

    def advance(self, action, n_frames):
        reward, *rest = super().advance(action, n_frames)
        return reward - 1000.0, *rest


@pytest.mark.parametrize("kind", [Broken, BrokenNan, BrokenLow])
@pytest.mark.parametrize("name", FOR_DISCRETE + FOR_ALL)
def test_rewards_that_are_not_finite_are_the_worst(name, kind):
    output = plan(name, kind(), budget=500)
    assert np.isfinite(output.value)
    assert output.not_finite > 0
    assert np.isfinite(output.search.returns if hasattr(output.search, "returns") else 0).all()
    if kind is not BrokenLow:  # there a row that breaks late is as bad as one that does not
        assert output.action != 2


def test_go_explore_tells_discrete_observations_apart():
    class Hall(gym.Env):
        """40 fields in a row; the last one ends it."""

        observation_space = gym.spaces.MultiDiscrete([2, 40])
        action_space = gym.spaces.Discrete(2)

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            self.at = 0
            return np.array([0, 0]), {}

        def step(self, action):
            self.at = max(0, self.at + (1 if action else -1))
            return np.array([0, self.at]), -1.0, self.at == 39, False, {}

    output = plan("go_explore", make(Hall), budget=3000)
    assert output.value == -39.0


# ---- goals --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "env_id", "least"),
    [
        ("go_explore", "CliffWalking-v1", -20),
        ("rollout_iw", "CliffWalking-v1", -20),
        ("go_explore", "MountainCar-v0", -200),
        ("go_explore", "Taxi-v4", -60),
        ("rollout_iw", "Taxi-v4", 0),
    ],
)
def test_a_goal_that_was_found_is_not_thrown_away(name, env_id, least):
    """Rollout IW(1) does not find the goal of MountainCar: it runs out of novelty."""
    with make(env_id) as env:
        state = env.reset(seed=0)[0]
        output = plan(name, env, state, budget=20_000)
        total, last = earned(env, state, output.actions, 1.0)
        assert last.terminated
        assert total >= least


@pytest.mark.parametrize(
    ("gains", "depths", "terminated", "expected"),
    [
        ([-15, -1], [15, 1], [True, False], 0),  # one bump
        ([-15, -14], [15, 16], [True, False], 1),  # more, and as long
        ([-15, 2], [15, 3], [True, False], 1),  # more, and more than 0
        ([-15, -9], [15, 9], [True, True], 1),  # another goal
        ([0, 0], [2, 9], [True, False], 1),  # nothing costs: as it was
        ([3, 5], [2, 9], [True, False], 1),
        ([-15, -1, -14], [15, 1, 15], [True, False, False], 2),
    ],
)
def test_what_a_goal_gives_way_to(gains, depths, terminated, expected):
    chosen = int(np.argmax(np.array(gains) + np.array(depths) / 1000))
    assert goal_first(range(len(gains)), chosen, gains, depths, terminated) == expected


@pytest.mark.parametrize("name", FOR_DISCRETE + FOR_ALL)
def test_observations_with_texts(name):
    pytest.importorskip("minigrid")
    with make("MiniGrid-DoorKey-5x5-v0") as env:
        assert len(plan(name, env, budget=300).actions) >= 1


@pytest.mark.parametrize("name", FOR_NUMBERS)
def test_the_mean_is_shifted_by_as_many_actions_as_were_played(name):
    env = ContinuousToy(size=30)
    before = plan(name, env, horizon=6).search
    box = ActionBox(env, name)
    assert np.array_equal(box.begin(6, before, 2)[:4], before.mean[2:])
    options = {"horizon": 6, "before": before}
    one, two = (plan(name, env, played=played, **options).search for played in (1, 2))
    assert not np.array_equal(one.mean, two.mean)
