"""``plangym-lite plan NAME``: play by planning, and at random from the same state.

Ctrl-C and SIGTERM end the game early; the steps so far are written.
"""

from __future__ import annotations

import importlib.util
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from plangym_lite.cli.envs import complete_ids
from plangym_lite.cli.output import STDOUT, Output, check_paths, versions
from plangym_lite.cli.parser import at_least_one
from plangym_lite.cli.play.game import (
    Game,
    check_options_of,
    open_environment,
    play,
    progress_bar,
)
from plangym_lite.cli.play.options import PLANNERS, add_common, options_of
from plangym_lite.cli.play.saving import Turn, check_saving, save_turns
from plangym_lite.cli.target import CommandError, make_options
from plangym_lite.core import PlanEnv
from plangym_lite.errors import to_install
from plangym_lite.viz.film import GameFilm

__all__ = [
    "TWO_PLAYERS",
    "PlanOptions",
    "add_parser",
    "as_record",
    "interruptible",
    "plan",
    "what_was_drawn",
]

TWO_PLAYERS = "two players: the planner moves first, against random play; scores are the first's"


@dataclass(frozen=True)
class PlanOptions:
    """The options of ``plan``."""

    name: str
    planner: str = "mcts"
    episodes: int = 1
    steps: int = 100
    execute: int = 1  # actions played of each plan
    know_the_dice: bool = False
    workers: int | str | None = None
    ray: bool = False
    seed: int = 0
    frameskip: int | None = None
    gif: Path | None = None
    mp4: Path | None = None
    plot: Path | None = None
    save: Path | None = None
    json: Path | None = None
    quiet: bool = False
    env_options: dict[str, Any] = field(default_factory=dict)
    planner_options: dict[str, Any] = field(default_factory=dict)  # of the planner, by name


def add_parser(commands: Any) -> None:
    """Add the command and its options."""
    parser = commands.add_parser("plan", help="play a game by planning")
    add = parser.add_argument
    name: Any = add(
        "name", metavar="NAME", help="an id such as ALE/MsPacman-v5, module:Id-v0 or module:Class"
    )
    name.completer = complete_ids
    add("--planner", choices=PLANNERS, default="mcts")
    add("--execute", type=at_least_one, default=1, metavar="N", help="actions of each plan")
    add("--gif", type=Path, metavar="PATH", help="write what was played")
    add("--mp4", type=Path, metavar="PATH", help="the same as a video")
    add("--plot", type=Path, metavar="PATH", help="draw the scores and the last search")
    add("--save", type=Path, metavar="PATH", help="write all steps for training, as .npz")
    add_common(parser, episodes=1)
    parser.set_defaults(run=lambda args: plan(PlanOptions(**options_of(args))))


def plan(options: PlanOptions) -> int:
    """Play, report, write films, plot, steps and JSON; return the exit code.

    Raises:
        CommandError: an option is invalid; nothing was played.
        UnknownEnvironmentError: no environment has that name.
    """
    check_options_of(options.planner, options.planner_options)
    check_files(options)
    games, turns = list[Game](), list[Turn]()
    kwargs = make_options(options.workers, options.ray, options.frameskip, options.env_options)
    with (
        open_environment(options.name, options.planner, kwargs) as env,
        filmed(env, options) as film,
        interruptible() as signals,
    ):
        if options.save is not None:
            check_saving(env)
        try:
            play_all(env, options, games, film, turns)
        except KeyboardInterrupt:
            games = games or [Game(options.seed)]  # report the games so far
        except (TypeError, ValueError) as error:
            if any(game.simulator_calls > game.probe_calls for game in games):
                raise
            raise CommandError(str(error)) from error  # raised before the first batch
        report(env, options, games, bool(signals))
        write_files(env, options, games, film, turns)
    return 128 + signals[0] if signals else 0


def play_all(
    env: PlanEnv,
    options: PlanOptions,
    games: list[Game],
    film: GameFilm | None,
    turns: list[Turn],
) -> None:
    """Play every episode; the first is filmed."""
    total = options.episodes * options.steps
    with progress_bar(options.name, total, games, options.quiet) as (bar, on_batch):
        for episode in range(options.episodes):
            games.append(Game(options.seed + episode))
            play(
                env,
                options.planner,
                games[-1],
                planner_options=options.planner_options,
                steps=options.steps,
                execute=options.execute,
                know_the_dice=options.know_the_dice,
                film=film if episode == 0 else None,
                history=turns if options.save else None,
                on_batch=on_batch,
                on_step=bar.update,
            )


