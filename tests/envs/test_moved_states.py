"""States outlive moves of our files: those of an earlier day are read here, and by a moved copy."""

import importlib.util
import os
import pickle
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import plangym_lite
from plangym_lite import InvalidStateError, make, stable
from plangym_lite.envs.batched.classic_control import ClassicControl
from plangym_lite.states.files import load_states, save_states
from plangym_lite.testing.toy import ToyEnv
from tests.envs import write_states
from tests.envs.write_states import FOLDER, KINDS, read

NEEDED = {"atari": "ale_py", "snapshot": "minigrid", "replay": "Box2D"}
NEVER_MOVE = {b"plangym_lite.pickled", b"plangym_lite.stable"}
MOVED = ["gymnasium.env", "gymnasium.replay", "gymnasium.trail", "atari.env", "box2d.env"]
MOVED += ["batched.env", "batched.classic_control", "batched.toy_text", "generators.generator"]
MOVED += ["snapshot.snapshot", "snapshot.pickling", "snapshot.packing"]
MOVES = {name: f"{name}_elsewhere" for name in MOVED}
KINDS_HERE = [
    pytest.param(
        kind,
        marks=pytest.mark.skipif(
            kind in NEEDED and importlib.util.find_spec(NEEDED[kind]) is None,
            reason="not installed",
        ),
    )
    for kind in KINDS
]
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
HOW = "run `python -m tests.envs.write_states` and commit what it writes"


@pytest.mark.parametrize("kind", KINDS_HERE)
def test_states_of_an_earlier_day(kind):
    assert (FOLDER / f"{kind}.npz").exists(), HOW
    assert read(kind) in ("exact", "other versions")


@pytest.mark.parametrize("kind", KINDS_HERE)
def test_states_name_no_module_that_may_move(kind):
    assert (FOLDER / f"{kind}.npz").exists(), HOW
    with zipfile.ZipFile(FOLDER / f"{kind}.npz") as file:
        data = b"".join(file.read(name) for name in file.namelist()).replace(b"\0", b"")
    named = re.findall(rb"plangym_lite(?:\.\w+)+", data)
    assert {b".".join(name.split(b".")[:2]) for name in named} <= NEVER_MOVE


def test_a_copy_whose_files_have_moved(tmp_path):
    source = Path(plangym_lite.__file__).parent
    target = tmp_path / "plangym_lite"
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(write_states.__file__, tmp_path / "reader.py")
    for old, new in MOVES.items():
        path = target / "envs" / old.replace(".", "/")
        path.with_suffix(".py").rename(target / "envs" / f"{new.replace('.', '/')}.py")
    names = re.compile(rf"plangym_lite\.envs\.({'|'.join(map(re.escape, MOVES))})\b")
    for path in (*target.rglob("*.py"), tmp_path / "reader.py"):
        path.write_text(
            names.sub(lambda found: f"plangym_lite.envs.{MOVES[found[1]]}", path.read_text())
        )
    kinds = [kind for kind in KINDS if importlib.util.find_spec(NEEDED.get(kind, "numpy"))]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "reader.py", "--read", str(FOLDER), *kinds],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.returncode == 0, done.stderr
    lines = [line.split(" ", 1) for line in done.stdout.splitlines()]
    assert [kind for kind, _ in lines] == kinds
    assert {how for _, how in lines} <= {"exact", "other versions"}, done.stdout


# ---- layouts and names ---------------------------------------------------------------------------


def test_an_older_layout_is_refused_by_name(tmp_path, monkeypatch):
    path = tmp_path / "states.npz"
    with make("CartPole-v1") as env:
        save_states(path, env, [env.get_state()])
        assert len(load_states(path, env)) == 1
        monkeypatch.setattr(ClassicControl, "LAYOUT", 2)
        with pytest.raises(InvalidStateError, match=r"layout 1\.1\.1, .* reads layout 2\.1\.1"):
            load_states(path, env)
    with make("Acrobot-v1") as other, pytest.raises(InvalidStateError, match="another environment"):
        load_states(path, other)


def test_a_layout_of_the_base_counts_for_whoever_inherits_it(monkeypatch):
    class Mine(ClassicControl):
        LAYOUT = 7

    with Mine("CartPole-v1") as env:
        assert "layout=7.1.1.1" in env.fingerprint
        assert f"{__name__}.test_a_layout" in env.fingerprint  # not a class of ours
        monkeypatch.setattr(plangym_lite.PlangymEnv, "LAYOUT", 3)
        assert "layout=7.1.3.1" in env.fingerprint


def test_names_of_our_classes():
    with make("CartPole-v1") as env, ToyEnv() as toy:
        assert "CartPole-v1 ClassicControl layout=" in env.fingerprint
        assert toy.fingerprint.startswith("plangym_lite.testing.toy.ToyEnv layout=1 ")


class Kept:
    def __init__(self, *fields):
        self.fields = fields

    def __reduce__(self):
        return stable.stable_reduce("tests.Kept", *self.fields)


@pytest.fixture
def kept(monkeypatch):
    monkeypatch.setattr(stable, "_known", dict(stable._known))
    stable.register("tests.Kept", Kept, version=4)
    return Kept(1, b"two", None)


def test_a_stable_name(kept):
    data = pickle.dumps(kept)
    assert b"Kept" in data
    assert __name__.encode() not in data
    assert pickle.loads(data).fields == (1, b"two", None)


def test_a_stable_name_in_another_version(kept):
    data = pickle.dumps(kept)
    stable.register("tests.Kept", Kept, version=5)
    with pytest.raises(InvalidStateError, match=r"tests\.Kept has layout 4, .* reads layout 5"):
        pickle.loads(data)


def test_a_stable_name_that_nobody_knows(kept, monkeypatch):
    data = pickle.dumps(kept)
    monkeypatch.setattr(stable, "_known", {})
    with pytest.raises(InvalidStateError, match=r"holds a 'tests\.Kept'"):
        pickle.loads(data)


def test_a_stable_name_is_nobody_elses(kept):
    with pytest.raises(ValueError, match=r"'tests\.Kept' is the stable name of"):
        stable.register("tests.Kept", ToyEnv)
