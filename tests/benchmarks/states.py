"""What saving and restoring a state costs, beside the engine's bare calls.

    python tests/benchmarks/states.py [--family FAMILY] [--rounds N] [--burst N] [--json FILE]

Each round steps both environments and then times a short burst of each call in turn, so that
whatever else the machine does falls on both sides; restores go through many states, and whatever
ours has remembered about the state is forgotten before each call. The figures are medians over the
rounds, in microseconds for one call. ``--burst 1`` times one call after each step: that is dearer
on both sides, because the step has used the processor's cache.

``get_state`` and ``set_state`` are what a user calls; ``in a batch`` are the hooks that
``step_batch`` calls for each row.
"""

from __future__ import annotations

import argparse
import copy
import importlib.util
import json
import os
import pickle
import statistics
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter_ns
from typing import Any

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")

import gymnasium as gym
import numpy as np

import plangym_lite
from plangym_lite.core import PlanEnv

WALK = 16  # states to restore, in turn
WARM = 5  # rounds that do not count


@dataclass
class Bare:
    """The engine without us: how it is stepped, and its own calls to save and restore."""

    calls: str
    step: Callable[[], Any]
    save: Callable[[], Any]
    restore: Callable[[Any], Any]


@dataclass
class Case:
    """One environment of a family. ``goal``: microseconds, in all or more than the bare call."""

    family: str
    name: str
    env: PlanEnv
    bare: Bare
    goal: float | None = None
    over_bare: bool = False


@dataclass
class Result:
    """Medians of one case, in microseconds."""

    family: str
    name: str
    nbytes: int
    bare_calls: str
    get_state: float
    set_state: float
    batch_save: float
    batch_load: float
    bare_save: float
    bare_restore: float
    goal: float | None
    over_bare: bool

    def misses(self) -> list[str]:
        """Which of ours is over the goal."""
        if self.goal is None:
            return []
        bare = (self.bare_save, self.bare_restore) if self.over_bare else (0.0, 0.0)
        limits = [self.goal + part for part in (*bare, *bare)]
        names = "get_state", "set_state", "batch_save", "batch_load"
        pairs = zip(names, limits, strict=True)
        return [name for name, limit in pairs if getattr(self, name) > limit]


class Clock:
    """Times calls in bursts, and keeps what each name's bursts took."""

    def __init__(self, burst: int) -> None:
        self._burst = burst
        self._times: dict[str, list[float]] = {}

    def take(self, name: str, call: Callable[..., Any], values: list[Any] | None = None) -> None:
        """Time one burst: ``call()``, or ``call(value)`` for the values in turn."""
        if values is None:
            rounds = range(self._burst)
            start = perf_counter_ns()
            for _ in rounds:
                call()
        else:
            chosen = [values[number % len(values)] for number in range(self._burst)]
            start = perf_counter_ns()
            for value in chosen:
                call(value)
        spent = perf_counter_ns() - start
        self._times.setdefault(name, []).append(spent / 1000 / self._burst)

    def medians(self) -> dict[str, float]:
        """Microseconds for one call, by name."""
        return {name: statistics.median(times[WARM:]) for name, times in self._times.items()}


def measure(case: Case, rounds: int, burst: int) -> Result:
    """The medians of a case over so many rounds."""
    env, bare = case.env, case.bare
    env.action_space.seed(0)
    env.reset(seed=0)
    ours, theirs = [], []
    for _ in range(WALK):
        env.step(env.sample_action())
        bare.step()
        ours.append(env.get_state())
        theirs.append(bare.save())
    clock = Clock(burst)
    for _ in range(WARM + rounds):
        _measure_ours(env, ours, clock)
        bare.step()
        clock.take("bare_save", bare.save)
        bare.step()
        clock.take("bare_restore", bare.restore, theirs)
    figures: Any = clock.medians()
    goal = {"goal": case.goal, "over_bare": case.over_bare}
    return Result(case.family, case.name, _size(ours[-1]), bare.calls, **figures, **goal)


def _measure_ours(env: Any, states: list[Any], clock: Clock) -> None:
    """What a user calls, and the hooks as the loop over the rows of a batch calls them."""
    forget = _forgetter(env)

    def get_state() -> None:
        forget()
        env.get_state()

    env.step(env.sample_action())
    clock.take("get_state", get_state)

    def arrive(load: Callable[[Any], None]) -> Callable[[Any], None]:
        """States that are played are only reached when they are needed: need them."""
        replayed = getattr(env, "_replayed", None)
        return load if replayed is None else lambda state: (load(state), replayed.obs)[0]

    env.step(env.sample_action())
    clock.take("set_state", arrive(env.set_state), states)
    row = np.empty_like(states[0]) if isinstance(states[0], np.ndarray) else None

    def save_state() -> None:
        forget()
        env.save_state(row)

    env._borrow_engine()
    env.load_state(states[0])
    env._transition(env.sample_action(), 1)
    clock.take("batch_save", save_state)
    clock.take("batch_load", arrive(env.load_state), states)
    env._restore_current()


