"""make(): what Gymnasium builds decides the adapter."""

import functools
import sys

import gymnasium as gym
import pytest
from gymnasium.envs.classic_control import CartPoleEnv

from plangym_lite import PlangymEnv, UnknownEnvironmentError, make, register_adapter, registry
from plangym_lite.envs.atari.env import AtariEnv
from plangym_lite.envs.batched.classic_control import ClassicControl
from plangym_lite.envs.gymnasium.families import lacking
from plangym_lite.registry import adapter_for, find_spec
from plangym_lite.testing.toy import ToyEnv


class TallCartPole(CartPoleEnv):
    """A subclass of an engine's environment."""


class Mystery(gym.Env):
    """An environment of an engine that nobody knows."""

    observation_space = gym.spaces.Discrete(2)
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return 0, {}

    def step(self, action):
        return int(action), 0.0, False, False, {}


@pytest.fixture
def mine():
    """An id of the user's own."""
    gym.register("Mine-v0", entry_point=TallCartPole, max_episode_steps=7)
    yield "Mine-v0"
    del gym.registry["Mine-v0"]


@pytest.mark.parametrize(
    ("name", "adapter"),
    [
        ("CartPole-v1", ClassicControl),
        ("Pendulum-v1", ClassicControl),
        (Mystery, PlangymEnv),
        ("ALE/Pong-v5", AtariEnv),
        ("PongNoFrameskip-v4", AtariEnv),
        (CartPoleEnv, ClassicControl),
        (TallCartPole, ClassicControl),
        (lambda: gym.make("CartPole-v1"), ClassicControl),
        (functools.partial(Mystery), PlangymEnv),
        (ToyEnv, ToyEnv),
    ],
)
def test_the_engine_decides(name, adapter):
    with make(name) as env:
        assert type(env) is adapter
        env.reset()
        env.step(env.sample_action())


def test_an_id_of_the_users_own(mine):
    with make(mine) as env:
        assert type(env) is ClassicControl
        assert env.name == "Mine-v0"


def test_the_spec_of_an_id(mine):
    for spec in (gym.spec(mine), gym.spec("Pendulum-v1")):
        with make(spec, remove_time_limit=False) as env:
            assert type(env) is ClassicControl
            assert env.name == spec.id
            assert env.gym_env.spec.max_episode_steps == spec.max_episode_steps
    with make(gym.spec("ALE/Pong-v5"), obs_type="ram") as env:
        assert type(env) is AtariEnv
        assert env.observation_space.shape == (128,)


def test_an_id_that_a_module_adds(tmp_path, monkeypatch):
    code = "import gymnasium\ngymnasium.register('Far-v1', entry_point='{}:{}')\n"
    entry = CartPoleEnv.__module__, CartPoleEnv.__qualname__
    (tmp_path / "far_ids.py").write_text(code.format(*entry))
    monkeypatch.syspath_prepend(tmp_path)
    with make("far_ids:Far-v1") as env:
        assert type(env) is ClassicControl
        assert env.name == "far_ids:Far-v1"
    with pytest.raises(UnknownEnvironmentError, match="no environment is called 'far_ids:Far-v2'"):
        make("far_ids:Far-v2")
    with pytest.raises(UnknownEnvironmentError, match="no environment is called 'nowhere:Far-v2'"):
        make("nowhere:Far-v2")
    del gym.registry["Far-v1"], sys.modules["far_ids"]


def test_an_id_that_is_registered_again(mine):
    class Short(TallCartPole):
        pass

    with make(mine) as before:
        del gym.registry[mine]
        gym.register(mine, entry_point=Short)
        with make(mine) as after:
            assert type(before.make_stack().unwrapped) is TallCartPole
            assert type(after.make_stack().unwrapped) is Short


