"""The judge of the survey: a plain Gymnasium environment and ours, one after the other.

Never are two environments open at once: each run is recorded and closed before the next is built,
because some packages close what others draw with.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from world_values import Entry, Noise, compare, freeze

__all__ = ["Finding", "Plain", "judge", "record_plain"]

SAVE_AT, TRIES = 10, 12
REPEATS, MORE = 3, 5
ARRAYS = (spaces.Box, spaces.MultiBinary, spaces.MultiDiscrete)


class Finding(Exception):
    """Where ours and plain Gymnasium part; the message is the row's text."""


@dataclass
class Plain:
    """One episode of the plain environment, and what several of them do not agree on."""

    make: Callable[[], gym.Env]
    recording: list[Entry]
    actions: list[Any]
    observation_space: Any
    notes: list[str] = field(default_factory=list)
    noise: Noise = field(default_factory=Noise)
    seeded: bool = True  # whether the seed decides what happens
    junk: list[Any] = field(default_factory=list)

    @property
    def save_at(self) -> int:
        """After how many steps a state is saved."""
        return max(min(SAVE_AT, len(self.actions) // 2), len(self.actions) // 4)

    def repeat(self, times: int) -> bool:
        """Play again, in new environments, to find noise; whether there was more of it."""
        before = self.seeded, self.noise.told()
        for _ in range(times):
            self.junk.append(stir_memory(len(self.junk)))
            env = self.make()
            try:
                again, _ = record(env, self.actions)
            finally:
                env.close()
            for one, other in zip(self.recording, again, strict=False):
                self.noise.learn(one, other)
            self.noise.settled = True
            if len(again) != len(self.recording) or self.noise.covers_some(self.recording[0]):
                self.seeded = False
        return (self.seeded, self.noise.told()) != before

    def told(self) -> list[str]:
        """What is not compared, for the report."""
        if not self.seeded:
            return ["the seed does not decide: ours is compared with itself"]
        places = self.noise.told()
        return ["two plain runs differ at " + ", ".join(places[:6])] if places else []


def entry_of(space: Any, obs: Any, reward: Any, ends: tuple[bool, bool], info: Any) -> Entry:
    """One answer as leaves."""
    if isinstance(space, ARRAYS) and isinstance(obs, (list, tuple)):
        obs = np.asarray(obs)
    entry = freeze(obs, "obs")
    freeze(reward, "reward", entry)
    entry["terminated"], entry["truncated"] = bool(ends[0]), bool(ends[1])
    return freeze(info, "info", entry)


def draw_actions(space: Any, seed: int, n: int) -> list[Any]:
    """Seeded actions, drawn from a copy, so that the environment's own space does not move."""
    space = copy.deepcopy(space)
    space.seed(seed)
    return [_bounded(space, space.sample()) for _ in range(n)]


def _bounded(space: Any, action: Any) -> Any:
    """Boxes without bounds are sampled too far out for most simulators."""
    if isinstance(space, spaces.Box) and not space.is_bounded():
        return np.clip(action, -1, 1).astype(space.dtype)
    return action


def record(env: gym.Env, actions: list[Any]) -> tuple[list[Entry], str]:
    """Reset and play until the end of the episode, of the actions, or an error; and the error."""
    space = env.observation_space
    obs, info = env.reset(seed=0)
    recording = [entry_of(space, obs, 0.0, (False, False), info)]
    for action in actions:
        try:
            obs, reward, terminated, truncated, info = env.step(copy.deepcopy(action))
        except Exception as error:  # wrong moves raise in some games
            return recording, f"{type(error).__name__}: {error}"
        recording.append(entry_of(space, obs, reward, (terminated, truncated), info))
        if terminated or truncated:
            break
    return recording, ""


class _Junk:
    pass


def stir_memory(seed: int) -> list[Any]:
    """Leave holes, so that what hangs on addresses (the order of a set of objects) shows as noise.

    They are filled while the returned list lives.
    """
    random = np.random.default_rng(seed)
    junk: list[Any] = [(_Junk(), object(), [None] * 3, {}) for _ in range(20_000)]
    for index in random.permutation(len(junk))[: len(junk) // 2]:
        junk[index] = None
    return junk


def record_plain(make_plain: Callable[[], gym.Env], length: int = 40) -> Plain:
    """The longest of some episodes, played twice more in new environments to find noise."""
    env = make_plain()
    try:
        actions, space = draw_actions(env.action_space, 0, length), env.observation_space
        best, error = record(env, actions)
        notes = [f"a random action raises: {error}"] if error else []
        for seed in range(1, TRIES):
            if len(best) > min(length, 2 * SAVE_AT):
                break
            env.close()
            env = make_plain()
            tries = draw_actions(env.action_space, seed, length)
            recording, error = record(env, tries)
            if len(recording) > len(best):
                best, actions = recording, tries
    finally:
        env.close()
    if len(best) == 1:
        raise Finding("plain Gymnasium cannot take a step" + (f": {error}" if error else ""))
    plain = Plain(make_plain, best, actions[: len(best) - 1], space, notes)
    plain.repeat(2)
    return plain


# ---- ours ---------------------------------------------------------------------------------------


def judge(make_ours: Callable[[], Any], plain: Plain) -> list[str]:
    """Compare ours with the plain recording; notes. Raises :class:`Finding` where they part.

    Noise may be rare: where ours differs, plain environments are asked a few times more.
    """
    for _ in range(REPEATS):
        try:
            return _judge_once(make_ours, plain)
        except Finding:
            if not plain.repeat(MORE):
                raise
    return _judge_once(make_ours, plain)


def _judge_once(make_ours: Callable[[], Any], plain: Plain) -> list[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        env = make_ours()
        try:
            walk = Walk(env, plain)
            walk.again(env, "restored at once")
            _second_episode(env, plain.actions[:7])
            walk.again(env, "restored after another episode")
            walk.batches(env)
        finally:
            env.close()
        env = make_ours()
        try:
            walk.again(env, "restored in a new environment")
        finally:
            env.close()
    return walk.notes


class Walk:
    """Ours from the seed, saved once on the way, and what its later part is compared with.

    That is the plain recording; where the seed does not decide what happens, ours alone, without
    any allowance for noise.
    """

    def __init__(self, env: Any, plain: Plain) -> None:
        self.space, self.actions, self.start = plain.observation_space, plain.actions, plain.save_at
        self.notes: list[str] = []
        self.state: Any = None
        self.first: list[Entry] = []
        for seed in range(1 if plain.seeded else TRIES):
            self.first = self._play_first(env, seed)
            if len(self.first) > self.start + 1:
                break
        if self.state is None:
            raise Finding("the episode ended before a state was saved")
        self.wanted, self.noise = (
            (plain.recording, plain.noise) if plain.seeded else (self.first, Noise())
        )
        if len(self.first) != len(self.wanted):
            raise Finding(f"the episode has {len(self.first)} entries, {len(self.wanted)} in plain")
        for number, got in enumerate(self.first):
            self._same(number, got, "from the seed")

    def again(self, env: Any, where: str) -> None:
        """The walk's later part from the saved state."""
        env.set_state(self.state)
        obs = entry_of(self.space, env.observe(), 0.0, (False, False), {})
        got = {path: leaf for path, leaf in obs.items() if path.startswith("obs")}
        wanted = self.wanted[self.start]
        wanted = {path: leaf for path, leaf in wanted.items() if path.startswith("obs")}
        text = compare(wanted, got, self.noise)
        if text:
            raise Finding(f"{where}, observed before any step: {text}")
        for number in range(self.start + 1, len(self.wanted)):
            got, _ = self._step(env, number)
            self._same(number, got, f"{where} at {self.start}")
            text = compare(self.first[number], got, Noise(), more=True)
            if text and not any("noise too" in note for note in self.notes):
                self.notes.append(f"{where}: the noise too is not restored: {text}")

    def batches(self, env: Any) -> None:
        """Three equal rows, each step from the states of the one before."""
        state = self.state
        for number in range(self.start + 1, len(self.wanted)):
            actions = [copy.deepcopy(self.actions[number - 1]) for _ in range(3)]
            out = env.step_batch(actions, [state] * 3)
            for row in range(3):
                obs = _row(self.space, out.observs, row)
                ends = out.terminateds[row], out.truncateds[row]
                got = entry_of(self.space, obs, float(out.rewards[row]), ends, out.infos[row])
                self._same(number, got, f"step_batch, row {row}")
            state = out.states[1]

    def _play_first(self, env: Any, seed: int) -> list[Entry]:
        """What was handed out must not change while it is held."""
        obs, info = env.reset(seed=seed, return_state=False)
        recording, held = [entry_of(self.space, obs, 0.0, (False, False), info)], [(obs, info)]
        for number in range(1, len(self.actions) + 1):
            if number == self.start + 1:
                self.state = env.get_state()
            entry, step = self._step(env, number)
            recording.append(entry)
            held.append((step.obs, step.info))
            if step.terminated or step.truncated:
                break
        for number, (entry, (obs, info)) in enumerate(zip(recording, held, strict=True)):
            now = entry_of(self.space, obs, 0.0, (False, False), info)
            for path, leaf in entry.items():
                if path.startswith(("obs", "info")) and compare(
                    {path: leaf}, now, Noise(), more=True
                ):
                    raise Finding(f"what step {number} gave changed while it was held: {path}")
        return recording

    def _step(self, env: Any, number: int) -> tuple[Entry, Any]:
        step = env.step(copy.deepcopy(self.actions[number - 1]), return_state=False)
        ends = step.terminated, step.truncated
        return entry_of(self.space, step.obs, step.reward, ends, step.info), step

    def _same(self, number: int, got: Entry, where: str) -> None:
        text = compare(self.wanted[number], got, self.noise, more=True)
        if text:
            raise Finding(f"{where}, step {number}: {text}")


def _second_episode(env: Any, actions: list[Any]) -> None:
    env.reset(seed=5, return_state=False)
    for action in reversed(actions):
        try:
            if env.step(action, return_state=False).terminated:
                break
        except Exception:  # a wrong move
            break


def _row(space: Any, observs: Any, row: int) -> Any:
    if isinstance(space, spaces.Dict):
        return {key: _row(part, observs[key], row) for key, part in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(_row(part, observs[k], row) for k, part in enumerate(space.spaces))
    return observs[row]