def _forgetter(env: Any) -> Callable[[], None]:
    """Makes an adapter forget the state that it has just saved, as a step does."""
    emulator = getattr(env, "emulator", None)

    def forget() -> None:
        if emulator is not None:
            emulator._core = emulator._loaded = None

    return forget


def _size(state: Any) -> int:
    return state.nbytes if isinstance(state, np.ndarray) else len(pickle.dumps(state))


# ---- the families -------------------------------------------------------------------------------


def _walker(env: gym.Env, sample: Callable[[], Any] | None = None) -> Callable[[], None]:
    """A bare step of a Gymnasium environment, which resets where an episode ends."""
    env.action_space.seed(0)
    env.reset(seed=0)
    sample = sample or env.action_space.sample

    def step() -> None:
        _, _, terminated, truncated, _ = env.step(sample())
        if terminated or truncated:
            env.reset()

    return step


def classic_control() -> Iterator[Case]:
    """Against copying the one attribute."""
    for name in ("CartPole-v1", "Acrobot-v1", "MountainCar-v0", "Pendulum-v1"):
        base: Any = gym.make(name, disable_env_checker=True).unwrapped
        bare = Bare(
            "np.array(env.state)",
            _walker(base),
            lambda base=base: np.array(base.state),
            lambda saved, base=base: setattr(base, "state", saved.copy()),
        )
        yield Case("classic-control", name, plangym_lite.make(name), bare, 3.0)


def toy_text() -> Iterator[Case]:
    """Against reading the one attribute."""
    for name in ("FrozenLake-v1", "Taxi-v4"):
        base: Any = gym.make(name, disable_env_checker=True).unwrapped
        bare = Bare(
            "env.s",
            _walker(base),
            lambda base=base: base.s,
            lambda saved, base=base: setattr(base, "s", saved),
        )
        yield Case("toy-text", name, plangym_lite.make(name), bare, 3.0)


def atari() -> Iterator[Case]:
    """Against ale-py's own calls."""
    for name in ("ALE/MsPacman-v5", "ALE/Breakout-v5", "ALE/Qbert-v5"):
        env = plangym_lite.make(name, obs_type="ram")
        twin = plangym_lite.make(name, obs_type="ram")
        ale = twin.ale
        step = _planner_walk(twin)
        bare = Bare("cloneState, restoreState", step, ale.cloneState, ale.restoreState)
        yield Case("atari", name, env, bare, 3.0, over_bare=True)


def _planner_walk(env: Any) -> Callable[[], None]:
    env.action_space.seed(0)
    env.reset(seed=0)
    return lambda: env.step(env.sample_action()) and None


def mujoco() -> Iterator[Case]:
    """Against MuJoCo's own calls, which alone are not exact for every environment."""
    import mujoco as engine

    for name in ("Ant-v5", "HalfCheetah-v5", "Humanoid-v5", "InvertedPendulum-v5"):
        env = plangym_lite.make(name)
        raw = gym.make(name, disable_env_checker=True)
        bare = _bare_simulation(engine, raw.unwrapped.model, raw.unwrapped.data, _walker(raw))
        yield Case("mujoco", name, env, bare, 10.0)


def _bare_simulation(
    engine: Any, model: Any, data: Any, step: Callable[[], None], forward: bool = False
) -> Bare:
    kind = engine.mjtState.mjSTATE_INTEGRATION
    size = engine.mj_stateSize(model, kind)

    def save() -> np.ndarray:
        row = np.empty(size)
        engine.mj_getState(model, data, row, kind)
        return row

    def restore(row: np.ndarray) -> None:
        engine.mj_setState(model, data, row, kind)
        if forward:
            engine.mj_forward(model, data)

    calls = "mj_getState, mj_setState" + (", mj_forward" if forward else "")
    return Bare(calls, step, save, restore)


