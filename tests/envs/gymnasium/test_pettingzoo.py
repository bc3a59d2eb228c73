"""PettingZoo's games: PettingZoo alone, without our classes, plays the same."""

import sys
from importlib.util import find_spec

import numpy as np
import pytest
from gymnasium import spaces

if find_spec("pettingzoo") is None or find_spec("pygame") is None:
    pytest.skip("no PettingZoo", allow_module_level=True)

import pettingzoo
from pettingzoo.classic.connect_four import connect_four
from pettingzoo.classic.tictactoe import tictactoe

from plangym_lite import NotCloneableError, UnknownEnvironmentError, make, registry
from plangym_lite.envs.gymnasium import pettingzoo as adapter
from plangym_lite.envs.gymnasium.pettingzoo import PettingZooEnv, games
from plangym_lite.planners import mcts
from plangym_lite.planners.tree import ROOT
from plangym_lite.testing import check_exact
from tests.planners.games import solve
from tests.same import assert_same

GAMES = [
    ("tictactoe_v3", 4, False),
    ("tictactoe_v3", 1, True),
    ("connect_four_v3", 3, False),
    ("chess_v6", 1, False),
    ("chess_v6", 1, True),
]
LONGEST = 60  # moves compared


def alone(name, seed, illegal=False):
    """A game of random legal moves by PettingZoo alone: a list of move and what is seen after it.

    ``illegal``: the fourth move is illegal, which ends the game.
    """
    game = pettingzoo.make("aec", f"classic/{name}")
    rng, seen = np.random.default_rng(seed), []
    game.reset(seed=seed)
    obs, _, terminated, truncated, _ = game.last()
    seen.append((None, obs["observation"], 0.0, False, False, obs["action_mask"]))
    while not (terminated or truncated) and len(seen) <= LONGEST:
        mover, is_legal = game.agent_selection, not (illegal and len(seen) == 4)
        move = int(rng.choice(np.flatnonzero(obs["action_mask"] == is_legal)))
        game.step(move)
        obs, _, terminated, truncated, _ = game.last()
        reward = game.rewards[mover]
        seen.append((move, obs["observation"], reward, terminated, truncated, obs["action_mask"]))
    game.close()
    return seen


def same(expected, obs, reward, terminated, truncated, info):
    """Compare with PettingZoo's own."""
    assert_same([expected[1], expected[5]], [obs, info["action_mask"]])
    assert expected[2:5] == (reward, terminated, truncated)


@pytest.mark.parametrize(("name", "count", "illegal"), GAMES)
def test_games_are_pettingzoos(name, count, illegal):
    if name == "chess_v6":
        pytest.importorskip("chess")
    with make(f"pettingzoo/{name}") as env:
        assert env.state_method == "snapshot"
        for seed in range(count):
            game = alone(name, seed, illegal)
            state, obs, info = env.reset(seed=seed)
            states = [state]
            same(game[0], obs, 0.0, False, False, info)
            for expected in game[1:]:
                after = env.step(expected[0], states[-1])
                states.append(after.state)
                same(expected, *after[1:])
            assert not illegal or game[-1][2] == -1.0
            order = np.random.default_rng(seed).permutation(len(game) - 1)
            moves = [game[k + 1][0] for k in order]
            batch = env.step_batch(moves, [states[k] for k in order])
            for row, k in enumerate(order):
                fields = [part[row] for part in batch[1:]]
                same(game[k + 1], *fields)
                assert_same(states[k + 1], batch.states[row])
            env.set_state(states[2])
            assert_same([env.observe(), env.info()["action_mask"]], [game[2][1], game[2][5]])


def test_workers_give_the_same():
    game = alone("connect_four_v3", 5)
    moves = [entry[0] for entry in game[1:]]
    with (
        make(connect_four.env) as one,
        make(connect_four.env, n_workers=2, use_caller=False) as many,
    ):
        states = [one.reset(seed=5)[0]]
        for move in moves:
            states.append(one.step(move, states[-1]).state)
        alike = [env.step_batch(moves * 4, states[:-1] * 4) for env in (one, many)]
        assert_same(*alike)
        for expected, row in zip(game[1:], range(len(moves)), strict=True):
            same(expected, *(part[row] for part in alike[1][1:]))


def test_a_game_is_exact():
    report = check_exact(lambda: make(tictactoe.raw_env), depths=(0, 5), length=10, reach=5)
    assert report.exact, report


@pytest.mark.parametrize(("moves", "worth"), [([0, 1], 1), ([0, 4, 1], 0), ([0, 1, 4], -1)])
def test_positions_are_proven(moves, worth):
    board = np.zeros(9, int)
    board[moves] = [(-1) ** (len(moves) - k) for k in range(len(moves))]
    assert solve(tuple(board.tolist())) == worth  # by exhaustive search
    with make("pettingzoo/tictactoe_v3") as env:
        state, _, info = env.reset(seed=0)
        for move in moves:
            after = env.step(move, state)
            state, info = after.state, after.info
        options = {"discount": -1, "legal_actions": "action_mask", "num_simulations": 800}
        output = mcts(env, state, rng=np.random.default_rng(0), **options)
        assert info["action_mask"][output.action]
    assert output.search.proven[ROOT] == output.value == worth


