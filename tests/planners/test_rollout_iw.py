"""rollout_iw: what is novel, what is pruned, what is kept, what is feared."""

from __future__ import annotations

from array import array

import numpy as np
import pytest
from gymnasium import spaces

from plangym_lite import make
from plangym_lite.planners import Features, rollout_iw
from plangym_lite.planners.features import (
    TILES,
    NodeData,
    NodeEvaluator,
    as_array,
    basic_features,
    break_records,
    features_of,
    held_records,
    value_features,
)
from plangym_lite.planners.rollout_iw import NoveltySearch
from plangym_lite.planners.tree import ROOT, UNKNOWN, Start
from plangym_lite.testing.toy import LEFT, RIGHT, ToyEnv


def plan(env, state=None, seed=0, **options):
    state = env.reset(seed=0)[0] if state is None else state
    return rollout_iw(env, state, rng=np.random.default_rng(seed), **options)


def by_hand(
    features: dict[int, list[int]], parents: list[int], rewards=None, n_actions=3, **options
) -> NoveltySearch:
    """A lookahead on a tree whose row ``k`` hangs below ``parents[k - 1]``."""
    options = {"max_depth": 10, "subtables": True, "discount": 1.0, **options}
    rng = np.random.default_rng(0)
    search = NoveltySearch(n_actions, Start(np.zeros(1), 20), 10, rng=rng, **options)
    for node, parent in enumerate([UNKNOWN, *parents]):
        if parent != UNKNOWN:
            search.add(parent, len([child for child in search.children[parent] if child > 0]))
        adjusted = (rewards or {}).get(node, 0.0)
        search.set_data(node, NodeData(np.array(features[node]), None, adjusted=adjusted))
        if parent != UNKNOWN:
            search.back_up(node, 0.0)
    search.is_novel(ROOT)
    return search


def test_new_features_and_smaller_depths_are_novel():
    search = by_hand({0: [0], 1: [0, 1], 2: [2], 3: [2], 4: [2]}, [0, 1, 2, 0])
    assert search._is_open(1)  # feature 1 is new
    assert search._is_open(2)  # feature 2, at depth 2
    assert not search._is_open(3)  # 2 again, deeper
    assert search._is_open(4)  # 2 at depth 1: nearer than before
    assert search._is_open(1)  # holds its record
    assert not search._is_open(2)  # has lost it to node 4
    assert search.solved[2]
    assert search.solved[3]


def test_a_node_is_worked_off_when_all_below_it_are():
    search = by_hand({k: [0] for k in range(5)}, [0, 1, 1, 1])
    assert search.is_novel(1) is False
    for node in (2, 3):
        search._close(node)
        assert not search.solved[1]
    search._close(4)
    assert search.solved[1]
    assert not search.solved[ROOT]


def test_what_is_too_deep_or_over_is_worked_off():
    search = by_hand({0: [0], 1: [1], 2: [2], 3: [3]}, [0, 1, 0], max_depth=2)
    search.ended[3] = True
    assert search._is_open(1)
    assert not search._is_open(2)
    assert not search._is_open(3)


@pytest.mark.parametrize("subtables", [True, False])
def test_branches_that_earn_more_have_a_table_of_their_own(subtables):
    rewards = {1: 0.0, 2: 1.0, 3: 1.5, 4: -5.0}
    options = {"subtables": subtables, "n_actions": 4}
    search = by_hand({k: [0] for k in range(5)}, [0, 0, 0, 0], rewards, **options)
    assert not search._is_open(1)
    assert search._is_open(2) == subtables
    assert not search._is_open(3)  # between the same powers of two
    assert not search._is_open(4)  # less than nothing is nothing


def test_what_was_walked_in_vain_is_not_walked_again():
    env = ToyEnv(size=30)
    output = plan(env, budget=10**4)
    assert output.actions == [RIGHT] * 27
    assert output.search.simulator_calls < 100  # worked off
    assert output.value == pytest.approx(0.995**26 - 0.01 * sum(0.995**k for k in range(26)))


