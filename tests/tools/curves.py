"""Cost as the work grows: rows a second against batch size, workers, and sizes of a row.

``python -m tests.tools.curves cost.png`` measures and draws; it needs matplotlib, from the extra
``notebooks``.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces
from tqdm import tqdm

from plangym_lite.cli.bench.command import machine
from plangym_lite.cli.bench.ours import ATARI, open_env, step_rows
from plangym_lite.cli.bench.rounds import Contender, rate
from plangym_lite.cli.parser import at_least_one
from plangym_lite.simulator import SimulatorEnv
from plangym_lite.system import usable_cores

__all__ = ["Ballast", "Curve", "curves", "measure", "plot"]

BATCH_SIZES = (1, 4, 16, 64, 256, 1024, 4096)
CARTPOLE = "CartPole-v1"
ROW_BYTES = (64, 1 << 10, 1 << 13, 1 << 16, 1 << 18)

Curve = tuple[str, str, list[tuple[int, Callable[[ExitStack], Contender]]]]
"""Which panel, which line, and for each point where it lies and what is measured there."""


def main(argv: list[str] | None = None) -> int:
    """Measure, draw, and write what was asked for; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.tools.curves", description=__doc__)
    add = parser.add_argument
    add("picture", type=Path, metavar="PATH", help="what is drawn")
    add("--workers", type=at_least_one, default=usable_cores(), metavar="N")
    add("--seconds", type=float, default=0.5, metavar="X", help="of each measurement (0.5)")
    add("--only", default="", metavar="TEXT", help="only curves with TEXT in their names")
    add("--json", type=Path, metavar="PATH", help="write the numbers")
    args = parser.parse_args(argv)
    found = []
    chosen = [curve for curve in curves(args.workers) if args.only in f"{curve[0]} - {curve[1]}"]
    for curve in tqdm(chosen, desc="curves", disable=None, leave=False):
        found.append(measure(curve, args.seconds))
        points = ", ".join(f"{where}: {speed:,.0f}" for where, speed in found[-1][2])
        tqdm.write(f"{found[-1][0]} - {found[-1][1]} - rows a second: {points}")
    plot(args.picture, found)
    if args.json is not None:
        args.json.write_text(json.dumps({"machine": machine(), "curves": found}, indent=2) + "\n")
    return 0


class Ballast(SimulatorEnv):
    """An engine that does nothing, with states and observations of any size.

    Args:
        state_bytes: size of a state.
        obs_bytes: size of an observation.
        kwargs: as in :class:`SimulatorEnv`.
    """

    def __init__(self, state_bytes: int = 64, obs_bytes: int = 64, **kwargs: Any) -> None:
        self._sizes = state_bytes, obs_bytes
        super().__init__("ballast", **kwargs)

    def build_engine(self) -> None:
        state_bytes, obs_bytes = self._sizes
        self.action_space = spaces.Discrete(2)
        self.observation_space = spaces.Box(0, 255, (obs_bytes,), np.uint8)
        self._state = np.zeros(state_bytes, np.uint8)
        self._obs = np.zeros(obs_bytes, np.uint8)

    def apply_reset(self, seed: int | None, options: dict[str, Any] | None) -> dict[str, Any]:
        self._state[:] = 0
        return {}

    def advance(self, action: Any, n_frames: int) -> tuple[float, bool, bool, dict[str, Any]]:
        self._state[:1] += np.uint8(1)
        return 0.0, False, False, {"n_step": n_frames}

    def current_obs(self) -> np.ndarray:
        return self._obs.copy()

    def save_state(self, out: np.ndarray | None = None) -> np.ndarray:
        if out is None:
            return self._state.copy()
        out[:] = self._state
        return out

    def load_state(self, state: Any) -> None:
        self._state[:] = state


def curves(n: int) -> list[Curve]:
    """All of them, with up to ``n`` workers."""
    kinds = ((None, "serial"), (n, f"{n} workers"))
    counts = [2**power for power in range(n.bit_length())]
    found: list[Curve] = []
    for label, name, options in (
        ("Atari ram", ATARI, {"obs_type": "ram"}),
        ("CartPole", CARTPOLE, {}),
    ):
        for k, kind in kinds:
            points = [(size, _of(name, size, k, **options)) for size in BATCH_SIZES]
            found.append(("rows in a batch", f"{label}, {kind}", points))
    points = [(k, _of(ATARI, 64 * k, k, obs_type="ram")) for k in counts]
    found.append(("workers", "Atari ram, 64 rows for each", points))
    for panel, option in (("observation", "obs_bytes"), ("state", "state_bytes")):
        for k, kind in kinds:
            points = [(size, _of(Ballast, 128, k, **{option: size})) for size in ROW_BYTES]
            found.append((f"bytes of {panel}", f"no work at all, {kind}", points))
    return found


def _of(
    name: Any, size: int, n: int | None, **engine_kwargs: Any
) -> Callable[[ExitStack], Contender]:
    return lambda stack: step_rows(open_env(stack, name, n, **engine_kwargs), size)


def plot(path: Path, found: list[tuple[str, str, list[tuple[int, float]]]]) -> None:
    """Draw ``(panel, line, points)``."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    panels = list(dict.fromkeys(panel for panel, _, _ in found))
    figure, axes = plt.subplots(1, len(panels), figsize=(4 * len(panels), 3.5), squeeze=False)
    for panel, axis in zip(panels, axes[0], strict=True):
        for where, label, points in found:
            if where == panel:
                axis.plot(*zip(*points, strict=True), marker="o", label=label)
        axis.set(xlabel=panel, ylabel="rows a second", xscale="log", yscale="log")
        axis.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)


def measure(curve: Curve, seconds: float) -> tuple[str, str, list[tuple[int, float]]]:
    """Rows a second at each point of one curve."""
    panel, label, points = curve
    found = []
    for where, make in points:
        with ExitStack() as stack:
            contender = make(stack)
            rate(contender, seconds / 2)
            found.append((where, rate(contender, seconds)[0]))
    return panel, label, found


if __name__ == "__main__":
    sys.exit(main())
