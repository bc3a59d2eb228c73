"""Plots of the score over time and of the last search. Needs matplotlib."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from plangym_lite.cli.play.game import Game
from plangym_lite.planners import Cells, Sequences, Shots, Swarm, Tree

__all__ = ["plot_games"]


def plot_games(games: list[Game], title: str, path: Path) -> None:
    """Write a figure: the scores on the left, the last search on the right."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for game in games:
        left.plot(np.cumsum(game.rewards), label=f"seed {game.seed}")
    left.set(title=title, xlabel="step", ylabel="score")
    if len(games) > 1:
        left.legend()
    search = games[-1].search if games else None
    if search is not None:
        draw_search(search, right)
    figure.savefig(path)


def draw_search(search: Any, axes: Any) -> None:
    """Draw the last search: its tree, its places, or its returns."""
    axes.set_title(f"the last search: {search.simulator_calls} simulator calls")
    if isinstance(search, Tree):
        rows = np.arange(1, search.size)
        draw_links(axes, search.depths, search.values, search.parents, rows)
        axes.set(xlabel="steps ahead", ylabel="value")
    elif isinstance(search, Cells):
        depths, returns = np.array(search.depths), np.array(search.returns)
        rows = np.arange(1, len(depths))
        draw_links(axes, depths, returns, np.array(search.parents), rows)
        axes.set(xlabel="steps ahead", ylabel="return so far")
    elif isinstance(search, (Swarm, Sequences, Shots)):
        axes.hist(search.returns, bins=30)
        axes.set(xlabel="return", ylabel="walkers" if isinstance(search, Swarm) else "sequences")


def draw_links(axes: Any, x: np.ndarray, y: np.ndarray, parents: np.ndarray, rows: Any) -> None:
    """Draw dots, and a line from each to its parent."""
    from matplotlib.collections import LineCollection

    ends = np.stack([np.stack([x[rows], y[rows]], -1), np.stack([x, y], -1)[parents[rows]]], 1)
    axes.add_collection(LineCollection(list(ends), linewidths=0.5, colors="silver"))
    axes.scatter(x[rows], y[rows], s=6)
