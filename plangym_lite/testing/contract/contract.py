"""The exactness contract: checks of exactness for any environment.

To test your own environment, inherit :class:`ContractSuite` in a pytest file and override
``make_env``, or call :func:`check_exact`, which reports the first difference.

The reference is **plain Gymnasium**: an environment of the same id, class or callable with the same
seed and the same actions, built and driven without any class of plangym_lite. A new
environment of ours must give equal observations (those of the outermost layer), rewards, flags, and
values of all keys of its infos; ours may have more keys. The same holds for the moves after
restored states, and for every row of batches and rollouts. The walk includes an end of an episode,
if there is one within ``reach``, and unseeded resets; some moves have ``dt=2``, and some actions
are float64, like Python floats.

The plain environment is made by ``plain=`` of :func:`check_exact` or ``make_plain`` of
:class:`ContractSuite`, else by the environment's ``make_plain()``. dm_control runs its own tasks.
An adapter without a plain twin is compared with itself, and a note says so: then the reference is a
*fresh* environment that makes the walk and never saves, so that a broken pair of ``get_state`` and
``set_state`` cannot agree with it.

Every run of a plain environment is recorded as values, and the environment is closed before the
next one is built. The global generators of Python and numpy get the same seeds for each run of the
walk, and are restored afterwards.

Every check restores a state of the walk elsewhere, makes the next moves of the walk, and compares
observations, rewards, flags, infos, states and images bit for bit. Returned observations, infos and
states are kept: none of them may have changed at the end of a check.

Not compared with plain Gymnasium, or not at all:

- *States* are compared with our own, by their bytes, if the adapter defines them as arrays. States
  of the generic snapshot are pickles, whose bytes also depend on clocks and on shared references,
  and opaque values may define no equality: those are compared by the moves that follow.
- *Images* are compared with our own, because rendering changes some engines.
- *Noise*: where two plain runs differ, that place of the observation or the info (one element of
  an array, not the array) is left out; ``Report.notes`` names it. If they differ in rewards or
  flags, or if nothing else distinguishes states, exactness cannot be shown, and the report says
  that instead of "exact".
- *Unseeded resets* of environments whose states are replayed (``"replay"``) begin an episode whose
  seed follows from the last one. Their walk has seeded resets, which are compared with plain
  Gymnasium, and an unseeded one at the end, after which they are compared with themselves.
- An observation whose dtype is not that of its space is compared in the dtype of the space, if
  that only rounds values.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from plangym_lite.core import PlanEnv
from plangym_lite.envs.generators.shared import GlobalNumbers
from plangym_lite.nested import Difference
from plangym_lite.testing.contract.checks import Contract
from plangym_lite.testing.contract.walking import NUMBERS, Options

__all__ = ["ContractSuite", "Report", "check_exact"]


@dataclass
class Report:
    """The result of :func:`check_exact`."""

    name: str
    exact: bool = True
    difference: str | None = None  # the first difference
    checks: int = 0  # successful comparisons
    state_bytes: int | None = None
    pictures: bool = False  # whether images were compared
    notes: list[str] = field(default_factory=list)
    error: Exception | None = None  # an error that ended the checks, with its traceback

    def __str__(self) -> str:
        size = "" if self.state_bytes is None else f", {self.state_bytes} bytes a state"
        verdict = "exact" if self.exact else "NOT exact"
        lines = [f"{self.name}: {verdict} ({self.checks} checks held{size})"]
        if self.difference is not None:
            lines.append(f"  first difference: {self.difference}")
        return "\n".join(lines + [f"  note: {note}" for note in self.notes])


def check_exact(
    make_env: Callable[[], PlanEnv],
    *,
    name: str | None = None,
    seed: int = 0,
    depths: tuple[int, ...] = (0, 5, 30),
    length: int = 40,
    reach: int = 300,
    n_workers: int | None = None,
    timeout: float = 60.0,
    plain: Callable[[], Any] | None = None,
    wide_actions: bool = True,
) -> Report:
    """Run all checks on the environments that ``make_env`` makes.

    Args:
        make_env: makes a new environment; cloudpickle must be able to carry it.
        name: for the report; the environment's own name if left out.
        seed: of the walk.
        depths: numbers of moves after which states are saved.
        length: number of moves after each.
        reach: maximum number of moves to find an end of an episode.
        n_workers: also check batches with this number of processes.
        timeout: seconds for another process.
        plain: makes the plain environment: a ``gymnasium.Env``, or a pair of one and its number of
            steps per unit of ``dt`` (``frameskip`` unless given).
            ``None``: the environment's own ``make_plain()``.
        wide_actions: let some actions of a float32 ``Box`` be float64.

    Raises:
        Exception: of the first ``make_env``. Later errors are in the report.
    """
    options = Options(seed, tuple(sorted(depths)), length, reach, wide_actions, plain)
    contract = Contract(make_env, options, n_workers=n_workers, timeout=timeout)
    with GlobalNumbers(NUMBERS + 1):  # restores the caller's; not the walk's seed
        first = contract.begin()
        return _report(contract, name or first.name)


def _report(contract: Contract, name: str) -> Report:
    report = Report(name)
    try:
        state = contract.reference.saved[0].state
        contract.judge.at = "pickling a state"
        is_array = isinstance(state, np.ndarray)
        report.state_bytes = state.nbytes if is_array else len(pickle.dumps(state))
        report.pictures = contract.reference.draws_images
        for check in contract.all_checks():
            check()
    except Difference as difference:
        report.exact, report.difference = False, str(difference)
    except Exception as error:
        text = f"{contract.judge.at}: {type(error).__name__}: {error}"
        report.exact, report.difference, report.error = False, text, error
    report.checks, report.notes = contract.judge.checks, contract.notes
    return report


def _test(check: str) -> Callable[[Any], None]:
    return lambda self: getattr(self.contract, check)()


class ContractSuite:
    """To test your own environment, inherit this in a pytest file and override ``make_env``.

    ::

        class TestMyEnv(ContractSuite):
            def make_env(self):
                return plangym_lite.make("MyEnv-v0")

    ``make_env`` is called for each environment, also in another process. The class attributes are
    the arguments of :func:`check_exact`.
    """

    seed: ClassVar[int] = 0
    depths: ClassVar[tuple[int, ...]] = (0, 5, 30)
    length: ClassVar[int] = 40
    reach: ClassVar[int] = 300
    n_workers: ClassVar[int | None] = None
    timeout: ClassVar[float] = 60.0
    wide_actions: ClassVar[bool] = True

    def make_env(self) -> PlanEnv:
        """A new environment. Override this."""
        raise NotImplementedError(f"{type(self).__name__} must override make_env")

    def make_plain(self) -> Any:
        """A new plain environment to compare with, as ``plain`` of :func:`check_exact`.

        Override this to replace the environment's own ``make_plain()``.
        """
        raise NotImplementedError(f"{type(self).__name__} does not override make_plain")

    @property
    def contract(self) -> Contract:
        """The checks; all tests of a class share one reference."""
        kind = type(self)
        if "_contract" not in kind.__dict__:
            plain = None if kind.make_plain is ContractSuite.make_plain else self.make_plain
            walk = self.seed, tuple(sorted(self.depths)), self.length, self.reach
            kind._contract = Contract(  # type: ignore[attr-defined]
                self.make_env,
                Options(*walk, self.wide_actions, plain),
                n_workers=self.n_workers,
                timeout=self.timeout,
            )
        return kind._contract  # type: ignore[attr-defined]

    test_as_plain_gymnasium = _test("as_plain_gymnasium")
    test_saving_changes_nothing = _test("saving_changes_nothing")
    test_restoring_at_once_changes_nothing = _test("restoring_at_once_changes_nothing")
    test_same_object_after_wandering = _test("same_object_after_wandering")
    test_fresh_object = _test("fresh_object")
    test_another_process = _test("another_process")
    test_through_step_batch = _test("through_step_batch")
    test_terminals_absorb = _test("terminals_absorb")
    test_through_workers = _test("through_workers")
