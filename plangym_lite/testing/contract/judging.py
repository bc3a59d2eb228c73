"""Comparison of recordings and batches with the reference, shared by the checks."""

from __future__ import annotations

from typing import Any

import numpy as np

from plangym_lite.core import PlanEnv
from plangym_lite.nested import Difference, own_copy, row_of
from plangym_lite.testing.contract.reference import Reference
from plangym_lite.testing.contract.walking import (
    Entry,
    Keeper,
    Move,
    Recorder,
    draw_actions,
    play,
    step_entry,
)

__all__ = ["Judge"]

STEPS = 5  # actions per row of a rollout
SHORT = 2  # number of rollout rows that end early


class Judge:
    """Compares an environment with the reference, which must be set first."""

    reference: Reference

    def __init__(self, seed: int, length: int) -> None:
        self.seed, self.length = seed, length
        self.checks = 0
        self.at = "the first walk"  # the current check, for messages
        self._seeded: dict[int, list[Entry]] = {}  # by depth: rows with seeds, as first seen

    def same_recording(self, expected: list[Entry], got: list[Entry]) -> None:
        for step, (one, other) in enumerate(zip(expected, got, strict=True)):
            self.same_entry(one, other, f"step {step}")
        self.checks += 1

    def same_entry(self, expected: Entry, got: Entry, where: str) -> None:
        for path, text in self.reference.compare(expected, got):
            raise Difference(f"{self.at}, {where}: {path}: {text}")

    # ---- batches ------------------------------------------------------------------------------

    def batches(self, env: PlanEnv, keeper: Keeper, check: str) -> None:
        """Rows in order and shuffled, rows from returned states, rollouts; current states stay."""
        reference = self.reference
        moves, saved = reference.moves, reference.saved
        order = np.random.default_rng(self.seed)
        for depth in reference.depths:
            self.at = f"{check}, depth {depth}"
            env.set_state(saved[depth].state)
            stop = min(depth + self.length, len(moves))
            rows = [number for number in range(depth, stop) if not moves[number].reset]
            after = self._batch(env, keeper, rows, {row: saved[row].state for row in rows})
            shuffled = [rows[k] for k in order.permutation(len(rows))]
            self._batch(env, keeper, shuffled, {row: saved[row].state for row in rows})
            chained = [number + 1 for number in rows if number + 1 in after]
            starts = {number: after[number - 1] for number in chained}
            self._batch(env, keeper, chained, starts)
            self._rollouts(env, keeper, rows)
            self.at = f"{check}, depth {depth}, what was current before the batches"
            expected = reference.expected(depth)
            self.same_recording(
                expected, play(Recorder(env, keeper), moves[depth : depth + self.length])
            )

    def _batch(
        self, env: PlanEnv, keeper: Keeper, rows: list[int], states: dict[int, Any]
    ) -> dict[int, Any]:
        """Make the moves ``rows`` of the walk from ``states``; return the states after them."""
        reference, after = self.reference, {}
        for numbers in _alike(reference.moves, rows):
            moves = [reference.moves[number] for number in numbers]
            out: Any = env.step_batch(
                [own_copy(move.action) for move in moves],
                [states[number] for number in numbers],
                [move.dt for move in moves],
            )
            entries = _entries_of(env, out, keeper, f"{self.at}, row")
            for row, (number, got) in enumerate(zip(numbers, entries, strict=True)):
                state = reference.saved[number + 1].state
                expected = reference.recording[number + 1]._replace(state=state)
                self.same_entry(expected, got, f"row {row} (move {number})")
                after[number] = got.state
        self.checks += 1
        return after

    def seeded(self, env: PlanEnv, keeper: Keeper, check: str) -> None:
        """Rows with equal seeds are equal, here and wherever this was called before."""
        reference = self.reference
        for depth in reference.depths:
            self.at = f"{check} with seeds, depth {depth}"
            move = reference.moves[depth]
            if move.reset:
                continue
            actions, states = [own_copy(move.action)] * 4, [reference.saved[depth].state] * 4
            options: Any = {"dt": move.dt, "seeds": [depth, 2**40, depth, 2**40]}
            out: Any = env.step_batch(actions, states, **options)
            rows = _entries_of(env, out, keeper, self.at)
            first = self._seeded.setdefault(depth, rows)
            for row, got in enumerate(rows):
                self.same_entry(first[row % 2], got, f"row {row} (seed {options['seeds'][row]})")
            self.checks += 1

    def _rollouts(self, env: PlanEnv, keeper: Keeper, rows: list[int]) -> None:
        """A row of a rollout equals single moves, up to an end."""
        reference, draw = self.reference, draw_actions(env, self.seed)
        self.at += ", rollout_batch"
        lengths = {number: len(self._run_from(number)) for number in rows}
        short = [number for number in rows if 0 < lengths[number] < STEPS]
        full = [number for number in rows if lengths[number] == STEPS]
        for numbers in _alike(reference.moves, [*short[-SHORT:], *full[:: STEPS - 1]]):
            runs = [self._run_from(number) for number in numbers]
            actions = [
                [own_copy(reference.moves[k].action) for k in run]
                + [_like(draw(), reference.moves[run[0]].action) for _ in range(STEPS - len(run))]
                for run in runs
            ]
            states = [reference.saved[number].state for number in numbers]
            dts = [reference.moves[number].dt for number in numbers]
            out: Any = env.rollout_batch(actions, states, dts, "all")
            self._same_rollouts(env, out, keeper, runs)

    def _run_from(self, number: int) -> list[int]:
        """``STEPS`` similar moves from ``number`` on, or fewer up to an end; or none."""
        moves, saved, run = self.reference.moves, self.reference.saved, []
        for k in range(number, min(number + STEPS, len(moves))):
            here, first = moves[k], moves[number]
            if here.reset or (_kind(here), here.dt) != (_kind(first), first.dt):
                break
            run.append(k)
        ended = bool(run) and (saved[run[-1] + 1].terminated or saved[run[-1] + 1].truncated)
        return run if len(run) == STEPS or ended else []

    def _same_rollouts(self, env: PlanEnv, out: Any, keeper: Keeper, runs: list[list[int]]) -> None:
        recording, saved = self.reference.recording, self.reference.saved
        keeper.keep(self.at, "obs", out.observs)
        keeper.keep(self.at, "info", out.infos)
        for row, run in enumerate(runs):
            last = run[-1] + 1
            infos = [saved[k + 1].info or {} for k in run]
            n_step = sum(each["n_step"] for each in infos)
            info = {**(recording[last].info or {}), "n_step": n_step}
            expected = recording[last]._replace(reward=0.0, info=info, state=saved[last].state)
            where = f"row {row} (moves {run[0]} to {run[-1]})"
            seen = row_of(env.observation_space, out.observs, row)
            got = Entry(
                row_of(env.observation_space, seen, STEPS - 1),
                0.0,
                bool(out.terminateds[row]),
                bool(out.truncateds[row]),
                out.infos[row],
                out.states[row],
            )
            self.same_entry(expected, got, where)
            for step in range(STEPS):
                number = run[min(step, len(run) - 1)] + 1
                reward = recording[number].reward if step < len(run) else 0.0
                obs = row_of(env.observation_space, seen, step)
                got = Entry(obs, float(out.rewards[row, step]))
                expected = Entry(recording[number].obs, reward)
                self.same_entry(expected, got, f"{where}, action {step}")
            if int(out.lengths[row]) != len(run):
                raise Difference(f"{self.at}, {where}: length: expected {len(run)}")
        self.checks += 1

    # ---- ends ---------------------------------------------------------------------------------

    def ends(self) -> list[int]:
        """Entries at ends of episodes: the first and the last few."""
        entries = enumerate(self.reference.recording)
        ends = [number for number, entry in entries if entry.terminated or entry.truncated]
        return [*dict.fromkeys(ends[:3] + ends[-3:])]

    def absorbed(self, env: PlanEnv, keeper: Keeper, check: str) -> None:
        """A step from an ended state: reward 0, same state, flags and observation."""
        self.at = check
        reference, ends = self.reference, self.ends()
        if not ends:
            return
        recording, draw = reference.recording, draw_actions(env, self.seed)
        states = [reference.saved[number].state for number in ends]
        out: Any = env.step_batch([draw() for _ in ends], states, dt=2)
        entries = _entries_of(env, out, keeper, check)
        for row, (number, state) in enumerate(zip(ends, states, strict=True)):
            self.at = f"{check}, the one after move {number}"
            step = step_entry(env, draw(), state)
            wanted = recording[number]._replace(reward=0.0, info=None, state=state)
            self.same_entry(wanted, entries[row], f"row {row} of step_batch")
            self.same_entry(wanted, step, "step")
            env.set_state(out.states[row])
            after = play(Recorder(env, keeper), reference.moves[number : number + 5])
            expected = [Entry(recording[number].obs), *recording[number + 1 : number + 6]]
            self.same_recording(expected, after)


def _entries_of(env: PlanEnv, out: Any, keeper: Keeper, where: str) -> list[Entry]:
    keeper.keep(where, "obs", out.observs)
    keeper.keep(where, "info", out.infos)
    keeper.sum(where, "state", out.states)
    return [
        Entry(
            row_of(env.observation_space, out.observs, row),
            float(out.rewards[row]),
            bool(out.terminateds[row]),
            bool(out.truncateds[row]),
            own_copy(out.infos[row]),
            out.states[row],
        )
        for row in range(len(out.rewards))
    ]


def _kind(move: Move) -> Any:
    """What the actions of one batch must share: the dtype of arrays."""
    return move.action.dtype if isinstance(move.action, np.ndarray) else None


def _alike(moves: list[Move], rows: list[int]) -> list[list[int]]:
    """The rows, grouped by the dtype of their actions."""
    kinds = list(dict.fromkeys(str(_kind(moves[row])) for row in rows))
    return [[row for row in rows if str(_kind(moves[row])) == kind] for kind in kinds]


def _like(action: Any, other: Any) -> Any:
    return action.astype(other.dtype) if isinstance(other, np.ndarray) else action
