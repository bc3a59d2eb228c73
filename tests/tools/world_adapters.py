"""Callables for packages without ids, or whose ids need arguments that JSON cannot hold."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

__all__ = [
    "crafter",
    "grid2op",
    "hybrid_shoot",
    "matrix_mdp",
    "minecart",
    "mo_hopper",
    "nasim_tiny",
    "quoridor",
    "rustforge_cartpole",
    "rustforge_grid",
    "simglucose",
    "slimevb",
    "trading",
]


class OldStyle(gym.Env):
    """An environment of the old interface, ``step`` with four values and a seed at birth."""

    metadata = {"render_modes": ["rgb_array"]}
    render_mode = "rgb_array"

    def __init__(self, build: Any) -> None:
        self._build = build
        self._env = build(0)
        self.action_space = _space(self._env.action_space)
        self.observation_space = _space(self._env.observation_space)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._env = self._build(int(self.np_random.integers(1 << 30)))
        return self._env.reset(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        obs, reward, done, info = self._env.step(action)
        return obs, reward, done, False, info

    def render(self) -> Any:
        return self._env.render()


def _space(space: Any) -> spaces.Space:
    if hasattr(space, "n"):
        return spaces.Discrete(int(space.n))
    return spaces.Box(space.low, space.high, space.shape, space.dtype)


def _crafter(seed: int) -> Any:
    import crafter

    return crafter.Env(seed=seed)


def crafter() -> gym.Env:
    """Crafter, whose class knows neither Gymnasium nor ``reset(seed=)``."""
    return OldStyle(_crafter)


def minecart() -> gym.Env:
    """A vector of rewards made one number."""
    import mo_gymnasium as mo

    return mo.wrappers.LinearReward(mo.make("minecart-v0"), weight=np.array([0.6, 0.3, 0.1]))


def mo_hopper() -> gym.Env:
    """The same around MuJoCo."""
    import mo_gymnasium as mo

    return mo.wrappers.LinearReward(mo.make("mo-hopper-v5"), weight=np.array([0.6, 0.3, 0.1]))


def trading() -> gym.Env:
    """A market of random prices."""
    import gym_trading_env  # noqa: F401
    import pandas as pd

    draw = np.random.default_rng(0)
    close = 100 * np.exp(np.cumsum(draw.normal(0, 0.01, 300)))
    frame = pd.DataFrame(
        {"open": close, "high": close * 1.01, "low": close * 0.99, "close": close, "volume": 1.0},
        index=pd.date_range("2020-01-01", periods=300, freq="h"),
    )
    frame["feature_close"] = frame["close"].pct_change().fillna(0)
    return gym.make("TradingEnv", df=frame, positions=[-1, 0, 1], verbose=0)


def simglucose() -> gym.Env:
    """A patient with diabetes."""
    from simglucose.envs import T1DSimGymnaisumEnv

    return T1DSimGymnaisumEnv(patient_name="adolescent#002")


def matrix_mdp() -> gym.Env:
    """A random MDP of six states."""
    draw = np.random.default_rng(0)
    chances = draw.random((6, 6, 3))
    chances /= chances.sum(0, keepdims=True)
    start = np.ones(6) / 6
    return gym.make("matrix_mdp/MatrixMDP-v0", p_0=start, p=chances, r=draw.random((6, 6, 3)))


def rustforge_cartpole() -> gym.Env:
    """An engine in Rust."""
    from rustforge.gym import make

    return make("CartPole")


def rustforge_grid() -> gym.Env:
    """An engine in Rust."""
    from rustforge.gym import make

    return make("GridWorld")


def hybrid_shoot() -> gym.Env:
    """An engine in C++."""
    from hybrid_shoot.gym_wrapper import HybridShootEnv

    return HybridShootEnv()


def grid2op() -> gym.Env:
    """A power grid, with the data that the package ships for tests."""
    import grid2op
    from grid2op.gym_compat import BoxGymObsSpace, DiscreteActSpace, GymEnv

    env = GymEnv(grid2op.make("rte_case5_example", test=True))
    env.action_space = DiscreteActSpace(env.init_env.action_space, attr_to_keep=["set_bus"])
    env.observation_space = BoxGymObsSpace(env.init_env.observation_space)
    return env


def nasim_tiny() -> gym.Env:
    """It takes only Python's own integers, which its action space does not give."""
    import nasim  # noqa: F401

    return _int_actions("TinyPO-v0")


def quoridor() -> gym.Env:
    """The same."""
    from quoridor_sim.quoridor_env import register_environments

    if "Quoridor-v0" not in gym.registry:
        register_environments()
    return _int_actions("Quoridor-v0")


def _int_actions(name: str) -> gym.Env:
    env = gym.make(name, disable_env_checker=True)
    return gym.wrappers.TransformAction(env, int, env.action_space)


def slimevb() -> gym.Env:
    """Slime volleyball."""
    from slime_volleyball.slimevolley_env import SlimeVolleyEnv

    return SlimeVolleyEnv({"survival_bonus": True, "human_inputs": False})
