"""HasKernel: an adapter that can step a whole batch with a :class:`Kernel`."""

from __future__ import annotations

import copy
import warnings
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np

from plangym_lite.envs.batched.kernel import (
    ENOUGH_ROWS,
    NO_LIMIT,
    Block,
    Kernel,
    NotForKernelError,
    infos_of,
    run_block,
)
from plangym_lite.envs.generators.generator import (
    GeneratorMemory,
    generator_to_words,
    words_of_seed,
    words_to_generator,
)
from plangym_lite.envs.generators.pcg64 import words_of_seeds
from plangym_lite.envs.gymnasium.env import PlangymEnv
from plangym_lite.errors import InvalidStateError
from plangym_lite.nested import differences
from plangym_lite.simulator import RUNNING, SimulatorEnv
from plangym_lite.simulator.rows import run_rows
from plangym_lite.system import one_at_a_time
from plangym_lite.transitions import Columns, Form, Rows, empty_columns, pack

__all__ = ["HasKernel", "KernelEnv"]

TRIED_ROWS = 128
MOST_GROUPS = 8
COMPARED = ("states", "observs", "rewards", "terminateds", "truncateds")


class HasKernel(SimulatorEnv):
    """A simulator that has a kernel, used if nothing was added to it.

    If the results of the kernel are not bit-identical to those of the simulator, rows are run one
    by one. That is tested on random states at first use, for each dtype of actions; a failure is
    warned about once.
    """

    _warned: ClassVar[set[str]] = set()  # classes whose kernel was found to be wrong

    clone_seeds: bool
    _kernel: Kernel | None = None
    _trusted: dict[str, bool]  # by the dtype of actions, whether the kernel is exact
    _constants: slice | None = None
    """The part of a state that must be equal in rows that the kernel steps together: it is loaded
    into the simulator before."""

    @abstractmethod
    def take_apart(self, states: np.ndarray, out: np.ndarray | None = None) -> Block | None:
        """Convert states to columns, for ``out``; ``None`` if one of them is not a valid state."""

    @abstractmethod
    def put_together(self, block: Block, states: np.ndarray, out: np.ndarray) -> None:
        """Write the states after the step into ``out``; ``states``, before it, both ``[B, S]``."""

    @abstractmethod
    def seeded_states(self, states: np.ndarray, seeds: np.ndarray) -> np.ndarray:
        """The states with seeded generators, those that have ended as they are."""

    @abstractmethod
    def random_states(self, draw: np.random.Generator, n_rows: int) -> np.ndarray:
        """Plausible states of running episodes, ``[B, S]``."""

    @abstractmethod
    def kernel_applies(self) -> bool:
        """Whether nothing has to be drawn and nothing that the kernel does was overridden."""

    @abstractmethod
    def kernel_limit(self) -> float:
        """Frames after which an episode is truncated."""

    @abstractmethod
    def kernel_label(self) -> tuple[str, str]:
        """The name of what the kernel steps, and the package with its version."""

    def tell_ended(self, state: Any, info: dict[str, Any], out: Columns, row: int) -> Any:
        """Complete a row that had ended, if the kernel does not; return its info."""
        return info

    def accept_kernel(self, kernel: Kernel | None) -> None:
        self._kernel, self._trusted = kernel, {}

    @property
    def is_batched(self) -> bool:
        return self._kernel is not None and self.kernel_applies()

    @property
    def can_use_threads(self) -> bool:
        return self.is_batched and self._kernel.has_threads  # type: ignore[union-attr]

    def use_threads(self, n_threads: int) -> None:
        if self._kernel is not None and self._kernel.has_threads:
            self._kernel.use_threads(n_threads)

    @one_at_a_time
    def run_on_threads(self, rows: Rows, form: Form) -> Any:
        if len(rows.dts) < ENOUGH_ROWS:
            return self.run_rows(rows, form)
        out = empty_columns(self.batch_spec, len(rows.dts), form)
        infos = self.run_batched(rows, out)
        return None if infos is None else pack(self.batch_spec, out, infos)

    def run_batched(self, rows: Rows, out: Columns) -> list[dict[str, Any]] | None:
        kernel = self._kernel
        if kernel is None or len(rows.dts) < ENOUGH_ROWS or not self.kernel_applies():
            return None
        states = np.asarray(rows.states)
        if rows.seeds is not None and self.clone_seeds:
            states = self.seeded_states(states, rows.seeds)
            rows = rows._replace(states=states, seeds=None)
        try:
            if self._constants is not None:
                groups = _alike(states[:, self._constants])
                if len(groups) > 1:
                    return self._run_groups(rows, out, groups)
                self._borrow_engine()
                self.load_state(states[0])
            return self._run_alike(kernel, rows, states, out)
        except NotForKernelError as error:
            return self._run_apart(kernel, rows, out, error.rows)
        except InvalidStateError:  # rows run one by one say which of them
            return None

    def _run_alike(
        self, kernel: Kernel, rows: Rows, states: np.ndarray, out: Columns
    ) -> list[dict[str, Any]] | None:
        block = self.take_apart(states, out.states)
        if block is None or not kernel.accepts(block):
            return None
        if not self._trust(kernel, rows.actions.dtype):
            return None
        had_ended = np.flatnonzero(block.ended) if np.count_nonzero(block.ended) else ()
        n_frames, limit = rows.dts * self.frameskip, self.kernel_limit()
        counts = run_block(kernel, block, rows.actions, n_frames, limit=limit, out=out)
        block.told = kernel.told(block.parts)
        if out.states is not None:
            self.put_together(block, states, out.states)
        infos = infos_of(block.told, counts, rows.dts.tolist())
        for row in map(int, had_ended):
            infos[row] = self.tell_ended(states[row], infos[row], out, row)
        return infos

    def _run_groups(
        self, rows: Rows, out: Columns, groups: list[np.ndarray]
    ) -> list[dict[str, Any]] | None:
        """Run each group of rows as a batch, if they are few and none of them is small."""
        if len(groups) > MOST_GROUPS or min(map(len, groups)) < ENOUGH_ROWS:
            return None
        infos: Any = [None] * len(rows.dts)
        for chosen in groups:
            if not self._run_some(self.run_batched, rows, out, chosen, infos):
                return None
        return infos

    def _run_apart(
        self, kernel: Kernel, rows: Rows, out: Columns, apart: list[int]
    ) -> list[dict[str, Any]] | None:
        """Run some rows one by one and the others at once, if the kernel can run these."""
        infos: Any = [None] * len(rows.dts)
        others = np.setdiff1d(np.arange(len(infos)), apart)

        def run(some: Rows, columns: Columns) -> list[dict[str, Any]] | None:
            return self._run_alike(kernel, some, some.states, columns)

        try:
            if len(others) < ENOUGH_ROWS or not self._run_some(run, rows, out, others, infos):
                return None
        except NotForKernelError:
            return None
        self._borrow_engine()
        for row in apart:
            cut = slice(row, row + 1)
            columns: Any = [part[cut] if isinstance(part, np.ndarray) else part for part in out]
            infos[row] = run_rows(self, rows.part(row, row + 1), Columns(*columns))[0]
        return infos

    def _run_some(
        self,
        run: Callable[[Rows, Columns], list[dict[str, Any]] | None],
        rows: Rows,
        out: Columns,
        chosen: np.ndarray,
        infos: list[Any],
    ) -> bool:
        states = np.asarray(rows.states)[chosen]
        some = Rows(rows.actions[chosen], states, rows.dts[chosen])
        columns = empty_columns(self.batch_spec, len(chosen), out.form)
        found = run(some, columns)
        if found is None:
            return False
        for whole, part in zip(out, columns, strict=True):
            if isinstance(whole, np.ndarray):
                whole[chosen] = part
        for row, info in zip(chosen.tolist(), found, strict=True):
            infos[row] = info
        return True

    def _trust(self, kernel: Kernel, dtype: np.dtype) -> bool:
        """Whether kernel and environment agree bit for bit on random states."""
        trusted = self._trusted.get(dtype.char)  # hashing the dtype itself is slow
        if trusted is None:
            self._borrow_engine()
            state = self.save_state()
            try:
                difference = self._compare(kernel, dtype)
            except Exception as error:  # another version of Gymnasium, or a user's settings
                difference = f"{type(error).__name__}: {error}"
            self.load_state(state)
            trusted = self._trusted[dtype.char] = difference is None
            self._kernel = kernel if trusted or dtype != self.action_space.dtype else None
            if difference is not None:
                self._warn(dtype, difference)
        return trusted

    def _warn(self, dtype: np.dtype, difference: str) -> None:
        name, package = self.kernel_label()
        if name in self._warned:
            return
        self._warned.add(name)
        warnings.warn(
            f"batches of {name} with {dtype} actions are stepped row by row, which is exact but "
            f"slower: what {package} does with these settings is not what the "
            f"vectorized step of plangym_lite does ({difference})",
            RuntimeWarning,
            stacklevel=2,
        )

    def _compare(self, kernel: Kernel, dtype: np.dtype) -> str | None:
        """Where kernel and environment differ first, on random states; ``None``: nowhere."""
        states = self.random_states(np.random.default_rng(0), TRIED_ROWS)
        rows = Rows(self._random_actions(dtype), states, np.full(TRIED_ROWS, 2))
        one_by_one, batched = (empty_columns(self.batch_spec, TRIED_ROWS) for _ in range(2))
        self._kernel = None
        infos = self.make_transitions(rows, one_by_one)
        self._kernel, self._trusted[dtype.char] = kernel, True
        pairs = [(infos, self.run_batched(rows, batched), "infos")]
        pairs += [(getattr(one_by_one, name), getattr(batched, name), name) for name in COMPARED]
        found = (place for pair in pairs for place in differences(*pair))
        return next((f"{path}: {text}" for path, text in found), None)

    def _random_actions(self, dtype: np.dtype) -> np.ndarray:
        """Actions that use all bits of a dtype; up to a third are out of bounds."""
        space = copy.deepcopy(self.action_space)
        space.seed(0)
        actions = np.array([space.sample() for _ in range(TRIED_ROWS)]).astype(dtype)
        if dtype.kind == "f":
            actions[::3] *= dtype.type(1.7)
            actions *= dtype.type(0.9)
        return actions


