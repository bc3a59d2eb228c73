"""Golden searches: whole small searches, kept as JSON and reproduced exactly.

``python -m tests.planners.test_golden`` writes those that are missing. A file is taken away only
where a planner is meant to search differently, and the commit says so.
"""

from __future__ import annotations

import json
from pathlib import Path

import ale_py
import numpy as np
import pytest

from plangym_lite import make, planners
from plangym_lite.planners import PlanOutput
from tests.toys import ContinuousToy, ToyEnv

from .summary import summary

FOLDER = Path(__file__).parent / "golden"
ATARI = {"budget": 24, "batch_size": 2}
SEARCHES = {
    "random_shooting": (ToyEnv, {"budget": 40}),
    "mcts": (ToyEnv, {"budget": 60, "batch_size": 3}),
    "rollout_iw": (ToyEnv, {"budget": 15, "batch_size": 2}),
    "fractal": (ToyEnv, {"budget": 60, "walkers": 6}),
    "go_explore": (ToyEnv, {"budget": 60, "batch_size": 3}),
    "cem": (ContinuousToy, {"budget": 60, "horizon": 4, "iterations": 3}),
    "mppi": (ContinuousToy, {"budget": 60, "horizon": 4}),
    "mcts_ms_pacman": ("ram", {**ATARI, "max_depth": 3}),
    "rollout_iw_ms_pacman": ("palette", ATARI),
    "go_explore_ms_pacman": ("grayscale", ATARI),
}


def search(name: str) -> PlanOutput:
    kind, options = SEARCHES[name]
    env = make("ALE/MsPacman-v5", obs_type=kind) if isinstance(kind, str) else kind(size=9)
    with env:
        state = env.reset(seed=0)[0]
        planner = getattr(planners, name.removesuffix("_ms_pacman"))
        return planner(env, state, rng=np.random.default_rng(5), **options)


def golden(name: str) -> dict:
    """What was kept: the search, and the version of ale-py it was made with."""
    return json.loads((FOLDER / f"{name}.json").read_text())


@pytest.mark.parametrize("name", SEARCHES)
def test_a_golden_search_is_reproduced(name):
    kept = golden(name)
    if name.endswith("ms_pacman") and kept["ale_py"] != ale_py.__version__:
        pytest.skip(f"kept with ale-py {kept['ale_py']}, here is {ale_py.__version__}")
    assert json.loads(json.dumps(summary(search(name)))) == kept["search"]


def test_nothing_else_is_kept():
    assert {path.stem for path in FOLDER.glob("*.json")} == set(SEARCHES)


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name in SEARCHES:
        path = FOLDER / f"{name}.json"
        if not path.exists():
            kept = {"ale_py": ale_py.__version__, "search": summary(search(name))}
            path.write_text(json.dumps(kept) + "\n")
            print("wrote", path)
