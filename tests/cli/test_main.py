"""The console script: what it writes, prints and returns, and how it fails."""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import inspect
import json
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
from pathlib import Path

import gymnasium as gym
import pytest
from PIL import Image

import plangym_lite
from plangym_lite import planners
from plangym_lite.cli.main import main
from plangym_lite.cli.play.compare import table
from plangym_lite.cli.play.options import OPTIONS, PLANNERS
from plangym_lite.errors import to_install
from tests.toys import ToyEnv

TOY = "plangym_lite.testing.toy:ToyEnv"
JSON_KEYS = {
    *("name", "env_options", "planner", "planner_options", "seed", "workers", "versions"),
    *("score", "random_score", "steps", "simulator_calls", "frames", "seconds"),
    *("ended", "interrupted", "execute", "score_std", "episodes", "draws", "knew_the_dice"),
    "two_players",
}
HERE = {**os.environ, "PYTHONPATH": str(Path(plangym_lite.__file__).parents[1])}
USER_MODULE = """
import numpy as np
from plangym_lite.errors import NotCloneableError
from tests.toys import OpaqueToy, ToyEnv

class Endless(ToyEnv):
    def _move(self, way):
        super()._move(way)
        self._cell = min(max(self._cell, 1), self.size - 2)
        return 0.5

class Forgetful(ToyEnv):
    def __init__(self):
        super().__init__(size=50, time_limit=20)

    def load_state(self, state):
        elapsed = self._elapsed
        super().load_state(state)
        self._elapsed = elapsed

class Blind(ToyEnv):
    def draw_image(self):
        raise RuntimeError("no eyes")

class Broken(ToyEnv):
    def build_engine(self):
        raise RuntimeError("out of order")

class Stubborn(ToyEnv):
    def build_engine(self):
        raise NotCloneableError("its state is in the cloud")

number = 3
"""


