"""One id checked by the exactness contract, and the process that checks one after another."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import statistics
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import IO, Any

import gymnasium as gym

from plangym_lite.cli.target import find_target
from plangym_lite.core import PlanEnv
from plangym_lite.envs.gymnasium.env import PlangymEnv
from plangym_lite.errors import NotCloneableError
from plangym_lite.registry import make
from plangym_lite.testing.contract.contract import check_exact
from tests.tools.survey.targets import Target

__all__ = [
    "EXACT",
    "NOT_MADE",
    "REFUSED",
    "WRONG",
    "Row",
    "end_with_parent",
    "check_target",
    "main",
    "mechanism_of",
    "serve",
    "time_states",
]

EXACT, WRONG, REFUSED, NOT_MADE = "exact", "wrong", "refused", "not made"
ROUNDS, SECONDS = 200, 0.2  # of timing


@dataclass
class Row:
    """What came out for one target."""

    family: str
    name: str
    variant: str
    verdict: str
    reason: str = ""  # the first difference, or why it is not made
    mechanism: str = ""
    state_bytes: int | None = None
    save_us: float | None = None
    restore_us: float | None = None
    pictures: bool = False  # whether they were compared
    checks: int = 0
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0


def check_target(target: Target, n_workers: int | None = None) -> Row:
    """Run the contract on one target; whatever happens is in the row.

    The contract makes the first environment: one that was made before could make up for it.
    """
    start = time.perf_counter()
    row = Row(target.family, target.name, target.variant, WRONG)
    make_env: Callable[[], PlanEnv] = partial(make, find_target(target.name), **target.options)
    try:
        report = check_exact(make_env, name=target.name, n_workers=n_workers, **target.walk)
        with contextlib.nullcontext() if report.exact else contextlib.suppress(Exception):
            _measure(make_env, row)
    except NotCloneableError as error:
        row.verdict, row.reason = REFUSED, _line(error, named=False)
    except Exception as error:  # whatever a foreign environment raises
        row.reason = _line(error)
        if _gymnasium_cannot_either(target.name):
            row.verdict = NOT_MADE
    else:
        row.verdict, row.reason = EXACT if report.exact else WRONG, report.difference or ""
        row.state_bytes, row.pictures = report.state_bytes, report.pictures
        row.checks, row.notes = report.checks, report.notes
    row.seconds = round(time.perf_counter() - start, 2)
    return row


def _measure(make_env: Callable[[], PlanEnv], row: Row) -> None:
    """How states are held, and how long that takes; of what is wrong as far as it goes."""
    with make_env() as env:
        row.mechanism = mechanism_of(env)
        row.save_us, row.restore_us = time_states(env)


def mechanism_of(env: PlanEnv) -> str:
    """How the states of an environment are held."""
    if not isinstance(env, PlangymEnv):
        return type(env).__name__
    if env._replayed is not None:
        return "replay"
    own = env._is_plain or type(env).save_bytes is not PlangymEnv.save_bytes
    return type(env).__name__ if own else "snapshot"


def time_states(env: PlanEnv) -> tuple[float, float]:
    """Microseconds of one ``get_state`` after a step, and of one ``set_state``: medians."""
    env.action_space.seed(0)
    env.reset(return_state=False, seed=0)
    saves: list[int] = []
    restores: list[int] = []
    states: list[Any] = []
    stop = time.perf_counter() + SECONDS
    while len(saves) < 2 or (len(saves) < ROUNDS and time.perf_counter() < stop):
        env.step(env.sample_action())
        saves.append(_nanoseconds(lambda: states.append(env.get_state())))
    stop = time.perf_counter() + SECONDS
    while len(restores) < 2 or (len(restores) < ROUNDS and time.perf_counter() < stop):
        state = states[(7 * len(restores)) % len(states)]
        restores.append(_nanoseconds(lambda: env.set_state(state)))  # noqa: B023
    save, restore = (round(statistics.median(each) / 1000, 1) for each in (saves, restores))
    return save, restore


def _nanoseconds(call: Callable[[], Any]) -> int:
    start = time.perf_counter_ns()
    call()
    return time.perf_counter_ns() - start


def _gymnasium_cannot_either(name: str) -> bool:
    try:
        with contextlib.closing(gym.make(name)) as env:
            env.reset(seed=0)
    except Exception:  # the engine's own reasons: a package that is missing, an old version
        return True
    return False


def _line(error: Exception, named: bool = True) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if named else text


# ---- in a process of its own --------------------------------------------------------------------


def serve(questions: IO[str], answers: IO[str]) -> None:
    """Check what comes in, a line of JSON each; answer with one."""
    for line in questions:
        target, n_workers = json.loads(line)
        row = check_target(Target(*target), n_workers)
        answers.write(json.dumps(asdict(row)) + "\n")
        answers.flush()


def main() -> None:
    """Serve standard input; what simulators print goes to standard error."""
    threading.Thread(target=end_with_parent, args=(os.getppid(),), daemon=True).start()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    serve(sys.stdin, answers)


def end_with_parent(parent: int) -> None:
    """End this session of processes when the one that asks is gone, whatever hangs."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os.killpg(os.getpid(), signal.SIGKILL)
