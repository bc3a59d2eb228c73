"""Which planners the command line knows, and their options; ``--help`` is quick."""

from __future__ import annotations

__all__ = ["OPTIONS", "PLANNERS", "flag_of"]

PLANNERS = ("mcts", "random_shooting", "rollout_iw", "fractal", "go_explore", "cem", "mppi")

OPTIONS: dict[str, tuple[type, str]] = {
    "num_simulations": (int, "mcts, random_shooting: for each decision, if there is no budget"),
    "budget": (int, "simulator calls for each decision"),
    "seconds": (float, "mcts: for each decision; no batch begins after that"),
    "discount": (float, "of a reward one step later"),
    "legal_actions": (str, "discrete actions: the key of the mask in the info"),
    "resample": (bool, "draw anew what the environment draws, instead of knowing it"),
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


def flag_of(option: str) -> str:
    """What an option is called on the command line."""
    return "--simulations" if option == "num_simulations" else "--" + option.replace("_", "-")
