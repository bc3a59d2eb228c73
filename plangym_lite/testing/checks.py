"""The checks of the exactness contract, one method each; :mod:`.contract` says what they mean."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np

from plangym_lite.core import PlanEnv
from plangym_lite.testing.comparing import Difference, row_of
from plangym_lite.testing.reference import Reference, make_reference
from plangym_lite.testing.walking import (
    Entry,
    draw_actions,
    play,
    play_elsewhere,
    step_entry,
    wander,
)

__all__ = ["Contract"]

WANDERING = 50


class Contract:
    """The checks, one method each; each raises :class:`Difference` where it finds one.

    The arguments are those of :func:`check_exact`.
    """

    def __init__(
        self,
        make_env: Callable[[], PlanEnv],
        *,
        seed: int = 0,
        depths: tuple[int, ...] = (0, 5, 30),
        length: int = 40,
        reach: int = 300,
        n_workers: int | None = None,
        timeout: float = 60.0,
    ) -> None:
        self.make_env = make_env
        self.seed, self.length, self.reach = seed, length, reach
        self.n_workers, self.timeout = n_workers, timeout
        self._depths = tuple(sorted(depths))
        self.checks = 0
        self.notes: list[str] = []
        self.at = "the first walk"  # what is being checked, for messages

    def all_checks(self) -> list[Callable[[], None]]:
        """The checks in order."""
        return [
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

    @cached_property
    def reference(self) -> Reference:
        """The walk that everything is compared with."""
        reference = make_reference(self.make_env, self.seed, self._depths, self.length, self.reach)
        self.notes += reference.notes
        return reference

    def same_tape(self, expected: list[Entry], got: list[Entry]) -> None:
        """Compare two tapes; raise the first difference."""
        for step, (one, other) in enumerate(zip(expected, got, strict=True)):
            self._same_entry(one, other, f"step {step}")
        self.checks += 1

    def _same_entry(self, expected: Entry, got: Entry, where: str) -> None:
        for path, text in self.reference.compare(expected, got):
            raise Difference(f"{self.at}, {where}: {path}: {text}")

    def _restored(self, env: PlanEnv, depth: int, check: str) -> None:
        """Restore the walk's state at ``depth`` in ``env`` and make the walk's next moves."""
        self.at = f"{check}, depth {depth}"
        stretch = self.reference.stretch(depth)
        env.set_state(stretch.state)
        tape = play(env, stretch.moves, images=stretch.images, saving=stretch.saving)
        self.same_tape(self.reference.expected(depth), tape)

    # ---- the checks ---------------------------------------------------------------------------

    def saving_changes_nothing(self) -> None:
        """A walk with states saved and images drawn is the walk without."""
        self.at = "the first walk"
        reference = self.reference
        self.at = "saving on the way, from the seed"
        shorter = min(len(reference.tape), len(reference.saved))
        self.same_tape(reference.tape[:shorter], reference.saved[:shorter])

    def restoring_at_once_changes_nothing(self) -> None:
        """``set_state(get_state())`` on the way is a no-op."""
        reference = self.reference
        stops = reference.depths
        with self.make_env() as env:
            env.reset(return_state=False, seed=self.seed)
            if not reference.repeatable:
                env.set_state(reference.saved[0].state)
            play(env, reference.moves[: stops[0]])
            for depth, stop in zip(stops, [*stops[1:], len(reference.moves)], strict=True):
                self.at = f"set_state(get_state()), depth {depth}"
                env.set_state(env.get_state())
                tape = play(
                    env,
                    reference.moves[depth:stop],
                    images=reference.stretch(depth).images,
                    saving=reference.compares_states,
                )
                self.same_tape(reference.expected(depth, stop), tape)

    def same_object_after_wandering(self) -> None:
        """One environment restores every depth, with other episodes in between."""
        with self.make_env() as env:
            for depth in reversed(self.reference.depths):
                wander(env, self.seed + 1 + depth, WANDERING)
                self._restored(env, depth, "same object after wandering")

    def fresh_object(self) -> None:
        """New environments restore states: right away, and after playing something else."""
        *others, last = self.reference.depths
        with self.make_env() as env:
            self._restored(env, last, "fresh object")
        with self.make_env() as env:
            wander(env, self.seed + 2, 11)
            for depth in others:
                self._restored(env, depth, "fresh object that played something else")

    def another_process(self) -> None:
        """An environment made in another process restores the states."""
        depths = self.reference.depths
        stretches = [self.reference.stretch(depth) for depth in depths]
        self.at = "another process"
        try:
            tapes = play_elsewhere(self.make_env, stretches, self.timeout)
        except Difference as difference:
            raise Difference(f"{self.at}: {difference}") from None
        for depth, tape in zip(depths, tapes, strict=True):
            self.at = f"another process, depth {depth}"
            self.same_tape(self.reference.expected(depth), tape)

    def through_step_batch(self) -> None:
        """Each recorded state and action gives the next entry, in any order; nothing moves."""
        with self.make_env() as env:
            self._batches(env, "step_batch")

    def through_workers(self) -> None:
        """The same through processes, where ``n_workers`` asks for them."""
        if self.n_workers is None:
            return
        try:
            from plangym_lite.vectorization.parallel import ParallelEnv
        except ImportError as error:
            self.notes.append(f"workers were not checked: {error}")
            return
        with ParallelEnv(self.make_env, n_workers=self.n_workers) as env:
            self._batches(env, f"step_batch with {self.n_workers} workers")
            self._absorbed(env, f"terminals with {self.n_workers} workers")

    def terminals_absorb(self) -> None:
        """From an ended state nothing moves: reward 0, same state, flags and observation."""
        with self.make_env() as env:
            self._absorbed(env, "terminals")

    # ---- batches ------------------------------------------------------------------------------

    def _batches(self, env: PlanEnv, check: str) -> None:
        reference = self.reference
        moves, saved = reference.moves, reference.saved
        order = np.random.default_rng(self.seed)
        for depth in reference.depths:
            self.at = f"{check}, depth {depth}"
            env.set_state(saved[depth].state)
            rows = [
                number
                for number in range(depth, min(depth + self.length, len(moves)))
                if not moves[number].reset
            ]
            out = self._batch(env, rows, [saved[number].state for number in rows])
            shuffled = [rows[k] for k in order.permutation(len(rows))]
            self._batch(env, shuffled, [saved[number].state for number in shuffled])
            after = dict(zip(rows, out.states, strict=True))
            chained = [number + 1 for number in rows if number + 1 in after]
            self._batch(env, chained, [after[number - 1] for number in chained])
            self.at += ", what was current before the batches"
            self.same_tape(reference.expected(depth), play(env, moves[depth : depth + self.length]))

    def _batch(self, env: PlanEnv, rows: list[int], states: list[Any]) -> Any:
        """Step the moves ``rows`` of the walk from ``states`` and compare what comes out."""
        reference = self.reference
        out = env.step_batch([reference.moves[number].action for number in rows], states)
        for row, number in enumerate(rows):
            got = _entry_of(env, out, row)
            expected = reference.tape[number + 1]._replace(state=reference.saved[number + 1].state)
            self._same_entry(expected, got, f"row {row} (move {number})")
        self.checks += 1
        return out

    def _absorbed(self, env: PlanEnv, check: str) -> None:
        self.at = check
        reference = self.reference
        tape = reference.tape
        ends = [number for number, entry in enumerate(tape) if entry.terminated or entry.truncated]
        if not ends:
            note = f"no episode ended within {len(tape)} moves"
            self.notes += [note] if note not in self.notes else []
            return
        draw = draw_actions(env, self.seed)
        ends = ends[:3] + ends[-3:]
        states = [reference.saved[number].state for number in ends]
        out: Any = env.step_batch([draw() for _ in ends], states, dt=2)
        for row, (number, state) in enumerate(zip(ends, states, strict=True)):
            self.at = f"{check}, the one after move {number}"
            step = step_entry(env, draw(), state)
            wanted = tape[number]._replace(reward=0.0, info=None, state=state)
            self._same_entry(wanted, _entry_of(env, out, row), f"row {row} of step_batch")
            self._same_entry(wanted, step, "step")
            env.set_state(out.states[row])
            after = play(env, reference.moves[number : number + 5])
            expected = [Entry(tape[number].obs), *tape[number + 1 : number + 6]]
            self.same_tape(expected, after)


def _entry_of(env: PlanEnv, out: Any, row: int) -> Entry:
    return Entry(
        row_of(env.observation_space, out.observs, row),
        float(out.rewards[row]),
        bool(out.terminateds[row]),
        bool(out.truncateds[row]),
        out.infos[row],
        out.states[row],
    )
