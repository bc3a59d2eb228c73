"""``from plangym_lite.envs import AtariEnv`` and the other classes load their module on access."""

import importlib.util
import subprocess
import sys

import pytest

import plangym_lite.envs
from plangym_lite import PlanEnv

PACKAGES = {
    "AtariEnv": "ale_py",
    "Box2DEnv": "Box2D",
    "DMControlEnv": "dm_control",
    "MujocoEnv": "mujoco",
    "PettingZooEnv": "pettingzoo",
    "RetroEnv": "stable_retro",
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", plangym_lite.envs.__all__)
def test_each_is_there(name):
    package = PACKAGES.get(name, "numpy")
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    found = getattr(plangym_lite.envs, name)
    assert found.__name__ == name
    assert name in dir(plangym_lite.envs)
    assert not isinstance(found, type) or issubclass(found, PlanEnv)


def test_what_is_not_there():
    with pytest.raises(AttributeError, match="no attribute 'GameBoyEnv'"):
        plangym_lite.envs.GameBoyEnv  # noqa: B018
    with pytest.raises(ImportError):
        from plangym_lite.envs import GameBoyEnv  # noqa: F401


def test_one_loads_no_other():
    code = "import sys; from plangym_lite.envs import AtariEnv; print('mujoco' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
