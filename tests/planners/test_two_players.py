"""Legal moves and two players: nothing illegal is stepped, and what is solved is proven."""

from __future__ import annotations

import inspect
from functools import cache, partial

import numpy as np
import pytest

from plangym_lite import make, planners
from plangym_lite.planners import mcts
from plangym_lite.planners.tree import ROOT, UNKNOWN

from .games import Chess, Coins, Nim, TicTacToe, best_cells, best_gains, solve

DISCRETE = ("random_shooting", "mcts", "rollout_iw", "fractal", "go_explore")


def empty(observs, states, infos):
    """Legal moves as a function of observations."""
    return np.asarray(observs) == 0


def begin(kind, moves=()):
    env = make(kind)
    state, _, info = env.reset(seed=0, options={"moves": moves})
    options = {"discount": -1.0, "legal_actions": "action_mask", "info": info}
    return env, state, partial(mcts, env, **options)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("kind", "moves", "walks", "worth"),
    [
        (TicTacToe, [0, 1], 500, 1.0),
        (TicTacToe, [0, 4], 3000, 0.0),
        (TicTacToe, [0, 4, 1], 500, 0.0),
        (Nim, [], 1500, 1.0),
    ],
)
def test_solved_positions_are_proven(kind, moves, walks, worth, seed):
    _, state, search = begin(kind, moves)
    output = search(state, num_simulations=walks, rng=np.random.default_rng(seed))
    tree = output.search
    assert tree.proven[ROOT] == output.value == worth
    assert tree.visits[ROOT] <= walks
    if kind is Nim:
        assert output.action == 12  # 1 ^ 3 ^ 2 == 0
        heaps = [(1, 3, 5)]
        for node in range(1, tree.size):
            heaps.append(taken(heaps[tree.parents[node]], int(tree.actions[node])))
            if any(heaps[node]) and not np.isnan(tree.proven[node]):
                assert tree.proven[node] == nim(heaps[node])
        return
    for node in np.flatnonzero(~np.isnan(tree.proven)):  # each of them, by exhaustive search
        board = np.zeros(9, np.int8)
        player, path = 1, []
        while node != UNKNOWN:
            path, node = [node, *path], int(tree.parents[node])
        for cell in [*moves, *(int(tree.actions[row]) for row in path[1:])]:
            board[cell], player = player, -player
        assert tree.proven[path[-1]] in (0.0, solve(tuple((board * player).tolist())))
        if not tree.ended[path[-1]]:
            assert tree.proven[path[-1]] == solve(tuple((board * player).tolist()))
    start = np.zeros(9, int)
    for k, cell in enumerate(moves):
        start[cell] = (-1) ** k
    assert output.action in best_cells(tuple((start * (-1) ** len(moves)).tolist()))


def taken(heaps, action):
    heap, k = divmod(action, 5)
    return (*heaps[:heap], heaps[heap] - k - 1, *heaps[heap + 1 :])


@cache
def nim(heaps):
    """What heaps are worth to who is to move, by minimax with a table."""
    moves = [5 * heap + k for heap in range(3) for k in range(heaps[heap])]
    return max((-nim(taken(heaps, move)) for move in moves), default=-1)


def play_against(searching: int, seed: int, walks: int) -> float:
    """What the search earns from the empty board, against a random player; or, where ``seed`` is
    odd, against one who plays any of the best moves."""
    env, state, search = begin(TicTacToe)
    rng, tree = np.random.default_rng(seed), None
    (_, obs, info), played = env.reset(seed=0), 0
    for turn in range(9):
        if turn % 2 == searching:
            out = (
                search(state, info=info, tree=tree, played=played, num_simulations=walks, rng=rng)
                if tree is not None
                else search(state, info=info, num_simulations=walks, rng=rng)
            )
            tree, played, move = out.search, 0, out.action
        else:
            legal = np.flatnonzero(info["action_mask"])
            move = int(rng.choice(best_cells(tuple(obs.tolist())) if seed % 2 else legal))
        played += 1
        step = env.step(move, state)
        state, obs, info = step.state, step.obs, step.info
        if step.terminated:
            return step.reward * (1 if turn % 2 == searching else -1)
    return 0.0


