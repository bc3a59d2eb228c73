"""Wrong arguments: one line that suggests the nearest name, and exit code 2."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

import pytest

import plangym_lite
from plangym_lite.cli.envs import complete_ids
from plangym_lite.cli.main import build_parser, main
from plangym_lite.cli.parser import Parser, above_zero, at_least_one, key_and_value

TOY = "plangym_lite.testing.toy:ToyEnv"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "plangym-lite: the following arguments are required: COMMAND"),
        ("plna X", "unknown 'plna': did you mean plan?"),
        ("dance", "unknown 'dance': one of plan, compare, envs, bench, check"),
        ("plan X --planner mtcs", "unknown 'mtcs': did you mean mcts?"),
        ("plan X --planner luck", "unknown 'luck': one of mcts, random_shooting, "),
        ("plan X --n-worker 4", "plangym-lite plan: no option --n-worker: did you mean --workers?"),
        ("plan X --n-worker=4", "no option --n-worker: did you mean --workers?"),
        ("plan X --zzz", "plangym-lite plan: no option --zzz (see"),
        ("plan X --step 3", "no option --step: did you mean --steps?"),  # no abbreviations
        ("plan X Y", "one argument too many: 'Y'"),
        ("plan X --steps 0", "--steps: '0' is not a whole number of at least 1"),
        ("plan X --workers -1", "'-1' is not a whole number of at least 1"),
        ("plan X --env is_slippery", "'is_slippery' is not KEY=VALUE"),
        ("compare", "the following arguments are required: NAME"),
        ("compare X --planners mcts,fractl", "unknown 'fractl': did you mean fractal?"),
        ("bench --seconds -1", "--seconds: '-1' is not a number above 0"),
        ("bench --seconds nan", "'nan' is not a number above 0"),
        ("bench --rounds x", "'x' is not a whole number of at least 1"),
    ],
)
def test_errors_are_one_line(line, message, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(line.split())
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert error.startswith("plangym-lite")


def test_option_values():
    assert (at_least_one("3"), above_zero("0.5")) == (3, 0.5)
    for text in ("-1", "inf", "nan", "x", ""):
        with pytest.raises(argparse.ArgumentTypeError):
            above_zero(text)
    values = {"a=false": False, "a=0.5": 0.5, "a=[1, 2]": [1, 2], "a=8x8": "8x8", "a=": ""}
    values |= {"a=True": True, "a=None": None, "a=b=c": "b=c", "a=-9.8": -9.8}
    for text, value in values.items():
        assert key_and_value(text) == ("a", value)
    for text in ("a", "=1", "a b=1"):
        with pytest.raises(argparse.ArgumentTypeError):
            key_and_value(text)


def test_every_command_has_this_parser():
    (commands,) = [action for action in build_parser()._actions if action.choices]
    assert list(commands.choices) == ["plan", "compare", "envs", "bench", "check"]
    for parser in commands.choices.values():
        assert isinstance(parser, Parser)
        assert not parser.allow_abbrev
        assert {"--json", "-q", "--quiet"} <= parser._option_string_actions.keys()


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("plangym-lite plan CartPole-v1 --planner m", ["mcts", "mppi"]),
        ("plangym-lite compare CartPole-v1 ALE/MsP", ["ALE/MsPacman-v5"]),
    ],
)
def test_tab_completes(line, found, tmp_path):
    pytest.importorskip("argcomplete")
    shell = {  # what argcomplete's shell function does
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_IFS": "\n",
        "_ARGCOMPLETE_SUPPRESS_SPACE": "1",
        "_ARGCOMPLETE_STDOUT_FILENAME": str(tmp_path / "found"),
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
        "PYTHONPATH": str(Path(plangym_lite.__file__).parents[1]),
    }
    code = "import sys; from plangym_lite.cli.main import main; sys.exit(main())"
    command = [sys.executable, "-c", code]
    subprocess.run(command, env={**os.environ, **shell}, timeout=50, check=True)
    assert (tmp_path / "found").read_text().splitlines() == found


def test_tab_knows_the_ids_of_installed_packages():
    assert complete_ids("ALE/Ms", None, None, None) == ["ALE/MsPacman-v5"]
    assert "FrozenLake8x8-v1" in complete_ids("Froz", None, None, None)
