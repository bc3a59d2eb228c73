"""PackedInfos: infos that hold numpy's numbers, pickled column by column.

One by one such numbers pickle slowly: of a step of HalfCheetah a fifth went there. Python's own
are quicker in their dicts. Unpickled, either is the list of dicts that it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["PackedInfos"]

NUMBERS = (np.number, np.bool_)


class PackedInfos:
    """Infos on their way to another process; over there they are plain again.

    Args:
        infos: those of some rows.
    """

    def __init__(self, infos: list[dict[str, Any]]) -> None:
        self._infos = infos

    def __reduce__(self) -> tuple[Any, ...]:
        infos = self._infos
        if not infos or not any(isinstance(value, NUMBERS) for value in infos[0].values()):
            return list, (infos,)
        names = list(infos[0])
        if any(type(info) is not dict or list(info) != names for info in infos):
            return list, (infos,)
        columns = zip(*(info.values() for info in infos), strict=True)
        return _unpack, (names, [_packed(column) for column in columns])


def _packed(column: tuple[Any, ...]) -> Sequence[Any] | np.ndarray:
    """A column as an array if it holds numpy's numbers, all of one type."""
    kinds = set(map(type, column))
    if len(kinds) > 1 or not issubclass(kinds.pop(), NUMBERS):
        return column
    array = np.array(column)
    return array if array.dtype.kind in "biufc" else column  # durations differ in their units


def _unpack(names: list[str], columns: list[Sequence[Any]]) -> list[dict[str, Any]]:
    rows = zip(*columns, strict=True)
    return [dict(zip(names, row)) for row in rows]  # noqa: B905
