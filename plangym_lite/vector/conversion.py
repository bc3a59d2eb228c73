"""Conversion of indices, seeds and masks for vector environments, and of infos to columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

__all__ = [
    "Indices",
    "Seeds",
    "chosen_numbers",
    "columns_of_numbers",
    "refuse_own",
    "reset_arguments",
    "seeds_of",
]

PLAIN_NUMBERS = (int, float, bool)

Indices = int | slice | Iterable[int] | None
"""Indices of environments: ``None`` for all, a number, a slice or several numbers."""

Seeds = int | Sequence[int | None] | np.ndarray | None
"""Seeds: one per environment, or the first of them; Python or numpy integers."""


def chosen_numbers(indices: Indices, count: int) -> list[int]:
    """``indices`` as non-negative numbers, for ``count`` environments."""
    everyone = range(count)
    if indices is None:
        return list(everyone)
    if isinstance(indices, slice):
        return list(everyone[indices])
    try:
        numbers: list[Any] = list(indices)  # type: ignore[arg-type]
    except TypeError:
        numbers = [indices]
    try:
        return [everyone[number] for number in numbers]
    except (IndexError, TypeError) as error:
        raise type(error)(f"{indices!r} does not index {count} environments") from None


def seeds_of(seeds: Seeds, count: int) -> list[int | None]:
    """A list of seeds; an int ``s`` means ``s + i``, ``None`` no seeds."""
    if seeds is None:
        return [None] * count
    if isinstance(seeds, np.ndarray):
        seeds = seeds.tolist()
    if isinstance(seeds, (int, np.integer)):
        return [int(seeds) + index for index in range(count)]
    if isinstance(seeds, str) or not isinstance(seeds, Iterable):
        raise TypeError(f"a seed must be an integer, got {seeds!r}")
    return [None if seed is None else _integer(seed) for seed in seeds]


def _integer(seed: Any) -> int:
    try:
        return seed.__index__()
    except AttributeError:
        raise TypeError(f"a seed must be an integer, got {seed!r}") from None


def reset_arguments(
    seed: Seeds, options: dict[str, Any] | None, count: int
) -> tuple[list[int | None], dict[str, Any] | None, np.ndarray | None]:
    """A seed per environment, the options, and the mask of environments to reset, checked."""
    seeds = seeds_of(seed, count)
    if len(seeds) != count:
        raise ValueError(f"{len(seeds)} seeds for {count} environments")
    return seeds, *_split_mask(options, count)


def _split_mask(
    options: dict[str, Any] | None, num_envs: int
) -> tuple[dict[str, Any] | None, np.ndarray | None]:
    if options is None or "reset_mask" not in options:
        return options, None
    mask, name = options["reset_mask"], "`options['reset_mask']`"
    if not isinstance(mask, np.ndarray):
        raise TypeError(f"{name} must be a numpy array, got {type(mask)}")
    if mask.shape != (num_envs,):
        raise ValueError(f"{name} must have shape `({num_envs},)`, got {mask.shape}")
    if mask.dtype != np.bool_:
        raise TypeError(f"{name} must have `dtype=np.bool_`, got {mask.dtype}")
    if not mask.any():
        raise ValueError(
            f"{name} must contain a boolean array with at least one True value, got "
            f"reset_mask={mask}"
        )
    return {key: value for key, value in options.items() if key != "reset_mask"}, mask.copy()


def refuse_own(name: str) -> None:
    """Raise if ``name`` is a method that must not be called by name."""
    if name in ("reset", "step", "close"):
        raise ValueError(
            f"Trying to call function `{name}` with `call`, use `{name}` directly instead."
        )


def columns_of_numbers(infos: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """What Gymnasium's ``_add_info`` makes of infos of the same numbers; ``None`` for others."""
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