USER_IDS = """
import gymnasium as gym
from gymnasium.envs.classic_control import CartPoleEnv

gym.register("Pole-v3", entry_point=CartPoleEnv, max_episode_steps=50)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A current directory with the user's module in it."""
    (tmp_path / "user_games.py").write_text(USER_MODULE)
    (tmp_path / "user_ids.py").write_text(USER_IDS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    yield tmp_path
    for name in ("user_games", "user_ids"):
        sys.modules.pop(name, None)
    gym.registry.pop("Pole-v3", None)


def plan(*options: str, name: str = TOY, workers: str = "none") -> int:
    return main(["plan", name, "--workers", workers, *options])


def written(folder: Path, name: str = "out.json") -> dict:
    return json.loads((folder / name).read_text())


# ---- plan -------------------------------------------------------------------------------------


@pytest.mark.parametrize("planner", ["mcts", "random_shooting"])
def test_plan_writes_what_it_played(folder, capsys, planner):
    options = "--planner", planner, "--gif", "out.gif", "--json", "out.json"
    assert plan(*options, "--rollout-dt", "1", "--simulations", "500") == 0
    game = written(folder)
    assert game.keys() == JSON_KEYS
    assert game["score"] > 0.9
    assert game["ended"]
    assert not game["interrupted"]
    assert game["planner_options"] == {"num_simulations": 500, "rollout_dt": 1}
    assert game["versions"].keys() >= {"plangym_lite", "python", "numpy", "gymnasium", "ale_py"}
    assert game["simulator_calls"] > 0
    assert game["frames"] > 0
    assert (game["workers"], game["seed"], game["planner"]) == (0, 0, planner)
    with Image.open("out.gif") as gif:
        assert gif.n_frames >= 4
    printed = capsys.readouterr()
    assert f"{game['score']:g} points in {game['steps']} steps" in printed.out
    assert f"random play: {game['random_score']:g} points" in printed.out


def test_plan_takes_an_id_that_a_module_adds(folder):
    assert plan("--steps", "2", "--json", "out.json", name="user_ids:Pole-v3", workers="1") == 0
    assert written(folder)["steps"] == 2


@pytest.mark.parametrize("planner", PLANNERS)
def test_plan_knows_every_planner(folder, planner):
    is_for_numbers = planner in ("cem", "mppi")
    name = "tests.toys:ContinuousToy" if is_for_numbers else TOY
    options = "--planner", planner, "--budget", "500", "--json", "out.json"
    assert plan(*options, name=name) == 0
    game = written(folder)
    assert game["score"] > 0.9
    assert 0 < game["simulator_calls"] <= 500 * game["steps"] + 16  # of the probe for chance


def test_options_are_those_of_the_planners():
    assert set(PLANNERS) == {name for name in planners.__all__ if name.islower()}
    found = {}
    for planner in PLANNERS:
        for name, parameter in inspect.signature(getattr(planners, planner)).parameters.items():
            if isinstance(parameter.default, (bool, int, float, str)):
                assert found.setdefault(name, type(parameter.default)) is type(parameter.default)
    found |= {"budget": int, "seconds": float, "legal_actions": str}  # their defaults are None
    assert found.pop("resample") is bool  # the command line decides: ``--know-the-dice``
    assert found == {name: kind for name, (kind, _) in OPTIONS.items()}


def test_episodes_have_a_seed_each(folder, capsys):
    options = "--episodes", "3", "--seed", "4", "--steps", "2", "--json", "out.json"
    assert plan(*options, "--execute", "2", "--no-subtables", "--planner", "rollout_iw") == 0
    game = written(folder)
    assert [episode["seed"] for episode in game["episodes"]] == [4, 5, 6]
    assert [len(episode["rewards"]) for episode in game["episodes"]] == [2, 2, 2]
    assert game["steps"] == 6
    assert game["score"] == pytest.approx(-0.02)
    assert game["planner_options"] == {"subtables": False}
    assert "3 episodes" in capsys.readouterr().out


@pytest.mark.parametrize("planner", ["mcts", "go_explore", "fractal"])
def test_plots_are_drawn(folder, planner):
    pytest.importorskip("matplotlib")
    options = "--planner", planner, "--steps", "2", "--budget", "200", "--plot", "out.png"
    assert plan(*options) == 0
    with Image.open("out.png") as picture:
        assert picture.size[0] > 500


def test_a_video_is_written(folder):
    pytest.importorskip("imageio_ffmpeg")
    assert plan("--steps", "3", "--budget", "100", "--mp4", "out.mp4") == 0
    assert (folder / "out.mp4").read_bytes()[4:8] == b"ftyp"


def test_compare_prints_a_table(folder, capsys):
    names = TOY, "tests.toys:ContinuousToy"
    options = "--planners", "fractal,cem", "--episodes", "2", "--budget", "500"
    command = ["compare", *names, *options, "--workers", "none", "--json", "out.json"]
    assert main(command) == 0
    first, second = written(folder)["results"][0], written(folder)["results"][1]
    assert (first["planner"], first["score"]) == ("fractal", pytest.approx(0.96))
    assert (second["name"], second["planner_options"]) == (names[1], {"budget": 500})
    lines = capsys.readouterr().out.splitlines()
    assert [cell.strip() for cell in lines[0].split("|")][1:-1] == [
        *("environment", "fractal", "cem", "random")
    ]
    assert "0.96 ± 0" in lines[2]
    assert lines[2].split("|")[3].strip() == "-"
    assert f"cem on {TOY}: cem needs a Box" in lines[4]


def test_compare_refuses_options_that_nobody_has(folder, capsys):
    assert main(["compare", TOY, "--planners", "mcts,cem", "--walkers", "3"]) == 2
    assert "none of mcts, cem has --walkers" in capsys.readouterr().err


def test_a_table_of_nothing():
    assert table([], ["mcts"]).splitlines()[0] == "| environment | mcts | random |"


def test_random_play_is_really_played(folder):
    assert plan("--steps", "5", "--json", "out.json", "--seed", "7") == 0
    game, env = written(folder), ToyEnv()
    env.action_space.seed(7)
    state, score = env.reset(seed=7)[0], 0.0
    for _ in range(game["steps"]):
        state, _, reward, *_ = env.step(env.action_space.sample(), state)
        score += reward
    assert game["random_score"] == score


def test_the_seed_decides_whatever_the_workers(folder):
    name = "ALE/MsPacman-v5"
    options = "--simulations", "12", "--steps", "3", "--max-depth", "4", "--gif"
    for run, workers, seed in (("a", "none", "1"), ("b", "2", "1"), ("c", "none", "2")):
        files = f"{run}.gif", "--json", f"{run}.json", "--seed", seed
        assert plan(*options, *files, name=name, workers=workers) == 0
    games = [written(folder, f"{run}.json") for run in "abc"]
    for game in games:
        game.update(seconds=0, workers=0)
        game["episodes"][0]["seconds"] = 0
    assert games[0] == games[1]
    assert games[0]["frames"] != games[2]["frames"] or games[0] != games[2]
    assert (folder / "a.gif").read_bytes() == (folder / "b.gif").read_bytes()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("workers", ["none", "2"])
def test_interrupted_it_still_writes(folder, number, workers):
    options = "--workers", workers, "--steps", "100000", "--gif", "out.gif", "--json", "out.json"
    command = [sys.executable, "-m", "plangym_lite", "plan", "user_games:Endless", *options]
    ours, terminal = pty.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 200, 0, 0))
    pipe, kept = subprocess.PIPE, {"start_new_session": True, "env": HERE}
    process = subprocess.Popen(command, stderr=terminal, stdout=pipe, **kept)
    os.close(terminal)
    try:
        seen = b""
        while b"frames/s" not in seen:  # the progress bar is moving
            seen += os.read(ours, 4096)
        if number == signal.SIGINT:  # as a terminal does it: everybody hears of it
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        out, _ = process.communicate(timeout=30)
        with contextlib.suppress(OSError):  # the terminal has no more text
            seen += os.read(ours, 65536)
    finally:
        process.kill()
        process.communicate()
        os.close(ours)
    assert process.returncode == 128 + number, seen.decode()
    assert b"Traceback" not in seen
    assert b"interrupted after" in out
    game = written(folder)
    assert game.keys() == JSON_KEYS
    assert game["interrupted"]
    assert not game["ended"]
    with Image.open("out.gif") as gif:
        assert gif.n_frames >= 1


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("CartPol-v1", (), "nearest names are CartPole-v1"),
        ("nowhere:Env", (), "nowhere cannot be imported"),
        ("user_games:number", (), "no class or callable 'number'"),
        ("user_games:Broken", (), "cannot be made: RuntimeError: out of order"),
        ("user_games:Blind", ("--gif", "out.gif"), "draws no image (no eyes)"),
        ("Pendulum-v1", (), "Discrete"),
        (TOY, ("--json", "missing/out.json"), "missing/out.json cannot be written"),
        (TOY, ("--gif", "."), ". cannot be written"),
        (TOY, ("--discount", "2"), "discount must be between 0 and 1"),
        (TOY, ("--planner", "random_shooting", "--exploration", "1"), "has no --exploration"),
        (TOY, ("--planner", "fractal", "--simulations", "9"), "fractal has no --simulations"),
        (TOY, ("--planner", "cem"), "cem needs a Box of numbers within bounds"),
        (TOY, ("--mp4", "out.gif"), "out.gif does not end in .mp4"),
        (TOY, ("--gif", "out.mp4"), "out.mp4 does not end in .gif"),
        (TOY, ("--save", "out.npy"), "out.npy does not end in .npz"),
        (TOY, ("--plot", "out.txt"), "out.txt does not end in ."),
        (TOY, ("--env", "n_workers=2"), "--env n_workers: use --workers"),
        (TOY, ("--env", "siez=9"), "no option siez: did you mean size?"),
        ("FrozenLake-v1", ("--env", "is_slipery=false"), "did you mean is_slippery?"),
        ("ALE/Pong-v5", ("--env", "obs_typ=ram"), "did you mean obs_type?"),
    ],
)
def test_plan_says_in_one_line_what_is_wrong(folder, capsys, name, options, message):
    assert plan(*options, name=name) == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert len(error.splitlines()) == 1
    assert not list(folder.glob("out.*"))


