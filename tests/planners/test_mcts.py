"""mcts: finds the known optimum, is repeatable, and refuses what it cannot do."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from plangym_lite import InvalidStateError, make, planners
from plangym_lite.planners import PlanOutput, mcts
from plangym_lite.planners.tree import ROOT, UNKNOWN, Start, whole_numbers
from plangym_lite.planners.uct import Rules, Walks
from plangym_lite.states.archive import StateArchive
from tests.toys import LEFT, RIGHT, STAY, NestedToy, OpaqueToy, ToyEnv


def start(env):
    return env.reset(seed=0)[0]


def plan(env, state=None, seed=0, **options):
    state = start(env) if state is None else state
    return mcts(env, state, rng=np.random.default_rng(seed), **options)


def same_output(one: PlanOutput, other: PlanOutput) -> bool:
    return (
        one.actions == other.actions
        and one.value == other.value
        and np.array_equal(one.action_weights, other.action_weights)
        and np.array_equal(one.search.visits, other.search.visits)
        and np.array_equal(one.search.values, other.search.values)
        and (one.search.simulator_calls, one.search.frames)
        == (other.search.simulator_calls, other.search.frames)
    )


def play(env, seed=0, keep_tree=True, **options) -> float:
    """The score of a whole episode."""
    state, score, tree, rng = start(env), 0.0, None, np.random.default_rng(seed)
    for _ in range(30):
        output = mcts(env, state, rng=rng, tree=tree, **options)
        tree = output.search if keep_tree else None
        state, _, reward, terminated, truncated, _ = env.step(output.action, state)
        score += reward
        if terminated or truncated:
            return score
    return score


@pytest.mark.parametrize("kind", [ToyEnv, OpaqueToy])
@pytest.mark.parametrize("keep_tree", [True, False])
def test_it_walks_past_the_coin_to_the_treasure(kind, keep_tree):
    env = kind(size=8)
    assert play(env, keep_tree=keep_tree) == pytest.approx(env.best_return, abs=0.05)


def test_looking_too_short_a_way_ahead_it_takes_the_coin():
    assert plan(ToyEnv(size=12), max_depth=3).action == LEFT


def test_deep_trees_find_the_whole_plan():
    env = ToyEnv(size=6)
    output = plan(env, num_simulations=400, rollout_dt=1)
    assert output.actions[:3] == [RIGHT] * 3
    assert output.value == pytest.approx(env.best_return, abs=0.1)


@pytest.mark.parametrize("batch_size", [1, 3, 8, 64])
def test_any_batch_size_solves_it_and_counts_what_it_ran(batch_size):
    seen = []

    def on_batch(rows, frames):
        seen.append((rows, frames))

    env = ToyEnv()
    output = plan(env, num_simulations=400, batch_size=batch_size, on_batch=on_batch)
    tree = output.search
    assert output.action != LEFT
    assert tree.visits[ROOT] == 400
    assert output.action_weights.sum() == pytest.approx(1.0)
    assert tree.simulator_calls == sum(rows for rows, _ in seen)
    assert tree.frames == sum(frames for _, frames in seen)


def test_a_seed_decides_everything():
    env = ToyEnv(size=20)
    assert same_output(plan(env, seed=3), plan(env, seed=3))
    assert not same_output(plan(env, seed=3), plan(env, seed=4))


def test_two_workers_plan_what_none_do():
    with make(ToyEnv, n_workers=2, size=20) as env:
        assert same_output(plan(ToyEnv(size=20)), plan(env))


def test_planning_moves_nothing():
    env = ToyEnv()
    state = start(env)
    elsewhere = env.step(LEFT, state).state
    env.set_state(state)
    env.action_space.seed(0)
    before = env.action_space.sample()
    env.action_space.seed(0)
    plan(env, elsewhere)
    assert np.array_equal(env.get_state(), state)
    assert env.action_space.sample() == before


def test_the_chosen_subtree_is_kept():
    env = ToyEnv(size=20)
    first = plan(env)
    state = env.step(first.action, start(env)).state
    child = first.search.children[ROOT, first.action]
    kept = int(first.search.visits[child])
    second = plan(env, state, tree=first.search)
    assert second.search.visits[ROOT] == kept + 100
    assert np.array_equal(second.search.states[ROOT], state)
    tree = second.search
    for node in range(1, tree.size):
        parent = tree.parents[node]
        assert tree.children[parent, tree.actions[node]] == node
        assert tree.depths[node] == tree.depths[parent] + 1
        step = env.step(int(tree.actions[node]), tree.states[parent])
        assert np.array_equal(step.state, tree.states[node])
        assert step.reward == tree.rewards[node]
        assert (step.terminated or step.truncated) == tree.ended[node]


def test_a_tree_of_elsewhere_is_not_kept():
    env = ToyEnv(size=20)
    tree = plan(env).search
    assert plan(env, tree=tree).search.visits[ROOT] == 100


def test_from_a_terminal_state_nothing_is_expected():
    env = ToyEnv()
    state = start(env)
    for _ in range(2):
        state = env.step(LEFT, state).state
    output = plan(env, state, tree=plan(env).search)
    assert output.value == 0.0
    assert output.search.frames == 0


def test_terminal_leaves_cost_no_rows():
    env = ToyEnv(size=4)  # the treasure is one step away
    output = plan(env, num_simulations=500, rollout_dt=1)
    tree = output.search
    assert output.action == RIGHT
    assert tree.ended[tree.children[ROOT, RIGHT]]
    assert tree.visits[tree.children[ROOT, RIGHT]] > 100
    assert (tree.children[np.flatnonzero(tree.ended)] == UNKNOWN).all()


def test_a_value_function_replaces_random_play():
    env = ToyEnv(size=20)
    shapes = []

    def value_fn(observs, states):
        shapes.append((observs.shape[1:], states.shape[1:]))
        return 2 * observs[:, 0]  # the further, the better

    output = plan(env, value_fn=value_fn)
    assert output.action == RIGHT
    assert set(shapes) == {((2,), (4,))}
    assert output.search.simulator_calls == output.search.size - 1  # no rollouts


def test_actions_that_start_elsewhere():
    class Shifted(ToyEnv):
        def build_engine(self):
            super().build_engine()
            self.action_space = type(self.action_space)(3, start=5)

        def _decode(self, action):
            return super()._decode(action - 5)

    output = plan(Shifted(), num_simulations=400)
    assert output.action in (RIGHT + 5, STAY + 5)
    assert set(output.actions) <= {5, 6, 7}


def test_more_simulations_on_their_way_than_there_are_leaves():
    rules = Rules(5, 0.5, 1.0, np.random.default_rng(0))
    walks = Walks(3, Start(np.zeros(1), 20), rules)
    paths = walks.select(8)
    assert sorted(paths) == [[ROOT, 1], [ROOT, 2], [ROOT, 3]]
    for path in paths:
        walks.backward(path, 1.0)
    assert walks.visits[ROOT] == 3
    assert walks.values[ROOT] == 0.5
    assert walks.path_to(2) == [2]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("num_simulations", 0),
        ("max_depth", 0),
        ("batch_size", -1),
        ("rollout_dt", 1.5),
        ("discount", 1.1),
    ],
)
def test_options_out_of_range_are_named(option, value):
    with pytest.raises(ValueError, match=option):
        plan(ToyEnv(), **{option: value})


def test_actions_must_be_discrete():
    with pytest.raises(TypeError, match="Discrete"):
        plan(NestedToy())


def test_a_seed_is_not_a_generator():
    env = ToyEnv()
    with pytest.raises(TypeError, match="Generator"):
        mcts(env, start(env), rng=0)


def test_errors_of_the_environment_come_through():
    with pytest.raises(Exception, match="fails at action"):
        plan(ToyEnv(fail_at=RIGHT))


def test_a_value_function_says_one_number_for_each_row():
    with pytest.raises(ValueError, match="value_fn"):
        plan(ToyEnv(size=20), value_fn=lambda observs, states: observs)


class Growing(gym.Env):
    """Its states grow faster than the verification saw."""

    observation_space, action_space = spaces.Box(-9e9, 9e9, (1,), np.float64), spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.moves = []
        return np.zeros(1), {}

    def step(self, action):
        self.moves += [int(action)] * len(self.moves) + [int(action)]
        return np.array([float(len(self.moves))]), 1.0, len(self.moves) > 20_000, False, {}


def grown(**options):
    """An environment whose states outgrow their arrays a few steps after this state."""
    env = make(Growing, **options)
    state = env.reset(seed=0)[0]
    for _ in range(12):
        state = env.step(1, state).state
    return env, state


@pytest.mark.filterwarnings("ignore:states of:UserWarning")
@pytest.mark.parametrize("name", ["random_shooting", "mcts", "rollout_iw", "fractal", "go_explore"])
def test_a_search_goes_on_when_states_outgrow_their_arrays(name):
    found = []
    for is_array in (True, False):
        env, state = grown(array_state=is_array)
        assert env.STATE_IS_ARRAY is is_array
        for resample in (False, True, False):  # then from a state of before
            rng = np.random.default_rng(0)
            out = getattr(planners, name)(env, state, budget=100, resample=resample, rng=rng)
            found.append((out.actions, out.value, out.search.simulator_calls))
        assert not env.STATE_IS_ARRAY
    assert found[:3] == found[3:]


@pytest.mark.filterwarnings("ignore:states of:UserWarning")
def test_many_searches_go_on_when_states_outgrow_their_arrays():
    def search(env, states, **options):
        outputs = mcts.many(
            env, states, num_simulations=20, max_depth=8, rng=np.random.default_rng(0), **options
        )
        return [(out.actions, out.value, out.search.simulator_calls) for out in outputs]

    env, state = grown()
    first = env.reset(seed=0)[0]
    found = [search(env, np.array([first, state])) for _ in range(2)]
    assert not env.STATE_IS_ARRAY
    env, state = grown(array_state=False)
    states = np.array([env.reset(seed=0)[0], state, None], object)[:2]
    assert found == [search(env, states)] * 2
    env, state = grown()
    with pytest.raises(InvalidStateError, match="larger state_capacity"):
        mcts(env, state, archive=StateArchive(), rng=np.random.default_rng(0))


# ---- many roots, networks, time ------------------------------------------------------------------


def test_many_states_are_planned_from_at_once():
    env = ToyEnv(size=8)
    state = start(env)
    end = env.step(LEFT, env.step(LEFT, state).state).state
    states = np.array([state, env.step(RIGHT, state).state, end])
    seen = []
    outputs = mcts.many(
        env,
        states,
        num_simulations=200,
        rng=np.random.default_rng(0),
        on_batch=lambda rows, frames: seen.append(rows),
    )
    assert len(outputs) == 3
    assert max(seen) > 8  # leaves of all trees in one batch
    assert sum(seen) == sum(output.search.simulator_calls for output in outputs)
    for state, output in zip(states, outputs, strict=True):
        tree = output.search
        assert tree.visits[ROOT] == 200
        assert np.array_equal(tree.states[ROOT], state)
        for node in range(1, tree.size):
            step = env.step(int(tree.actions[node]), tree.states[tree.parents[node]])
            assert np.array_equal(step.state, tree.states[node])
            assert step.reward == tree.rewards[node]
    assert outputs[1].value > outputs[0].value > outputs[2].value == 0.0
    kept = mcts(
        env,
        [env.step(outputs[row].action, states[row]).state for row in range(2)],
        tree=[output.search for output in outputs[:2]],
        num_simulations=50,
        rng=np.random.default_rng(0),
    )
    assert all(output.search.visits[ROOT] > 50 for output in kept)


def test_many_opaque_states_are_planned_from_at_once():
    env = OpaqueToy(size=8)
    states = env.step_batch([RIGHT, LEFT], [start(env)] * 2).states
    outputs = mcts(env, states, num_simulations=50, rng=np.random.default_rng(0))
    assert [output.search.visits[ROOT] for output in outputs] == [50, 50]


def test_a_budget_counts_for_each_state():
    env = ToyEnv(size=20)
    outputs = mcts(env, [start(env)] * 3, budget=90, rng=np.random.default_rng(0))
    assert all(50 <= output.search.simulator_calls <= 90 for output in outputs)


def test_a_subtree_is_kept_after_several_actions():
    env = ToyEnv(size=20)
    state = start(env)
    tree = plan(env, num_simulations=300).search
    deep = np.flatnonzero((tree.depths == 2) & ~tree.ended)
    node = int(deep[tree.visits[deep].argmax()])
    for action in (tree.actions[tree.parents[node]], tree.actions[node]):
        state = env.step(action, state).state
    kept = plan(env, state, tree=tree, played=2).search
    assert kept.visits[ROOT] == 100 + tree.visits[node]
    assert kept.depths[ROOT] == 0
    assert plan(env, state, tree=tree, played=1).search.visits[ROOT] == 100


def uniform(observs, states):
    return np.ones((len(states), 3))


def nothing(observs, states):
    return np.zeros(len(states))


def test_noise_at_the_root_is_drawn_once_and_spreads_the_visits():
    env = ToyEnv(size=30)
    options = {"policy_fn": uniform, "value_fn": nothing, "num_simulations": 60, "exploration": 2.0}
    plain = plan(env, **options)
    noisy = [plan(env, seed=k, root_noise=0.9, **options).action_weights for k in range(5)]
    assert max(np.abs(weights - plain.action_weights).max() for weights in noisy) > 0.2
    below = plan(env, root_noise=0.9, **options).search
    assert all(priors.tolist() == [1 / 3] * 3 for priors, _ in below.notes[1:])
    with pytest.raises(ValueError, match="policy_fn"):
        plan(env, root_noise=0.1)


def test_a_temperature_draws_by_the_visits():
    env = ToyEnv(size=30)
    drawn = [plan(env, seed=k, temperature=1.0).action for k in range(30)]
    assert len(set(drawn)) > 1
    cold = [plan(env, seed=k, temperature=0.01) for k in range(5)]
    assert all(output.action == output.action_weights.argmax() for output in cold)
    with pytest.raises(ValueError, match="temperature"):
        plan(env, temperature=-1.0)


def test_seconds_are_a_budget():
    output = plan(ToyEnv(size=20), seconds=0.05)
    assert output.search.visits[ROOT] >= 8
    few = plan(ToyEnv(size=20), seconds=10.0, num_simulations=50)
    assert few.search.visits[ROOT] == 50


# ---- the tree itself -----------------------------------------------------------------------------


def test_whole_numbers_are_those_of_the_generator():
    one, other = np.random.default_rng(3), np.random.default_rng(3)
    draw, sizes = whole_numbers(other), np.random.default_rng(0)
    for k in range(3000):
        size = int(sizes.integers(2, 2**32 if k % 2 else 50))  # redraws are frequent above 2**31
        assert draw(size) == int(one.integers(size))
    assert one.bit_generator.state == other.bit_generator.state


def test_a_tree_without_priors_is_kept_by_a_search_with_them():
    env = ToyEnv(size=20)
    first = plan(env, num_simulations=300)
    state = env.step(first.action, start(env)).state
    kept = plan(env, state, tree=first.search, policy_fn=uniform, value_fn=nothing).search
    assert kept.visits[ROOT] > 100
    pairs = list(zip(kept.parents[1:].tolist(), kept.actions[1:].tolist(), strict=True))
    assert len(pairs) == len(set(pairs))  # no action has two children
    below = kept.parents[1:] == ROOT
    assert kept.visits[1:][below].sum() in (kept.visits[ROOT], kept.visits[ROOT] - 1)


def test_a_state_without_legal_actions_ends_the_walk_only():
    def legal(observs, states, infos):
        return np.repeat(observs[:, :1] < 3, 3, axis=1)  # none farther on

    output = plan(ToyEnv(size=20), num_simulations=200, legal_actions=legal, value_fn=nothing)
    assert output.search.visits[ROOT] == 200
