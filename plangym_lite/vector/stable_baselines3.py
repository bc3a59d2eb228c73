"""SubprocVecEnv: the vector environment of stable-baselines and gym_os2r.

A step returns four values, ``infos`` is a list, and an ended episode is reset in the same step;
its last observation is ``info["terminal_observation"]``.
"""

from __future__ import annotations

import importlib.util
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode

from plangym_lite.errors import InvalidBatchError
from plangym_lite.validation import check_actions, check_states
from plangym_lite.vector.conversion import Indices
from plangym_lite.vector.env_group import EnvGroup
from plangym_lite.vector.worker_env import Factory, worker_recipes
from plangym_lite.vectorization.process.pool import start_processes
from plangym_lite.vectorization.worker.worker import CLOSE_TIMEOUT, Worker

__all__ = ["SubprocVecEnv", "VecEnv", "accept", "tile_images"]


def accept(vec_env: type) -> None:
    """Register ``vec_env`` and its subclasses as a ``VecEnv`` of stable-baselines3."""
    if importlib.util.find_spec("stable_baselines3") is None:
        return
    from stable_baselines3.common.vec_env import VecEnv

    VecEnv.register(vec_env)


QUESTION = "get_state_info"

VecStep = tuple[Any, np.ndarray, np.ndarray, list[dict[str, Any]]]
"""Observations, rewards [n], dones [n], infos."""


