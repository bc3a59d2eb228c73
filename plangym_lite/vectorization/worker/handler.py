"""RequestHandler: what sits on the worker's side of every border."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from plangym_lite.vectorization.memory.blocks import Block
from plangym_lite.vectorization.memory.layout import BatchColumns, Layout, LeftOver, odd_leaves
from plangym_lite.vectorization.memory.queue import RowQueue
from plangym_lite.vectorization.worker.attachments import ATTACH, DETACH, QUEUE, ROWS
from plangym_lite.vectorization.worker.messages import dump_error

__all__ = ["RequestHandler", "RowsReply", "no_file", "public", "to_send"]


class RowsReply(NamedTuple):
    """What a worker answers for a piece of a batch."""

    infos: list[dict[str, Any]]  # of the piece, then of those taken
    odd: list[list[Any]]  # outgoing columns that are lists
    taken: Sequence[tuple[int, int]] = ()  # pieces that it took from the queue
    failure: tuple[int, bytes] | None = None  # first row of a piece taken that failed, and how


class RequestHandler:
    """An environment, and the blocks and the queue that it knows."""

    def __init__(self, env: Any) -> None:
        self.env = env
        self.blocks: dict[int, BatchColumns | Exception] = {}  # or why it could not be had
        self.queue: RowQueue | None = None

    def access(self, name: str) -> tuple[bool, Any]:
        """Whether an attribute is callable and, if not, its value."""
        value = getattr(self.env, public(name))
        return (True, None) if callable(value) else (False, value)

    def call(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call a method of the environment."""
        return getattr(self.env, public(name))(*args, **kwargs)

    def answer(
        self, take_fd: Callable[[], int], name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Answer a call that is for the environment or, see ``sharing``, for the handler itself.

        ``take_fd`` gives the descriptor that comes with the call.
        """
        if name == ROWS:
            infos, *others = self.run_rows(*args)
            return to_send(infos), *others
        if name == ATTACH:
            return self._attach(take_fd, *args)
        if name == QUEUE:
            self.queue = None
            self.queue = RowQueue(take_fd())
            return None
        if name == DETACH:
            self.blocks.pop(args[0], None)
            return None
        return self.call(name, args, kwargs)

    def _attach(self, take_fd: Callable[[], int], number: int, *layout: Any) -> None:
        """Take a block; if that fails, whoever needs it hears of it."""
        try:
            block = Block(Layout(*layout), take_fd(), number)
        except Exception as error:
            self.blocks[number] = error
            raise
        self.blocks[number] = block.columns
        block.drop()

    def run_rows(
        self, number: int, start: int, stop: int, left_over: LeftOver, takes_more: bool
    ) -> RowsReply:
        """Run rows of a known block, then perhaps what is in the queue."""
        columns = self.blocks[number]
        if isinstance(columns, Exception):
            raise columns
        rows = columns.rows_of(start, stop, left_over)
        out = columns.out_of(start, stop)
        infos = self.env.make_transitions(rows, out)
        if takes_more and self.queue is not None:
            return self._take_more(columns, infos)
        return RowsReply(infos, odd_leaves(out) if columns.has_odd_leaves else [])

    def _take_more(self, columns: BatchColumns, infos: list[dict[str, Any]]) -> RowsReply:
        taken: list[tuple[int, int]] = []
        for start, stop in self.queue or ():
            rows = columns.rows_of(start, stop, (None, None))
            try:
                infos += self.env.make_transitions(rows, columns.out_of(start, stop))
            except (Exception, SystemExit) as error:
                return RowsReply(infos, [], taken, (start, dump_error(error)))
            taken.append((start, stop))
        return RowsReply(infos, [], taken)


def no_file() -> int:
    """The ``take_fd`` of a call with which none comes."""
    raise OSError("no file comes with this call")


def public(name: Any) -> str:
    """A name that may cross the border."""
    if not isinstance(name, str):
        raise TypeError(f"the name of a method or attribute must be a string, got {name!r}")
    if name.startswith("_"):
        raise AttributeError(f"{name!r} is private: only public names cross the border")
    return name


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
