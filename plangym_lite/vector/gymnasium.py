"""SeatedVectorEnv: a Gymnasium vector environment whose environments sit on our workers.

Observations that are images are views of recycled shared memory: written there by the worker, not
copied again, and yours for as long as you hold them. Smaller ones are copies.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space, iterate

from plangym_lite.vector.env_group import EnvGroup, Indices
from plangym_lite.vector.statistics import EpisodeStatistics
from plangym_lite.vector.worker_env import Factory, seat_recipes
from plangym_lite.vectorization.process.pool import start_processes
from plangym_lite.vectorization.worker.inline import InlineWorker
from plangym_lite.vectorization.worker.worker import CLOSE_TIMEOUT, Worker, close_all

__all__ = ["SeatedVectorEnv", "SequentialVectorEnv", "SubprocVectorEnv"]

PLAIN_NUMBERS = (int, float, bool)


class SeatedVectorEnv(VectorEnv):
    """A ``gymnasium.vector.VectorEnv``; see ``vector_env.py`` for where the environments live.

    Beyond Gymnasium's interface: states, seeds for episodes to come, statistics of episodes.

    Args:
        seats: the environments.
        mode: when an episode that has ended is followed by the next.
        logging_prefix: log statistics of episodes under this name.
    """

    def __init__(self, seats: EnvGroup, mode: AutoresetMode, logging_prefix: str | None) -> None:
        self.seats = seats
        self.num_envs = len(seats)
        self.autoreset_mode = mode
        metadata, self.render_mode = seats.ask("describe", indices=0)[0]
        self.metadata = {**metadata, "autoreset_mode": mode}
        self.single_observation_space = seats.spec.observation_space
        self.single_action_space = seats.spec.action_space
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._statistics = EpisodeStatistics(self.num_envs, logging_prefix)
        self._ended = np.zeros(self.num_envs, bool)

    @property
    def workers(self) -> list[Worker]:
        """The workers; those of processes have a ``pid``."""
        return self.seats.workers

    # ---- steps --------------------------------------------------------------------------------

    def step(self, actions: Any) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Step every environment; see :meth:`step_async` and :meth:`step_wait`."""
        self.step_async(actions)
        return self.step_wait()

    def step_async(self, actions: Any) -> None:
        """Begin a step with an element of ``action_space``, or a list of single actions.

        Raises:
            AlreadySteppingError: a step is under way.
            InvalidBatchError: not one valid action for each environment; nothing was run.
            WorkerDiedError: a worker was lost before, and ``reset`` was not called since.
        """
        if not self.seats.takes_arrays:
            actions = list(iterate(self.action_space, actions))
        self.seats.begin_step(actions)

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
        batch = self.seats.end_step(timeout)
        ended = batch.terminateds | batch.truncateds
        steps = ~self._ended if self.autoreset_mode is AutoresetMode.NEXT_STEP else 1
        self._statistics.add(batch.rewards, ended, steps)
        self._ended = ended
        infos = self._merge(batch.infos)
        return batch.observs, batch.rewards, batch.terminateds, batch.truncateds, infos

    def _merge(self, infos: Sequence[dict[str, Any]]) -> dict[str, Any]:
        merged = _columns_of_numbers(infos)
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
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Any, dict[str, Any]]:
        """Begin an episode in every environment, or where ``options["reset_mask"]`` says so.

        A step under way is ended first, and workers that died are replaced.

        Args:
            seed: an int for ``seed + i``, or one for each; ``None``: those of :meth:`seed`.
            options: passed to the environments, but for ``"reset_mask"``, ``[n]`` bool.
        """
        if seed is None or isinstance(seed, (int, np.integer)):
            seeds = [None if seed is None else int(seed) + i for i in range(self.num_envs)]
        else:
            seeds = list(seed)
        if len(seeds) != self.num_envs:
            raise ValueError(f"{len(seeds)} seeds for {self.num_envs} environments")
        options, chosen = _split_mask(options, self.num_envs)
        observs, infos = self.seats.reset(seeds, [options] * self.num_envs, chosen)
        self._statistics.begin(chosen)
        self._ended[slice(None) if chosen is None else chosen] = False
        return observs, self._merge(infos)

    def seed(self, seeds: int | Sequence[int | None]) -> list[list[int | None]]:
        """Seeds for the episodes to come: environment ``i`` uses ``seeds[i::n]``, over and over.

        ``reset`` without a seed begins with the first of them; so does an int, ``seeds + i``.

        Raises:
            ValueError: fewer seeds than environments.
        """
        if isinstance(seeds, (int, np.integer)):
            seeds = [int(seeds) + index for index in range(self.num_envs)]
        return self.seats.seed(seeds)

    # ---- states -------------------------------------------------------------------------------

    def get_state(self) -> np.ndarray:
        """The states of all environments, ``[n, S]``, or ``[n]`` of objects.

        Raises:
            NotCloneableError: an environment is no ``PlanEnv``.
        """
        return self.seats.get_state()

    def set_state(self, states: Sequence[Any], indices: Indices = None) -> None:
        """Put the environments asked for, by default all, into ``states``, one for each.

        Workers that died are replaced. Seeds of episodes and statistics are not in the states.

        Raises:
            InvalidStateError: not states of this environment; nothing was moved.
        """
        ended = self.seats.set_state(states, indices)
        chosen = np.array(self.seats.chosen(indices), int)
        self._ended[chosen] = ended
        self._statistics.begin(chosen)

    # ---- everything else ----------------------------------------------------------------------

    def call(self, name: str, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Call a method of every environment, or read an attribute."""
        return tuple(self.seats.ask("call", name, args, kwargs))

    def get_attr(self, name: str) -> tuple[Any, ...]:
        """An attribute of every environment."""
        return tuple(self.seats.ask("find", name))

    def set_attr(self, name: str, values: Any) -> None:
        """Set an attribute: a list or tuple has a value for each environment."""
        if not isinstance(values, (list, tuple)):
            values = [values] * self.num_envs
        if len(values) != self.num_envs:
            raise ValueError(f"{len(values)} values for {self.num_envs} environments")
        self.seats.ask_each("set_env_attr", [(name, value) for value in values], None)

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
        rewards = self.seats.ask("actor_rewards")
        if any(part is None for part in rewards):
            return None
        return np.stack(rewards, axis=1).astype(np.float32)

    def actor_id(self) -> list[Any] | None:
        """Who acts next in every environment; ``None`` where environments have no actors."""
        ids = self.seats.ask("ask", "actor_id")
        return None if any(one is None for one in ids) else ids

    def is_actor_done(self) -> np.ndarray | None:
        """Whether the actors are done, ``[n]``; ``None`` where environments have no actors."""
        return self._stacked("is_actor_done")

    def get_env_time(self) -> np.ndarray | None:
        """The environments' clocks, ``[n]``; ``None`` where environments have none."""
        return self._stacked("get_env_time")

    def _stacked(self, name: str) -> np.ndarray | None:
        values = self.seats.ask("ask", name)
        return None if any(value is None for value in values) else np.stack(values)

    def get_stats(self) -> dict[str, float]:
        """Number, return and length of the episodes that ended since the last clearing."""
        return self._statistics.summary()

    def clear_epoch_stats(self) -> dict[str, float]:
        """Log the statistics under ``logging_prefix`` and begin anew; return them."""
        return self._statistics.clear()

    def close_extras(self, timeout: float = CLOSE_TIMEOUT, terminate: bool = False) -> None:
        """Close every environment; with ``terminate=True`` without waiting for them."""
        if "seats" in vars(self):
            self.seats.close(0.0 if terminate else timeout)

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _split_mask(
    options: dict[str, Any] | None, num_envs: int
) -> tuple[dict[str, Any] | None, np.ndarray | None]:
    """The options without ``"reset_mask"``, and that."""
    if options is None or "reset_mask" not in options:
        return options, None
    mask = options["reset_mask"]
    if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_:
        raise TypeError(f"options['reset_mask'] must be an array of bool, got {mask!r}")
    if mask.shape != (num_envs,):
        raise ValueError(f"options['reset_mask'] must have shape ({num_envs},), got {mask.shape}")
    if not mask.any():
        raise ValueError("options['reset_mask'] chooses no environment")
    return {key: value for key, value in options.items() if key != "reset_mask"}, mask


def _columns_of_numbers(infos: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """What Gymnasium's ``_add_info`` makes of infos that all hold the same numbers, at once.

    ``None`` if they do not.
    """
    first, merged, everyone = infos[0], {}, np.ones(len(infos), bool)
    if any(info.keys() != first.keys() for info in infos):
        return None
    for key, value in first.items():
        kind = type(value)
        column = [info[key] for info in infos]
        if kind not in PLAIN_NUMBERS and not issubclass(kind, np.number):
            return None
        if set(map(type, column)) != {kind}:
            return None
        merged[key], merged[f"_{key}"] = np.array(column, kind), everyone.copy()
    return merged


class SubprocVectorEnv(SeatedVectorEnv):
    """A ``gymnasium.vector.VectorEnv`` whose environment ``i`` lives in process ``i``.

    Args:
        env_factories: one callable for each environment, which returns a ``PlanEnv`` or a
            Gymnasium environment (they may be lambdas), or ids or specs for ``gymnasium.make``.
        logging_prefix: log statistics of episodes under this name.
        start_method: one of multiprocessing's; the default never forks a process with threads.
        autoreset_mode: when an episode that has ended is followed by the next.
        start_serially: start one process after another, not side by side.
        start_timeout: seconds that the environments may take to build; ``None``: no limit.
        shared_limit: bytes of shared memory; the default is a quarter of the memory.
    """

    def __init__(
        self,
        env_factories: Sequence[Factory],
        logging_prefix: str | None = None,
        start_method: str | None = None,
        *,
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
        start_serially: bool = False,
        start_timeout: float | None = None,
        shared_limit: int | None = None,
    ) -> None:
        mode = AutoresetMode(autoreset_mode)
        workers = start_processes(
            seat_recipes(env_factories, mode),
            start_method=start_method,
            serially=start_serially,
            timeout=start_timeout,
        )
        super().__init__(EnvGroup.of(workers, shared_limit), mode, logging_prefix)


class SequentialVectorEnv(SeatedVectorEnv):
    """The same without processes, one environment after another; the answers are the same.

    Args:
        env_factories: as for :class:`SubprocVectorEnv`.
        logging_prefix: likewise.
        autoreset_mode: likewise.
    """

    def __init__(
        self,
        env_factories: Sequence[Factory],
        logging_prefix: str | None = None,
        *,
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
    ) -> None:
        mode = AutoresetMode(autoreset_mode)
        workers: list[Worker] = []
        try:
            workers.extend(InlineWorker(recipe) for recipe in seat_recipes(env_factories, mode))
        except BaseException:
            close_all(workers)
            raise
        super().__init__(EnvGroup.of(workers, None), mode, logging_prefix)