@pytest.mark.parametrize("searching", [0, 1])
def test_no_game_is_lost_from_the_empty_board(searching):
    assert min(play_against(searching, seed, 1000) for seed in range(3)) >= 0


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("tens", range(5))
@pytest.mark.parametrize("searching", [0, 1])
def test_no_game_of_100_is_lost(searching, tens):
    seeds = range(10 * tens, 10 * tens + 10)
    assert min(play_against(searching, seed, 1000) for seed in seeds) >= 0


@pytest.mark.parametrize("legal", ["action_mask", empty])
@pytest.mark.parametrize("name", DISCRETE)
def test_no_illegal_move_is_stepped_or_returned(name, legal):
    env, state, _ = begin(TicTacToe, [4, 0, 8])  # an illegal one raises
    options = {
        "legal_actions": legal,
        "info": {"action_mask": np.array([0, 1, 1, 1, 0, 1, 1, 1, 0])},
    }
    rng = np.random.default_rng(0)
    output = getattr(planners, name)(env, state, budget=300, rng=rng, **options)
    assert output.action not in (0, 4, 8)
    assert not output.action_weights[[0, 4, 8]].any()
    for action in output.actions:
        state = env.step(action, state).state


def test_a_policy_is_masked_too():
    _, state, search = begin(TicTacToe, [4, 0, 8])
    policy = {"policy_fn": lambda observs, states: np.ones((len(states), 9)), "root_noise": 0.5}
    output = search(state, num_simulations=200, rng=np.random.default_rng(0), **policy)
    assert not output.action_weights[[0, 4, 8]].any()
    children = output.search.children[ROOT]
    assert (children[[0, 4, 8]] == UNKNOWN).all()


class DeadEnd(TicTacToe):
    """Nobody can move after two moves, though the game goes on."""

    def _seen(self):
        obs, info = super()._seen()
        return obs, {"action_mask": info["action_mask"] * (np.count_nonzero(self.board) < 2)}


@pytest.mark.parametrize("name", DISCRETE)
def test_a_state_without_legal_moves_ends_its_episode(name):
    env, state, _ = begin(DeadEnd)
    options = {"legal_actions": "action_mask", "rng": np.random.default_rng(0)}
    assert len(getattr(planners, name)(env, state, budget=200, **options).actions) <= 2


def test_what_is_not_known_is_told():
    env, state, search = begin(TicTacToe)
    rng = np.random.default_rng(0)
    if not hasattr(env, "info"):
        with pytest.raises(ValueError, match="pass that of the root as info="):
            search(state, info=None, rng=rng)
    with pytest.raises(ValueError, match="no legal action"):
        search(state, info={"action_mask": np.zeros(9)}, rng=rng)
    with pytest.raises(ValueError, match="shape"):
        search(state, legal_actions=lambda *_: np.ones((1, 3)), rng=rng)


def test_all_discrete_planners_take_legal_actions():
    for name in DISCRETE:
        known = inspect.signature(getattr(planners, name)).parameters
        assert {"legal_actions", "resample", "info"} <= set(known)


@pytest.mark.parametrize(
    ("fen", "move"),
    [
        ("kbK5/pp6/1P6/8/8/8/8/R7 w - - 0 1", "a1a6"),  # Morphy
        ("7k/R7/8/6K1/8/8/8/8 w - - 0 1", "g5g6"),
        ("6k1/8/8/8/8/8/1R6/R5K1 w - - 0 1", "b2b7"),
    ],
)
def test_a_mate_in_two_is_found(fen, move):
    chess = pytest.importorskip("chess")
    env = make(Chess, fen=fen)
    state, _, info = env.reset(seed=0)
    output = mcts(
        env,
        state,
        num_simulations=1000,
        max_depth=3,
        discount=-1.0,
        legal_actions="action_mask",
        info=info,
        value_fn=lambda observs, states: np.zeros(len(states)),
        rng=np.random.default_rng(0),
    )
    assert chess.Move(*divmod(output.action, 64)).uci() == move
    assert output.value == 1.0


@pytest.mark.parametrize("coins", [(8, 9, 3, 1, 5), (5, 7, 1, 8, 2, 6)])
def test_scores_on_the_way_are_counted(coins):
    """A move that earns more than it loses is not the best one because of that."""
    with make(lambda: Coins(coins)) as env:
        state, rng = env.reset(seed=0)[0], np.random.default_rng(0)
        output = mcts(env, state, discount=-1.0, num_simulations=2000, rng=rng)
    gains = best_gains(coins)
    assert output.search.proven[ROOT] == output.value == max(gains)
    assert gains[output.action] == max(gains)
