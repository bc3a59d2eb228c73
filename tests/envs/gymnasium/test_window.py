"""``render_mode="human"`` shows a window, or is refused; it is never ignored."""

import os
import subprocess
import sys
from importlib.util import find_spec

import gymnasium as gym
import numpy as np
import pytest

from plangym_lite import NotCloneableError, make
from plangym_lite.envs.gymnasium.window import check_display

pygame = pytest.importorskip("pygame")
DRAWN_BY_PYGAME = {
    "CartPole-v1": None,
    "FrozenLake-v1": None,
    "LunarLander-v3": "Box2D",
    "MiniGrid-Empty-5x5-v0": "minigrid",
}
ENGINES = {
    **DRAWN_BY_PYGAME,
    "CarRacing-v3": "Box2D",
    "HalfCheetah-v5": "mujoco",
    "ALE/Pong-v5": "ale_py",
    "cartpole-balance": "dm_control",
}


def skip_without(package):
    if package is not None and find_spec(package) is None:
        pytest.skip(f"{package} is not installed")


@pytest.mark.filterwarnings("ignore:.*font")  # MiniGrid's
@pytest.mark.parametrize("name", DRAWN_BY_PYGAME)
def test_a_window_of_pygame(name):
    """With the driver ``dummy`` of SDL, which has no screen, but windows."""
    skip_without(DRAWN_BY_PYGAME[name])
    with make(name, render_mode="human") as env:
        env.reset(seed=0)
        env.step(env.sample_action())
        env.render()
        shown = pygame.surfarray.array3d(pygame.display.get_surface())
    assert len(np.unique(shown.reshape(-1, 3), axis=0)) > 4
    pygame.display.quit()


@pytest.mark.parametrize("name", ENGINES)
def test_without_a_display_it_is_refused(name, monkeypatch):
    skip_without(ENGINES[name])
    for variable in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    with pytest.raises(RuntimeError, match="there is no display here"):
        make(name, render_mode="human")
    monkeypatch.setattr(sys, "platform", "darwin")
    check_display()


def test_mujoco_asks_for_a_display_of_its_own(monkeypatch):
    """GLFW ends the process without one; the drivers of SDL do not count."""
    skip_without("mujoco")
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    for variable in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    with pytest.raises(RuntimeError, match=r"\(DISPLAY, WAYLAND_DISPLAY: not set\)"):
        make("HalfCheetah-v5", render_mode="human")


def test_retro_has_no_window():
    skip_without("stable_retro")
    with pytest.raises(NotCloneableError, match="window"):
        make("Airstriker-Genesis-v0", render_mode="human")


class Blind(gym.Env):
    """Draws images, and opens no window."""

    metadata = {"render_modes": ["rgb_array"]}
    observation_space = gym.spaces.Discrete(2)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, render_mode=None):
        self.render_mode = render_mode if render_mode == "rgb_array" else None

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return 0, {}

    def step(self, action):
        return int(action), 0.0, False, False, {}


@pytest.mark.parametrize(
    "maker", [Blind, lambda: Blind(), lambda: gym.make("CartPole-v1")], ids=["mode", "none", "id"]
)
def test_an_environment_without_a_window_is_refused(maker):
    with pytest.raises(ValueError, match="opens no window"):
        make(maker, render_mode="human")


def test_an_id_without_a_window_is_refused():
    gym.register("Blind-v0", entry_point=Blind)
    with pytest.raises(ValueError, match="opens no window"):
        make("Blind-v0", render_mode="human")
    del gym.registry["Blind-v0"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ENGINES)
def test_a_window_on_a_screen(name, tmp_path):
    """``xvfb-run -a pytest -m slow``; the command ``import`` of ImageMagick takes the picture."""
    skip_without(ENGINES[name])
    if not os.environ.get("DISPLAY"):
        pytest.skip("no display")
    code = SHOWN.format(name=name, picture=str(tmp_path / "screen.png"))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) > 4, "nothing on the screen"


SHOWN = """
import os, subprocess
os.environ.pop("SDL_VIDEODRIVER", None)
import numpy as np
from PIL import Image
import plangym_lite
with plangym_lite.make({name!r}, render_mode="human") as env:
    env.reset(seed=0)
    for _ in range(5):
        env.step(env.sample_action())
        env.render()
    subprocess.run(["import", "-window", "root", {picture!r}], check=True)
pixels = np.array(Image.open({picture!r}).convert("RGB")).reshape(-1, 3)
print(len(np.unique(pixels, axis=0)))
"""
