"""Chance: no planner sees what will be drawn, every draw comes from ``rng``, values are honest."""

from __future__ import annotations

import inspect

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from plangym_lite import PlanEnv, make, planners
from plangym_lite.cli.play.options import PLANNERS
from plangym_lite.planners import Simulator, mcts
from plangym_lite.planners.chance import draws
from tests.toys import RANDOM, RIGHT, ContinuousToy, ToyEnv

HAS_SEEDS = "seeds" in inspect.signature(PlanEnv.step_batch).parameters
needs_seeds = pytest.mark.skipif(not HAS_SEEDS, reason="step_batch takes no seeds yet")
FOR_NUMBERS = ("cem", "mppi")


class Seeded:
    """``seeds=`` for toys: a row's generator is one entry of its state."""

    def step_batch(self, actions, states=None, *args, seeds=None, **options):
        return super().step_batch(actions, self._seeded(states, seeds), *args, **options)

    def rollout_batch(self, actions, states=None, *args, seeds=None, **options):
        return super().rollout_batch(actions, self._seeded(states, seeds), *args, **options)

    def _seeded(self, states, seeds):
        if seeds is None:
            return states
        states = np.array(states)
        states[:, RANDOM] = seeds
        return states


class Slippery(Seeded, ToyEnv):
    """A corridor whose floor is slippery."""

    def __init__(self, slip=0.3, size=8, **options):
        super().__init__(slip=slip, size=size, **options)


class SlipperyNumbers(Seeded, ContinuousToy):
    def __init__(self, slip=0.3, size=8):
        super().__init__(slip=slip, size=size)


class Bandit(Slippery):
    """One draw: arm 0 pays 0.5; arm 1 pays 1 in 40 %, arm 2 pays 1 in 60 % of the draws."""

    pays_fractions = False

    def advance(self, action, n_frames):
        drawn = self._draw()
        won = (True, drawn < 0.4, drawn < 0.6)[action]
        self._cell = int(drawn * 1000) if self.pays_fractions else 0
        return (0.5 if action == 0 else float(won)), True, False, {"n_step": 1}


class Casino(Bandit):
    """The same for ever, and every draw is seen: no two observations are alike."""

    pays_fractions = True

    def advance(self, action, n_frames):
        reward, _, _, info = super().advance(action, n_frames)
        return reward, False, False, info


def plan(name, env, seed=0, state=None, **options):
    state = env.reset(seed=0)[0] if state is None else state
    rng = np.random.default_rng(seed)
    return getattr(planners, name)(env, state, rng=rng, **options)


def slippery(name):
    return SlipperyNumbers() if name in FOR_NUMBERS else Slippery()


def mean_return(env, state, actions, discount, draws_each=4000):
    """What replaying a plan earns, on average over other seeds."""
    seeds = np.random.default_rng(123).integers(2**31, size=draws_each).tolist()
    out = env.rollout_batch(np.array([actions] * draws_each), [state] * draws_each, seeds=seeds)
    return float((out.rewards @ discount ** np.arange(len(actions))).mean())


@pytest.mark.parametrize("name", [name for name in PLANNERS if name != "mcts"])
def test_the_value_is_the_mean_over_draws(name):
    env = slippery(name)
    state = env.reset(seed=0)[0]
    output = plan(name, env, state=state, budget=2000, discount=0.9, resample=True)
    assert not output.knew_the_dice
    assert output.search.simulator_calls <= 2000
    earned = mean_return(env, state, output.actions, 0.9)
    assert abs(output.value - earned) < 0.35  # of 16 draws, the best of 8
    assert plan(name, env, state=state, budget=2000).knew_the_dice


@pytest.mark.parametrize("name", PLANNERS)
def test_the_dice_of_the_state_change_nothing(name):
    env = slippery(name)
    state = env.reset(seed=0)[0]
    other = state.copy()
    other[RANDOM] = 77
    one, two = (plan(name, env, state=at, budget=800, resample=True) for at in (state, other))
    assert np.array_equal(one.actions, two.actions)
    assert one.value == two.value
    three = plan(name, env, state=state, budget=800, resample=True, seed=1)
    assert (one.value, one.search.simulator_calls) != (three.value, three.search.simulator_calls)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("kind", [Bandit, Casino])