class KernelEnv(HasKernel, PlangymEnv):
    """An environment of Gymnasium with a kernel, which is not used with images or user wrappers."""

    _generator: GeneratorMemory  # of the base, if the state is plain
    _limits: list[Any]  # the layer with the time limit, if there is one
    _limit: Any = None
    _step: Any = None
    _methods: frozenset[str] = frozenset()  # of the base, which nobody has replaced

    @abstractmethod
    def generator_words(self, states: np.ndarray) -> np.ndarray:
        """The generator in each of the states, as a view ``[B, GENERATOR_WORDS]``."""

    def seed_generators(self, seed: int) -> Callable[[], None]:
        if not self._is_plain:
            return super().seed_generators(seed)
        generator = self._base.np_random
        before = None if self.clone_seeds else generator_to_words(generator)
        self._generator.write(words_of_seed(seed), generator)
        return lambda: None if before is None else words_to_generator(before, generator)

    def seeded_states(self, states: np.ndarray, seeds: np.ndarray) -> np.ndarray:
        seeded = states.copy()
        is_running = states[:, 0] == RUNNING
        self.generator_words(seeded)[is_running] = words_of_seeds(seeds[is_running])
        return seeded

    def has_only_a_limit(self, module: str) -> bool:
        """Whether it is one of ``module``'s, with nothing around it but a time limit."""
        limit = gym.wrappers.TimeLimit
        self._limits = [layer for layer in self._layers if isinstance(layer, limit)]
        is_known = type(self._base).__module__.startswith(module) and len(self._limits) < 2
        return self.STATE_IS_ARRAY and is_known and self.surrounded_only_by(limit)

    def use_kernel(self, kernel: Kernel | None, limits: list[Any]) -> None:
        """Step batches with ``kernel``, and with the time limit in ``limits``, if any."""
        self.accept_kernel(kernel)
        self._limit = limits[0] if limits else None
        kind = type(self._base)
        self._step = kind.step
        methods = (name for name in dir(kind) if callable(getattr(kind, name, None)))
        self._methods = frozenset(methods) - vars(self._base).keys()

    def kernel_applies(self) -> bool:
        base = self._base
        replaced = type(base).step is not self._step or not self._methods.isdisjoint(vars(base))
        drawn = self.obs_type != "coords" or self.return_image or self.render_mode == "human"
        return not replaced and not drawn

    def kernel_limit(self) -> float:
        return NO_LIMIT if self._limit is None else self._limit._max_episode_steps

    def kernel_label(self) -> tuple[str, str]:
        base = type(self._base)
        return f"{base.__module__}.{base.__qualname__}", f"gymnasium {gym.__version__}"


def _alike(rows: np.ndarray) -> list[np.ndarray]:
    """The rows, ``[B, n]``, in groups of equal ones: the indices of each."""
    groups: list[np.ndarray] = []
    left = np.arange(len(rows))
    while len(left) and len(groups) <= MOST_GROUPS:
        same = (rows[left] == rows[left[0]]).all(1)
        groups.append(left[same])
        left = left[~same]
    return groups
