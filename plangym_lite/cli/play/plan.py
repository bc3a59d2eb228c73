"""``plangym-lite plan NAME``: play by planning, and at random from the same state.

Ctrl-C and SIGTERM end the game early; the steps so far are written.
"""

from __future__ import annotations

import argparse
import importlib.util
import signal
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from plangym_lite.cli.envs import complete_ids
from plangym_lite.cli.output import STDOUT, Output, check_paths, versions
from plangym_lite.cli.parser import at_least_one
from plangym_lite.cli.play.game import Game, check_options_of, open_environment, play, progress_bar
from plangym_lite.cli.play.options import PLANNERS, add_common, planner_options_of
from plangym_lite.cli.play.saving import Turn, check_saving, save_turns
from plangym_lite.cli.target import CommandError, make_options
from plangym_lite.core import PlanEnv
from plangym_lite.errors import to_install
from plangym_lite.viz.film import GameFilm

__all__ = [
    "TWO_PLAYERS",
    "add_parser",
    "as_record",
    "interruptible",
    "plan",
    "play_all",
    "what_was_drawn",
]

TWO_PLAYERS = "two players: the planner moves first, against random play; scores are the first's"


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
    parser.set_defaults(run=plan)


def plan(args: argparse.Namespace) -> int:
    """Play, report, write films, plot, steps and JSON; return the exit code."""
    options = planner_options_of(args)
    check_options_of(args.planner, options)
    check_files(args)
    games, turns = list[Game](), list[Turn]()
    with (
        open_environment(args.name, args.planner, make_options(args)) as env,
        filmed(env, args) as film,
        interruptible() as signals,
    ):
        if args.save is not None:
            check_saving(env)
        try:
            kept = turns if args.save else None
            play_all(env, args, args.name, args.planner, options, games, film=film, turns=kept)
        except KeyboardInterrupt:
            games = games or [Game(args.seed)]  # report the games so far
        report(env, args, games, bool(signals))
        write_files(env, args, games, film, turns)
    return 128 + signals[0] if signals else 0


def play_all(
    env: PlanEnv,
    args: argparse.Namespace,
    name: str,
    planner: str,
    planner_options: dict[str, Any],
    games: list[Game],
    *,
    film: GameFilm | None = None,
    turns: list[Turn] | None = None,
) -> None:
    """Play every episode of one planner, the first filmed; ``CommandError`` if it refuses."""
    total = args.episodes * args.steps
    with progress_bar(f"{planner} on {name}", total, games, args.quiet) as (bar, on_batch):
        for episode in range(args.episodes):
            games.append(Game(args.seed + episode))
            try:
                play(
                    env,
                    planner,
                    games[-1],
                    planner_options=planner_options,
                    steps=args.steps,
                    execute=args.execute,
                    know_the_dice=args.know_the_dice,
                    film=film if episode == 0 else None,
                    history=turns,
                    on_batch=on_batch,
                    on_step=bar.update,
                )
            except (TypeError, ValueError) as error:
                if any(game.simulator_calls > game.probe_calls for game in games):
                    raise
                raise CommandError(str(error)) from error  # raised before the first batch


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


def report(env: PlanEnv, args: argparse.Namespace, games: list[Game], interrupted: bool) -> None:
    record, output = as_record(games), Output(args.json, args.quiet)
    how = "interrupted after" if interrupted else "in"
    scores = f"{record['score']:g} points"
    if len(games) > 1:
        scores += f" (± {record['score_std']:.3g}, {len(games)} episodes)"
    output.say(f"{args.planner}: {scores} {how} {record['steps']} steps of {args.name}")
    output.say(f"random play: {record['random_score']:g} points in as many steps")
    if record["two_players"]:
        output.say(TWO_PLAYERS)
    output.say(what_was_drawn(record))
    seconds, frames = record["seconds"], record["frames"]
    speed = frames / seconds if seconds else 0.0
    output.say(f"{frames:,} frames in {seconds:.1f} s: {speed:,.0f} frames/s")
    record |= {key: getattr(args, key) for key in ("name", "planner", "seed", "execute")}
    record |= {"env_options": dict(args.env_options), "planner_options": planner_options_of(args)}
    record |= {"workers": env.n_workers, "interrupted": interrupted}
    output.write({**record, "versions": versions()})


def write_files(
    env: PlanEnv,
    args: argparse.Namespace,
    games: list[Game],
    film: GameFilm | None,
    turns: list[Turn],
) -> None:
    output = Output(args.json, args.quiet)
    for kind, path in (("GIF", args.gif), ("MP4", args.mp4)):
        if path is not None and film is not None and film.film.pictures:
            film.write(path)
            output.say(f"{kind}: {path}")
    if args.plot is not None:
        from plangym_lite.cli.play.plots import plot_games

        plot_games(games, f"{args.planner} on {args.name}", args.plot)
        output.say(f"plot: {args.plot}")
    if args.save is not None and turns:
        save_turns(args.save, env, turns)
        output.say(f"steps: {args.save}")


def check_files(args: argparse.Namespace) -> None:
    """Raise unless all files can be written, and what writes them is installed."""
    check_paths(args.gif, args.mp4, args.plot, args.save, args.json)
    for kind in ("gif", "mp4", "save"):
        path, suffix = getattr(args, kind), ".npz" if kind == "save" else f".{kind}"
        if path == STDOUT or (path is not None and path.suffix.lower() != suffix):
            raise CommandError(f"--{kind}: {path} does not end in {suffix}")
    if args.mp4 is not None and importlib.util.find_spec("imageio_ffmpeg") is None:
        raise CommandError(f"--mp4 needs imageio-ffmpeg: {to_install('video')}")
    if args.plot is not None:
        check_plot(args.plot)


def check_plot(path: Path) -> None:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise CommandError(f"--plot needs matplotlib: {to_install('notebooks')}") from error
    known = Figure().canvas.get_supported_filetypes()
    if path.suffix.lower().removeprefix(".") not in known:
        raise CommandError(f"--plot: {path} does not end in .{', .'.join(sorted(known))}")


@contextmanager
def filmed(env: PlanEnv, args: argparse.Namespace) -> Iterator[GameFilm | None]:
    """A film of both games, if one was asked for; raise unless the environment renders images."""
    if not (args.gif or args.mp4):
        yield None
        return
    try:
        env.get_image()
    except Exception as error:  # a renderer may raise anything
        raise CommandError(f"no film: {env.name} draws no image ({error})") from error
    with closing(GameFilm(env, args.planner, "random play")) as film:
        yield film


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
