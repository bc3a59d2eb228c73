"""GroupVectorEnv: a Gymnasium vector environment whose environments live in our workers.

Observations that are images are views of recycled shared memory: written there by the worker, not
copied again, and yours for as long as you hold them. Smaller ones are copies.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import logger
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import iterate

from plangym_lite.vector.conversion import (
    Indices,
    Seeds,
    columns_of_numbers,
    refuse_own,
    reset_arguments,
    seeds_of,
)
from plangym_lite.vector.env_group import EnvGroup
from plangym_lite.vector.spaces import ObservationMode, batched_spaces, check_mode
from plangym_lite.vector.statistics import EpisodeStatistics
from plangym_lite.vector.worker_env import Factory, worker_recipes
from plangym_lite.vectorization.process.pool import start_processes
from plangym_lite.vectorization.worker.inline import InlineWorker
from plangym_lite.vectorization.worker.worker import CLOSE_TIMEOUT, Worker, close_all

__all__ = ["GroupVectorEnv", "SequentialVectorEnv", "SubprocVectorEnv"]


class GroupVectorEnv(VectorEnv):
    """A ``gymnasium.vector.VectorEnv``; its subclasses say where the environments live.

    Beyond Gymnasium's interface: states, seeds for episodes to come, statistics of episodes.

    Args:
        workers: one for each environment.
        modes: when an episode that has ended is followed by the next, and how far observation
            spaces may differ.
        logging_prefix: log statistics of episodes under this name.
        shared_limit: bytes of shared memory.
    """

    def __init__(
        self,
        workers: Sequence[Worker],
        modes: tuple[AutoresetMode, ObservationMode],
        logging_prefix: str | None,
        shared_limit: int | None = None,
    ) -> None:
        self.autoreset_mode, self.observation_mode = modes
        name = type(self).__name__
        self.group = EnvGroup.of(workers, shared_limit, self.observation_mode, name)
        self.num_envs = len(self.group)
        metadata, self.render_mode = self.group.ask("describe", indices=0)[0]
        self.metadata = {**metadata, "autoreset_mode": self.autoreset_mode}
        self.single_observation_space = self.group.spec.observation_space
        self.single_action_space = self.group.spec.action_space
        self.observation_space, self.action_space = batched_spaces(
            self.group.specs, self.single_observation_space, self.observation_mode
        )
        self._statistics = EpisodeStatistics(self.num_envs, logging_prefix)
        self._ended = np.zeros(self.num_envs, bool)

    @property
    def workers(self) -> list[Worker]:
        """The workers; those of processes have a ``pid``."""
        return self.group.workers

    # ---- steps --------------------------------------------------------------------------------

    def step(self, actions: Any) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Step every environment; see :meth:`step_async` and :meth:`step_wait`.

        Interrupted (Ctrl-C), the environments make this step all the same, and its result is lost:
        the next call waits for it.
        """
        with self.group.calls.lock:
            try:
                self.step_async(actions)
                return self.step_wait()
            except BaseException as error:
                if not isinstance(error, Exception):
                    self.group.calls.abandon()
                raise

    def step_async(self, actions: Any) -> None:
        """Begin a step with an element of ``action_space``, or a list of single actions.

        Raises:
            AlreadySteppingError: a step, reset or call is under way.
            InvalidBatchError: not one valid action for each environment; nothing was run.
            WorkerDiedError: a worker was lost before, and ``reset`` was not called since.
        """
        if not self.group.takes_arrays:
            actions = list(iterate(self.action_space, actions))
        self.group.begin_step(actions, self._result_of)

    def step_wait(
        self, timeout: float | None = None
    ) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """``(observations, rewards, terminations, truncations, infos)`` of the step under way.

        Raises:
            NotSteppingError: no step is under way.
            TimeoutError: not within ``timeout`` seconds; the step goes on, and can be awaited.
            WorkerDiedError: a worker died: which, how and during what. Nothing is run again.
            Exception: what an environment raised; the others have made their step.
        """
        return self.group.calls.end("step", timeout)

    def _result_of(self, batch: Any) -> tuple[Any, ...]:
        ended = batch.terminateds | batch.truncateds
        steps = ~self._ended if self.autoreset_mode is AutoresetMode.NEXT_STEP else 1
        self._statistics.add(batch.rewards, ended, steps)
        self._ended = ended
        infos = self._merge(batch.infos)
        return batch.observs, batch.rewards, batch.terminateds, batch.truncateds, infos

    def _merge(self, infos: Sequence[dict[str, Any]]) -> dict[str, Any]:
        merged = columns_of_numbers(infos)
        if merged is not None:
            return merged
        merged = {}
        for index, info in enumerate(infos):
            if info:
                merged = self._add_info(merged, info, index)
        return merged

    # ---- episodes -----------------------------------------------------------------------------

    def reset(
        self,
        *,
        seed: Seeds = None,
        options: dict[str, Any] | None = None,
        timeout: float | None = None,
    ) -> tuple[Any, dict[str, Any]]:
        """Begin an episode in every environment, or where ``options["reset_mask"]`` says so.

        What is under way is ended first, and workers that died are replaced.

        Args:
            seed: an int for ``seed + i``, or one for each; ``None``: those of :meth:`seed`.
            options: passed to the environments, but for ``"reset_mask"``, ``[n]`` bool.
            timeout: seconds that an environment may take to end what is under way, and as many
                again to reset. Its worker is replaced if it takes longer.

        Raises:
            TimeoutError: a reset took longer, or an environment hangs that is not to be reset.
        """
        seeds, options, chosen = reset_arguments(seed, options, self.num_envs)
        answer = self.group.reset(seeds, [options] * self.num_envs, chosen, timeout)
        return self._began(answer, chosen)

    def reset_async(self, seed: Seeds = None, options: dict[str, Any] | None = None) -> None:
        """Begin what :meth:`reset` does; :meth:`reset_wait` takes its result.

        Raises:
            AlreadySteppingError: a step, reset or call is under way.
        """
        self.group.calls.check_idle("reset_async")
        seeds, options, self._chosen = reset_arguments(seed, options, self.num_envs)
        self.group.begin_reset(seeds, [options] * self.num_envs, self._chosen)

    def reset_wait(self, timeout: float | None = None) -> tuple[Any, dict[str, Any]]:
        """The result of :meth:`reset_async`.

        Raises:
            NotSteppingError: no reset is under way.
            TimeoutError: not within ``timeout`` seconds; it goes on, and can be awaited.
        """
        return self._began(self.group.calls.end("reset", timeout), self._chosen)

    def _began(self, answer: Any, chosen: np.ndarray | None) -> tuple[Any, dict[str, Any]]:
        observs, infos = answer
        self._statistics.begin(chosen)
        self._ended[slice(None) if chosen is None else chosen] = False
        return observs, self._merge(infos)

    def seed(self, seeds: Seeds) -> list[list[int | None]]:
        """Seeds for the episodes to come: environment ``i`` uses ``seeds[i::n]``, over and over.

        ``reset`` without a seed begins with the first of them; so does an int, ``seeds + i``.

        Raises:
            ValueError: fewer seeds than environments.
        """
        return self.group.seed(seeds_of(seeds, self.num_envs))

    # ---- states -------------------------------------------------------------------------------

    def get_state(self) -> np.ndarray:
        """The states of all environments, ``[n, S]``, or ``[n]`` of objects.

        Raises:
            NotCloneableError: an environment's state cannot be saved exactly.
        """
        return self.group.get_state()

    def set_state(self, states: Sequence[Any], indices: Indices = None) -> None:
        """Put the environments asked for, by default all, into ``states``, one for each.

        Workers that died are replaced. Seeds of episodes and statistics are not in the states.

        Raises:
            InvalidStateError: not states of this environment; nothing was moved.
        """
        ended = self.group.set_state(states, indices)
        chosen = np.array(self.group.chosen(indices), int)
        self._ended[chosen] = ended
        self._statistics.begin(chosen)

    # ---- everything else ----------------------------------------------------------------------

    def call(self, name: str, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Call a method of every environment, or read an attribute.

        Raises:
            ValueError: ``name`` is ``"reset"``, ``"step"`` or ``"close"``: there are methods.
        """
        refuse_own(name)
        return tuple(self.group.ask("call", name, args, kwargs))

    def call_async(self, name: str, *args: Any, **kwargs: Any) -> None:
        """Begin what :meth:`call` does; :meth:`call_wait` takes its result."""
        refuse_own(name)
        self.group.begin_call("call", [(name, args, kwargs)] * self.num_envs)

    def call_wait(self, timeout: float | None = None) -> tuple[Any, ...]:
        """The result of :meth:`call_async`; errors as of :meth:`reset_wait`."""
        return tuple(self.group.calls.end("call", timeout))

    def has_attr(self, name: str) -> bool:
        """Whether every environment has an attribute of that name."""
        return all(self.group.ask("has", name))

    def get_attr(self, name: str) -> tuple[Any, ...]:
        """An attribute of every environment."""
        return tuple(self.group.ask("find", name))

    def set_attr(self, name: str, values: Any) -> None:
        """Set an attribute: a list or tuple has a value for each environment."""
        if not isinstance(values, (list, tuple)):
            values = [values] * self.num_envs
        if len(values) != self.num_envs:
            raise ValueError(f"{len(values)} values for {self.num_envs} environments")
        self.group.ask_each("set_env_attr", [(name, value) for value in values], None)

    def render(self) -> tuple[Any, ...]:
        """The picture of every environment."""
        return self.call("render")

    @property
    def np_random_seed(self) -> tuple[Any, ...]:  # type: ignore[override]
        """The seed of every environment's generator."""
        return self.get_attr("np_random_seed")

    @property  # type: ignore[misc]
    def np_random(self) -> tuple[Any, ...]:  # type: ignore[override]
        """A copy of every environment's generator."""
        return self.get_attr("np_random")

    def get_actor_rewards(self) -> np.ndarray | None:
        """What each actor earned in the last step, ``[sub_steps, n]`` float32."""
        rewards = self.group.ask("actor_rewards")
        if any(part is None for part in rewards):
            return None
        return np.stack(rewards, axis=1).astype(np.float32)

    def actor_id(self) -> list[Any] | None:
        """Who acts next in every environment; ``None`` where environments have no actors."""
        ids = self.group.ask("ask", "actor_id")
        return None if any(one is None for one in ids) else ids

    def is_actor_done(self) -> np.ndarray | None:
        """Whether the actors are done, ``[n]``; ``None`` where environments have no actors."""
        return self._stacked("is_actor_done")

    def get_env_time(self) -> np.ndarray | None:
        """The environments' clocks, ``[n]``; ``None`` where environments have none."""
        return self._stacked("get_env_time")

    def _stacked(self, name: str) -> np.ndarray | None:
        values = self.group.ask("ask", name)
        return None if any(value is None for value in values) else np.stack(values)

    def get_stats(self) -> dict[str, float]:
        """Number, return and length of the episodes that ended since the last clearing."""
        return self._statistics.summary()

    def clear_epoch_stats(self) -> dict[str, float]:
        """Log the statistics under ``logging_prefix`` and begin anew; return them."""
        return self._statistics.clear()

    def close_extras(self, timeout: float = CLOSE_TIMEOUT, terminate: bool = False) -> None:
        """Close every environment; with ``terminate=True`` without waiting for them."""
        if "group" not in vars(self):
            return
        call = self.group.calls.pending
        self.group.close(0.0 if terminate else timeout)
        if call is not None and call.is_wanted:
            what = f"a pending call to `{call.name}`"
            logger.warn(f"Calling `close` while waiting for {what} to complete.")

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class SubprocVectorEnv(GroupVectorEnv):
    """A ``gymnasium.vector.VectorEnv`` whose environment ``i`` lives in process ``i``.

    Args:
        env_factories: one callable for each environment, which returns a ``PlanEnv`` or a
            Gymnasium environment (they may be lambdas), or ids or specs for ``gymnasium.make``.
        logging_prefix: log statistics of episodes under this name.
        start_method: one of multiprocessing's; the default never forks a process with threads.
        autoreset_mode: when an episode that has ended is followed by the next.
        observation_mode: ``"same"``: the observation spaces are equal; ``"different"``: of one
            shape and dtype; or the batched and the single observation space.
        start_serially: start one process after another, not side by side.
        start_timeout: seconds that the environments may take to build; ``None``: no limit.
        shared_limit: bytes of shared memory; the default is a quarter of the memory.
        shared_memory: accepted for Gymnasium's sake, and so is ``copy``: what has a fixed size
            crosses in shared memory, and observations are always yours.
        env_fns: Gymnasium's name of ``env_factories``.
    """

    def __init__(
        self,
        env_factories: Sequence[Factory] = (),
        logging_prefix: str | None = None,
        start_method: str | None = None,
        *,
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
        observation_mode: ObservationMode = "same",
        start_serially: bool = False,
        start_timeout: float | None = None,
        shared_limit: int | None = None,
        shared_memory: bool = True,
        copy: bool = True,
        env_fns: Sequence[Factory] = (),
    ) -> None:
        mode = AutoresetMode(autoreset_mode)
        check_mode(observation_mode)
        workers = start_processes(
            worker_recipes(env_factories or env_fns, mode),
            start_method=start_method,
            serially=start_serially,
            timeout=start_timeout,
        )
        super().__init__(workers, (mode, observation_mode), logging_prefix, shared_limit)


class SequentialVectorEnv(GroupVectorEnv):
    """The same without processes, one environment after another; the answers are the same.

    Args:
        env_factories: as for :class:`SubprocVectorEnv`.
        logging_prefix: likewise.
        autoreset_mode: likewise.
        observation_mode: likewise.
        copy: likewise, and so is ``env_fns``.
    """

    def __init__(
        self,
        env_factories: Sequence[Factory] = (),
        logging_prefix: str | None = None,
        *,
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
        observation_mode: ObservationMode = "same",
        copy: bool = True,
        env_fns: Sequence[Factory] = (),
    ) -> None:
        mode = AutoresetMode(autoreset_mode)
        check_mode(observation_mode)
        workers: list[Worker] = []
        try:
            workers.extend(
                InlineWorker(recipe) for recipe in worker_recipes(env_factories or env_fns, mode)
            )
        except BaseException:
            close_all(workers)
            raise
        super().__init__(workers, (mode, observation_mode), logging_prefix)

    @property
    def envs(self) -> list[Any]:
        """The environments themselves."""
        return [worker.env.env for worker in self.workers]  # type: ignore[attr-defined]
