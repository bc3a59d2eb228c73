"""Many targets side by side: each process checks one after another, and may hang or crash."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Generator, Sequence

from tests.tools.survey.checking import WRONG, Row
from tests.tools.survey.targets import Target

__all__ = ["Checker", "survey"]

SERVE = "from tests.tools.survey.checking import main; main()"


class Checker:
    """A process that checks one target at a time, with everything that it starts itself."""

    def __init__(self) -> None:
        self._log = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-c", f"import sys; sys.path[:] = {sys.path!r}; {SERVE}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env={**os.environ, "PYTHONWARNINGS": "ignore"},
            start_new_session=True,  # so that all of it can be ended, and Ctrl-C is ours
        )
        self.target: Target | None = None
        self.started = 0.0

    def ask(self, target: Target, n_workers: int | None) -> None:
        """Begin with ``target``."""
        self.target, self.started = target, time.monotonic()
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has died: the answer will say so
            self._process.stdin.write(json.dumps([target, n_workers]) + "\n")
            self._process.stdin.flush()

    def fileno(self) -> int:
        assert self._process.stdout is not None
        return self._process.stdout.fileno()

    def answer(self) -> Row | None:
        """The row, once there is something to read; ``None``: the process has ended."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        return Row(**json.loads(line)) if line.endswith("\n") else None

    def last_words(self) -> str:
        """How the process ended, and the last line that it printed."""
        code = self._process.wait()
        self._log.seek(0)
        last = self._log.read().strip().splitlines()[-1:]
        return f"the process ended with {code}: {' '.join(last)}".rstrip(": ")

    def end(self) -> None:
        """End it and all that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._log):
            with contextlib.suppress(BrokenPipeError):
                stream.close()  # type: ignore[union-attr]


def survey(
    targets: Sequence[Target],
    *,
    jobs: int = 1,
    timeout: float = 300.0,
    n_workers: int | None = None,
) -> Generator[Row, None, None]:
    """Check the targets, ``jobs`` of them side by side; yield rows as they come.

    A target that takes more than ``timeout`` seconds, or ends its process, is a row like others.
    """
    todo, at_work = deque(targets), selectors.DefaultSelector()
    try:
        while todo or at_work.get_map():
            while todo and len(at_work.get_map()) < jobs:
                checker = Checker()
                at_work.register(checker, selectors.EVENT_READ)
                checker.ask(todo.popleft(), n_workers)
            ready = {key.fileobj for key, _ in at_work.select(timeout=1.0)}
            for key in list(at_work.get_map().values()):
                checker = key.fileobj  # type: ignore[assignment]
                row = _row_of(checker, checker in ready, timeout)
                if row is None:
                    continue
                if todo and row.seconds:
                    checker.ask(todo.popleft(), n_workers)
                else:
                    at_work.unregister(checker)
                    checker.end()
                yield row
    finally:
        for key in list(at_work.get_map().values()):
            key.fileobj.end()  # type: ignore[union-attr]
        at_work.close()


def _row_of(checker: Checker, is_ready: bool, timeout: float) -> Row | None:
    """What there is to say about the target that is being checked, if there is anything yet."""
    target = checker.target
    assert target is not None
    if is_ready:
        row = checker.answer()
        if row is not None:
            return row
        reason = checker.last_words()
    elif time.monotonic() - checker.started > timeout:
        reason = f"no answer within {timeout:g} s"
    else:
        return None
    return Row(target.family, target.name, target.variant, WRONG, reason)
