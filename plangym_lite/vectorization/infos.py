"""Infos that hold numpy's numbers, pickled column by column.

One by one such numbers pickle slowly: the four of a step of HalfCheetah took 12 us, the step 65.
Python's own are quicker in their dicts. Unpickled, either is the list of dicts that it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["to_send"]

NUMBERS = (np.number, np.bool_)
Infos = list[dict[str, Any]]


def to_send(infos: Infos) -> Infos | _Columns:
    """What to pickle in place of infos; unpickled it is infos again."""
    if not infos or not any(isinstance(value, NUMBERS) for value in infos[0].values()):
        return infos
    names = list(infos[0])
    if any(type(info) is not dict or list(info) != names for info in infos):
        return infos
    columns = zip(*(info.values() for info in infos), strict=True)
    return _Columns(names, [_packed(column) for column in columns])


class _Columns:
    def __init__(self, names: list[str], columns: list[Sequence[Any] | np.ndarray]) -> None:
        self._args = names, columns

    def __reduce__(self) -> tuple[Any, ...]:
        return _rows, self._args


def _packed(column: tuple[Any, ...]) -> Sequence[Any] | np.ndarray:
    """A column as an array if it holds numpy's numbers, all of one type."""
    kinds = set(map(type, column))
    if len(kinds) > 1 or not issubclass(kinds.pop(), NUMBERS):
        return column
    array = np.array(column)
    return array if array.dtype.kind in "biufc" else column  # durations differ in their units


def _rows(names: list[str], columns: list[Sequence[Any]]) -> Infos:
    rows = zip(*columns, strict=True)
    return [dict(zip(names, row)) for row in rows]  # noqa: B905
