"""The options that ``plan`` and ``compare`` share, and those of planners."""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Mapping
from typing import Any

from plangym_lite import planners
from plangym_lite.cli.output import add_output
from plangym_lite.cli.parser import at_least_one
from plangym_lite.cli.target import add_env

__all__ = ["OPTIONS", "PLANNERS", "add_common", "flag_of", "parameters_of", "planner_options_of"]

PLANNERS = ("mcts", "random_shooting", "rollout_iw", "fractal", "go_explore", "cem", "mppi")

OPTIONS: dict[str, tuple[type, str]] = {
    "num_simulations": (int, "mcts, random_shooting: for each decision, if there is no budget"),
    "budget": (int, "simulator calls for each decision"),
    "seconds": (float, "mcts: for each decision; no batch begins after that"),
    "discount": (float, "of a reward one step later; mcts: -1 for two players in turn"),
    "legal_actions": (str, "the key of the mask in the info (default: action_mask, if there)"),
    "max_depth": (int, "how many steps ahead a simulation looks"),
    "rollout_dt": (int, "for how many steps a random action is held"),
    "batch_size": (int, "leaves, walks or cells that go on together"),
    "exploration": (float, "mcts: weight of what was visited little"),
    "root_noise": (float, "mcts: share of Dirichlet noise at the root, with a policy"),
    "root_alpha": (float, "mcts: concentration of that noise"),
    "features": (str, "rollout_iw: basic, values or auto"),
    "risk_aversion": (float, "rollout_iw: factor on negative rewards and lost lives"),
    "subtables": (bool, "rollout_iw: novelty among branches of similar reward only"),
    "walkers": (int, "fractal: how many"),
    "reward_weight": (float, "fractal: of the reward against the distance"),
    "distance_weight": (float, "fractal: of the distance against the reward"),
    "explore_steps": (int, "go_explore: random steps from each cell"),
    "repeat": (float, "go_explore: probability of repeating an action"),
    "horizon": (int, "cem, mppi: length of a sequence"),
    "iterations": (int, "cem, mppi: how often the sequences are drawn"),
    "elites": (float, "cem: share of the sequences that the next are like"),
    "std": (float, "cem, mppi: deviation to begin with, of half the range"),
    "temperature": (
        float,
        "mppi: how far below the best a sequence counts; mcts: above 0 the action is drawn",
    ),
}


def parameters_of(planner: str) -> Mapping[str, inspect.Parameter]:
    """The parameters of a planner, by name."""
    return inspect.signature(getattr(planners, planner)).parameters


def flag_of(option: str) -> str:
    """The name of an option on the command line."""
    return "--simulations" if option == "num_simulations" else "--" + option.replace("_", "-")


def add_common(parser: argparse.ArgumentParser, episodes: int) -> None:
    """Add the options of both commands."""
    add = parser.add_argument
    add("--episodes", type=at_least_one, default=episodes, metavar="N", help="one seed each")
    add("--steps", type=at_least_one, default=100, metavar="N", help="at most (default: 100)")
    add("--workers", type=_workers, default="auto", metavar="auto|N|none", help="processes")
    add("--ray", action="store_true", help="workers on a Ray cluster (RAY_ADDRESS), not processes")
    add("--seed", type=int, default=0, metavar="N", help="of the first episode")
    add("--frameskip", type=at_least_one, metavar="N", help="frames for each step")
    add(
        "--know-the-dice",
        action="store_true",
        help="let the planner know what the environment will draw; otherwise it draws anew",
    )
    add_env(parser)
    add_output(parser)
    group = parser.add_argument_group("options of the planners")
    for name, (kind, text) in OPTIONS.items():
        flag = flag_of(name)
        if kind is bool:
            action = argparse.BooleanOptionalAction
            group.add_argument(flag, dest=name, action=action, default=None, help=text)
        else:
            mark = {int: "N", float: "X", str: "KIND"}[kind]
            group.add_argument(flag, dest=name, type=kind, metavar=mark, help=text)


def planner_options_of(args: argparse.Namespace) -> dict[str, Any]:
    """The options of planners that were given, by name."""
    return {
        name: value for name, value in vars(args).items() if name in OPTIONS and value is not None
    }


def _workers(text: str) -> int | str | None:
    """``auto``, a number, or ``None`` for no processes."""
    if text == "auto":
        return text
    return None if text in ("none", "0") else at_least_one(text)
