"""The values that go into a step and come out of it.

``B`` denotes the batch dimension, ``S`` the length of a state.

::

    caller's arguments ──validation──> Rows ──make_transitions──> Columns ──pack──> StepBatch or
                                       (in)                       (out)             TransitionBatch

Columns are arrays with a leading ``[B]`` axis, in ordinary memory for a local environment and in
shared memory for a worker; the loop that fills them does not know which.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from gymnasium import spaces
from gymnasium.vector.utils import concatenate, create_empty_array

from plangym_lite.nested import ARRAY_SPACES, own_copy, same_space
from plangym_lite.transitions.tables import fields_table

__all__ = [
    "BatchSpec",
    "Columns",
    "Form",
    "PICKLED",
    "RolloutBatch",
    "Rows",
    "STEPS",
    "Step",
    "StepBatch",
    "Transition",
    "TransitionBatch",
    "empty_columns",
    "empty_tree",
    "equal_dts",
    "leaves_of",
    "map_columns",
    "map_leaves",
    "pack",
    "step_form",
    "write_row",
    "write_steps",
]


class Step(NamedTuple):
    """One step, without its state."""

    obs: Any
    reward: float
    terminated: bool
    truncated: bool
    info: dict[str, Any]

    def _repr_html_(self) -> str | None:
        return fields_table(self)


class Transition(NamedTuple):
    """One step, with the state after it (before any automatic reset)."""

    state: Any
    obs: Any
    reward: float
    terminated: bool
    truncated: bool
    info: dict[str, Any]

    def _repr_html_(self) -> str | None:
        return fields_table(self)


class StepBatch(NamedTuple):
    """``B`` steps, without their states."""

    observs: Any  # [B, ...], nested like the observation space
    rewards: np.ndarray  # [B] float64
    terminateds: np.ndarray  # [B] bool
    truncateds: np.ndarray  # [B] bool
    infos: list[dict[str, Any]]  # B dicts, each with at least n_step and dt

    def _repr_html_(self) -> str | None:
        return fields_table(self)


class TransitionBatch(NamedTuple):
    """``B`` steps, with the states after them."""

    states: np.ndarray  # [B, S]; [B] objects if STATE_IS_ARRAY is False
    observs: Any
    rewards: np.ndarray
    terminateds: np.ndarray
    truncateds: np.ndarray
    infos: list[dict[str, Any]]

    def _repr_html_(self) -> str | None:
        return fields_table(self)


class RolloutBatch(NamedTuple):
    """``B`` rows that each ran up to ``T`` actions."""

    states: np.ndarray  # [B, S] after the last action run
    observs: Any  # [B, ...] after the last action; [B, T, ...], the last one repeated; or None
    rewards: np.ndarray  # [B, T] float64, 0 after the end of an episode
    terminateds: np.ndarray  # [B] bool
    truncateds: np.ndarray  # [B] bool
    lengths: np.ndarray  # [B] int64, actions run
    infos: list[dict[str, Any]]  # of the last action run, but n_step is that of the whole row

    def _repr_html_(self) -> str | None:
        return fields_table(self)


class Form(NamedTuple):
    """Which fields a batch has."""

    states: bool = True  # whether states are returned
    steps: int | None = None  # T, the actions of a row of a rollout; None: a row is one step
    observs: str | None = "last"  # of the "last" step of a row, of "all" its steps, or None
    actions: str | None = None  # dtype of the action column, or PICKLED; None: the space's
    seeds: bool = False  # whether rows have seeds


PICKLED = "pickled"
"""``Form.actions`` of actions without a column: their dtypes are not those of the space."""

STEPS = Form()
"""The form of ``step_batch`` with states."""


@functools.cache
def step_form(states: bool, seeds: bool) -> Form:
    """The form of ``step_batch``, the same object each time."""
    return Form(states=states, seeds=seeds)


@dataclass(frozen=True)
class BatchSpec:
    """Shapes, dtypes and spaces of one row of a batch, for one environment."""

    observation_space: spaces.Space
    action_space: spaces.Space
    state_shape: tuple[int, ...] | None  # None: states are opaque picklable values
    state_dtype: np.dtype | None
    is_batched: bool = False  # whether a row of a large batch takes less time

    def agrees_with(self, other: BatchSpec) -> bool:
        """Whether two environments accept each other's rows."""
        return (
            same_space(self.observation_space, other.observation_space)
            and same_space(self.action_space, other.action_space)
            and self.state_shape == other.state_shape
            and self.state_dtype == other.state_dtype
        )


class Rows(NamedTuple):
    """The validated inputs of a batch."""

    actions: Any  # [B, ...] array ([B, T, ...] in a rollout), or a list for a nested space
    states: Any  # [B, S] array, or a list of B states
    dts: np.ndarray  # [B] int64
    first: int = 0  # the index of row 0 in the caller's batch, for messages
    seeds: np.ndarray | None = None  # [B] int64: seeds of the rows' generators; None: not seeded

    def part(self, start: int, stop: int) -> Rows:
        """Rows ``start`` to ``stop - 1``, as views."""
        cut = slice(start, stop)
        seeds = None if self.seeds is None else self.seeds[cut]
        return Rows(self.actions[cut], self.states[cut], self.dts[cut], self.first + start, seeds)


@functools.lru_cache(maxsize=64)
def equal_dts(dt: int, size: int) -> np.ndarray:
    """``dt`` for each of ``size`` rows; the same read-only array each time."""
    dts = np.full(size, dt, np.int64)
    dts.flags.writeable = False
    return dts


