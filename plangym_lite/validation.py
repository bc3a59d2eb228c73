"""Checks of the arguments of ``step_batch``, made once, before anything is sent to a worker."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from gymnasium import spaces

from plangym_lite.errors import InvalidBatchError, InvalidStateError
from plangym_lite.nested import ARRAY_SPACES, DOUBLE, SINGLE, fit_box, own_action
from plangym_lite.transitions import BatchSpec, Rows, equal_dts

__all__ = [
    "check_action",
    "check_dt",
    "check_observs",
    "check_saved",
    "check_seeds",
    "check_state",
    "check_states",
    "count_steps",
    "fill_and_check",
    "fill_states",
    "follow_outgrown",
    "prepare_call",
    "prepare_rows",
    "states_of_rows",
]

FEW = 32  # numbers; up to so many Python's min and max are faster than numpy's
MOST_KEPT = 1 << 14  # rows of an array of equal ``dt`` that is kept for the next batch
MANY = 6  # states from which one array of them all is faster to make than to do without


def prepare_call(
    env: Any,
    actions: Any,
    states: Any,
    dt: Any,
    *,
    has_steps: bool = False,
    seeds: Any = None,
) -> Rows:
    """``prepare_rows`` for ``env``, from whose current state rows start that have none."""
    states = states_of_rows(states, actions, env.get_state)
    try:
        return prepare_rows(env.batch_spec, actions, states, dt, has_steps=has_steps, seeds=seeds)
    except InvalidStateError:
        if not follow_outgrown(env, states):
            raise
    return prepare_rows(env.batch_spec, actions, states, dt, has_steps=has_steps, seeds=seeds)


def prepare_rows(
    spec: BatchSpec,
    actions: Any,
    states: Any,
    dt: Any,
    *,
    has_steps: bool = False,
    seeds: Any = None,
) -> Rows:
    """Check a batch and convert it to its canonical form.

    ``actions`` holds one action for each row, or with ``has_steps`` ``T`` of them. ``states`` is a
    ``[B, S]`` array, a list of 1-D arrays, a 1-D object array of them, or, where states are
    opaque, any sequence of states.
    """
    actions = (check_sequences if has_steps else check_actions)(spec.action_space, actions)
    size = len(actions)
    states = check_states(spec, states)
    if len(states) != size:
        raise InvalidBatchError(
            f"{size} actions but {len(states)} states: give one state for each action"
        )
    seeds = None if seeds is None else check_seeds(seeds, size)
    return Rows(actions, states, check_dts(dt, size), seeds=seeds)


def check_actions(space: Any, actions: Any) -> Any:
    """``[B, ...]`` actions, or a list of ``B`` nested actions.

    Arrays of float32 or float64 for a ``Box`` keep their dtype, also inside nested actions; Python
    floats become float64, as in numpy; everything else is cast to the space's dtype.
    """
    if not isinstance(space, ARRAY_SPACES):
        actions = _nested_rows(space, actions)
        for row, action in enumerate(actions):
            try:
                actions[row] = own_action(space, action)
            except (KeyError, TypeError, ValueError) as error:
                message = f"action {row} ({action!r}) is not in {space}"
                raise InvalidBatchError(message) from error
        return actions
    array = _as_array(actions, "actions")
    if array.size == 0 and array.ndim <= 1:
        return np.zeros((0, *space.shape), space.dtype)
    if array.ndim == 0:
        raise InvalidBatchError(
            f"actions must be a list or array with one action for each row, got {actions!r}"
        )
    size, shape = len(array), tuple(space.shape or ())
    if array.shape[1:] != shape:
        if array.size != size * int(np.prod(shape, dtype=int)):
            raise InvalidBatchError(
                f"each action must have shape {shape}, got actions of shape {array.shape}"
            )
        array = array.reshape(size, *shape)
    return _fit_action_values(space, array)


def check_sequences(space: Any, actions: Any) -> Any:
    """``[B, T, ...]`` actions, or ``B`` lists of ``T``; dtypes as in ``check_actions``."""
    if isinstance(space, ARRAY_SPACES):
        array = _as_array(actions, "actions")
        if array.size == 0 and array.ndim <= 1:
            array = np.zeros((len(np.atleast_1d(array)), 0, *space.shape))
        if array.ndim < 2 or array.shape[2:] != tuple(space.shape or ()):
            axes = ", ".join(["B", "T", *map(str, space.shape or ())])
            raise InvalidBatchError(
                f"actions must have shape [{axes}], a sequence of actions for each row; "
                f"got {list(array.shape)}"
            )
        sequences: Any = _fit_action_values(space, array)
    else:
        sequences = [check_actions(space, row) for row in _as_list(actions)]
        if len({len(row) for row in sequences}) > 1:
            raise InvalidBatchError("actions must hold the same number of actions for each row")
    if len(sequences) and not count_steps(sequences):
        raise InvalidBatchError("actions must hold at least one action for each row")
    return sequences


def count_steps(sequences: Any) -> int:
    """``T``, the length of checked sequences of actions."""
    if isinstance(sequences, np.ndarray):
        return sequences.shape[1]
    return len(sequences[0]) if sequences else 0


def check_observs(which: str | None) -> str | None:
    """``return_observs`` of ``rollout_batch``."""
    if which not in ("last", "all", None):
        raise InvalidBatchError(f"return_observs must be 'last', 'all' or None, got {which!r}")
    return which


def _as_list(actions: Any) -> list[Any]:
    try:
        return list(actions)
    except TypeError as error:
        raise InvalidBatchError(f"actions must be a list of rows, got {actions!r}") from error


def _nested_rows(space: Any, actions: Any) -> list[Any]:
    """A list of ``B`` actions, from a list of actions or from columns nested like the space."""
    try:
        if isinstance(space, spaces.Dict) and isinstance(actions, dict):
            columns = [_nested_rows(part, actions[key]) for key, part in space.spaces.items()]
            return [dict(zip(space, row, strict=True)) for row in zip(*columns, strict=True)]
        if isinstance(space, spaces.Tuple) and isinstance(actions, tuple):
            columns = [_nested_rows(*pair) for pair in zip(space, actions, strict=True)]
            return list(zip(*columns, strict=True))
        return list(actions)
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidBatchError(f"actions are not a list or columns of {space}: {error}") from error


def check_action(space: Any, action: Any) -> Any:
    """One action, checked; dtypes as in ``check_actions``."""
    kind, given = type(space), type(action)  # the usual ones are checked in a fifth of the time
    is_plain = kind is spaces.Discrete and given in (int, np.int64)
    if is_plain and space.start <= action < space.start + space.n:
        return space.dtype.type(action)
    is_plain = kind is spaces.Box and given is np.ndarray and action.dtype in (SINGLE, DOUBLE)
    if is_plain and action.shape == space.shape:
        total = sum(action.ravel().tolist())
        if total == total:  # there is no NaN
            return action
    is_array = isinstance(space, ARRAY_SPACES)
    return check_actions(space, _as_array(action, "action")[None] if is_array else [action])[0]


def _as_array(values: Any, what: str) -> np.ndarray:
    try:
        array = np.asarray(values)
    except (ValueError, TypeError) as error:
        raise InvalidBatchError(f"{what} do not form an array: {error}") from error
    if array.dtype == object:
        try:
            array = np.array([np.asarray(value) for value in array])
        except (ValueError, TypeError) as error:
            raise InvalidBatchError(f"{what} do not form an array: {error}") from error
    if array.dtype.kind not in "biuf":
        raise InvalidBatchError(f"{what} must be numbers, got dtype {array.dtype}")
    return array


def _fit_action_values(space: Any, array: np.ndarray) -> np.ndarray:
    if array.dtype.kind == "f" and np.count_nonzero(np.isnan(array)):
        rows = np.flatnonzero(np.isnan(array).reshape(len(array), -1).any(1))
        raise InvalidBatchError(f"NaN in the action of row {rows[0]}")
    if isinstance(space, spaces.Box):
        return fit_box(space, array)
    whole = _whole_numbers(array, "actions")
    low: Any = 0 if isinstance(space, spaces.MultiBinary) else space.start
    if isinstance(space, spaces.Discrete):  # two passes are faster than the code below
        high: Any = low + space.n
        numbers = whole.ravel().tolist() if whole.size <= FEW else (whole.min(), whole.max())
        fits = not numbers or bool(min(numbers) >= low and max(numbers) < high)
    else:
        high = 2 if isinstance(space, spaces.MultiBinary) else low + space.nvec
        fits = bool(((whole >= low) & (whole < high)).all())
    if not fits:
        wrong = ((whole < low) | (whole >= high)).reshape(len(whole), -1).any(1)
        row = int(np.flatnonzero(wrong)[0])
        raise InvalidBatchError(f"the action of row {row} ({array[row]}) is not in {space}")
    return whole.astype(space.dtype, copy=False)


def _whole_numbers(array: np.ndarray, what: str) -> np.ndarray:
    if array.dtype.kind == "f":
        with np.errstate(invalid="ignore"):  # infinity is not an integer
            whole = array.astype(np.int64)
        if not (whole == array).all():
            raise InvalidBatchError(f"{what} must be whole numbers, got {array[whole != array][0]}")
        return whole
    return array.astype(np.int64, copy=False)


def check_dts(dt: Any, size: int) -> np.ndarray:
    """``[B]`` int64 from an int, a list or an array; each at least 1."""
    if type(dt) is int and 0 < dt < 1 << 62:
        return equal_dts(dt, size) if size <= MOST_KEPT else np.full(size, dt, np.int64)
    array = _as_array(dt, "dt")
    if array.dtype.kind == "b" or (array.dtype.kind == "f" and not np.isfinite(array).all()):
        raise InvalidBatchError(f"dt must be whole numbers of at least 1, got {dt!r}")
    whole = _whole_numbers(np.atleast_1d(array), "dt")
    if whole.ndim != 1 or (array.ndim and len(whole) != size):
        raise InvalidBatchError(
            f"dt must be one int or one for each of the {size} rows, got shape {array.shape}"
        )
    if whole.size and whole.min() < 1:
        raise InvalidBatchError(f"dt must be at least 1, got {int(whole.min())}")
    return whole if array.ndim else np.full(size, whole[0])


def check_dt(dt: Any) -> int:
    """One ``dt``."""
    return dt if type(dt) is int and dt > 0 else int(check_dts(np.asarray(dt).reshape(()), 1)[0])


def fill_states(states: Any, current: Callable[[], Any]) -> Any:
    """``states`` with every ``None`` replaced by ``current()``."""
    if isinstance(states, np.ndarray):
        if states.dtype != object or states.ndim != 1:
            return states
    elif type(states) is not list and not _is_sequence(states):
        return states
    has_state = [state is not None for state in states]
    if all(has_state):
        return states
    here = current()
    return [here if state is None else state for state in states]


def fill_and_check(states: Any, env: Any) -> Any:
    """Checked states of ``env``; where one is ``None``, its current state."""
    states = fill_states(states, env.get_state)
    follow_outgrown(env, states)
    return check_states(env.batch_spec, states)


def follow_outgrown(env: Any, states: Any) -> bool:
    """If a state outgrew its array in another environment, let ``env`` switch; whether it did."""
    opaque = isinstance(states, (list, tuple)) and bytes in map(type, states)
    outgrew = opaque and env.STATE_IS_ARRAY and env.unwrapped.holds_pickles()
    if outgrew:
        env.outgrow(quiet=True)
    return outgrew


def states_of_rows(states: Any, actions: Any, current: Callable[[], Any]) -> Any:
    """The states given, with ``current()`` for each row that has none.

    To be called before the spec is read: getting the current state can show that states have
    outgrown their arrays.
    """
    if states is not None:
        return fill_states(states, current)
    try:
        return [current()] * len(actions)
    except TypeError:
        raise InvalidBatchError(f"actions must be a list or array, got {actions!r}") from None


def check_states(spec: BatchSpec, states: Any) -> np.ndarray | list[Any]:
    """A ``[B, S]`` array or a list of states, each checked and contiguous."""
    if isinstance(states, np.ndarray) and states.dtype != object and spec.state_shape is not None:
        if states.size == 0 and states.ndim <= 1:
            return np.zeros((0, *spec.state_shape), spec.state_dtype)
        if states.shape[1:] != spec.state_shape or states.dtype != spec.state_dtype:
            raise InvalidStateError(
                f"states must have shape [B, {_size(spec)}] and dtype {spec.state_dtype}, "
                f"got {list(states.shape)} and {states.dtype}"
            )
        return np.ascontiguousarray(states)
    if type(states) not in (list, np.ndarray) and not _is_sequence(states):
        raise InvalidStateError(
            f"states must be an array or a list of states, got {type(states).__name__}"
        )
    if spec.is_batched and len(states) >= MANY and (joined := _join(spec, states)) is not None:
        return joined
    shape, dtype = spec.state_shape, spec.state_dtype
    return [
        state
        if type(state) is np.ndarray
        and state.shape == shape
        and state.dtype == dtype
        and state.flags.c_contiguous
        else check_state(spec, state, f"state {row}")
        for row, state in enumerate(states)
    ]


def _is_sequence(states: Any) -> bool:
    is_text = isinstance(states, (str, bytes))
    return isinstance(states, (np.ndarray, Sequence)) and not is_text


def _join(spec: BatchSpec, states: Any) -> np.ndarray | None:
    """States as one array, if they are arrays that fit: in a third of the time of a loop."""
    if set(map(type, states)) != {np.ndarray} or not isinstance(states, (list, tuple)):
        return None
    try:
        lengths = set(map(len, states))
        joined = np.concatenate(states, dtype=spec.state_dtype, casting="no")
    except (TypeError, ValueError):
        return None
    fits = joined.ndim == 1 and lengths == {*(spec.state_shape or ())}
    return joined.reshape(len(states), -1) if fits else None


def check_state(spec: BatchSpec, state: Any, name: str = "the state") -> Any:
    """The state as a contiguous array; raise if its shape or dtype is not the environment's."""
    if state is None:
        raise InvalidStateError(f"{name} is None: give a state, or states=None for all rows")
    if spec.state_shape is None:
        return state
    shape, dtype = getattr(state, "shape", None), getattr(state, "dtype", None)
    if shape != spec.state_shape or dtype != spec.state_dtype:
        raise InvalidStateError(
            f"{name} must be an array of shape [{_size(spec)}] and dtype {spec.state_dtype}, "
            f"got {type(state).__name__} of shape {shape} and dtype {dtype}: "
            "is it a state of another environment?"
        )
    return np.ascontiguousarray(state)


