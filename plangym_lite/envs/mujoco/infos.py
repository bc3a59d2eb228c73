"""The info of a state as numbers.

A row of float64::

    keys | types | values

``keys`` numbers the sets of keys that were found, from 1; 0 is the empty info. ``types`` has three
bits for each value: an environment may report an ``int`` in one step and a ``float`` in another.
``B`` denotes the number of rows.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from plangym_lite.errors import InvalidStateError

__all__ = ["InfoMemory", "Shapes", "shapes_of"]

Shapes = dict[str, tuple[int, ...]]
"""The shape of each value of an info."""
TYPES = float, int, bool, np.float64, np.float32, np.int64, np.bool_
ARRAY = 7  # of float64, with at least one dimension
CODES: dict[type, int] = {kind: code for code, kind in enumerate(TYPES)}
MOST_VALUES = 17  # of which the types fit into a float64
BITS = 3


class InfoMemory:
    """Saves and restores infos.

    Args:
        found: the infos that the environment is known to give.
    """

    def __init__(self, found: Iterable[Shapes]) -> None:
        self._found = [{}, *(shapes for shapes in found if shapes)]
        self._numbers = {tuple(shapes): number for number, shapes in enumerate(self._found)}
        self._parts = [list(_parts_of(shapes)) for shapes in self._found]
        self.size = max(parts[-1][0].stop if parts else 2 for parts in self._parts)
        self._packers: dict[Any, Any] = {}  # by keys and types, if all values are single numbers

    def save(self, info: dict[str, Any], out: np.ndarray) -> None:
        """Write an info into ``out``, ``[size]``.

        Raises:
            InvalidStateError: it has other keys or types than those that were found.
        """
        kinds = *info, *map(type, info.values())
        known = self._packers.get(kinds)
        if known is not None:  # in a third of the time
            known[0](out, 0, known[1], known[2], *info.values())
            return
        numbers: list[float] = [self._number_of(info), 0]
        types = 0
        for place, value in enumerate(info.values()):
            code = _code_of(value)
            types |= code << BITS * place
            numbers += value.ravel().tolist() if code == ARRAY else [float(value)]
        numbers[1] = types
        if len(numbers) > self.size:
            raise InvalidStateError(f"an info has more numbers than before: {info}")
        out[: len(numbers)] = numbers
        out[len(numbers) :] = 0
        if CODES.keys() >= set(kinds[len(info) :]):
            padding = (self.size - len(numbers)) * out.itemsize
            pack_into = struct.Struct(f"{len(numbers)}d{padding}x").pack_into
            self._packers[kinds] = pack_into, *numbers[:2]

    def _number_of(self, info: dict[str, Any]) -> int:
        number = self._numbers.get(tuple(info))
        if number is None:
            raise InvalidStateError(f"an info has other keys than before: {list(info)}")
        return number

    def save_columns(self, told: dict[str, Any], out: np.ndarray) -> None:
        """Write infos, given as columns, into ``out``, ``[B, size]``."""
        number = self._number_of(told)
        types: Any = 0
        out[...] = 0
        for place, (column, (part, shape)) in enumerate(
            zip(told.values(), self._parts[number], strict=True)
        ):
            types = types | _codes_of(column) << (BITS * place)
            if shape:
                out[:, part] = np.reshape(column, (len(out), -1))
            else:
                out[:, part.start] = column
        out[:, 0], out[:, 1] = number, types

    def load(self, row: np.ndarray) -> dict[str, Any]:
        """The info that was written into ``row``.

        Raises:
            InvalidStateError: it is no such row.
        """
        number, types, *_ = row.tolist()
        if number not in range(len(self._found)) or not 0 <= types < 1 << BITS * MOST_VALUES:
            raise InvalidStateError(f"not the info of a state: its numbers are {row}")
        info, types = {}, int(types)
        for name, (place, shape) in zip(
            self._found[int(number)], self._parts[int(number)], strict=True
        ):
            part, code = row[place], types & ARRAY
            info[name] = part.reshape(shape).copy() if code == ARRAY else TYPES[code](part[0])
            types >>= BITS
        return info


def shapes_of(info: dict[str, Any]) -> Shapes | None:
    """The shapes of an info's values; ``None`` if they cannot be saved as numbers."""
    values = info.values()
    known = all(type(value) in CODES or _is_array(value) for value in values)
    if not known or len(info) > MOST_VALUES:
        return None
    return {name: np.shape(value) for name, value in info.items()}


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.ndim > 0 and value.dtype == np.float64


def _parts_of(shapes: Shapes) -> Iterator[tuple[slice, tuple[int, ...]]]:
    """The place of each value in a row, and its shape."""
    start = 2
    for shape in shapes.values():
        yield slice(start, start + math.prod(shape)), shape
        start += math.prod(shape)


def _code_of(value: Any) -> int:
    code = CODES.get(type(value), ARRAY)
    if code == ARRAY and not _is_array(value):
        raise InvalidStateError(f"an info has a value of {type(value)}")
    return code


def _codes_of(column: Any) -> Any:
    """The types of the values of a column, one for all or one for each."""
    if not isinstance(column, np.ndarray):
        return np.array([_code_of(value) for value in column], np.int64)
    return CODES[column.dtype.type] if column.ndim == 1 else ARRAY