class Countdown(pettingzoo.AECEnv):
    """Three players; who takes the last of the stones in the middle is out; the last one wins."""

    metadata = {"name": "countdown_v0", "render_modes": []}
    render_mode = None

    def __init__(self, unlike=False):
        self.possible_agents = ["a", "b", "c"]
        self.unlike = unlike

    def observation_space(self, agent):
        return spaces.Box(0, 9, (2,), np.int64)

    def action_space(self, agent):
        return spaces.Discrete(2 + (self.unlike and agent == "c"))

    def observe(self, agent):
        return np.array([self.stones, len(self.agents)])

    def reset(self, seed=None, options=None):
        self.agents, self.stones = self.possible_agents[:], 4
        self.rewards = dict.fromkeys(self.agents, 0)
        self._cumulative_rewards = dict.fromkeys(self.agents, 0)
        self.terminations = dict.fromkeys(self.agents, False)
        self.truncations = dict.fromkeys(self.agents, False)
        self.infos = {agent: {} for agent in self.agents}
        self.agent_selection = "a"

    def step(self, action):
        agent = self.agent_selection
        if self.terminations[agent]:
            self._was_dead_step(action)
            return
        self._clear_rewards()
        self.stones -= action + 1
        after = self.agents[(self.agents.index(agent) + 1) % len(self.agents)]
        if self.stones <= 0:
            self.stones, self.terminations[agent], self.rewards[agent] = 4, True, -1
            if len(self.agents) == 2:
                self.terminations[after], self.rewards[after] = True, 1
        self.agent_selection = after
        self._deads_step_first()


def test_an_agent_that_is_out_leaves():
    with make(Countdown) as env:
        state, obs, info = env.reset(seed=0)
        seen = [(obs.tolist(), info["agent"])]
        for _ in range(6):
            after = env.step(1, state)
            state = after.state
            ends = after.terminated, after.truncated
            seen.append((after.obs.tolist(), after.reward, *ends, after.info["agent"]))
    assert seen == [
        ([4, 3], "a"),
        ([2, 3], 0.0, False, False, "b"),
        ([4, 2], -1.0, False, False, "c"),
        ([2, 2], 0.0, False, False, "a"),
        ([4, 2], -1.0, True, False, "a"),
        ([4, 2], 0.0, True, False, "a"),
        ([4, 2], 0.0, True, False, "a"),
    ]


def test_what_cannot_be_played(monkeypatch):
    with pytest.raises(ValueError, match="different spaces"):
        make(Countdown, unlike=True)
    game = Countdown()
    with pytest.raises(NotCloneableError, match="the same environment twice"):
        make(lambda: game)
    with pytest.raises(UnknownEnvironmentError, match="checkers_v1"):
        make("pettingzoo/checkers_v1")
    with pytest.raises(TypeError, match="not an environment"):
        make(lambda: pettingzoo.ParallelEnv())
    monkeypatch.setattr(registry.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UnknownEnvironmentError, match=r"need pettingzoo: .*\[pettingzoo\]"):
        make("pettingzoo/tictactoe_v3")


def test_games_are_listed():
    listed = games()
    assert {"pettingzoo/connect_four_v3", "pettingzoo/tictactoe_v3"} <= set(listed)
    assert ("pettingzoo/chess_v6" in listed) == (find_spec("chess") is not None)
    needed = [find_spec(name) for name in ("pyspiel", "shimmy")]
    assert ("pettingzoo/hanabi_v5" in listed) == (None not in needed)


def test_missing_packages_are_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "shimmy", None)
    monkeypatch.setitem(sys.modules, "pyspiel", None)
    monkeypatch.setattr(adapter, "find_spec", lambda name: None if name == "shimmy" else name)
    with pytest.raises(UnknownEnvironmentError, match=r"hanabi_v5' needs other packages: shimmy$"):
        make("pettingzoo/hanabi_v5")


def test_seeds_of_unseeded_resets_fit_a_c_int():  # as Hanabi's must
    class Picky(Countdown):
        def reset(self, seed=None, options=None):
            assert seed is None or 0 <= seed < 2**31
            super().reset(seed, options)

    with make(Picky, state_method="replay") as env:
        seeds = {env.reset()[0].root.seed for _ in range(20)}
    assert len(seeds) == 20


@pytest.mark.parametrize("name", ["tictactoe_v3", "connect_four_v3"])
def test_images_are_pettingzoos(name):
    moves, images = [entry[0] for entry in alone(name, 1)[1:6]], []
    game = pettingzoo.make("aec", f"classic/{name}", render_mode="rgb_array")
    game.reset(seed=1)
    for move in moves:
        game.step(move)
        images.append(game.render())
    game.close()
    with make(f"pettingzoo/{name}") as env:
        states = [env.reset(seed=1)[0]]
        for move in moves:
            states.append(env.step(move, states[-1]).state)
        assert env.state_method == "snapshot"
        for state, image in reversed(list(zip(states[1:], images, strict=True))):
            assert np.array_equal(env.get_images([state])[0], image)


def test_a_game_without_drawings_has_no_image():
    with make(lambda: tictactoe.env()) as env:
        env.reset(seed=0)
        with pytest.raises(NotImplementedError, match="draws no image"):
            env.get_image()


def test_it_is_known_by_its_versions():
    with make("pettingzoo/classic/tictactoe_v3") as env:
        assert isinstance(env, PettingZooEnv)
        assert f"pettingzoo={pettingzoo.__version__}" in env.fingerprint
