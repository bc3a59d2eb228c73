"""Checks of what an environment's ``step`` and ``reset`` return, with clear errors.

Callers compare types first, so that the usual return value costs next to nothing to check.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from plangym_lite.errors import InvalidStepError
from plangym_lite.nested.own import own_copy

__all__ = ["as_info", "as_reward", "no_step", "run_frames", "split_reset"]

NUMPY_NUMBERS = {
    kind
    for kind in np.sctypeDict.values()
    if issubclass(kind, (np.integer, np.floating, np.bool_))
    and not issubclass(kind, np.timedelta64)
}
NUMBERS = frozenset({float, int, bool, *NUMPY_NUMBERS})
"""Scalar types that ``float`` converts."""


def run_frames(
    step: Callable[[Any], Any], action: Any, n_frames: int, env: Any
) -> tuple[Any, float, bool, bool, dict[str, Any]]:
    """Repeat an action for some frames, fewer if the episode ends.

    Returns the last observation, the sum of rewards, the flags and the last info. The environment
    gets a copy of the action, which it may change.

    Raises:
        InvalidStepError: a step did not return five values of the expected types.
    """
    if type(action) not in NUMBERS:
        if type(action) is np.ndarray and not action.dtype.hasobject:
            action = action.copy()  # an eighth of the time of own_copy
        else:
            action = own_copy(action)
    total, n_step, over = 0.0, 0, False
    while n_step < n_frames and not over:
        answer = step(action)
        try:
            obs, reward, terminated, truncated, info = answer
        except (TypeError, ValueError):
            raise no_step(answer, env) from None
        if type(reward) is not float:
            reward = float(reward) if type(reward) in NUMBERS else as_reward(reward, env)
        total, n_step, over = total + reward, n_step + 1, terminated or truncated
    try:
        info = {**info, "n_step": n_step}
    except TypeError:
        raise no_info(info, env) from None
    return obs, total, bool(terminated), bool(truncated), info


def no_step(answer: Any, env: Any) -> InvalidStepError:
    """The error for a ``step`` that did not return five values."""
    return InvalidStepError(
        f"step() of {env!r} returned {_described(answer)}, not the five values (obs, reward, "
        "terminated, truncated, info): environments of the old gym need "
        "shimmy.GymV21CompatibilityV0 or another wrapper"
    )


def split_reset(answer: Any, env: Any) -> tuple[Any, dict[str, Any]]:
    """The observation and a copy of the info that ``env.reset`` returned."""
    if type(answer) is not tuple or len(answer) != 2:
        raise InvalidStepError(
            f"reset() of {env!r} returned {_described(answer)}, not the two values (obs, info): "
            "environments of the old gym need shimmy.GymV21CompatibilityV0 or another wrapper"
        )
    obs, info = answer
    return obs, dict(info if type(info) is dict else as_info(info, env, "reset"))


def as_reward(reward: Any, env: Any) -> float:
    """A reward, or an array with one element, as a float; ``InvalidStepError`` if it is neither."""
    if type(reward) in NUMBERS:
        return float(reward)
    item = getattr(reward, "item", None)
    try:
        return float(reward if item is None else item())
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise InvalidStepError(
            f"step() of {env!r} returned the reward {_described(reward)}: a reward is one number. "
            "Make one of several with a wrapper (gymnasium.wrappers.TransformReward, or "
            "mo_gymnasium.wrappers.LinearReward for environments of mo-gymnasium)"
        ) from None


def as_info(info: Any, env: Any, method: str = "step") -> Mapping[str, Any]:
    """The info unchanged, if it is a mapping, else ``InvalidStepError``."""
    if not isinstance(info, Mapping):
        raise no_info(info, env, method)
    return info


def no_info(info: Any, env: Any, method: str = "step") -> InvalidStepError:
    return InvalidStepError(
        f"{method}() of {env!r} returned {_described(info)} for its info: return a dict, "
        "which may be empty"
    )


def _described(value: Any) -> str:
    """A short description of a value, with its shape if it has one."""
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if shape is not None:
        return f"{value!r:.100} (shape {tuple(shape)}, dtype {dtype})"
    if isinstance(value, (tuple, list)):
        return f"a {type(value).__name__} of {len(value)}: {value!r:.100}"
    return f"{value!r:.100}"
