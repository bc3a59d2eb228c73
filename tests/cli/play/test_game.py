"""Games of legal moves and of two players, on the command line."""

from __future__ import annotations

import json
from importlib.util import find_spec

import numpy as np
import pytest

from plangym_lite.cli.main import main

GAME = "tests.planners.games:TicTacToe"  # an illegal move raises


def play(folder, *options, name=GAME, command="plan"):
    """The JSON of a command."""
    path = folder / "out.json"
    assert main([command, name, *options, "--workers", "none", "-q", "--json", str(path)]) == 0
    return json.loads(path.read_text())


def test_two_players_move_in_turn(tmp_path):
    path = tmp_path / "steps.npz"
    options = "--discount", "-1", "--simulations", "30", "--episodes", "2", "--save", str(path)
    game = play(tmp_path, *options)
    assert game["two_players"]
    steps = np.load(path)
    signs, board = {}, np.zeros(9, int)
    for seed, action, reward, weights in zip(
        *(steps[name] for name in ("seeds", "actions", "rewards", "weights")), strict=True
    ):
        if seed not in signs:
            signs[seed], board = [], np.zeros(9, int)
        turn = len(signs[seed])
        assert not board[action]
        board[action] = 1
        assert np.isnan(weights).all() == (turn % 2 == 1)  # random play, against the planner
        signs[seed].append((-1) ** turn * reward)
    assert [episode["rewards"] for episode in game["episodes"]] == list(signs.values())


@pytest.mark.parametrize("planner", ["random_shooting", "fractal", "go_explore", "rollout_iw"])
def test_random_play_is_legal_where_infos_have_a_mask(tmp_path, planner):
    game = play(tmp_path, "--planner", planner, "--budget", "60", "--steps", "9")
    assert not game["two_players"]
    assert game["steps"] >= 5


def test_the_other_player_need_not_follow_a_plan(capsys):
    assert main(["plan", GAME, "--discount", "-1", "--execute", "2", "--workers", "none"]) == 2
    assert "need not follow the plan" in capsys.readouterr().err


@pytest.mark.skipif(find_spec("pettingzoo") is None, reason="no PettingZoo")
def test_the_rules_of_pettingzoos_games_are_known(tmp_path, capsys):
    options = "--simulations", "20", "--episodes", "1", "--planners", "mcts,fractal"
    name = "pettingzoo/tictactoe_v3"
    played = play(tmp_path, *options, name=name, command="compare")["results"]
    assert all(game["two_players"] for game in played)
    assert "llegal" not in "".join(capsys.readouterr())
    assert play(tmp_path, "--steps", "4", name="pettingzoo/rps_v2")["two_players"] is False