class VecEnv(ABC):
    """The interface of ``SubprocVecEnv`` and its wrappers."""

    num_envs: int
    observation_space: gym.Space
    action_space: gym.Space
    render_mode: str | None = None

    @abstractmethod
    def reset(self) -> Any:
        """Begin an episode in every environment; return the observations."""

    @abstractmethod
    def step_async(self, actions: Any) -> None:
        """Begin a step; ``step_wait`` returns its result."""

    @abstractmethod
    def step_wait(self) -> VecStep:
        """``(observs, rewards, dones, infos)`` of the pending step."""

    def step(self, actions: Any) -> VecStep:
        """``step_async`` and ``step_wait``."""
        self.step_async(actions)
        return self.step_wait()

    @abstractmethod
    def get_images(self) -> Sequence[Any]:
        """One image per environment."""

    def render(self, mode: str | None = None) -> np.ndarray:
        """All images in one, in a grid that is nearly square.

        Raises:
            NotImplementedError: a mode other than ``"rgb_array"``.
        """
        if mode not in (None, "rgb_array"):
            raise NotImplementedError(f"only mode 'rgb_array' is supported, got {mode!r}")
        return tile_images(self.get_images())

    @abstractmethod
    def close(self) -> None:
        """Close every environment. Idempotent."""

    @property
    def unwrapped(self) -> VecEnv:
        """The environment inside all wrappers."""
        return self

    def getattr_depth_check(self, name: str, already_found: bool) -> str | None:
        """The layer that has ``name``, if an outer layer has it too."""
        if already_found and hasattr(self, name):
            return f"{type(self).__module__}.{type(self).__name__}"
        return None

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class SubprocVecEnv(VecEnv):
    """Environment ``i`` runs in process ``i``; a ``VecEnv`` for stable-baselines3.

    Args:
        env_fns: one callable per environment, which returns a ``PlanEnv`` or a Gymnasium
            environment (they may be lambdas), or ids or specs for ``gymnasium.make``.
        start_method: one of multiprocessing's; the default never forks a process with threads.
        start_serially: start one process after another, not concurrently.
        start_timeout: seconds for building the environments; ``None``: no limit.
        shared_limit: bytes of shared memory; the default is a quarter of the memory.
    """

    def __init__(
        self,
        env_fns: Sequence[Factory],
        start_method: str | None = None,
        *,
        start_serially: bool = False,
        start_timeout: float | None = None,
        shared_limit: int | None = None,
    ) -> None:
        workers = start_processes(
            worker_recipes(env_fns, AutoresetMode.SAME_STEP),
            start_method=start_method,
            serially=start_serially,
            timeout=start_timeout,
        )
        self.group = EnvGroup.of(workers, shared_limit, "same", "SubprocVecEnv")
        self.num_envs = len(workers)
        self.observation_space = self.group.spec.observation_space
        self.action_space = self.group.spec.action_space
        self.metadata, self.render_mode = self.group.ask("describe", indices=0)[0]
        self.reset_infos: list[dict[str, Any]] = [{} for _ in workers]
        self._next_seeds: list[int | None] = [None] * self.num_envs
        self._next_options: list[Any] = [None] * self.num_envs
        accept(VecEnv)

    @property
    def workers(self) -> list[Worker]:
        """The processes; each has a ``pid``."""
        return self.group.workers

    # ---- steps --------------------------------------------------------------------------------

    def step_async(self, actions: Any) -> None:
        """Begin a step; errors as of :meth:`SubprocVectorEnv.step_async`."""
        self.group.begin_step(actions, self._result_of)

    def step(self, actions: Any) -> VecStep:
        """``step_async`` and ``step_wait``.

        After an interrupt (Ctrl-C) the environments still make this step; its result is lost, and
        the next call waits for its end.
        """
        with self.group.calls.lock:
            try:
                return super().step(actions)
            except BaseException as error:
                if not isinstance(error, Exception):
                    self.group.calls.abandon()
                raise

    def step_wait(self, timeout: float | None = None) -> VecStep:
        """``(observs, rewards, dones, infos)`` of the pending step; arrays never change later.

        If an episode ended, the observation is the first of the next episode,
        ``infos[i]["terminal_observation"]`` the last of the old one, and ``reset_infos[i]`` the
        info of ``reset``. ``infos[i]["TimeLimit.truncated"]``: truncated and not terminated.
        Errors are those of :meth:`SubprocVectorEnv.step_wait`.
        """
        return self.group.calls.end("step", timeout)

    def _result_of(self, batch: Any) -> VecStep:
        dones = batch.terminateds | batch.truncateds
        infos = list(batch.infos)
        cut_short = batch.truncateds & ~batch.terminateds
        for index, (done, is_cut) in enumerate(
            zip(dones.tolist(), cut_short.tolist(), strict=True)
        ):
            if done:
                reset_info = infos[index]
                infos[index] = {
                    **reset_info.pop("final_info"),
                    "terminal_observation": reset_info.pop("final_obs"),
                }
                self.reset_infos[index] = reset_info
            infos[index]["TimeLimit.truncated"] = is_cut
        return batch.observs, batch.rewards, dones, infos

    # ---- episodes -----------------------------------------------------------------------------

    def reset(self, timeout: float | None = None) -> Any:
        """Begin an episode in every environment; return the observations.

        A pending call is ended first, and dead workers are replaced; so are workers that do not
        answer within ``timeout`` seconds, see :meth:`SubprocVectorEnv.reset`.
        """
        answer = self.group.reset(self._next_seeds, self._next_options, timeout=timeout)
        observs, self.reset_infos = answer
        self._next_seeds = [None] * self.num_envs
        self._next_options = [None] * self.num_envs
        return observs

    def seed(self, seed: int | None = None) -> list[int]:
        """Seed the next ``reset``: ``seed + i``; ``None`` draws a seed. Returns the seeds."""
        if seed is None:
            seed = int(np.random.SeedSequence().generate_state(1)[0]) >> 1
        seeds = [int(seed) + index for index in range(self.num_envs)]
        self._next_seeds = [*seeds]
        return seeds

    def set_options(self, options: dict[str, Any] | Sequence[dict[str, Any]] | None = None) -> None:
        """Options for the next ``reset``, for all environments or one per environment."""
        if options is None or isinstance(options, dict):
            options = [options or {}] * self.num_envs
        if len(options) != self.num_envs:
            raise ValueError(f"{len(options)} options for {self.num_envs} environments")
        self._next_options = list(options)

    # ---- states -------------------------------------------------------------------------------

    def get_state(self) -> np.ndarray:
        """The states of all environments, as :meth:`SubprocVectorEnv.get_state`."""
        return self.group.get_state()

    def set_state(self, states: Sequence[Any], indices: Indices = None) -> None:
        """Set states, as :meth:`SubprocVectorEnv.set_state`."""
        self.group.set_state(states, indices)

    def get_state_info(self, states: Sequence[Any], actions: Any) -> tuple[np.ndarray, np.ndarray]:
        """Rewards ``[n]`` and dones ``[n]`` of one action from one state per environment.

        Current states do not change.
        """
        self.get_state_info_async(states, actions)
        return self.get_state_info_wait()

    def get_state_info_async(self, states: Sequence[Any], actions: Any) -> None:
        """Begin ``get_state_info``; ``get_state_info_wait`` returns the result."""
        actions = check_actions(self.action_space, actions)
        rows_in = check_states(self.group.spec, states)
        if len(rows_in) != self.num_envs or len(actions) != self.num_envs:
            raise InvalidBatchError(
                f"{len(rows_in)} states and {len(actions)} actions for {self.num_envs} environments"
            )
        rows = list(zip(rows_in, actions, strict=True))
        self.group.begin_call("state_info", rows, QUESTION)

    def get_state_info_wait(self, timeout: float | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The result of ``get_state_info_async``."""
        rewards, dones = zip(*self.group.calls.end(QUESTION, timeout), strict=True)
        return np.array(rewards), np.array(dones)

    # ---- everything else ----------------------------------------------------------------------

    def env_method(self, name: str, *args: Any, indices: Indices = None, **kwargs: Any) -> list:
        """Call a method of the chosen environments; results in the order of ``indices``."""
        return self.group.ask("call", name, args, kwargs, indices=indices)

    def get_attr(self, name: str, indices: Indices = None) -> list[Any]:
        """An attribute of the chosen environments, in the order of ``indices``."""
        return self.group.ask("find", name, indices=indices)

    def set_attr(self, name: str, value: Any, indices: Indices = None) -> None:
        """Set an attribute of the chosen environments to one value."""
        self.group.ask("set_env_attr", name, value, indices=indices)

    def has_attr(self, name: str) -> bool:
        """Whether every environment has an attribute of that name."""
        return all(self.group.ask("has", name))

    def env_is_wrapped(self, wrapper_class: type, indices: Indices = None) -> list[bool]:
        """Whether the chosen environments have a layer of that class."""
        return self.group.ask("is_wrapped", wrapper_class, indices=indices)

    def get_images(self) -> list[np.ndarray]:
        return self.env_method("render")

    def close(self, timeout: float = CLOSE_TIMEOUT) -> None:
        """End a pending step, then close every environment."""
        self.group.close(timeout)


def tile_images(images: Sequence[Any]) -> np.ndarray:
    """``n`` images ``[H, W, C]`` as one, row by row in a nearly square grid, the rest black."""
    stack = np.stack(images)
    rows = math.ceil(math.sqrt(len(stack)))
    columns = math.ceil(len(stack) / rows)
    _, height, width, colours = stack.shape
    grid = np.zeros((rows * columns, height, width, colours), stack.dtype)
    grid[: len(stack)] = stack
    grid = grid.reshape(rows, columns, height, width, colours).swapaxes(1, 2)
    return grid.reshape(rows * height, columns * width, colours)
