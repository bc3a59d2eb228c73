"""CEM on dm_control beside the published scores of PlaNet's "CEM with the true simulator".

    python tests/benchmarks/published_control.py run FOLDER [--planner cem] [--budget 1800]
    python tests/benchmarks/published_control.py table FOLDER

Episodes of 1,000 control steps, actions repeated as published (Hafner et al., 2019: 8, 4 and 4
times), 12 actions ahead. Published with 10 iterations of 1,000 sequences, 120,000 simulator calls
for each decision; here ``--budget``. ``run`` adds a line to ``FOLDER/control.jsonl`` as soon as
an episode ends and skips what is there.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import plangym_lite as pl
from plangym_lite.planners.cem import cem
from plangym_lite.planners.mppi import mppi

STEPS = 1000


class Published(NamedTuple):
    """A task, how often an action is repeated, and the mean score."""

    repeat: int
    score: float


TASKS = {
    "ball_in_cup-catch": Published(4, 993),
    "cartpole-swingup": Published(8, 850),
    "reacher-easy": Published(4, 964),
}
PLANNERS: dict[str, Any] = {"cem": cem, "mppi": mppi}


def play(env: Any, planner: str, budget: int, repeat: int, episode: int) -> dict[str, Any]:
    """Play one episode; return what happened."""
    rng, start = np.random.default_rng(episode), time.perf_counter()
    state, _, _ = env.reset(seed=episode)
    score, calls, search = 0.0, 0, None
    decisions = STEPS // repeat
    for _ in range(decisions):
        output = PLANNERS[planner](env, state, budget=budget, before=search, rng=rng)
        search, calls = output.search, calls + output.search.simulator_calls
        state, _, reward, *_ = env.step(output.action, state)
        score += reward
    seconds = round(time.perf_counter() - start, 1)
    return {"score": score, "calls_per_decision": calls / decisions, "seconds": seconds}


def run(folder: Path, planner: str, tasks: list[str], budget: int, episodes: int) -> None:
    """Play what is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "control.jsonl"
    done = {(line["task"], line["episode"], line["planner"], line["budget"]) for line in read(path)}
    for episode in range(episodes):
        for task in tasks:
            if (task, episode, planner, budget) in done:
                continue
            repeat = TASKS[task].repeat
            with pl.make(task, frameskip=repeat) as env:
                played = play(env, planner, budget, repeat, episode)
            which = {"task": task, "episode": episode, "planner": planner, "budget": budget}
            with path.open("a") as file:
                file.write(json.dumps({**which, **played}) + "\n")
            print({**which, **played}, flush=True)


def read(path: Path) -> list[dict[str, Any]]:
    """The episodes that were written there."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def mean_of(scores: list[float]) -> str:
    """Mean, standard deviation and number, if there are any."""
    if not scores:
        return ""
    return f"{np.mean(scores):,.0f} ± {np.std(scores):,.0f} (n={len(scores)})"


def table(folder: Path) -> None:
    """Print means and standard deviations beside what was published, in Markdown."""
    lines = read(folder / "control.jsonl")
    kinds = sorted({(line["planner"], line["budget"]) for line in lines})
    heads = [f"{planner}, {budget:,} calls |" for planner, budget in kinds]
    print("| task | published, 120,000 calls |", *heads)
    print("| --- | ---: |" + " ---: |" * len(kinds))
    for task, (_, score) in TASKS.items():
        cells = []
        for kind in kinds:
            scores = [
                line["score"]
                for line in lines
                if line["task"] == task and (line["planner"], line["budget"]) == kind
            ]
            cells.append(f"{mean_of(scores)} |")
        print(f"| {task} | {score:,} |", *cells)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=("run", "table"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--planner", choices=PLANNERS, default="cem")
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--budget", type=int, default=1800)
    parser.add_argument("--episodes", type=int, default=5)
    options = parser.parse_args()
    if options.command == "table":
        table(options.folder)
    else:
        tasks = options.tasks.split(",")
        run(options.folder, options.planner, tasks, options.budget, options.episodes)


if __name__ == "__main__":
    main()