class Columns(NamedTuple):
    """The outputs of a batch, filled row by row."""

    states: Any  # [B, S] array, a list for opaque states, None if states are not returned
    observs: Any  # nested like the observation space; leaves are arrays, or lists of objects
    rewards: np.ndarray  # [B], or [B, T] in a rollout
    terminateds: np.ndarray
    truncateds: np.ndarray
    lengths: np.ndarray | None = None  # [B] in a rollout
    form: Form = STEPS


def map_leaves(function: Callable[..., Any], tree: Any, *others: Any) -> Any:
    """Apply ``function`` to each leaf of nested dicts and tuples; the result is nested alike."""
    if isinstance(tree, dict):
        return {
            key: map_leaves(function, value, *(other[key] for other in others))
            for key, value in tree.items()
        }
    if isinstance(tree, tuple):
        return tuple(map_leaves(function, *leaves) for leaves in zip(tree, *others, strict=True))
    return function(tree, *others)


def leaves_of(tree: Any) -> list[Any]:
    """The leaves of nested dicts and tuples, in order."""
    found: list[Any] = []
    map_leaves(found.append, tree)
    return found


def map_columns(function: Callable[[Any], Any], space: Any, columns: Any) -> Any:
    """Apply ``function`` to each column of batched elements of ``space``; texts are one column."""
    if isinstance(space, spaces.Dict):
        return {
            key: map_columns(function, part, columns[key]) for key, part in space.spaces.items()
        }
    if isinstance(space, spaces.Tuple):
        parts = zip(space.spaces, columns, strict=True)
        return tuple(map_columns(function, part, column) for part, column in parts)
    return function(columns)


def empty_tree(space: Any, make_leaf: Callable[[spaces.Space], Any]) -> Any:
    """Columns nested like ``space``, each leaf made by ``make_leaf(leaf_space)``."""
    if isinstance(space, ARRAY_SPACES):  # the checks below take a microsecond
        return make_leaf(space)
    if isinstance(space, spaces.Dict):
        return {key: empty_tree(part, make_leaf) for key, part in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(empty_tree(part, make_leaf) for part in space.spaces)
    return make_leaf(space)


def empty_columns(spec: BatchSpec, size: int, form: Form = STEPS) -> Columns:
    """Columns of ``size`` rows in ordinary memory."""
    steps = () if form.steps is None else (form.steps,)
    axes = (size, *steps) if form.observs == "all" else (size,)

    def leaf(space: Any) -> Any:
        if isinstance(space, ARRAY_SPACES):
            return np.zeros((*axes, *space.shape), space.dtype)
        return [None] * size

    return Columns(
        states=empty_states(spec, size) if form.states else None,
        observs=empty_tree(spec.observation_space, leaf) if form.observs else None,
        rewards=np.zeros((size, *steps)),
        terminateds=np.zeros(size, bool),
        truncateds=np.zeros(size, bool),
        lengths=np.zeros(size, np.int64) if steps else None,
        form=form,
    )


def empty_states(spec: BatchSpec, size: int) -> Any:
    """A column for ``size`` states: a ``[B, S]`` array, or a list for opaque states."""
    if spec.state_shape is None:
        return [None] * size
    return np.empty((size, *spec.state_shape), spec.state_dtype)


def write_row(tree: Any, row: int, value: Any) -> None:
    """Write one nested observation into row ``row`` of its columns."""
    if isinstance(tree, dict):
        for key, leaf in tree.items():
            write_row(leaf, row, value[key])
    elif isinstance(tree, tuple):
        for leaf, part in zip(tree, value, strict=True):
            write_row(leaf, row, part)
    else:
        tree[row] = own_copy(value) if isinstance(tree, list) else value


def write_steps(tree: Any, row: int, values: Sequence[Any]) -> None:
    """Write ``T`` nested observations into row ``row`` of their columns."""
    if isinstance(tree, dict):
        for key, leaf in tree.items():
            write_steps(leaf, row, [value[key] for value in values])
    elif isinstance(tree, tuple):
        for leaf, parts in zip(tree, zip(*values, strict=True), strict=True):
            write_steps(leaf, row, parts)
    elif isinstance(tree, list):
        tree[row] = list(values)
    else:
        for step, value in enumerate(values):
            tree[row, step] = value


def pack(
    spec: BatchSpec, out: Columns, infos: list[dict[str, Any]]
) -> StepBatch | TransitionBatch | RolloutBatch:
    """The named tuple that is returned to the caller."""
    observs = out.observs
    if observs is not None:
        observs = _finish(spec.observation_space, observs, out.form.observs == "all")
    numbers = out.rewards, out.terminateds, out.truncateds
    if out.states is None:
        return StepBatch(observs, *numbers, infos)
    states = out.states
    if isinstance(states, list):
        states = np.empty(len(out.states), object)
        for row, state in enumerate(out.states):
            states[row] = state
    if out.lengths is not None:
        return RolloutBatch(states, observs, *numbers, out.lengths, infos)
    return TransitionBatch(states, observs, *numbers, infos)


def _finish(space: Any, tree: Any, has_steps: bool) -> Any:
    """Convert lists of observations that are not arrays as Gymnasium batches them."""
    if isinstance(tree, dict):
        return {key: _finish(space[key], leaf, has_steps) for key, leaf in tree.items()}
    if isinstance(tree, tuple):
        return tuple(_finish(*pair, has_steps) for pair in zip(space, tree, strict=True))
    if not isinstance(tree, list):
        return tree
    if has_steps:
        return tuple(_finish(space, steps, False) for steps in tree)
    empty: Any = create_empty_array(space, len(tree))
    return concatenate(space, tree, empty)