def test_the_subtree_is_kept_and_costs_nothing():
    env = ToyEnv(size=30)
    first = plan(env, budget=60)
    state = env.step(first.action, env.reset(seed=0)[0]).state
    kept = len(first.search.below(int(first.search.children[ROOT, first.action])))
    second = plan(env, state, budget=60, tree=first.search)
    assert second.search.size == kept + second.search.simulator_calls
    assert second.actions[: len(first.actions) - 1] == first.actions[1:]
    fresh = plan(env, state, budget=10**4)
    assert second.search.simulator_calls < fresh.search.simulator_calls


class Losing(ToyEnv):
    """The treasure costs a life."""

    def advance(self, action, n_frames):
        total, terminated, truncated, info = super().advance(action, n_frames)
        return total, terminated, truncated, {**info, "lost_life": bool(total > 0.9)}


@pytest.mark.parametrize(("risk", "tried", "path"), [(9, 1, [1, 2]), (9, 2, [4]), (1, 1, [4])])
def test_one_walk_that_dies_does_not_condemn_where_it_came_from(risk, tried, path):
    parents = [0, 1, 2, 0, *[2] * (tried - 1)]  # 3 dies, and 5; 4 is pruned; 1 has more to try
    losses = {3: -5.0, 4: -1.0, 5: -5.0}
    search = by_hand({k: [k] for k in range(6)}, parents, losses, n_actions=2)
    for _ in range(tried - 1):  # node 1 has been tried, too
        search.set_data(search.add(1, 1), NodeData(np.array([6]), None, adjusted=-5.0))
        search.back_up(search.size - 1, 0.0)
    NodeEvaluator(None, None, None, None, risk).finish(search)
    assert search.best_path()[0] == path


def test_a_life_is_worth_more_than_the_treasure_to_the_risk_averse():
    assert plan(Losing(), budget=500).action == RIGHT
    assert plan(Losing(), budget=500, risk_aversion=100.0).action == LEFT


def test_of_equal_branches_the_longest_is_taken():
    class Free(ToyEnv):  # nothing costs anything; the left end is near, the right one far
        def _move(self, way):
            super()._move(way)
            return 0.0

    output = plan(Free(size=12), budget=500)
    assert output.actions[:8] == [RIGHT] * 8  # and then anything: the next cell is nothing new
    assert output.value == 0.0


# ---- features ---------------------------------------------------------------------------------


