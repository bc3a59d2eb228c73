"""Plain runs: the results of an environment without any class of plangym_lite.

A plain environment is built, run and closed, and its results are copied, before the next one is
built, because some close a display that others use.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from PIL import Image

from plangym_lite.envs.generators.shared import GlobalNumbers
from plangym_lite.envs.snapshot.snapshot import layers_of
from plangym_lite.nested import ARRAY_SPACES, own_copy
from plangym_lite.testing.contract.walking import NUMBERS, Entry, Move

__all__ = ["PlainRun", "Twin", "record", "twin_of"]

PICTURES = ("rgb", "grayscale")


class Twin(NamedTuple):
    """How the plain twin of a ``PlanEnv`` is made and observed."""

    make: Callable[[], Any]  # it has ``reset(seed=...)``, ``step`` and ``close``
    frames: int = 1  # its steps per unit of ``dt``
    sees: str = "obs"  # or "rgb", "grayscale": its images; or "": not compared


class PlainRun(NamedTuple):
    """The results of a plain environment, as values."""

    entries: list[Entry]
    error: str | None = None  # why there are fewer entries than moves
    spaces: tuple[Any, Any] | None = None  # of observations and of actions


# ---- making it ---------------------------------------------------------------------------------


def twin_of(env: Any, plain: Callable[[], Any] | None = None) -> Twin | None:
    """The twin of ``env``, a ``PlanEnv``; ``None`` if it has none.

    ``plain``, or else its ``make_plain()``, returns a new plain environment, or a pair
    of one and its number of steps per unit of ``dt`` (``frameskip`` unless given).
    """
    env = env.unwrapped
    make, sees = plain or getattr(env, "make_plain", None), _what_it_sees(env)
    if getattr(env, "episodic_life", False) and plain is None:
        return _twin_of_lives(env)
    if make is not None:
        return Twin(make, _frames_of(env) if plain is None else env.frameskip, sees)
    if {"domain_name", "task_name", "_load_kwargs"} <= vars(env).keys():
        limited, task = not env.remove_time_limit, (env.domain_name, env.task_name)
        return Twin(lambda: SuiteTask(*task, limited, env._load_kwargs), env.frameskip, sees)
    return None


def _twin_of_lives(env: Any) -> Twin | None:
    """The twin of a game whose episodes end with a life, observed frame by frame."""
    if getattr(env, "_frame_range", None):
        return None  # a step of Gymnasium may have any number of frames
    whole = env._recipe.replace(episodic_life=False, frameskip=1, delay_setup=True)()
    return Twin(lambda: LifeEpisodes(whole.make_plain()), env.frameskip)


class LifeEpisodes(gym.Wrapper):
    """Ends an episode of a game when a life is lost."""

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        obs, info = self.env.reset(**kwargs)
        self._lives = info["lives"]
        return obs, info

    def step(self, action: Any) -> Any:
        obs, reward, terminated, truncated, info = self.env.step(action)
        lost, self._lives = info["lives"] < self._lives, info["lives"]
        return obs, reward, terminated or lost, truncated, info


def _frames_of(env: Any) -> int:
    """Plain steps per unit of ``dt``; Gymnasium's Atari ids skip frames in their steps."""
    skips = any(
        kind.__module__.startswith("plangym_lite.envs.atari.env") for kind in type(env).__mro__
    )
    return 1 if skips and isinstance(env._make, str) else env.frameskip


def _what_it_sees(env: Any) -> str:
    """Images, if they were requested of an environment without pixel observations.

    MuJoCo images depend on the state only; those of Gymnasium do not (its camera has a state).
    """
    asked = getattr(env, "obs_type", None)
    if asked not in PICTURES or getattr(env, "DEFAULT_OBS_TYPE", "coords") != "coords":
        return "obs"
    names = [kind.__module__ for kind in type(env).__mro__]
    has_camera = any("envs.mujoco" in name or "envs.dm_control" in name for name in names)
    return "" if has_camera else asked


# ---- running it ---------------------------------------------------------------------------------


def record(
    twin: Twin,
    moves: list[Move],
    seed: int,
    *,
    before: list[Move] | None = None,
    rebuilding: bool = False,
    until: int | None = None,
) -> PlainRun:
    """Build a plain environment, reset it to ``seed``, make the moves, close it.

    Args:
        before: moves between that reset and the walk, not recorded.
        rebuilding: build a new environment below the wrappers for each seeded reset.
        until: stop after this number of moves.
    """
    entries: list[Entry] = []
    error = found = None
    with GlobalNumbers(NUMBERS), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the first environment has warned
        driver = _Driver(twin)
        try:
            found = driver.spaces()
            entry = driver.reset(seed)
            for move in before or ():
                entry = driver.reset(None) if driver.ended else driver.step(move)
            entries.append(entry)
            for move in moves[:until]:
                if move.reset and move.seed is not None and rebuilding:
                    driver.rebuild()
                if driver.ended and not move.reset:
                    error = "its episode has ended"
                    break
                entries.append(driver.reset(move.seed) if move.reset else driver.step(move))
        except Exception as raised:  # a foreign environment may raise anything
            error = f"it raises {type(raised).__name__}: {raised}"
        finally:
            driver.close()
    return PlainRun(entries, error, found)