def as_record(games: list[Game]) -> dict[str, Any]:
    """Means, sums and each episode, for the JSON."""
    episodes = [
        {key: value for key, value in vars(game).items() if key != "search"} for game in games
    ]
    scores = [game.score for game in games]
    return {
        "score": float(np.mean(scores)),
        "score_std": float(np.std(scores)),
        "random_score": float(np.mean([game.random_score for game in games])),
        "ended": all(game.ended for game in games),
        "draws": any(game.draws for game in games),
        "knew_the_dice": any(game.knew_the_dice for game in games),
        "two_players": any(game.two_players for game in games),
        **{
            key: sum(getattr(game, key) for game in games)
            for key in ("steps", "simulator_calls", "frames", "seconds")
        },
        "episodes": episodes,
    }


def what_was_drawn(record: dict[str, Any]) -> str:
    """Whether the environment draws, and whether the planner knew what: a line of the report."""
    if not record["draws"]:
        return "chance: none was seen"
    if record["knew_the_dice"]:
        return "chance: the planner knew what would be drawn (--know-the-dice)"
    return "chance: the planner drew anew, and did not know what would be drawn"


def report(env: PlanEnv, options: PlanOptions, games: list[Game], interrupted: bool) -> None:
    record, output = as_record(games), Output(options.json, options.quiet)
    how = "interrupted after" if interrupted else "in"
    scores = f"{record['score']:g} points"
    if len(games) > 1:
        scores += f" (± {record['score_std']:.3g}, {len(games)} episodes)"
    output.say(f"{options.planner}: {scores} {how} {record['steps']} steps of {options.name}")
    output.say(f"random play: {record['random_score']:g} points in as many steps")
    if record["two_players"]:
        output.say(TWO_PLAYERS)
    output.say(what_was_drawn(record))
    seconds, frames = record["seconds"], record["frames"]
    speed = frames / seconds if seconds else 0.0
    output.say(f"{frames:,} frames in {seconds:.1f} s: {speed:,.0f} frames/s")
    how_played = asdict(options)
    kept = ("name", "env_options", "planner", "planner_options", "seed", "execute")
    record |= {key: how_played[key] for key in kept}
    record |= {"workers": env.n_workers, "interrupted": interrupted}
    output.write({**record, "versions": versions()})


def write_files(
    env: PlanEnv, options: PlanOptions, games: list[Game], film: GameFilm | None, turns: list[Turn]
) -> None:
    output = Output(options.json, options.quiet)
    for kind, path in (("GIF", options.gif), ("MP4", options.mp4)):
        if path is not None and film is not None and film.film.pictures:
            film.write(path)
            output.say(f"{kind}: {path}")
    if options.plot is not None:
        from plangym_lite.cli.play.plots import plot_games

        plot_games(games, f"{options.planner} on {options.name}", options.plot)
        output.say(f"plot: {options.plot}")
    if options.save is not None and turns:
        save_turns(options.save, env, turns)
        output.say(f"steps: {options.save}")


def check_files(options: PlanOptions) -> None:
    """Raise unless all files can be written, and what writes them is installed."""
    check_paths(options.gif, options.mp4, options.plot, options.save, options.json)
    for kind in ("gif", "mp4", "save"):
        path, suffix = getattr(options, kind), ".npz" if kind == "save" else f".{kind}"
        if path == STDOUT or (path is not None and path.suffix.lower() != suffix):
            raise CommandError(f"--{kind}: {path} does not end in {suffix}")
    if options.mp4 is not None and importlib.util.find_spec("imageio_ffmpeg") is None:
        raise CommandError(f"--mp4 needs imageio-ffmpeg: {to_install('video')}")
    if options.plot is not None:
        check_plot(options.plot)


def check_plot(path: Path) -> None:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise CommandError(f"--plot needs matplotlib: {to_install('notebooks')}") from error
    known = Figure().canvas.get_supported_filetypes()
    if path.suffix.lower().removeprefix(".") not in known:
        raise CommandError(f"--plot: {path} does not end in .{', .'.join(sorted(known))}")


@contextmanager
def filmed(env: PlanEnv, options: PlanOptions) -> Iterator[GameFilm | None]:
    """A film of both games, if one was asked for; raise unless the environment renders images."""
    if not (options.gif or options.mp4):
        yield None
        return
    try:
        env.get_image()
    except Exception as error:  # a renderer may raise anything
        raise CommandError(f"no film: {env.name} draws no image ({error})") from error
    film = GameFilm(env, options.planner, "random play")
    try:
        yield film
    finally:
        film.close()


@contextmanager
def interruptible() -> Iterator[list[int]]:
    """Turn the first SIGINT or SIGTERM into ``KeyboardInterrupt``, and list it; ignore others."""
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