def test_a_task_name_that_is_no_dm_controls():
    asked = []

    def build(task_name=None):  # and no render_mode
        asked.append(task_name)
        return CartPoleEnv()

    gym.register("Tasked-v0", entry_point=build)
    with make("Tasked-v0", task_name="swim") as env:
        assert env.name == "Tasked-v0"
        assert type(env) is ClassicControl
        assert asked[-1] == "swim"
    del gym.registry["Tasked-v0"]


def test_a_callable_that_makes_a_plan_env():
    with make(lambda: ToyEnv(size=9)) as env:
        assert env.size == 9
    with make(ToyEnv, size=10, frameskip=2) as env:
        assert (env.size, env.frameskip) == (10, 2)


def test_arguments_go_on_to_adapter_and_engine():
    with make("Pendulum-v1", frameskip=2, g=9.81) as env:
        assert env.frameskip == 2
        assert env.gym_env.unwrapped.g == 9.81


def test_the_default_cartpole_has_no_time_limit():
    with make("CartPole-v1") as env, make("CartPole-v1", remove_time_limit=False) as limited:
        assert "TimeLimit" not in str(env.gym_env)
        assert "TimeLimit" in str(limited.gym_env)


@pytest.mark.parametrize(
    ("wanted", "near"),
    [
        ({"name": "CartPol-v1"}, "CartPole-v1"),
        ({"name": "ALE/MsPacmen-v5"}, "ALE/MsPacman-v5"),
        ({"name": "cartpole"}, "CartPole-v1"),
        ({"name": "MiniGrid-Emty-5x5-v0"}, "MiniGrid-Empty-5x5-v0"),
        ({"name": "LunarLander-v2"}, "LunarLander-v3"),
        ({"name": "HalfCheeta-v5"}, "HalfCheetah-v5"),
        ({"name": "cartpole-balanc"}, "cartpole-balance"),
        ({"name": "cartpole", "task_name": "balanc"}, "cartpole-balance"),
        ({"domain_name": "cartpol", "task_name": "balance"}, "cartpole-balance"),
        ({"name": "Airstriker-Genesi-v0"}, "Airstriker-Genesis-v0"),
    ],
)
def test_unknown_names_get_the_nearest(wanted, near):
    if lacking(near):
        pytest.skip("not installed")
    with pytest.raises(UnknownEnvironmentError, match=f"the nearest names are .*{near}"):
        make(**wanted)


def test_a_name_that_is_like_no_other():
    with pytest.raises(UnknownEnvironmentError, match=r"no environment is called 'zzz'$"):
        find_spec("zzz")


@pytest.mark.parametrize("name", [7, None, int, ["CartPole-v1"]])
def test_what_is_no_environment(name):
    with pytest.raises(TypeError, match="expected"):
        adapter_for(name)


def test_a_callable_that_makes_no_environment():
    with pytest.raises(TypeError, match="not an environment"):
        make(lambda: 7)


def test_ray_that_is_not_installed(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r'pip install "\.\[ray\]"'):
        make("CartPole-v1", ray=True)


def test_errors_of_the_constructor_arrive_as_themselves():
    with pytest.raises(TypeError, match="colour"):
        make("CartPole-v1", colour="red")
    with pytest.raises(ValueError, match="size must be"):
        make(ToyEnv, size=1)


class TestRegisterAdapter:
    @pytest.fixture(autouse=True)
    def forget(self, monkeypatch):
        monkeypatch.setattr(registry, "_ADAPTERS", dict(registry._ADAPTERS))

    def test_classes(self):
        register_adapter(TallCartPole, PlangymEnv)
        assert adapter_for(TallCartPole) == (PlangymEnv, True)
        assert adapter_for(CartPoleEnv) == (ClassicControl, True)

    def test_names(self):
        register_adapter(f"{__name__}:TallCartPole", "plangym_lite.envs.gymnasium.env:PlangymEnv")
        assert adapter_for(TallCartPole) == (PlangymEnv, True)


def test_an_environment_that_is_made_already_is_refused():
    with gym.make("CartPole-v1") as made, pytest.raises(TypeError, match="pass a callable"):
        make(made)