class _Driver:
    """A plain environment, which may be rebuilt."""

    def __init__(self, twin: Twin) -> None:
        self._twin = twin
        self._env: Any = None
        self.build()

    def build(self) -> None:
        made = self._twin.make()
        self._env, self._frames = made if isinstance(made, tuple) else (made, self._twin.frames)
        self.ended = False

    def rebuild(self) -> None:
        """Close the base environment, and build another below the same wrappers."""
        *wrappers, base = layers_of(self._env)
        frames = self._frames
        with contextlib.suppress(Exception):
            base.close()
        self.build()
        if wrappers:
            inmost: Any = wrappers[-1]
            inmost.env, self._env = self._env.unwrapped, wrappers[0]
        self._frames = frames

    def close(self) -> None:
        with contextlib.suppress(Exception):  # errors of close do not matter
            self._env.close()

    def spaces(self) -> tuple[Any, Any]:
        """The spaces of observations and of actions, ``None`` if not compared."""
        seen = getattr(self._env, "observation_space", None) if self._twin.sees == "obs" else None
        return seen, getattr(self._env, "action_space", None)

    def reset(self, seed: int | None) -> Entry:
        obs, info = self._env.reset(seed=seed)
        self.ended = False
        return Entry(self._seen(obs, self._picture()), info=own_copy(dict(info)))

    def step(self, move: Move) -> Entry:
        total = 0.0
        for _ in range(move.dt * self._frames):
            obs, reward, terminated, truncated, info = self._env.step(own_copy(move.action))
            total += float(np.asarray(reward).item())
            self.ended = bool(terminated or truncated)
            picture = self._picture()  # of every frame: rendering changes some engines
            if self.ended:
                break
        seen = self._seen(obs, picture)
        return Entry(seen, total, bool(terminated), bool(truncated), own_copy(dict(info)))

    def _picture(self) -> Any:
        return self._env.render() if self._twin.sees in PICTURES else None

    def _seen(self, obs: Any, picture: Any) -> Any:
        if self._twin.sees == "obs":
            return _in_space(getattr(self._env, "observation_space", None), own_copy(obs))
        if self._twin.sees == "grayscale":
            return np.asarray(Image.fromarray(picture).convert("L"))
        return own_copy(picture)


def _in_space(space: Any, obs: Any) -> Any:
    """An observation in the dtypes of its space, if that only rounds values."""
    if isinstance(space, spaces.Dict) and isinstance(obs, dict):
        return {key: _in_space(part, obs[key]) for key, part in space.spaces.items()}
    if isinstance(space, spaces.Tuple) and isinstance(obs, (tuple, list)):
        return tuple(_in_space(*pair) for pair in zip(space.spaces, obs, strict=True))
    if not isinstance(space, ARRAY_SPACES):
        return obs
    array = np.asarray(obs)
    with np.errstate(all="ignore"):
        cast = array.astype(space.dtype)
    rounded = cast.dtype.kind == array.dtype.kind == "f"
    if not rounded and not np.array_equal(cast, array):
        return array
    return cast if cast.ndim else cast[()]


# ---- dm_control ---------------------------------------------------------------------------------


class SuiteTask:
    """A task of the DeepMind Control Suite, run by its own package.

    Observations are those of the task, flattened and concatenated, [N] float64. An episode whose
    last discount is 0 has terminated; other ends are truncations. ``info`` holds the discount.
    """

    def __init__(self, domain: str, task: str, limited: bool, load_kwargs: dict[str, Any]) -> None:

        from plangym_lite.envs.mujoco.dm_control.tasks import suite

        self._env: Any = suite.load(domain, task, **load_kwargs)
        if not limited:
            self._env._step_limit = float("inf")
        # some tasks need OpenGL contexts at each reset without rendering
        self._env.physics._make_rendering_contexts = lambda: None

    def reset(self, seed: int | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin an episode; ``seed`` seeds the task's generator first."""
        if seed is not None:
            self._env.task.random.seed(seed % 2**32)
        return _raveled(self._env.reset().observation), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        step_type, reward, discount, seen = self._env.step(action)
        over = step_type.last()
        failed = over and discount == 0.0
        info = {"discount": float(discount)}
        return _raveled(seen), float(reward or 0.0), failed, over and not failed, info

    def close(self) -> None:
        self._env.physics.free()


def _raveled(observation: dict[str, Any]) -> np.ndarray:
    parts = [np.ravel(part) for part in observation.values()]
    return np.concatenate(parts, dtype=np.float64)