def dm_control() -> Iterator[Case]:
    """Against MuJoCo's own calls and the ``mj_forward`` that dm_control needs."""
    import mujoco as engine

    for name in ("cartpole-balance", "walker-walk", "humanoid-stand"):
        env, twin = plangym_lite.make(name), plangym_lite.make(name)
        physics: Any = twin.physics
        model, data = physics.model.ptr, physics.data.ptr
        bare = _bare_simulation(engine, model, data, _planner_walk(twin), forward=True)
        yield Case("dm-control", name, env, bare)


def box2d() -> Iterator[Case]:
    """Against playing the episode so far again, which is what there is without us."""
    for name in ("LunarLander-v3", "BipedalWalker-v3"):
        raw = gym.make(name, disable_env_checker=True)
        raw.action_space.seed(0)
        actions = [raw.action_space.sample() for _ in range(WALK)]

        def play(_: Any, raw: Any = raw, actions: Any = actions) -> None:
            raw.reset(seed=0)
            for action in actions:
                raw.step(action)

        bare = Bare(f"reset(seed) and {WALK} steps", lambda: None, lambda: None, play)
        yield Case("box2d", name, plangym_lite.make(name), bare)


def generic() -> Iterator[Case]:
    """Against ``copy.deepcopy`` of what the layers hold, generators and spaces included."""
    five = [
        gym.wrappers.TimeAwareObservation,
        (gym.wrappers.TransformReward, lambda reward: 2 * reward),
        (gym.wrappers.RecordEpisodeStatistics, {"buffer_length": 10}),
        (gym.wrappers.StickyAction, {"repeat_action_probability": 0.2}),
    ]
    cases = [("CartPole-v1, five deep", "CartPole-v1", five)]
    if importlib.util.find_spec("minigrid"):
        cases.append(("MiniGrid-Empty-8x8-v0", "MiniGrid-Empty-8x8-v0", []))
    for label, name, wrappers in cases:
        env = plangym_lite.make(name, wrappers=wrappers, remove_time_limit=False)
        stack: Any = env.make_stack()
        layers = [stack]
        while hasattr(layers[-1], "env"):
            layers.append(layers[-1].env)

        def save(layers: Any = layers) -> Any:
            kept = ("env", "spec")
            return copy.deepcopy(
                [{k: v for k, v in vars(layer).items() if k not in kept} for layer in layers]
            )

        def restore(saved: Any, layers: Any = layers) -> None:
            for layer, attributes in zip(layers, copy.deepcopy(saved), strict=True):
                vars(layer).update(attributes)

        bare = Bare("copy.deepcopy of the stack", _walker(stack), save, restore)
        yield Case("generic", label, env, bare, 60.0)


FAMILIES: dict[str, tuple[str, Callable[[], Iterator[Case]]]] = {
    "classic-control": ("gymnasium", classic_control),
    "toy-text": ("gymnasium", toy_text),
    "atari": ("ale_py", atari),
    "mujoco": ("mujoco", mujoco),
    "dm-control": ("dm_control", dm_control),
    "box2d": ("Box2D", box2d),
    "generic": ("gymnasium", generic),
}
"""By name: the package that must be there, and the cases."""


def main() -> int:
    """Measure, print, and write what was measured where asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--family", choices=FAMILIES, help="only this one")
    parser.add_argument("--rounds", type=int, default=200, help="bursts of each call")
    parser.add_argument("--burst", type=int, default=20, help="calls that are timed at once")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    options = parser.parse_args()
    results = []
    head = "get_state set_state  in a batch: save  load   bare: save restore"
    print(f"{'id':28}{'bytes':>7} {head}")
    for family, (package, cases) in FAMILIES.items():
        if options.family not in (None, family):
            continue
        if importlib.util.find_spec(package) is None:
            print(f"{family}: {package} is not installed", file=sys.stderr)
            continue
        for case in cases():
            results.append(measure(case, options.rounds, options.burst))
            case.env.close()
            _print(results[-1])
    if options.json:
        rows = [{**asdict(result), "misses": result.misses()} for result in results]
        options.json.write_text(json.dumps(rows, indent=2) + "\n")
    return 0


def _print(result: Result) -> None:
    figures = [result.get_state, result.set_state, result.batch_save, result.batch_load]
    text = "{:10.1f}{:10.1f}{:18.1f}{:6.1f}".format(*figures)
    bare = f"{result.bare_save:12.1f}{result.bare_restore:8.1f}  {result.bare_calls}"
    print(f"{result.name:28}{result.nbytes:7} {text}{bare}")
    if result.misses():
        than = "bare + " if result.over_bare else ""
        print(f"{'':28}over {than}{result.goal:g} us: {', '.join(result.misses())}")


if __name__ == "__main__":
    raise SystemExit(main())