def test_a_bandit_is_judged_rightly(kind, seed):
    options = {"num_simulations": 600, "resample": True, "max_depth": 1}
    output = plan("mcts", kind(), seed=seed, **options)
    assert output.action == 2
    assert output.value == pytest.approx(0.6, abs=0.1)
    visits = output.search.action_visits(0)
    assert visits.sum() == 600
    if kind is Casino:
        rows = np.flatnonzero(output.search.parents == 0)
        for action in range(3):
            of_it = output.search.actions[rows] == action
            assert of_it.sum() <= np.sqrt(visits[action]) + 1


def test_who_knows_the_dice_is_wrong_about_the_bandit():
    values = {plan("mcts", Bandit(), seed=seed, max_depth=1).value for seed in range(5)}
    assert values <= {0.5, 1.0}


def test_a_tree_of_outcomes():
    env = Slippery(size=5)
    output = plan("mcts", env, num_simulations=300, resample=True)
    tree = output.search
    assert tree.visits[0] == 300 == tree.action_visits(0).sum()
    assert output.action == RIGHT
    assert output.action_weights.tolist() == (tree.action_visits(0) / 300).tolist()
    assert output.value == tree.action_values(0, 0.99)[output.action]
    for node in range(1, tree.size):
        parent, action = tree.parents[node], tree.actions[node]
        assert tree.depths[node] == tree.depths[parent] + 1
        below = tree.visits[(tree.parents == parent) & (tree.actions == action)]
        assert below.sum() == tree.action_visits(parent)[action]
        assert tree.visits[tree.children[parent, action]] == below.max()


@pytest.mark.parametrize(
    ("kind", "expected"), [(Slippery, True), (lambda: Slippery(slip=0.0), False), (Casino, True)]
)
def test_the_probe_tells_whether_anything_is_drawn(kind, expected):
    env = kind()
    state = env.reset(seed=0)[0]
    simulator = Simulator(env, np.random.default_rng(0))
    assert draws(simulator, state) == expected
    assert simulator.calls == 16
    assert not simulator.resample


# ---- with the seeds of the library itself ------------------------------------------------------


@needs_seeds
@pytest.mark.parametrize("n_workers", [1, 2])
def test_any_number_of_workers_draws_the_same(n_workers):
    found = []
    for workers in (None, n_workers):
        with make("FrozenLake-v1", n_workers=workers) as env:
            for name in ("mcts", "random_shooting", "rollout_iw", "fractal", "go_explore"):
                output = plan(name, env, budget=400, resample=True)
                found.append((output.actions, output.value))
    half = len(found) // 2
    assert repr(found[:half]) == repr(found[half:])


@needs_seeds
def test_blackjack_sticks_on_20():
    env = make("Blackjack-v1")
    state, obs, _ = env.reset(seed=1)
    assert tuple(map(int, obs))[:2] == (20, 7)
    output = plan("mcts", env, state=state, num_simulations=1000, resample=True)
    assert output.action == 0
    assert output.value == pytest.approx(0.732, abs=0.06)


@needs_seeds
def test_nothing_better_than_the_optimum_is_told_of_slippery_ice():
    env = make("FrozenLake-v1")
    for name in ("mcts", "random_shooting", "rollout_iw", "fractal", "go_explore"):
        assert plan(name, env, budget=1500, resample=True).value <= 0.8


@needs_seeds
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("FrozenLake-v1", True),
        ("Blackjack-v1", True),
        ("CartPole-v1", False),
        ("Pendulum-v1", False),
    ],
)
def test_the_probe_knows_who_draws(name, expected):
    with make(name) as env:
        simulator = Simulator(env, np.random.default_rng(0))
        assert draws(simulator, env.reset(seed=0)[0]) == expected


@needs_seeds
@pytest.mark.slow
def test_slippery_ice_is_crossed_as_often_as_honest_search_can():
    env = make("FrozenLake-v1")
    table = optimal_values()
    won = 0.0
    for seed in range(100):
        state = env.reset(seed=seed)[0]
        for turn in range(100):
            output = mcts(
                env,
                state,
                num_simulations=300,
                resample=True,
                value_fn=lambda observs, states: table[np.asarray(observs, int)],
                rng=np.random.default_rng(1000 * seed + turn),
            )
            step = env.step(output.action, state)
            state = step.state
            if step.terminated:
                won += step.reward
                break
    assert 30 <= won <= 90


def optimal_values(discount=0.99):
    """``[S]`` by value iteration over the table of the plain environment."""
    import gymnasium as gym

    table = gym.make("FrozenLake-v1").unwrapped.P
    values = np.zeros(len(table))
    for _ in range(1000):
        values = np.array(
            [
                max(
                    sum(p * (r + discount * values[n] * (not end)) for p, n, r, end in ways)
                    for ways in table[state].values()
                )
                for state in table
            ]
        )
    return values


