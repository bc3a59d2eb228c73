"""Plots of the score over time and of the last search. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from plangym_lite.cli.play.game import Game
from plangym_lite.planners import Cells, Sequences, Shots, Swarm, Tree

__all__ = ["plot_games"]

FLAT = 10
"""How many times larger a range must be to make another one flat."""
TAILS = (0.05, 0.1, 0.25)
"""Shares of values, on each side, that may be left out: the smallest that helps."""


def plot_games(games: list[Game], title: str, path: Path) -> None:
    """Write a figure: the scores on the left, the last search on the right."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    draw_scores(games, left)
    left.set(title=title, xlabel="step")
    search = games[-1].search if games else None
    if search is not None:
        draw_search(search, right)
    figure.savefig(path)


def draw_scores(games: list[Game], axes: Any) -> None:
    """Draw the scores over time, those of random play dashed.

    Rewards so large that the rest would be flat are marked instead of added.
    """
    played = [rewards for game in games for rewards in (game.rewards, game.random_rewards)]
    limit = limit_of(played)
    for game in games:
        colour = draw_score(game.rewards, limit, axes, label=f"planner, seed {game.seed}")
        label = "random play" if game is games[0] else None
        style = {"linestyle": "--", "color": colour}
        draw_score(game.random_rewards, limit, axes, label=label, style=style)
    axes.legend()
    marked = any(abs(reward) > limit for rewards in played for reward in rewards)
    axes.set(ylabel="score without the marked rewards" if marked else "score")


def draw_score(
    rewards: list[float],
    limit: float,
    axes: Any,
    *,
    label: str | None,
    style: Mapping[str, Any] = MappingProxyType({}),
) -> Any:
    """Draw a score, and its rewards above ``limit`` as marks; return the colour."""
    found = np.array(rewards, float)
    marked = np.flatnonzero(np.abs(found) > limit)
    score = np.cumsum(np.where(np.abs(found) > limit, 0.0, found))
    (line,) = axes.plot(score, label=label, **style)
    axes.plot(marked, score[marked], "v", color=line.get_color())
    for step in marked:
        options = {"textcoords": "offset points", "ha": "right", "va": "top"}
        axes.annotate(f"{found[step]:+,g}", (step, score[step]), (0, -6), **options)
    return line.get_color()


def limit_of(games: list[list[float]]) -> float:
    """The size above which a reward makes the rest flat: ``FLAT`` times the range of the scores.

    ``games`` are the rewards of each. The largest twentieth of the rewards that are not 0, at least
    one, does not count for the range.
    """
    sizes = np.sort(np.abs([reward for rewards in games for reward in rewards if reward]))
    if sizes.size < 2:
        return np.inf
    limit = float(sizes[-1 - max(1, sizes.size // 20)])
    rest = [[reward for reward in rewards if abs(reward) <= limit] for rewards in games]
    widest = max(np.ptp(np.cumsum([0.0, *rewards])) for rewards in rest)
    return FLAT * float(widest)


def draw_search(search: Any, axes: Any) -> None:
    axes.set_title(f"the last search: {search.simulator_calls} simulator calls")
    if isinstance(search, Tree):
        values, rows = search.values, np.arange(1, search.size)
        draw_links(axes, search.depths, values, search.parents, rows)
        axes.set(xlabel="steps ahead", ylabel="value")
        leave_out(values[rows], axes.set_ylim, axes)
    elif isinstance(search, Cells):
        depths, returns = np.array(search.depths), np.array(search.returns)
        rows = np.arange(1, len(depths))
        draw_links(axes, depths, returns, np.array(search.parents), rows)
        axes.set(xlabel="steps ahead", ylabel="return so far")
        leave_out(returns[rows], axes.set_ylim, axes)
    elif isinstance(search, (Swarm, Sequences, Shots)):
        returns = np.asarray(search.returns)
        axes.set(xlabel="return", ylabel="walkers" if isinstance(search, Swarm) else "sequences")
        limits = leave_out(returns, axes.set_xlim, axes)
        axes.hist(returns, bins=30, range=limits)


def leave_out(values: np.ndarray, set_limits: Any, axes: Any) -> tuple[float, float] | None:
    """Leave out the few values so far away that the rest would be flat; return limits, if any."""
    values = values[np.isfinite(values)]
    for tail in TAILS if values.size > 1 else ():
        low, high = np.quantile(values, [tail, 1 - tail])
        if 0 < FLAT * (high - low) < np.ptp(values):
            break
    else:
        return None
    margin = high - low
    far = values[(values < low - margin) | (values > high + margin)]
    text = f"{far.size} from {far.min():,g} to {far.max():,g} left out"
    axes.annotate(text, (0.02, 0.02), xycoords="axes fraction", fontsize="small")
    set_limits(low - margin, high + margin)
    return low - margin, high + margin


def draw_links(axes: Any, x: np.ndarray, y: np.ndarray, parents: np.ndarray, rows: Any) -> None:
    from matplotlib.collections import LineCollection

    ends = np.stack([np.stack([x[rows], y[rows]], -1), np.stack([x, y], -1)[parents[rows]]], 1)
    axes.add_collection(LineCollection(list(ends), linewidths=0.5, colors="silver"))
    axes.scatter(x[rows], y[rows], s=6)
