"""The checks of the exactness contract, one method each; see :mod:`.contract`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property

from plangym_lite.core import PlanEnv
from plangym_lite.envs.generators.shared import GlobalNumbers
from plangym_lite.errors import NoWorkersError
from plangym_lite.nested import Difference
from plangym_lite.system import check_workers
from plangym_lite.testing.contract.judging import Judge
from plangym_lite.testing.contract.reference import Reference, make_reference
from plangym_lite.testing.contract.walking import (
    NUMBERS,
    Keeper,
    Options,
    Recorder,
    play,
    play_elsewhere,
    play_stretch,
    wander,
)

__all__ = ["Contract"]

WANDERING = 50


class Contract:
    """The checks, one method each; each raises :class:`Difference` if it finds one.

    Args:
        n_workers: also check batches with this number of processes.
        timeout: seconds for another process.
    """

    def __init__(
        self,
        make_env: Callable[[], PlanEnv],
        options: Options,
        *,
        n_workers: int | None = None,
        timeout: float = 60.0,
    ) -> None:
        self.make_env, self.options = make_env, options
        self.n_workers, self.timeout = n_workers, timeout
        self.notes: list[str] = []
        self.judge = Judge(options.seed, options.length)
        self._first: tuple[PlanEnv, GlobalNumbers] | None = None

    def all_checks(self) -> list[Callable[[], None]]:
        return [
            self.as_plain_gymnasium,
            self.saving_changes_nothing,
            self.restoring_at_once_changes_nothing,
            self.same_object_after_wandering,
            self.fresh_object,
            self.another_process,
            self.through_step_batch,
            self.terminals_absorb,
            self.through_workers,
        ]

    # ---- the reference ------------------------------------------------------------------------

    def begin(self) -> PlanEnv:
        """Make the first environment, for the reference."""
        numbers = GlobalNumbers(NUMBERS)
        with numbers:
            env = self.make_env()
        self._first = env, numbers
        return env

    @cached_property
    def reference(self) -> Reference:
        if self._first is None:
            self.begin()
        assert self._first is not None
        reference = make_reference(self.make_env, self.options, self._first)
        self._first = None
        self.notes += reference.notes
        self.judge.reference = reference
        if not self.judge.ends():
            self.notes.append(f"no episode ended within {len(reference.recording)} moves")
        return reference

    @contextmanager
    def _made(self, check: str) -> Iterator[tuple[PlanEnv, Keeper]]:
        """A new environment; its results must not change until it is closed."""
        self.judge.at, keeper, _ = check, Keeper(), self.reference  # the walk is made first
        with self.make_env() as env:
            yield env, keeper
            self._nothing_changed(keeper, check)
        self._nothing_changed(keeper, f"{check}, once it is closed")

    def _nothing_changed(self, keeper: Keeper, check: str) -> None:
        try:
            keeper.check()
        except Difference as difference:
            raise Difference(f"{check}: {difference}") from None

    def _restored(self, env: PlanEnv, keeper: Keeper, depth: int, check: str) -> None:
        """Restore the walk's state at ``depth`` in ``env`` and check the next moves."""
        self.judge.at = f"{check}, depth {depth}"
        recording = play_stretch(env, self.reference.stretch(depth), keeper)
        self.judge.same_recording(self.reference.expected(depth), recording)

    # ---- the checks ---------------------------------------------------------------------------

    def as_plain_gymnasium(self) -> None:
        """The first environment equals a plain one, from the seed on."""
        self.judge.at = "the first walk"
        reference = self.reference
        if reference.unshown is not None:
            raise Difference(reference.unshown)
        if reference.repeatable:
            self.judge.at = "beside plain Gymnasium, from the seed"
            self.judge.same_recording(reference.recording, reference.own)
        if reference.wrong is not None:
            raise Difference(reference.wrong)

    def saving_changes_nothing(self) -> None:
        """A walk with saved states and rendered images equals the walk without."""
        self.judge.at = "the first walk"
        reference = self.reference
        self.judge.at = "saving on the way, from the seed"
        self.judge.same_recording(reference.recording, reference.saved)

    def restoring_at_once_changes_nothing(self) -> None:
        """``set_state(get_state())`` during the walk changes nothing."""
        reference = self.reference
        stops, moves, check = reference.depths, reference.moves, "set_state(get_state())"
        with GlobalNumbers(NUMBERS), self._made(check) as (env, keeper):
            env.reset(return_state=False, seed=self.options.seed)
            if not reference.repeatable:
                env.set_state(reference.saved[0].state)
            play(Recorder(env, keeper), moves[: stops[0]])
            for depth, stop in zip(stops, [*stops[1:], len(moves)], strict=True):
                self.judge.at = f"{check}, depth {depth}"
                env.set_state(env.get_state())
                images = reference.stretch(depth).images
                recorder = Recorder(env, keeper, images, reference.compares_states)
                recording = play(recorder, moves[depth:stop])
                self.judge.same_recording(reference.expected(depth, stop), recording)

    def same_object_after_wandering(self) -> None:
        """One environment restores every depth, with other episodes in between."""
        check, depths = "same object after wandering", self.reference.depths
        with self._made(check) as (env, keeper):
            for depth in reversed(depths):
                wander(env, self.options.seed + 1 + depth, WANDERING)
                self._restored(env, keeper, depth, check)

    def fresh_object(self) -> None:
        """New environments restore states, at once and after other moves."""
        *others, last = self.reference.depths
        with self._made("fresh object") as (env, keeper):
            self._restored(env, keeper, last, "fresh object")
        check = "fresh object that played something else"
        with self._made(check) as (env, keeper):
            wander(env, self.options.seed + 2, 11)
            for depth in others:
                self._restored(env, keeper, depth, check)

    def another_process(self) -> None:
        """An environment made in another process restores the states."""
        depths = self.reference.depths
        stretches = [self.reference.stretch(depth) for depth in depths]
        self.judge.at = "another process"
        try:
            recordings = play_elsewhere(self.make_env, stretches, self.timeout)
        except Difference as difference:
            raise Difference(f"{self.judge.at}: {difference}") from None
        except OSError as error:
            self.notes.append(f"another process was not checked: none can be started ({error})")
            return
        for depth, recording in zip(depths, recordings, strict=True):
            self.judge.at = f"another process, depth {depth}"
            self.judge.same_recording(self.reference.expected(depth), recording)

    def through_step_batch(self) -> None:
        """Each recorded state and action gives the next entry, in any order.

        Rows from returned states and rollouts give the same; the current state does not change.
        Equal seeds give equal rows.
        """
        with self._made("step_batch") as (env, keeper):
            self.judge.batches(env, keeper, "step_batch")
            self._seeded(env, keeper, "step_batch")

    def _seeded(self, env: PlanEnv, keeper: Keeper, check: str) -> None:
        with suppress(NotImplementedError):  # an adapter whose generators cannot be seeded
            self.judge.seeded(env, keeper, check)

    def through_workers(self) -> None:
        """The same with processes, if ``n_workers`` is given."""
        if self.n_workers is None:
            return
        from plangym_lite.vectorization.parallel import ParallelEnv

        try:
            check_workers()
        except NoWorkersError as error:
            self.notes.append(f"workers were not checked: {error}")
            return
        check, ends = (
            f"{what} with {self.n_workers} workers" for what in ("step_batch", "terminals")
        )
        keeper, _ = Keeper(), self.reference
        with ParallelEnv(self.make_env, n_workers=self.n_workers) as env:
            self.judge.batches(env, keeper, check)
            self._seeded(env, keeper, check)
            self.judge.absorbed(env, keeper, ends)
            self._nothing_changed(keeper, check)
        self._nothing_changed(keeper, f"{check}, once it is closed")

    def terminals_absorb(self) -> None:
        """A step from an ended state: reward 0, same state, flags and observation."""
        with self._made("terminals") as (env, keeper):
            self.judge.absorbed(env, keeper, "terminals")
