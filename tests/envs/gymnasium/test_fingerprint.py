"""What states belong to: id, options, engine, ROM or model; other ones are refused."""

import importlib.util
import subprocess
import sys

import pytest

from plangym_lite import InvalidStateError, make
from plangym_lite.states.files import load_states, save_states

BASE = {  # by family: the package, two ids, options that make another game, what must be told
    "classic": (
        "gymnasium",
        "CartPole-v1",
        "Acrobot-v1",
        {"sutton_barto_reward": True},
        "gymnasium=",
    ),
    "toy": ("gymnasium", "FrozenLake-v1", "Taxi-v4", {"is_slippery": False}, "gymnasium="),
    "atari": ("ale_py", "ALE/Pong-v5", "ALE/Breakout-v5", {"difficulty": 1}, "rom="),
    "sticky": ("ale_py", "ALE/Pong-v5", "ALE/Qbert-v5", {"repeat_action_probability": 0.2}, "ale"),
    "mujoco": ("mujoco", "Hopper-v5", "Ant-v5", {"frame_skip": 2}, "model="),
    "dm_control": ("dm_control", "cartpole-balance", "cartpole-swingup", {}, "dm_control="),
    "box2d": ("Box2D", "LunarLander-v3", "BipedalWalker-v3", {"gravity": -5.0}, "Box2D="),
    "minigrid": ("minigrid", "MiniGrid-Empty-5x5-v0", "MiniGrid-Empty-6x6-v0", {}, "minigrid="),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:.*out of date")
@pytest.mark.parametrize("family", BASE)
def test_a_family(family, tmp_path):
    package, name, other_name, options, told = BASE[family]
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    if package == "mujoco" and importlib.util.find_spec("gymnasium.envs.mujoco") is None:
        pytest.skip("gymnasium without MuJoCo")
    others = [(other_name, {}), (name, {"clone_seeds": False} if family != "box2d" else options)]
    if options:
        others.append((name, options))
    with make(name) as env:
        short = name.removeprefix("ALE/")
        assert told in env.fingerprint
        assert short in env.fingerprint
        state = env.reset(seed=0)[0]
        save_states(tmp_path / "states.npz", env, [state])
        (loaded,) = load_states(tmp_path / "states.npz", env, trusted=True)
        env.set_state(loaded)
        for which, different in others:
            with make(which, **different) as other:
                assert other.fingerprint != env.fingerprint
                with pytest.raises(InvalidStateError, match="another environment or version"):
                    load_states(tmp_path / "states.npz", other)
                if other.batch_spec.state_shape != env.batch_spec.state_shape:
                    with pytest.raises(InvalidStateError):
                        other.set_state(state)
                    with pytest.raises(InvalidStateError):
                        other.step_batch([other.sample_action()], [state])
        code = f"import plangym_lite; print(plangym_lite.make({name!r}).fingerprint)"
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=50
        )
        assert done.stdout.strip().splitlines()[-1] == env.fingerprint, done.stderr


def test_another_model_of_the_same_names(tmp_path):
    """Masses count, not only the names of the parts."""
    pytest.importorskip("mujoco")
    from gymnasium.envs.mujoco.hopper_v5 import HopperEnv

    class Heavy(HopperEnv):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.model.body_mass[1] *= self.factor

    one, other = (type("Heavy", (Heavy,), {"factor": factor}) for factor in (1.0, 2.0))
    with make(one) as light, make(other) as heavy:
        assert light.fingerprint != heavy.fingerprint
        with pytest.raises(InvalidStateError, match="another model"):
            heavy.set_state(light.get_state())