def check_saved(state: Any, env: Any) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and dtype of a state that an environment saved as an array."""
    if not isinstance(state, np.ndarray) or state.ndim != 1:
        raise InvalidStateError(
            f"{type(env).__name__} saves {type(state).__name__} states: return 1-D arrays "
            "of a fixed length, or set STATE_IS_ARRAY = False"
        )
    return state.shape, state.dtype


def _size(spec: BatchSpec) -> str:
    return ", ".join(str(length) for length in spec.state_shape or ())


def check_seeds(seeds: Any, size: int) -> np.ndarray:
    """``[B]`` int64 from an int, a list or an array; each at least 0 and below 2**63."""
    try:
        array = np.asarray(seeds)
        whole = array.astype(np.int64) if array.size else np.empty(0, np.int64)
        fits = array.dtype.kind == "i" or (array.dtype.kind in "uO" and (whole == array).all())
        fits = bool(fits) and not (whole < 0).any()
    except (TypeError, ValueError, OverflowError):
        fits = False
    if not (fits or array.size == 0) or array.shape not in ((), (size,)):
        raise InvalidBatchError(
            f"seeds must be one int for all or one for each of the {size} rows, each from 0 to "
            f"2**63 - 1, got {seeds!r}"
        )
    return np.full(size, whole) if array.ndim == 0 else whole