def test_help_and_version(capsys):
    for option in ("--help", "--version", "-V"):
        with pytest.raises(SystemExit, match="0"):
            main([option])
        assert "plangym-lite" in capsys.readouterr().out


# ---- envs -------------------------------------------------------------------------------------


def test_envs_lists_the_families(capsys):
    assert main(["envs"]) == 0
    out = capsys.readouterr().out
    for text in ("Classic control: ", "CartPole-v1", "Atari: ", "ALE/MsPacman-v5", "FrozenLake-v1"):
        assert text in out
    assert "MsPacmanNoFrameskip" not in out
    assert "HalfCheetah-v3" not in out  # can only raise an error


def test_envs_says_what_an_extra_would_add(capsys, monkeypatch):
    present = importlib.util.find_spec
    missing = ("Box2D", "minigrid", "pygame")
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name in missing else present(name)
    )
    assert main(["envs"]) == 0
    out = capsys.readouterr().out
    assert f"Box2D: {to_install('box2d')} adds 5" in out
    assert f"MiniGrid and BabyAI: {to_install('minigrid')} adds " in out
    assert f"Classic control: 6 (pictures: {to_install('classic-control')})" in out


def test_envs_does_not_mind_a_reader_that_leaves():
    command = f"{sys.executable} -m plangym_lite envs | head -1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, timeout=60, env=HERE)
    assert done.stderr == b""
    assert done.returncode in (0, 141)


# ---- check ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["CartPole-v1", TOY, "user_games:Endless", "user_ids:Pole-v3"])
def test_check_says_exact(folder, capsys, name):
    assert main(["check", name]) == 0
    assert f"{name}: exact" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "reason"),
    [("user_games:Forgetful", "first difference"), ("user_games:Stubborn", "in the cloud")],
)
def test_check_says_where_it_differs(folder, capsys, name, reason):
    assert main(["check", name]) == 1
    out = capsys.readouterr().out
    assert f"{name}: NOT exact" in out
    assert reason in out


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("NoSuch-v9", "no environment is called"),
        ("user_games:Nobody", "no class or callable"),
        ("user_ids:Pole-v4", "no environment is called 'user_ids:Pole-v4'"),
        ("user_games:Broken", "out of order"),
    ],
)
def test_check_says_what_is_wrong(folder, capsys, name, message):
    assert main(["check", name]) == 2
    assert message in capsys.readouterr().err
