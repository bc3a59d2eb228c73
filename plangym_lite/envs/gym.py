"""PlangymEnv: any Gymnasium environment, saved by the generic snapshot.

The adapters of particular engines inherit from it and replace how the state is saved. Where a
user's wrappers surround their engine, they come back here for the wrappers' part.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.envs.registration import load_env_creator
from PIL import Image

from plangym_lite.answers import as_reward, no_info, no_step, split_reset
from plangym_lite.core import PlanEnv
from plangym_lite.engine import RUNNING
from plangym_lite.envs.certify import certify, measure_capacity
from plangym_lite.envs.fingerprint import digest_of, versions_of
from plangym_lite.envs.providers import spec_of
from plangym_lite.envs.replay import ReplayedEnv
from plangym_lite.envs.snapshot import Snapshot, layers_of
from plangym_lite.errors import InvalidStateError
from plangym_lite.transitions import copy_element

__all__ = ["PlangymEnv", "to_grayscale"]

LENGTH_BYTES = 4
CAPACITY_STEP = 64  # bytes
STATELESS_WRAPPERS = (gym.wrappers.PassiveEnvChecker, gym.wrappers.OrderEnforcing)


class PlangymEnv(PlanEnv):
    """Any Gymnasium environment as a :class:`~plangym_lite.core.PlanEnv`.

    Args:
        name: a Gymnasium id, an environment class, or a callable that returns an environment.
        frameskip: environment steps for each unit of ``dt``.
        autoreset: see :class:`~plangym_lite.core.PlanEnv`.
        wrappers: applied in order; each a callable ``wrapper(env)`` or a pair of such a callable
            and its arguments (a dict of keywords, a tuple or list of positions, or one value).
        delay_setup: build at first use.
        remove_time_limit: leave out the ``TimeLimit`` of the id.
        render_mode: passed to the environment where it knows the mode.
        obs_type: ``"coords"`` (the environment's own), ``"rgb"`` or ``"grayscale"`` images.
        return_image: put the image after each step in ``info["rgb"]``.
        clone_seeds: whether the random generators are part of the state. ``False`` leaves them
            running, so that a stochastic environment can be sampled from one state.
        state_capacity: bytes kept for a state; the default is twice what the first one needs.
        array_state: ``False``: states are ``bytes`` of whatever length they need.
        certify: make sure that states are exact when the environment is made. Where the snapshot
            is not, states become seeds and actions, which are played again (``replay.py``), and
            where that is not exact either, making it raises ``NotCloneableError``.
        engine_kwargs: passed to ``gymnasium.make``, the class or the callable.
    """

    _is_plain: bool = False  # the engine's own array is the whole state: no wrappers to save
    _replayed: ReplayedEnv | None = None  # states are reached by playing
    OBS_TYPES: ClassVar[tuple[str, ...]] = ("coords", "rgb", "grayscale")
    DEFAULT_OBS_TYPE: ClassVar[str] = "coords"

    def __init__(
        self,
        name: str | Callable[..., gym.Env],
        frameskip: int = 1,
        autoreset: bool = True,
        wrappers: Iterable[Any] | None = None,
        delay_setup: bool = False,
        *,
        remove_time_limit: bool = True,
        render_mode: str | None = "rgb_array",
        obs_type: str | None = None,
        return_image: bool = False,
        clone_seeds: bool = True,
        state_capacity: int | None = None,
        array_state: bool = True,
        certify: bool = True,
        **engine_kwargs: Any,
    ) -> None:
        obs_type = obs_type or self.DEFAULT_OBS_TYPE
        if obs_type not in self.OBS_TYPES:
            raise ValueError(f"obs_type must be one of {self.OBS_TYPES}, got {obs_type!r}")
        if render_mode not in (None, "rgb_array", "human"):
            raise ValueError(f"render_mode must be rgb_array, human or None, got {render_mode!r}")
        if render_mode is None and (return_image or obs_type in ("rgb", "grayscale")):
            raise ValueError("images need render_mode='rgb_array', got render_mode=None")
        self._make = name
        self._wrappers = _checked_wrappers(wrappers)
        self._engine_kwargs = engine_kwargs
        self.remove_time_limit = remove_time_limit
        self.render_mode = render_mode
        self.obs_type = obs_type
        self.clone_seeds = clone_seeds
        self.STATE_IS_ARRAY = array_state
        self._capacity = state_capacity
        self._certify = certify
        label = name if isinstance(name, str) else getattr(name, "__name__", repr(name))
        super().__init__(label, frameskip, autoreset, delay_setup, return_image)

    @property
    def gym_env(self) -> gym.Env:
        """The Gymnasium environment, in the current state."""
        self._settle()
        return self._gym_env if self._replayed is None else self._replayed.live_env

    # ---- building -----------------------------------------------------------------------------

    def build_engine(self) -> None:
        self._gym_env = self.make_stack()
        self._layers: list[Any] = layers_of(self._gym_env)
        self._base: Any = self._layers[-1]
        self.action_space = self._gym_env.action_space
        self.observation_space = self._gym_env.observation_space
        self.adopt_layers()
        self.is_trusted = self._is_plain
        if not self._is_plain:
            self.prepare_states()
        self._ended = RUNNING
        self.apply_reset(int(np.random.SeedSequence().generate_state(1)[0]) >> 1, None)
        if self.obs_type != "coords" and self.DEFAULT_OBS_TYPE == "coords":
            self.observation_space = spaces.Box(0, 255, self.current_obs().shape, np.uint8)
        self.OBS_IS_ARRAY = isinstance(self.observation_space, spaces.Box)

    def make_stack(self) -> gym.Env:
        """A new environment inside the user's wrappers."""
        env = self.make_gym_env()
        for wrapper in self._wrappers:
            env = _apply_wrapper(env, wrapper)
        return env

    def prepare_states(self) -> None:
        """Learn how states are saved, where they are not the engine's own array."""
        self.apply_reset(0, None)  # seeded: every process finds the same
        self._snapshot = Snapshot(self.snapshot_layers())
        if self._certify and self.render_mode == "human":
            certify(self)  # by examining another
        if self._capacity is None and self.STATE_IS_ARRAY:
            self._capacity = self._measure_capacity()
        if self._certify and self.render_mode != "human":
            certify(self)  # which leaves traces, in the first of a process only

    def use_replay(self, **kwargs: Any) -> None:
        """From now on a state is a seed and actions; ``kwargs``: see :class:`ReplayedEnv`."""
        if not self.clone_seeds:
            raise ValueError("clone_seeds=False: states of seed and actions hold the generators")
        self._replayed = ReplayedEnv(self.make_stack, keep_wrappers=bool(self._wrappers), **kwargs)
        self._gym_env = self._replayed
        self.STATE_IS_ARRAY = False

    def make_gym_env(self) -> gym.Env:
        """The environment before the user's wrappers."""
        kwargs = dict(self._engine_kwargs)
        if not isinstance(self._make, str):
            if self.render_mode is not None and _takes(self._make, "render_mode"):
                kwargs.setdefault("render_mode", self.render_mode)
            return self._make(**kwargs)
        spec_of(self._make)  # in a worker nobody has imported what provides the id
        if self.render_mode is not None and self._knows_render_mode():
            kwargs.setdefault("render_mode", self.render_mode)
        if self.remove_time_limit:
            kwargs.setdefault("max_episode_steps", -1)
        return gym.make(self._make, disable_env_checker=True, **kwargs)

    def _measure_capacity(self) -> int:
        return -(-(measure_capacity(self) + LENGTH_BYTES) // CAPACITY_STEP) * CAPACITY_STEP

    def _knows_render_mode(self) -> bool:
        creator: Any = gym.spec(str(self._make)).entry_point
        if isinstance(creator, str):
            creator = load_env_creator(creator)
        metadata = getattr(creator, "metadata", None)
        return not isinstance(metadata, dict) or self.render_mode in metadata.get(
            "render_modes", ()
        )

    def adopt_layers(self) -> None:
        """Learn what the adapter needs of the layers, and whether the state is plain."""

    def snapshot_layers(self) -> list[gym.Env]:
        """The layers whose attributes are saved by the generic snapshot."""
        return self._layers

    def surrounded_only_by(self, *known: type) -> bool:
        """Whether all layers around the base are stateless ones or of a ``known`` type."""
        return all(type(layer) in (*STATELESS_WRAPPERS, *known) for layer in self._layers[:-1])

    # ---- running ------------------------------------------------------------------------------

    def apply_reset(self, seed: int | None, options: dict[str, Any] | None) -> dict[str, Any]:
        self._obs, info = split_reset(self._gym_env.reset(seed=seed, options=options), self)
        return info

    def advance(self, action: Any, n_frames: int) -> tuple[float, bool, bool, dict[str, Any]]:
        step, total, n_step, over = self._gym_env.step, 0.0, 0, False
        while n_step < n_frames and not over:
            answer = step(action)
            try:
                obs, reward, terminated, truncated, info = answer
            except (TypeError, ValueError):
                raise no_step(answer, self) from None
            if type(reward) is not float:
                reward = as_reward(reward, self)
            total, n_step, over = total + reward, n_step + 1, terminated or truncated
        self._obs = obs
        try:
            info = {**info, "n_step": n_step}
        except TypeError:
            raise no_info(info, self) from None
        return total, bool(terminated), bool(truncated), info

    def current_obs(self) -> Any:
        if self.obs_type == "rgb":
            return self.draw_image()
        if self.obs_type == "grayscale":
            return to_grayscale(self.draw_image())
        obs = self._obs if self._replayed is None else self._replayed.obs
        return copy_element(self.observation_space, obs)

    def draw_image(self) -> np.ndarray:
        image = self._gym_env.render() if self.render_mode == "rgb_array" else None
        if not isinstance(image, np.ndarray):
            raise NotImplementedError(f"{self!r} draws no image (render_mode={self.render_mode!r})")
        return image.copy()  # some draw into an array that they keep

    def render(self) -> Any:
        self._settle()
        return self._gym_env.render() if self.render_mode == "human" else self.draw_image()

    def close_engine(self) -> None:
        self._gym_env.close()

    # ---- the state ----------------------------------------------------------------------------

    def save_state(self, out: np.ndarray | None = None) -> Any:
        data = self.save_bytes()
        if not self.STATE_IS_ARRAY:
            return data
        assert self._capacity is not None
        if len(data) + LENGTH_BYTES > self._capacity:
            raise InvalidStateError(
                f"a state of {self!r} needs {len(data) + LENGTH_BYTES} bytes, more than "
                f"state_capacity={self._capacity}: pass a larger one, or array_state=False"
            )
        if out is None:
            out = np.empty(self._capacity, np.uint8)
        end = LENGTH_BYTES + len(data)
        out[:LENGTH_BYTES] = np.frombuffer(len(data).to_bytes(LENGTH_BYTES, "little"), np.uint8)
        out[LENGTH_BYTES:end] = np.frombuffer(data, np.uint8)
        out[end:] = 0
        return out

    def load_state(self, state: Any) -> None:
        if self.STATE_IS_ARRAY:
            data = state.tobytes()
            end = LENGTH_BYTES + int.from_bytes(data[:LENGTH_BYTES], "little")
            if end > len(data):
                raise InvalidStateError(f"not a state of {self!r}: {end} bytes in {len(data)}")
            state = data[LENGTH_BYTES:end]
        self.load_bytes(state)

    def describe_states(self) -> str:
        options = self._engine_kwargs, self._wrappers, self.remove_time_limit, self.clone_seeds
        versions = " ".join(versions_of(self._base))
        return f"{self.name} {super().describe_states()} {versions} options={digest_of(options)}"

    def holds_pickles(self) -> bool:
        return not self._is_plain

    def save_bytes(self) -> Any:
        """The whole state as bytes; a :class:`Trail` where states are played."""
        if self._replayed is not None:
            return self._replayed.save(self._ended)
        return self._snapshot.save((self._ended, self._obs))

    def load_bytes(self, data: Any) -> None:
        """Restore what ``save_bytes`` gave."""
        if self._replayed is not None:
            self._ended = self._replayed.load(data)
            return
        try:
            self._ended, self._obs = self._snapshot.load(data, self.clone_seeds)
        except Exception as error:  # bytes that are no state can raise anything
            raise InvalidStateError(f"not a state of {self!r}: {error}") from error


def to_grayscale(image: np.ndarray) -> np.ndarray:
    """``[H, W, 3]`` uint8 to ``[H, W]`` uint8 luma."""
    return np.asarray(Image.fromarray(image).convert("L"))


def _checked_wrappers(wrappers: Any) -> tuple[Any, ...]:
    if callable(wrappers) or isinstance(wrappers, (str, dict)):
        raise TypeError(f"wrappers must be a list, got {wrappers!r}: write wrappers=[{wrappers!r}]")
    wrappers = tuple(wrappers or ())
    for wrapper in wrappers:
        is_pair = isinstance(wrapper, tuple) and len(wrapper) == 2
        if not callable(wrapper[0] if is_pair else wrapper):
            raise TypeError(
                f"wrappers must hold callables or pairs (callable, arguments), got {wrapper!r}"
            )
    return wrappers


def _apply_wrapper(env: gym.Env, wrapper: Any) -> gym.Env:
    if not isinstance(wrapper, tuple):
        return wrapper(env)
    function, arguments = wrapper
    if isinstance(arguments, dict):
        return function(env, **arguments)
    if isinstance(arguments, (list, tuple)):
        return function(env, *arguments)
    return function(env, arguments)


def _takes(function: Callable[..., Any], name: str) -> bool:
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False
    return name in parameters