def slow_basic(picture: np.ndarray) -> set[int]:
    """The same, pixel by pixel."""
    height, width = picture.shape
    return {
        int(picture[y, x]) + 256 * (y * TILES[0] // height * TILES[1] + x * TILES[1] // width)
        for y in range(height)
        for x in range(width)
    }


@pytest.mark.parametrize("shape", [(210, 160), (20, 33)])
def test_basic_features_are_the_colours_of_each_tile(shape):
    rng = np.random.default_rng(0)
    looks = basic_features(shape)
    for colours in (1, 2, 5, 200):
        coarse = rng.integers(colours, size=(shape[0] // 3 + 1, shape[1] // 4 + 1))
        picture = np.kron(coarse, np.ones((3, 4), int))[: shape[0], : shape[1]].astype(np.uint8)
        (found,) = looks.of(picture[None])
        assert set(found.tolist()) == slow_basic(picture)
        assert len(set(found.tolist())) == len(found)
        assert found.max() < looks.size


def test_the_tiles_of_atari_are_15_by_10_pixels():
    picture = np.zeros((210, 160), np.uint8)
    picture[14, 9] = picture[15, 9] = picture[15, 10] = 7
    (found,) = basic_features((210, 160)).of(picture[None])
    assert {feature // 256 for feature in found if feature % 256 == 7} == {0, 16, 17}
    assert len(found) == 14 * 16 + 3


def test_colours_are_brought_down_to_256():
    (found,) = basic_features((210, 160, 3)).of(np.full((1, 210, 160, 3), 255, np.uint8))
    assert set((found % 256).tolist()) == {255}


def test_memory_has_a_feature_for_each_value_of_each_byte():
    looks = features_of(spaces.Box(0, 255, (128,), np.uint8))
    assert looks.size == 128 * 256
    memory = np.arange(128, dtype=np.uint8)
    assert as_array(looks.of(memory[None])[0]).tolist() == [257 * k for k in range(128)]


def test_bytes_break_and_hold_the_records_that_their_numbers_do():
    rng = np.random.default_rng(0)
    above, here = (rng.integers(3, size=40).astype(np.uint8).tobytes() for _ in range(2))
    records = [array("h", [9]) * (40 * 256) for _ in range(2)]
    for depth, row, known in ((5, above, None), (6, here, above), (3, here, None)):
        by_bytes = break_records(records[0], row, depth, known)
        assert by_bytes == break_records(records[1], as_array(row), depth).tolist()
        held = held_records(records[1], as_array(row), depth).tolist()
        assert held_records(records[0], row, depth) == held
        assert records[0] == records[1]


def test_values_fall_into_bins_with_or_without_bounds():
    space = spaces.Box(np.array([0, -np.inf]), np.array([1, np.inf]), dtype=np.float64)
    looks = value_features(space)
    rows = np.array([[0.0, -1e9], [0.5, 0.0], [1.0, 1e9], [2.0, np.inf]])
    assert looks.of(rows) == [[0, 256], [127, 383], [255, 511], [255, 511]]
    rows = np.random.default_rng(0).normal(size=(200, 2))
    many = [row.tolist() for row in looks.of(rows)]  # by numpy
    assert many == [features for row in rows for features in looks.of(row[None])]


def test_nested_observations_have_features():
    space = spaces.Dict({"a": spaces.Discrete(3, start=2), "b": spaces.MultiBinary(2)})
    looks = value_features(space)
    assert looks.size == 3 + 2 * 256
    observs = {"a": np.array([2, 4]), "b": np.array([[0, 1], [1, 1]])}
    assert [row.tolist() for row in looks.of(observs)] == [[0, 3, 260], [2, 4, 260]]


def test_vectors_of_whole_numbers_have_features():
    looks = value_features(spaces.MultiDiscrete([7, 300], start=[2, 0]))
    assert looks.size == 2 * 256
    assert looks.of(np.array([[2, 0], [8, 299]])) == [[0, 256], [6, 511]]


def test_features_of_your_own():
    looks = Features(2, lambda observs: [np.array([int(obs[0] > 4)]) for obs in observs])
    output = plan(ToyEnv(size=12), budget=100, features=looks)
    assert output.search.simulator_calls < 20  # only one thing is ever new


def test_features_that_do_not_fit():
    with pytest.raises(TypeError, match="basic features are of images"):
        plan(ToyEnv(), features="basic")
    with pytest.raises(TypeError, match="too small"):
        basic_features((10, 10))
    with pytest.raises(TypeError, match="give Features"):
        value_features(spaces.Graph(spaces.Discrete(2), None))


# ---- Atari ------------------------------------------------------------------------------------


def test_the_palette_is_the_consoles_own():
    with make("ALE/MsPacman-v5", obs_type="palette", full_action_space=True) as env:
        state, obs, _ = env.reset(seed=0)
        out = env.step_batch([2, 3], [state, state])
        assert obs.shape == (210, 160)
        assert obs.dtype == np.uint8
        assert not (out.observs % 2).any()
        assert np.array_equal(out.observs[1], env.step(3, state).obs)
        rgb = make("ALE/MsPacman-v5", full_action_space=True)
        colours = rgb.step_batch([3], [state]).observs[0].reshape(-1, 3)
        pairs = np.unique(np.column_stack([out.observs[1].ravel(), colours]), axis=0)
        assert len(np.unique(pairs[:, 0])) == len(pairs)  # each number is one colour
        rgb.close()


def test_the_palette_is_for_games_without_wrappers():
    with pytest.raises(NotImplementedError, match="palette"):
        make(
            "ALE/MsPacman-v5", obs_type="palette", wrappers=[lambda env: env.unwrapped and Odd(env)]
        )


def Odd(env):
    import gymnasium as gym

    return gym.wrappers.TransformReward(env, lambda reward: reward)


@pytest.mark.parametrize("obs_type", ["palette", "ram", "rgb"])
def test_it_plans_a_game(obs_type):
    with make("ALE/Boxing-v5", obs_type=obs_type, frameskip=15) as env:
        output = plan(env, budget=40, batch_size=4)
        assert output.search.simulator_calls == 40
        assert output.search.depths.max() > 2