class Arms(gym.Env):
    """Arm 0 wins more, but seldom: means of 0.3, 0.7 and 0.1. Then some steps without a reward."""

    observation_space, action_space = spaces.Discrete(2), spaces.Discrete(3)
    prizes, chances = (3.0, 1.0, 0.2), (0.1, 0.7, 0.5)

    def __init__(self, steps):
        self.steps = steps

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.at = 0
        return 0, {}

    def step(self, arm):
        wins = self.at == 0 and self.np_random.random() < self.chances[arm]
        self.at += 1
        return 1, self.prizes[arm] * wins, self.at >= self.steps, False, {}


@pytest.mark.parametrize("steps", [1, 6])
@pytest.mark.parametrize("name", ["random_shooting", "rollout_iw", "fractal", "go_explore"])
def test_luck_does_not_choose_the_arm(name, steps):
    """The greatest returns that a search has seen are those of arm 0."""
    with make(lambda: Arms(steps)) as env:
        plans = []
        for seed in range(6):
            state, *_ = env.reset(seed=seed)
            options = {"budget": 1000, "resample": True, "rng": np.random.default_rng(seed)}
            plans.append(getattr(planners, name)(env, state, **options))
    assert sum(plan.action == 1 for plan in plans) >= 4
    assert 0.3 < np.mean([plan.value for plan in plans]) < 1.1


class Stairs(gym.Env):
    """Six steps up, each fails in a fifth of draws and costs 1; the last earns 10."""

    observation_space, action_space = spaces.Discrete(7), spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.at = 0
        return 0, {}

    def step(self, up):
        if self.np_random.random() < 0.8:
            self.at = max(0, self.at + (1 if up else -1))
        over = self.at == 6
        return self.at, 9.0 if over else -1.0, over, False, {}


@pytest.mark.parametrize("name", ["random_shooting", "go_explore"])
def test_a_short_plan_is_no_better_because_it_costs_less(name):
    with make(Stairs) as env:
        ups = 0
        for seed in range(3):
            state, *_ = env.reset(seed=seed)
            options = {"budget": 2000, "resample": True, "rng": np.random.default_rng(seed)}
            plan = getattr(planners, name)(env, state, **options)
            ups += plan.action == 1 and len(plan.actions) >= 6
    assert ups >= 2


class Talking(Arms):
    """The result is told as text, nothing else differs."""

    observation_space = spaces.Dict({"says": spaces.Text(9), "at": spaces.Discrete(9)})

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return {"says": "begin", "at": 0}, {}

    def step(self, arm):
        _, reward, over, _, _ = super().step(arm)
        return {"says": f"win {reward:g}", "at": self.at}, 0.0, over, False, {}


def test_texts_tell_outcomes_apart():
    told = []

    def value_fn(observs, states):
        told.extend(observs["says"])
        return np.array([float(text.split()[1]) for text in observs["says"]])

    with make(lambda: Talking(2)) as env:
        state, *_ = env.reset(seed=0)
        assert any(draws(Simulator(env, np.random.default_rng(seed)), state) for seed in range(5))
        options = {"num_simulations": 600, "rng": np.random.default_rng(1)}
        mcts(env, state, value_fn=value_fn, resample=True, **options)
    assert {"win 0", "win 1", "win 3"} <= set(told)


class Doors(gym.Env):
    """Which of three doors are open is drawn at each step, sometimes none; a closed one raises."""

    observation_space, action_space = spaces.Discrete(8), spaces.Discrete(3)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.open = 0b110
        return self.open, self._info()

    def step(self, door):
        assert self._info()["action_mask"][door]
        self.open = int(self.np_random.choice([0, 1, 3, 6, 7], p=[0.1, 0.2, 0.2, 0.2, 0.3]))
        return self.open, float(door), False, False, self._info()

    def _info(self):
        return {"action_mask": (self.open >> np.arange(3)) & 1}


@pytest.mark.parametrize("resample", [False, True])
@pytest.mark.parametrize("name", ["mcts", "random_shooting", "rollout_iw", "fractal", "go_explore"])
def test_only_legal_moves_are_played_where_they_depend_on_draws(name, resample):
    """A state without legal moves is an end, and its plan too."""
    with make(Doors) as env:
        options = {"budget": 300, "legal_actions": "action_mask", "resample": resample}
        output = plan(name, env, **options)
        assert output.search.simulator_calls <= 300
        assert output.action in (1, 2)
