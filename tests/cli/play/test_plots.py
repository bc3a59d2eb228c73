"""Plots: random play is there, and one huge penalty does not flatten the rest."""

from __future__ import annotations

import numpy as np
import pytest

from plangym_lite.cli.play.game import Game
from plangym_lite.cli.play.plots import draw_scores, draw_search, limit_of
from plangym_lite.planners.random_shooting import Shots

figure = pytest.importorskip("matplotlib.figure")


def axes():
    return figure.Figure().subplots()


def test_random_play_is_drawn():
    game = Game(rewards=[1.0, 2.0, 3.0], random_rewards=[1.0, 0.0, -1.0])
    drawing = axes()
    draw_scores([game], drawing)
    lines = [line.get_ydata().tolist() for line in drawing.lines if len(line.get_ydata())]
    assert lines == [[1.0, 3.0, 6.0], [1.0, 1.0, 0.0]]
    assert [text.get_text() for text in drawing.get_legend().texts] == [
        *("planner, seed 0", "random play")
    ]
    assert drawing.get_ylabel() == "score"


def test_a_huge_penalty_is_marked():
    game = Game(rewards=[1.0] * 20, random_rewards=[1.0] * 5 + [-10_000.0] + [1.0] * 14)
    drawing = axes()
    draw_scores([game], drawing)
    low, high = drawing.get_ylim()
    assert -3 < low < high < 25
    assert [text.get_text() for text in drawing.texts] == ["-10,000"]
    assert "without the marked rewards" in drawing.get_ylabel()


@pytest.mark.parametrize("rewards", [[], [0.0], [5.0], [10.0] * 50 + [200.0, 400.0, 800.0]])
def test_ordinary_rewards_are_not_marked(rewards):
    assert all(abs(reward) <= limit_of([rewards, []]) for reward in rewards)


def test_far_returns_are_left_out_of_the_last_search():
    returns = np.append(np.linspace(0, 10, 40), -1e6)
    search = Shots([], returns, np.ones(41), simulator_calls=41, frames=41)
    drawing = axes()
    draw_search(search, drawing)
    low, high = drawing.get_xlim()
    assert -15 < low < high < 25
    assert [text.get_text() for text in drawing.texts] == ["1 from -1e+06 to -1e+06 left out"]
    drawing = axes()
    draw_search(search._replace(returns=returns[:-1]), drawing)
    assert not drawing.texts
