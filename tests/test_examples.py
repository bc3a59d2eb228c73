"""The scripts in docs/examples/ print what their page says, and fit on a screen."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import plangym_lite

FOLDER = Path(__file__).parent.parent / "docs" / "examples"
PRINTED = dict(
    re.findall(r"```\n\$ python (\w+)\.py\n(.*?)```", (FOLDER / "README.md").read_text(), re.DOTALL)
)
HERE = {**os.environ, "PYTHONPATH": str(Path(plangym_lite.__file__).parents[1])}


def test_the_page_has_all():
    assert PRINTED.keys() == {path.stem for path in FOLDER.glob("*.py")}
    assert len(PRINTED) == 5


@pytest.mark.parametrize("name", PRINTED)
def test_example_prints_what_the_page_says(name):
    script = FOLDER / f"{name}.py"
    assert len(script.read_text().splitlines()) <= 65
    command = [sys.executable, str(script)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, env=HERE)
    assert done.returncode == 0, done.stderr
    assert done.stdout == PRINTED[name]
