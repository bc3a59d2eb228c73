"""RequestHandler: the worker's side, with the environment, blocks and the queue."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from plangym_lite.transitions import Columns, Form, Rows, empty_columns
from plangym_lite.vectorization.memory.arenas import Arena
from plangym_lite.vectorization.memory.blocks import Block
from plangym_lite.vectorization.memory.chunks import ChunkQueue
from plangym_lite.vectorization.memory.layout import (
    BatchColumns,
    Layout,
    pickled_leaves,
    put_columns,
)
from plangym_lite.vectorization.worker.attachments import ATTACH, DETACH, QUEUE, SENT_ROWS
from plangym_lite.vectorization.worker.messages import dump_error
from plangym_lite.vectorization.worker.plain import PlainEnv

__all__ = ["RequestHandler", "RowsResult", "public", "put_rows", "to_send"]


class RowsResult(NamedTuple):
    """What a worker reports about the chunks that it ran."""

    chunks: Sequence[tuple[int, int]]  # start and stop of each
    infos: list[dict[str, Any]]  # of their rows, in the order of chunks
    pickled: list[list[Any]]  # outgoing columns that are lists, of the same rows
    seconds: float = 0.0  # run time of the rows
    failure: tuple[int, int, bytes] | None = None  # the chunk that failed, and its error
    refused: tuple[int, int] | None = None  # a chunk of a block not attached yet


class RequestHandler:
    """An environment, with the attached blocks and queue."""

    def __init__(self, env: Any) -> None:
        self.env = env
        self.blocks: dict[int, BatchColumns | Exception] = {}  # or why it could not be attached
        self._arenas: dict[int, Arena] = {}
        self.queue: ChunkQueue | Exception | None = None  # likewise

    def access(self, name: str) -> tuple[bool, Any]:
        """Whether an attribute is callable and, if not, its value."""
        value = self._find(name)
        return (True, None) if callable(value) else (False, value)

    def call(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return self._find(name)(*args, **kwargs)

    def _find(self, name: str) -> Any:
        is_plain = isinstance(self.env, PlainEnv)
        return self.env.find(public(name)) if is_plain else getattr(self.env, public(name))

    def handle(
        self, take_fd: Callable[[], int], name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Handle a CALL for the environment or the handler; ``take_fd()``: a descriptor in it."""
        if name == ATTACH:
            return self._attach(take_fd, *args)
        if name == QUEUE:
            return self._take_from(take_fd)
        if name == DETACH:
            self.blocks.pop(args[0], None)
            self._arenas.pop(args[0], None)
            return None
        if name == SENT_ROWS:
            return self._run_sent(*args)
        return self.call(name, args, kwargs)

    def _take_from(self, take_fd: Callable[[], int]) -> None:
        """Attach a queue; if that fails, taking chunks from it raises the error."""
        if isinstance(self.queue, ChunkQueue):
            self.queue.close()
        try:
            self.queue = ChunkQueue(take_fd())
        except Exception as error:
            self.queue = error
            raise

    def _attach(
        self,
        take_fd: Callable[[], int],
        number: int,
        arena: int,
        nbytes: int,
        offset: int,
        is_new: bool,
        *layout: Any,
    ) -> None:
        """Attach a block and, if new, its arena; if that fails, its next rows raise the error."""
        try:
            if is_new:
                self._arenas[arena] = Arena(nbytes, take_fd(), arena)
                self._arenas[arena].close()  # it is mapped
            block = Block(Layout(*layout), self._arenas[arena], offset, number)
        except Exception as error:
            self.blocks[number] = error
            raise
        self.blocks[number] = block.columns

    def _run_sent(self, rows: tuple[Any, ...], form: tuple[Any, ...]) -> tuple[Any, ...]:
        out = empty_columns(self.env.batch_spec, len(rows[2]), Form(*form))
        began = time.perf_counter()
        infos = self.env.make_transitions(Rows(*rows), out)
        return tuple(out[:-1]), to_send(infos), time.perf_counter() - began

    def run_rows(self, number: int, start: int, stop: int) -> RowsResult:
        columns = self.blocks[number]
        if isinstance(columns, Exception):
            raise columns
        began = time.perf_counter()
        found = self._run_chunk(columns, start, stop)
        return RowsResult([(start, stop)], *found, time.perf_counter() - began)

    def _run_chunk(
        self, columns: BatchColumns, start: int, stop: int
    ) -> tuple[list[dict[str, Any]], list[list[Any]]]:
        out = columns.out_of(start, stop)
        infos = self.env.make_transitions(columns.rows_of(start, stop), out)
        return infos, pickled_leaves(out) if columns.has_pickled_leaves else []

    def take_chunks(self, taker: int) -> RowsResult:
        """Run chunks from the queue until it is empty, noted in row ``taker`` of ``at_work``."""
        chunks: list[tuple[int, int]] = []
        infos: list[dict[str, Any]] = []
        pickled: list[list[Any]] = []
        failure = refused = None
        began, queue = time.perf_counter(), self.queue
        if not isinstance(queue, ChunkQueue):
            raise queue or RuntimeError("no queue was sent")
        while (token := queue.take()) is not None:
            number, *chunk = token
            columns = self.blocks.get(number)
            if columns is None:  # its message comes after this one
                refused = tuple(chunk)
                break
            try:
                if isinstance(columns, Exception):
                    raise columns
                columns.at_work[taker] = chunk
                found, leaves = self._run_chunk(columns, *chunk)
                columns.at_work[taker] = 0
            except (Exception, SystemExit) as error:
                failure = *chunk, dump_error(error)
                break
            chunks.append((chunk[0], chunk[1]))
            infos += found
            pickled = [[*one, *more] for one, more in zip(pickled, leaves)] or leaves  # noqa: B905
        seconds = time.perf_counter() - began
        return RowsResult(chunks, infos, pickled, seconds, failure, refused)  # type: ignore[arg-type]


def put_rows(
    block: Block,
    chunk: tuple[int, int],
    fields: Sequence[Any],
    infos: list[dict[str, Any]],
    seconds: float,
) -> RowsResult:
    """Write the results of a chunk, which came in a message, into its block."""
    out = Columns._make([*fields, block.layout.form])
    put_columns(block.columns.out_of(*chunk), out)
    return RowsResult([chunk], infos, pickled_leaves(out), seconds)


def public(name: Any) -> str:
    """Return ``name`` if it is public, else raise."""
    if not isinstance(name, str):
        raise TypeError(f"the name of a method or attribute must be a string, got {name!r}")
    if name.startswith("_"):
        raise AttributeError(f"{name!r} is private: only public names may be used in a worker")
    return name


NUMBERS = (np.number, np.bool_)
Infos = list[dict[str, Any]]


def to_send(infos: Infos) -> Infos | _Columns:
    """A compact value to pickle for infos; unpickling gives the infos."""
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
    """A column as an array if it holds numpy numbers of one type."""
    kinds = set(map(type, column))
    if len(kinds) > 1 or not issubclass(kinds.pop(), NUMBERS):
        return column
    array = np.array(column)
    return array if array.dtype.kind in "biufc" else column  # units of durations may differ


def _rows(names: list[str], columns: list[Sequence[Any]]) -> Infos:
    rows = zip(*columns, strict=True)
    return [dict(zip(names, row)) for row in rows]  # noqa: B905
