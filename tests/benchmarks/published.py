"""Planners on Atari beside the published scores of rollout IW (Bandres et al., AAAI 2018).

    python tests/benchmarks/published.py run FOLDER [--planner rollout_iw] [--games pong,boxing]
        [--sticky 0.25 [--resample]]
    python tests/benchmarks/published.py table FOLDER

The protocol: 15 frames a step, all 18 actions, 30 frames of no-op first, at most 18,000 frames,
one action per decision, the subtree kept, as many simulator calls per decision as were published.
Rollout IW: BASIC features, risk averse, novelty subtables. The others see the memory.
Sticky actions are not in the published protocol; episodes with them have a table of their own.
``run`` adds a line to ``FOLDER/PLANNER.jsonl`` as soon as an episode ends and skips what is there:
interrupt it and start it again as you like. Games are in order of how long they take.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import plangym_lite as pl
from plangym_lite import planners

FRAMESKIP, NOOP_FRAMES, MAX_FRAMES = 15, 30, 18_000


class Published(NamedTuple):
    """A game, the simulator calls per decision, and the mean score of five episodes."""

    name: str
    calls: int
    score: float


GAMES = {
    "pong": Published("ALE/Pong-v5", 124, 1.4),
    "boxing": Published("ALE/Boxing-v5", 57, 80),
    "freeway": Published("ALE/Freeway-v5", 87, 5),
    "breakout": Published("ALE/Breakout-v5", 106, 42),
    "ms_pacman": Published("ALE/MsPacman-v5", 140, 16_253),
    "space_invaders": Published("ALE/SpaceInvaders-v5", 137, 2_366),
    "seaquest": Published("ALE/Seaquest-v5", 140, 2_680),
    "alien": Published("ALE/Alien-v5", 105, 11_244),
    "qbert": Published("ALE/Qbert-v5", 131, 11_290),
}
PLANNERS: dict[str, dict[str, Any]] = {
    "rollout_iw": {"features": "basic", "risk_aversion": 50_000.0, "subtables": True},
    "fractal": {"walkers": 10},
    "mcts": {"max_depth": 10, "rollout_dt": 2, "batch_size": 4},
    "random_shooting": {"max_depth": 10, "rollout_dt": 2},
}
"""Planners and their options; all of them get ``budget`` simulator calls per decision."""
KEEPS_TREE = ("rollout_iw", "mcts")


def play(env: Any, planner: str, calls: int, episode: int, resample: bool) -> dict[str, Any]:
    """Play one episode by the protocol; return what happened."""
    decide = getattr(planners, planner)
    options = {**PLANNERS[planner], "resample": resample}
    rng, start = np.random.default_rng(episode), time.perf_counter()
    state, _, _ = env.reset(seed=episode)
    score, frames, decisions, simulator_calls, ended = 0.0, 0, 0, 0, False
    while frames < MAX_FRAMES and not ended:
        action = 0
        if frames >= NOOP_FRAMES:
            output = decide(env, state, budget=calls, rng=rng, **options)
            action = output.action
            if planner in KEEPS_TREE:
                options["tree"] = output.search
            decisions += 1
            simulator_calls += output.search.simulator_calls
        state, _, reward, terminated, truncated, info = env.step(action, state)
        score, frames = score + reward, frames + info["n_step"]
        ended = terminated or truncated
    seconds = time.perf_counter() - start
    return {
        "score": score,
        "frames": frames,
        "decisions": decisions,
        "calls_per_decision": simulator_calls / decisions,
        "ended": ended,
        "seconds": round(seconds, 1),
    }


def run(options: argparse.Namespace) -> None:
    """Play what is missing."""
    planner, resample, sticky = options.planner, options.resample, options.sticky
    options.folder.mkdir(parents=True, exist_ok=True)
    path = options.folder / f"{planner}{suffix(sticky, resample)}.jsonl"
    done = {(line["game"], line["episode"]) for line in read(path)}
    kwargs = {
        "frameskip": FRAMESKIP,
        "full_action_space": True,
        "repeat_action_probability": sticky,
    }
    for game in options.games.split(","):
        name, calls, _ = GAMES[game]
        obs_type = "palette" if planner == "rollout_iw" else "ram"
        with pl.make(name, obs_type=obs_type, **kwargs) as env:
            for episode in range(options.episodes):
                if (game, episode) in done:
                    continue
                played = play(env, planner, calls, episode, resample)
                with path.open("a") as file:
                    line = {"game": game, "episode": episode, "planner": planner, **played}
                    file.write(json.dumps(line) + "\n")
                print(line, flush=True)


def suffix(sticky: float, resample: bool) -> str:
    """What a file name says of chance."""
    return f"-sticky-{sticky}" * bool(sticky) + "-resample" * resample


def read(path: Path) -> list[dict[str, Any]]:
    """The episodes that were written there."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def mean_of(scores: list[float]) -> str:
    """Mean, standard deviation and number, if there are any."""
    if not scores:
        return ""
    return f"{np.mean(scores):,.1f} ± {np.std(scores):,.1f} (n={len(scores)})"


def table(folder: Path) -> None:
    """Print means and standard deviations beside what was published, in Markdown."""
    paths = sorted(folder.glob("*.jsonl"))
    played = {path.stem: read(path) for path in paths if path.stem.split("-")[0] in PLANNERS}
    print("| game | calls per decision | published |", *(f"{name} |" for name in played))
    print("| --- | ---: | ---: |" + " ---: |" * len(played))
    for game, (_, calls, score) in GAMES.items():
        cells = []
        for lines in played.values():
            scores = [line["score"] for line in lines if line["game"] == game]
            cells.append(f"{mean_of(scores)} |")
        print(f"| {game} | {calls} | {score:,} |", *cells)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=("run", "table"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--planner", choices=PLANNERS, default="rollout_iw")
    parser.add_argument("--games", default=",".join(GAMES))
    parser.add_argument("--episodes", type=int, default=5)
    parser.add_argument("--sticky", type=float, default=0.0, help="repeat_action_probability")
    parser.add_argument("--resample", action="store_true", help="plan without knowing the dice")
    options = parser.parse_args()
    if options.command == "table":
        table(options.folder)
    else:
        run(options)


if __name__ == "__main__":
    main()
