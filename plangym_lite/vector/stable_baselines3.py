"""SubprocVecEnv: the same seats in the dialect of stable-baselines and gym_os2r.

A step gives four values, ``infos`` is a list, an episode that has ended is followed by the next at
once, and its last observation is ``info["terminal_observation"]``.
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

from plangym_lite.errors import AlreadySteppingError, InvalidBatchError, NotSteppingError
from plangym_lite.validation import check_actions, check_states
from plangym_lite.vector.env_group import EnvGroup, Indices
from plangym_lite.vector.worker_env import Factory, seat_recipes
from plangym_lite.vectorization.process.pool import start_processes
from plangym_lite.vectorization.worker.worker import CLOSE_TIMEOUT, Worker

__all__ = ["SubprocVecEnv", "VecEnv", "accept", "tile_images"]


def accept(vec_env: type) -> None:
    """Have stable-baselines3 take ``vec_env`` and its subclasses as its ``VecEnv``."""
    if importlib.util.find_spec("stable_baselines3") is None:
        return
    from stable_baselines3.common.vec_env import VecEnv

    VecEnv.register(vec_env)


VecStep = tuple[Any, np.ndarray, np.ndarray, list[dict[str, Any]]]
"""Observations, rewards [n], dones [n], infos."""


class VecEnv(ABC):
    """What an environment of this dialect and every wrapper around it can do."""

    num_envs: int
    observation_space: gym.Space
    action_space: gym.Space
    render_mode: str | None = None

    @abstractmethod
    def reset(self) -> Any:
        """Begin an episode in every environment; return the observations."""

    @abstractmethod
    def step_async(self, actions: Any) -> None:
        """Begin a step; ``step_wait`` takes its result."""

    @abstractmethod
    def step_wait(self) -> VecStep:
        """``(observs, rewards, dones, infos)`` of the step under way."""

    def step(self, actions: Any) -> VecStep:
        """``step_async`` and ``step_wait``."""
        self.step_async(actions)
        return self.step_wait()

    @abstractmethod
    def get_images(self) -> Sequence[Any]:
        """One picture for each environment."""

    def render(self, mode: str | None = None) -> np.ndarray:
        """All pictures in one, side by side in a grid that is nearly square.

        Raises:
            NotImplementedError: a mode other than ``"rgb_array"``.
        """
        if mode not in (None, "rgb_array"):
            raise NotImplementedError(f"only mode 'rgb_array' crosses the border, got {mode!r}")
        return tile_images(self.get_images())

    @abstractmethod
    def close(self) -> None:
        """Close every environment. May be called again."""

    @property
    def unwrapped(self) -> VecEnv:
        """The environment inside all wrappers."""
        return self

    def getattr_depth_check(self, name: str, already_found: bool) -> str | None:
        """The layer that has ``name``, if another layer further out has it as well."""
        if already_found and hasattr(self, name):
            return f"{type(self).__module__}.{type(self).__name__}"
        return None

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class SubprocVecEnv(VecEnv):
    """Environment ``i`` lives in process ``i``; stable-baselines3 takes it as its ``VecEnv``.

    Args:
        env_fns: one callable for each environment, which returns a ``PlanEnv`` or a Gymnasium
            environment (they may be lambdas), or ids or specs for ``gymnasium.make``.
        start_method: one of multiprocessing's; the default never forks a process with threads.
        start_serially: start one process after another, not side by side.
        start_timeout: seconds that the environments may take to build; ``None``: no limit.
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
            seat_recipes(env_fns, AutoresetMode.SAME_STEP),
            start_method=start_method,
            serially=start_serially,
            timeout=start_timeout,
        )
        self.seats = EnvGroup.of(workers, shared_limit)
        self.num_envs = len(workers)
        self.observation_space = self.seats.spec.observation_space
        self.action_space = self.seats.spec.action_space
        self.metadata, self.render_mode = self.seats.ask("describe", indices=0)[0]
        self.reset_infos: list[dict[str, Any]] = [{} for _ in workers]
        self._asked_info: Any = None
        self._next_seeds: list[int | None] = [None] * self.num_envs
        self._next_options: list[Any] = [None] * self.num_envs
        accept(VecEnv)

    @property
    def workers(self) -> list[Worker]:
        """The processes; each has a ``pid``."""
        return self.seats.workers

    # ---- steps --------------------------------------------------------------------------------

    def step_async(self, actions: Any) -> None:
        """Begin a step.

        Raises:
            AlreadySteppingError: one is under way.
            InvalidBatchError: not one valid action for each environment; nothing was run.
            WorkerDiedError: a worker was lost before, and ``reset`` was not called since.
        """
        self._check_no_info()
        self.seats.begin_step(actions)

    def step_wait(self, timeout: float | None = None) -> VecStep:
        """``(observs, rewards, dones, infos)`` of the step under way; arrays are yours.

        Where an episode ended, the observation is the first of the next episode,
        ``infos[i]["terminal_observation"]`` the last of the old one, and ``reset_infos[i]`` what
        ``reset`` told. ``infos[i]["TimeLimit.truncated"]``: it was only cut short.

        Raises:
            NotSteppingError: no step is under way.
            TimeoutError: not within ``timeout`` seconds; the step goes on, and can be awaited.
            WorkerDiedError: a worker died: which, how and during what. Nothing is run again.
            Exception: what an environment raised; the others have made their step.
        """
        batch = self.seats.end_step(timeout)
        dones = batch.terminateds | batch.truncateds
        infos = list(batch.infos)
        cut_short = batch.truncateds & ~batch.terminateds
        for index in np.flatnonzero(dones).tolist():
            told = infos[index]
            infos[index] = {
                **told.pop("final_info"),
                "terminal_observation": told.pop("final_obs"),
                "TimeLimit.truncated": bool(cut_short[index]),
            }
            self.reset_infos[index] = told
        return batch.observs, batch.rewards, dones, infos

    # ---- episodes -----------------------------------------------------------------------------

    def reset(self) -> Any:
        """Begin an episode in every environment; return the observations.

        A step under way is ended first, and workers that died are replaced.
        """
        self._asked_info = None
        observs, self.reset_infos = self.seats.reset(self._next_seeds, self._next_options)
        self._next_seeds = [None] * self.num_envs
        self._next_options = [None] * self.num_envs
        return observs

    def seed(self, seed: int | None = None) -> list[int]:
        """Seed the next ``reset``: ``seed + i``; ``None`` draws a seed. Return what is used."""
        if seed is None:
            seed = int(np.random.SeedSequence().generate_state(1)[0]) >> 1
        seeds = [int(seed) + index for index in range(self.num_envs)]
        self._next_seeds = list(seeds)
        return seeds

    def set_options(self, options: dict[str, Any] | Sequence[dict[str, Any]] | None = None) -> None:
        """Options for the next ``reset``, for all environments or one for each."""
        if options is None or isinstance(options, dict):
            options = [options or {}] * self.num_envs
        if len(options) != self.num_envs:
            raise ValueError(f"{len(options)} options for {self.num_envs} environments")
        self._next_options = list(options)

    # ---- states -------------------------------------------------------------------------------

    def get_state(self) -> np.ndarray:
        """The states of all environments, ``[n, S]``, or ``[n]`` of objects.

        Raises:
            NotCloneableError: an environment is no ``PlanEnv``.
        """
        return self.seats.get_state()

    def set_state(self, states: Sequence[Any], indices: Indices = None) -> None:
        """Put the environments asked for, by default all, into ``states``, one for each.

        Workers that died are replaced.

        Raises:
            InvalidStateError: not states of this environment; nothing was moved.
        """
        self.seats.set_state(states, indices)

    def get_state_info(self, states: Sequence[Any], actions: Any) -> tuple[np.ndarray, np.ndarray]:
        """Rewards ``[n]`` and dones ``[n]`` of one action from one state for each environment.

        The environments stay where they are.
        """
        self.get_state_info_async(states, actions)
        return self.get_state_info_wait()

    def get_state_info_async(self, states: Sequence[Any], actions: Any) -> None:
        """Begin what ``get_state_info`` does; ``get_state_info_wait`` takes the result."""
        self._check_no_info()
        actions = check_actions(self.action_space, actions)
        rows_in = check_states(self.seats.spec, states)
        if len(rows_in) != self.num_envs or len(actions) != self.num_envs:
            raise InvalidBatchError(
                f"{len(rows_in)} states and {len(actions)} actions for {self.num_envs} environments"
            )
        rows = list(zip(rows_in, actions, strict=True))
        self._asked_info = self.seats.begin_ask("state_info", rows, None)

    def get_state_info_wait(self, timeout: float | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The result of ``get_state_info_async``."""
        if self._asked_info is None:
            raise NotSteppingError("nothing is under way: call get_state_info_async first")
        try:
            answers = self.seats.end_ask(self._asked_info, timeout)
        finally:
            if all(promise.done() for promise in self._asked_info[1]):
                self._asked_info = None
        rewards, dones = zip(*answers, strict=True)
        return np.array(rewards), np.array(dones)

    def _check_no_info(self) -> None:
        if self._asked_info is not None:
            raise AlreadySteppingError("a question is under way: call get_state_info_wait first")

    # ---- everything else ----------------------------------------------------------------------

    def env_method(self, name: str, *args: Any, indices: Indices = None, **kwargs: Any) -> list:
        """Call a method of the environments asked; results in the order asked."""
        return self.seats.ask("call", name, args, kwargs, indices=indices)

    def get_attr(self, name: str, indices: Indices = None) -> list[Any]:
        """An attribute of the environments asked, in the order asked."""
        return self.seats.ask("find", name, indices=indices)

    def set_attr(self, name: str, value: Any, indices: Indices = None) -> None:
        """Set an attribute of the environments asked to one value."""
        self.seats.ask("set_env_attr", name, value, indices=indices)

    def env_is_wrapped(self, wrapper_class: type, indices: Indices = None) -> list[bool]:
        """Whether the environments asked have a layer of that class."""
        return self.seats.ask("is_wrapped", wrapper_class, indices=indices)

    def get_images(self) -> list[np.ndarray]:
        return self.env_method("render")

    def close(self, timeout: float = CLOSE_TIMEOUT) -> None:
        """Take the result of a step under way, then close every environment."""
        self.seats.close(timeout)


def tile_images(images: Sequence[Any]) -> np.ndarray:
    """``n`` pictures ``[H, W, C]`` as one, row by row in a grid nearly square, rest black."""
    stack = np.stack(images)
    rows = math.ceil(math.sqrt(len(stack)))
    columns = math.ceil(len(stack) / rows)
    _, height, width, colours = stack.shape
    grid = np.zeros((rows * columns, height, width, colours), stack.dtype)
    grid[: len(stack)] = stack
    grid = grid.reshape(rows, columns, height, width, colours).swapaxes(1, 2)
    return grid.reshape(rows * height, columns * width, colours)
