"""What is said if a package is not installed; a broken one costs its ids, and nothing else."""

import re
import subprocess
import sys
from pathlib import Path

import gymnasium
import pytest

import plangym_lite
from plangym_lite import errors
from plangym_lite.envs.gymnasium import families
from plangym_lite.envs.gymnasium.families import FAMILIES

ROOT = Path(plangym_lite.__file__).parent
NAMED = re.compile(r"""to_install\(['"]([\w-]+)""")

LACKING = """
import sys, warnings

warnings.simplefilter("ignore")
for package in {packages!r}:
    sys.modules[package] = None
import plangym_lite

for wanted in {wanted!r}:
    try:
        with plangym_lite.make(**wanted) as env:
            env.reset()
            env.get_image()
        print("made")
    except plangym_lite.PlangymError as error:
        print(type(error).__name__, error)
"""
IDS = [
    (
        ["minigrid", "Box2D", "mujoco", "ale_py", "dm_control", "stable_retro", "shimmy"],
        {
            "MiniGrid-Empty-5x5-v0": "minigrid",
            "BabyAI-GoToRedBall-v0": "minigrid",
            "LunarLander-v3": "box2d",
            "CarRacing-v3": "box2d",
            "BipedalWalkerHardcore-v3": "box2d",
            "HalfCheetah-v5": "mujoco",
            "Ant-v4": "mujoco",
            "ALE/Pong-v5": "",
            "PongNoFrameskip-v4": "",
            "cartpole-balance": "dm-control",
            "dm_control/cartpole-balance-v0": "dm-control",
            "Airstriker-Genesis-v0": "retro",
            "Airstriker-Genesis": "retro",
        },
    ),
    (
        ["pygame"],
        {
            "CartPole-v1": "classic-control",
            "FrozenLake-v1": "classic-control",
            "LunarLander-v3": "box2d",
            "MiniGrid-Empty-5x5-v0": "minigrid",
        },
    ),
]


@pytest.mark.parametrize(("packages", "extras"), IDS, ids=["engines", "pictures"])
def test_the_extra_is_named(packages, extras):
    wanted = [{"name": name} for name in extras]
    if "dm_control" in packages:
        wanted.append({"domain_name": "cartpole", "task_name": "balance"})
        wanted.append({"name": "cartpole", "task_name": "balance"})
        extras = {**extras, "domain and task": "dm-control", "task": "dm-control"}
    code = LACKING.format(packages=packages, wanted=wanted)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT.parent, capture_output=True, text=True, timeout=60
    )
    said = done.stdout.splitlines()
    assert len(said) == len(extras), done.stderr
    for (name, extra), line in zip(extras.items(), said, strict=True):
        assert line.startswith(("MissingPackageError", "UnknownEnvironmentError")), name
        assert errors.to_install(extra) in line, name
        assert extra or "ale_py" in line


def test_how_to_install_is_said_in_one_place():
    """The package is on no index: a message that names it to pip finds nothing, or another."""
    wanted = errors.to_install("video")
    assert wanted == 'pip install ".[video]" in a checkout of plangym_lite'
    assert errors.to_install() == 'pip install "." in a checkout of plangym_lite'
    others = [path for path in ROOT.rglob("*.py") if path != Path(errors.__file__)]
    said = {
        path.name: re.findall(r"pip install|plangym.lite\[", path.read_text()) for path in others
    }
    assert len(said) > 100
    assert {name for name, found in said.items() if found} == set()


def test_no_page_installs_from_an_index():
    pages = [*ROOT.parent.glob("*.md"), *ROOT.parent.glob("docs/**/*.md")]
    pages += ROOT.parent.glob("notebooks/*.ipynb")
    assert len(pages) > 10
    for page in pages:
        assert not re.search(r"pip install\W+(-e )?\W*plangym", page.read_text()), page.name


def test_the_extras_exist():
    extras = re.findall(r"^([\w-]+) = \[", (ROOT.parent / "pyproject.toml").read_text(), re.M)
    assert {family.extra for family in FAMILIES if family.extra} <= set(extras)
    named = {word for path in ROOT.rglob("*.py") for word in NAMED.findall(path.read_text())}
    assert named == {"classic-control", "mctx", "notebooks", "ray", "video"}
    assert named <= set(extras)


@pytest.fixture
def half_installed(tmp_path, monkeypatch):
    """Two providers; the import of the first fails as shimmy's does without imageio."""
    (tmp_path / "half_installed.py").write_text("import no_such_module_anywhere\n")
    (tmp_path / "all_there.py").write_text(
        "import gymnasium\ngymnasium.register('FromAllThere-v0', entry_point='all_there:Env')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(families, "PROVIDERS", ("half_installed", "all_there"))
    yield
    sys.modules.pop("all_there", None)
    gymnasium.registry.pop("FromAllThere-v0", None)


def test_a_provider_that_cannot_be_imported_is_named_and_left_out(half_installed):
    with pytest.warns(RuntimeWarning, match=r"half_installed is .*no_such_module_anywhere"):
        spec = families.spec_of("FromAllThere-v0")
    assert spec.entry_point == "all_there:Env"


def test_a_provider_that_is_not_installed_says_nothing(monkeypatch):
    monkeypatch.setattr(families, "PROVIDERS", ("no_such_package_anywhere",))
    assert families.spec_of("NoSuchId-v0") is None
