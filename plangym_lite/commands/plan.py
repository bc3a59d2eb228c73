"""``plangym-lite plan NAME``: play a game by planning, beside random play from the same start.

States are values, so one environment plays both games::

    state        ──planner──> action ──env.step(action, state)──> state, reward, picture
    random_state ──────> random action ──env.step(...)──> random_state, reward

Ctrl-C and SIGTERM end the game early; what was played so far is written all the same.
"""

from __future__ import annotations

import inspect
import json
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from plangym_lite.commands.film import Film
from plangym_lite.commands.target import CommandError, find_target, make_env, placement
from plangym_lite.commands.versions import versions
from plangym_lite.core import PlanEnv
from plangym_lite.planners import mcts, random_shooting
from plangym_lite.registry import adapter_for

__all__ = ["PLANNERS", "Game", "PlanOptions", "plan"]

PLANNERS = {"mcts": mcts, "random_shooting": random_shooting}


@dataclass(frozen=True)
class PlanOptions:
    """What to play, and how."""

    name: str
    planner: str = "mcts"
    steps: int = 100
    workers: int | str | None = None
    ray: bool = False
    seed: int = 0
    frameskip: int | None = None
    gif: Path | None = None
    json: Path | None = None
    knobs: dict[str, Any] = field(default_factory=dict)  # of the planner, by name


@dataclass
class Game:
    """A game as far as it was played: what goes into the JSON."""

    score: float = 0.0
    random_score: float = 0.0  # of random play with as many steps
    steps: int = 0
    simulator_calls: int = 0  # rows stepped by the planner
    frames: int = 0  # simulator steps run by the planner
    seconds: float = 0.0
    ended: bool = False  # whether the episode was over
    interrupted: bool = False


def plan(options: PlanOptions) -> int:
    """Play, report, write the GIF and the JSON; return the exit code.

    Raises:
        CommandError: something is wrong with the options; nothing was played.
        UnknownEnvironmentError: nothing has that name.
    """
    check_knobs_of(options.planner, options.knobs)
    check_paths(options)
    game, film = Game(), Film()
    with open_environment(options) as env, interruptible() as signals:
        if options.gif is not None:
            check_images(env)
        start = time.perf_counter()
        try:
            play(env, options, game, film if options.gif else None)
        except KeyboardInterrupt:
            game.interrupted = True
        except (TypeError, ValueError) as error:
            if game.simulator_calls:
                raise
            raise CommandError(str(error)) from error  # the planner refuses, before any batch
        game.seconds = time.perf_counter() - start
        report(env, options, game, film)
    return 128 + signals[0] if signals else 0


def play(env: PlanEnv, options: PlanOptions, game: Game, film: Film | None) -> None:
    """Play both games step by step, keeping ``game`` up to date."""
    planner: Any = PLANNERS[options.planner]
    knobs, rng = dict(options.knobs), np.random.default_rng(options.seed)
    random_space = deepcopy(env.action_space)
    random_space.seed(options.seed)
    state, _, _ = env.reset(seed=options.seed)
    random_state = state
    if film is not None:
        film.add(env.get_image())
    with progress_bar(options, game) as (bar, on_batch):
        while game.steps < options.steps and not game.ended:
            output = planner(env, state, **knobs, on_batch=on_batch, rng=rng)
            if options.planner == "mcts":
                knobs["tree"] = output.search
            random_step: Any = env.step(random_space.sample(), random_state)
            step: Any = env.step(output.action, state)
            game.score += step.reward
            game.random_score += random_step.reward
            game.steps += 1
            game.ended = step.terminated or step.truncated
            state, random_state = step.state, random_step.state
            if film is not None:
                film.add(env.get_image())
            bar.update()


@contextmanager
def progress_bar(options: PlanOptions, game: Game) -> Iterator[tuple[Any, Any]]:
    """A bar of the steps, with score and frames per second, and the hook that moves it."""
    start = shown = time.perf_counter()
    looks = {"desc": options.name, "unit": "step", "mininterval": 0.5, "delay": 0.2}
    with tqdm(total=options.steps, **looks) as bar:

        def on_batch(rows: int, frames: int) -> None:
            nonlocal shown
            game.simulator_calls += rows
            game.frames += frames
            now = time.perf_counter()
            if now - shown > bar.mininterval:
                shown = now
                speed = f"{game.frames / (now - start):,.0f}"
                bar.set_postfix_str(f"score {game.score:g}, {speed} frames/s")

        yield bar, on_batch


def report(env: PlanEnv, options: PlanOptions, game: Game, film: Film) -> None:
    """Print the outcome and write the files that were asked for."""
    how = "interrupted after" if game.interrupted else "in"
    speed = game.frames / game.seconds if game.seconds else 0.0
    print(f"{options.planner}: {game.score:g} points {how} {game.steps} steps of {options.name}")
    print(f"random play: {game.random_score:g} points in as many steps")
    print(f"{game.frames:,} frames in {game.seconds:.1f} s: {speed:,.0f} frames/s")
    if options.json is not None:
        record = {
            **asdict(game),
            "seed": options.seed,
            "workers": getattr(env, "n_workers", 0),
            "name": options.name,
            "planner": options.planner,
            "knobs": options.knobs,
            "versions": versions(),
        }
        options.json.write_text(json.dumps(record, indent=2) + "\n")
        print(f"JSON: {options.json}")
    if options.gif is not None and film.pictures:
        film.write(options.gif)
        print(f"GIF: {options.gif}")


def open_environment(options: PlanOptions) -> PlanEnv:
    """The environment; an Atari game shows the planner its memory, which costs less."""
    target = find_target(options.name)
    kwargs = placement(options.workers, options.ray)
    if options.frameskip is not None:
        kwargs["frameskip"] = options.frameskip
    if isinstance(target, str) and "ram" in getattr(adapter_for(target)[0], "OBS_TYPES", ()):
        kwargs["obs_type"] = "ram"
    return make_env(target, options.name, **kwargs)


def check_knobs_of(planner: str, knobs: dict[str, Any]) -> None:
    """Raise unless the planner has all of these knobs."""
    known = inspect.signature(PLANNERS[planner]).parameters
    for knob in knobs:
        if knob not in known:
            raise CommandError(f"{planner} has no --{knob.replace('_', '-')}")


def check_paths(options: PlanOptions) -> None:
    """Raise unless the files can be written later."""
    for path in (options.gif, options.json):
        if path is not None and path.is_dir():
            raise CommandError(f"{path} cannot be written: it is a folder")
        if path is not None and not path.resolve().parent.is_dir():
            raise CommandError(f"{path} cannot be written: there is no folder {path.parent}")


def check_images(env: PlanEnv) -> None:
    """Raise unless the environment draws."""
    try:
        env.get_image()
    except Exception as error:  # whatever a foreign renderer raises
        raise CommandError(f"--gif: {env.name} draws no image ({error})") from error


@contextmanager
def interruptible() -> Iterator[list[int]]:
    """The first SIGINT or SIGTERM is a ``KeyboardInterrupt`` and is listed; others wait in vain."""
    caught: list[int] = []

    def interrupt(number: int, frame: Any) -> None:
        if not caught:
            caught.append(number)
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield caught
        return
    before = {
        number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
