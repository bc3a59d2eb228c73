"""The exactness contract: what "exact" means, as checks that run on any environment.

To test your own environment, inherit :class:`ContractSuite` in a pytest file and override
``make_env``; or ask :func:`check_exact`, which says where the environment first differs.

The reference is a *fresh* environment that plays a walk from a seed without ever saving: a broken
pair of ``get_state`` and ``set_state`` cannot agree with it. The walk goes through an end of an
episode, where there is one within reach, and through unseeded resets. Every check restores a state
of that walk somewhere else, makes the walk's next moves, and compares observations, rewards,
flags, infos, states and images bit for bit.

What is not compared, and why:

- *States* are compared by their bytes where an adapter lays them out as arrays of its own. States
  of the generic snapshot are pickles, whose bytes also hold clocks and the sharing of objects; and
  opaque values know no equality: those are compared by what follows from them.
- Entries of ``info`` that two fresh environments, played alike from one seed, do not agree on
  (clocks) are left out; ``Report.notes`` names them.
- If two such environments disagree on anything more, the seed does not decide what happens: then
  the reference is a walk with states saved on the way, and the notes say so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

from plangym_lite.core import PlanEnv
from plangym_lite.testing.checks import Contract
from plangym_lite.testing.comparing import Difference, size_of

__all__ = ["ContractSuite", "Report", "check_exact"]


@dataclass
class Report:
    """The outcome of :func:`check_exact`."""

    name: str
    exact: bool = True
    difference: str | None = None  # where it first differs
    checks: int = 0  # comparisons that held
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
) -> Report:
    """Run the whole contract on the environments that ``make_env`` makes.

    Args:
        make_env: makes a new environment; cloudpickle must be able to carry it.
        name: for the report; the environment's own name if left out.
        seed: of the walk.
        depths: after how many moves states are saved.
        length: number of moves that follow each.
        reach: how many moves to play in search of an end of an episode.
        n_workers: check batches in so many processes too.
        timeout: seconds that another process may take.

    Raises:
        Exception: whatever ``make_env`` itself raises. Later errors are in the report.
    """
    contract = Contract(
        make_env,
        seed=seed,
        depths=depths,
        length=length,
        reach=reach,
        n_workers=n_workers,
        timeout=timeout,
    )
    with make_env() as env:
        report = Report(name or env.name)
    try:
        state = contract.reference.saved[0].state
        contract.at = "pickling a state"
        report.state_bytes = size_of(state)
        report.pictures = contract.reference.draws_images
        for check in contract.all_checks():
            check()
    except Difference as difference:
        report.exact, report.difference = False, str(difference)
    except Exception as error:
        text = f"{contract.at}: {type(error).__name__}: {error}"
        report.exact, report.difference, report.error = False, text, error
    report.checks, report.notes = contract.checks, contract.notes
    return report


class ContractSuite:
    """To test your own environment, inherit this in a pytest file and override ``make_env``.

    ::

        class TestMyEnv(ContractSuite):
            def make_env(self):
                return plangym_lite.make("MyEnv-v0")

    ``make_env`` runs again for each environment that is needed, also in another process. The
    class attributes are the arguments of :func:`check_exact`.
    """

    seed: ClassVar[int] = 0
    depths: ClassVar[tuple[int, ...]] = (0, 5, 30)
    length: ClassVar[int] = 40
    reach: ClassVar[int] = 300
    n_workers: ClassVar[int | None] = None
    timeout: ClassVar[float] = 60.0

    def make_env(self) -> PlanEnv:
        """A new environment. Override this."""
        raise NotImplementedError(f"{type(self).__name__} must override make_env")

    @property
    def contract(self) -> Contract:
        """The checks; all tests of a class share one reference."""
        kind = type(self)
        if "_contract" not in kind.__dict__:
            kind._contract = Contract(  # type: ignore[attr-defined]
                self.make_env,
                seed=self.seed,
                depths=self.depths,
                length=self.length,
                reach=self.reach,
                n_workers=self.n_workers,
                timeout=self.timeout,
            )
        return kind._contract  # type: ignore[attr-defined]

    def test_saving_changes_nothing(self) -> None:
        self.contract.saving_changes_nothing()

    def test_restoring_at_once_changes_nothing(self) -> None:
        self.contract.restoring_at_once_changes_nothing()

    def test_same_object_after_wandering(self) -> None:
        self.contract.same_object_after_wandering()

    def test_fresh_object(self) -> None:
        self.contract.fresh_object()

    def test_another_process(self) -> None:
        self.contract.another_process()

    def test_through_step_batch(self) -> None:
        self.contract.through_step_batch()

    def test_terminals_absorb(self) -> None:
        self.contract.terminals_absorb()

    def test_through_workers(self) -> None:
        self.contract.through_workers()
