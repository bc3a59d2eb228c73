"""Reports, ``--json``, ``--quiet`` and exit codes; what will not work is said before a game."""

from __future__ import annotations

import functools
import io
import json
import sys

import gymnasium as gym
import numpy as np
import pytest

from plangym_lite.cli import envs
from plangym_lite.cli.main import main
from plangym_lite.cli.play import plan
from plangym_lite.cli.play.game import Game, progress_bar

TOY = "plangym_lite.testing.toy:ToyEnv"
SHORT = "--steps", "2", "--budget", "60", "--workers", "none"


@pytest.fixture(autouse=True, scope="module")
def quick_families():
    """The list of all environments is made once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(envs, "installed_families", functools.cache(envs.installed_families))
        yield


def run(capsys, *arguments):
    """The exit code, and what was printed to standard output and to standard error."""
    code = main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_json_to_standard_output_is_all_that_is_there(capsys):
    code, out, err = run(capsys, "plan", TOY, *SHORT, "--json", "-")
    assert (code, json.loads(out)["steps"]) == (0, 2)
    assert "random play: " in err
    options = "--planners", "fractal", "--episodes", "1", "--json", "-"
    code, out, err = run(capsys, "compare", TOY, *SHORT, *options)
    assert (code, json.loads(out)["refusals"]) == (0, [])
    assert "| environment " in err
    code, out, err = run(capsys, "check", TOY, "--env", "size=9", "--json", "-")
    record = json.loads(out)
    assert record["env_options"] == {"size": 9}
    assert (code, record["exact"], record["difference"]) == (0, True, None)
    assert record["checks"] > 10
    assert f"{TOY}: exact" in err
    code, out, err = run(capsys, "envs", "taxi", "--json", "-")
    (family,) = json.loads(out)
    assert (code, family["title"], family["can_be_made"]) == (0, "Toy text", True)
    assert all("Taxi" in name for name in family["ids"])


@pytest.mark.parametrize("command", ["plan", "compare", "bench"])
def test_quiet(capsys, tmp_path, command):
    options = {
        "plan": (TOY, *SHORT),
        "compare": (TOY, *SHORT, "--planners", "fractal", "--episodes", "1"),
        "bench": ("--only", "cartpole-v1, batch 4,", "--rounds", "1", "--seconds", "0.01"),
    }[command]
    path = tmp_path / "out.json"
    assert run(capsys, command, *options, "-q", "--json", path) == (0, "", "")
    assert json.loads(path.read_text())


def test_the_bar_is_for_terminals(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    for stream, quiet, is_shown in (
        (Terminal(), False, True),
        (Terminal(), True, False),
        (io.StringIO(), False, False),
    ):
        monkeypatch.setattr(sys, "stderr", stream)
        with progress_bar("game", 3, [Game()], quiet) as (bar, on_batch):
            on_batch(1, 1)
            bar.delay = 0
            bar.update(3)
        assert bool(stream.getvalue()) == is_shown


def test_envs_takes_a_filter(capsys):
    assert run(capsys, "envs", "-q", "ALE/MsPac") == (0, "ALE/MsPacman-v5\n", "")
    code, out, _ = run(capsys, "envs", "atari", "PACMAN")
    assert (code, out) == (0, "Atari: 2\n  ALE/MsPacman-v5  ALE/Pacman-v5\n\n")
    code, out, err = run(capsys, "envs", "pacmn")
    assert (code, out) == (1, "")
    assert "has 'pacmn' in it" in err


def test_options_of_the_environment_reach_it(capsys, tmp_path):
    path = tmp_path / "game.npz"
    options = "--env", "is_slippery=false", "--simulations", "20", "--save", path
    code, out, _ = run(capsys, "plan", "FrozenLake-v1", *options, *SHORT[:2], "--json", "-")
    assert (code, json.loads(out)["env_options"]) == (0, {"is_slippery": False})
    with np.load(path) as game:
        plain = gym.make("FrozenLake-v1", is_slippery=False)
        plain.reset(seed=0)
        for action, obs in zip(game["actions"], game["observations"][1:], strict=False):
            assert plain.step(action)[0] == obs
    both = "--env", "size=9", "--planners", "fractal,random_shooting", "--episodes", "1"
    code, out, _ = run(capsys, "compare", TOY, *SHORT, *both, "--json", "-")
    assert (code, json.loads(out)["env_options"]) == (0, {"size": 9})


def no_game(*args, **options):
    raise AssertionError("a game was played")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("plan CartPole-v1 --mp4 out.mp4", "--mp4 needs imageio-ffmpeg: pip install "),
        ("plan CartPole-v1 --plot out.png", "--plot needs matplotlib: pip install "),
        ("compare CartPole-v1 CartPol-v1", "no environment is called 'CartPol-v1'"),
        ("compare CartPole-v1 nowhere:Env", "nowhere cannot be imported"),
        ("compare CartPole-v1 --env gravty=1", "no option gravty"),
        ("compare CartPole-v1 --json missing/out.json", "there is no folder missing"),
        ("bench --json missing/out.json", "there is no folder missing"),
        ("bench --ray --workers 1", "--ray needs Ray: pip install "),
        ("check CartPole-v1 --json missing/out.json", "there is no folder missing"),
        ("envs --json missing/out.json", "there is no folder missing"),
    ],
)
def test_what_will_not_work_is_said_before_a_game(capsys, monkeypatch, line, message):
    for package in ("imageio_ffmpeg", "matplotlib.figure", "ray"):
        monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr(plan, "play", no_game)
    code, out, err = run(capsys, *line.split())
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_a_folder_that_may_not_be_written(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: False)  # root may write everywhere
    code, _, err = run(capsys, "plan", TOY, "--gif", tmp_path / "out.gif")
    assert code == 2
    assert "out.gif cannot be written: permission denied" in err


def test_compare_fails_if_nothing_could_be_played(capsys):
    code, out, _ = run(capsys, "compare", TOY, *SHORT, "--planners", "cem,mppi")
    assert code == 1
    assert out.splitlines()[0].startswith(f"cem on {TOY}: cem needs a Box")
    code, out, _ = run(capsys, "compare", TOY, *SHORT, "--planners", "cem,fractal")
    assert code == 0
