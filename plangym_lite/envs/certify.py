"""Certification: the states of an environment that nobody knows are exact, or it is not made.

An exam is short: play a few seeded moves, save, play on and note what happens, wander through
other episodes, restore, and play the same again. What differs then may be a clock, which differs
between two new environments of one seed as well; anything else is a state that was not restored.

::

    the snapshot passes the exam ──yes──> states are snapshots
            │ no
    replay passes the exam ───────yes──> states are seeds and actions
            │ no
    NotCloneableError, saying what differed first

The outcome is remembered for the process: each id with its options is examined once.
"""

from __future__ import annotations

import contextlib
import copy
import random
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

import gymnasium as gym
import numpy as np

from plangym_lite.engine import RUNNING
from plangym_lite.envs.evidence import Tape, attempt, differences, tokens_of
from plangym_lite.errors import NotCloneableError

__all__ = ["certify", "certify_replay", "measure_capacity"]

BEFORE, MOVES, RESET_AT, WANDERING = 3, 12, 8, 5
PROBING = 8  # moves in search of the largest state
REMEMBERED = 1000
OUTCOMES: OrderedDict[Any, tuple[bool, str]] = OrderedDict()
"""By recipe: whether states are played, and why the environment is refused."""


def certify(env: Any) -> None:
    """Let ``env``, just built and reset, keep its snapshot, turn to replay, or be refused."""
    if env.render_mode != "human":
        _remember(env, _climb)
        return
    twin = env._recipe.replace(render_mode="rgb_array", delay_setup=False)()  # opens no window
    twin.close()
    if twin._replayed is not None:
        _turn_to_replay(env)


def certify_replay(env: Any) -> None:
    """The same for an environment whose states are played in any case."""
    _remember(env, _examine_replay)


def measure_capacity(env: Any) -> int:
    """Twice the bytes that the largest state of a short, seeded walk needs.

    Everywhere the same, if nothing was restored before: what a pickle makes once or twice depends
    on it. 0 where states cannot be saved, which certification will tell.
    """
    with _as_it_is(env):
        start = attempt(env.save_bytes)[0] if env._certify else env.save_bytes()
        if start is None:
            return 0
        draw, largest = _sampler(env), len(start)
        for _ in range(PROBING):
            if env._ended or attempt(lambda: env._transition(draw(), 1))[1]:
                break
            largest = max(largest, len(attempt(env.save_bytes)[0] or b""))
        if env._certify:
            attempt(lambda: env.load_bytes(start))
    return 2 * largest


def _remember(env: Any, examine: Callable[[Any], tuple[bool, str]]) -> None:
    key = _frozen(env._recipe)
    known = OUTCOMES.get(key) if key is not None else None
    played, refusal = examine(env) if known is None else known
    if key is not None and known is None:
        OUTCOMES[key] = played, refusal
        while len(OUTCOMES) > REMEMBERED:
            OUTCOMES.popitem(last=False)
    if refusal:
        raise NotCloneableError(refusal)
    if played and env._replayed is None:
        _turn_to_replay(env)


def _climb(env: Any) -> tuple[bool, str]:
    with _as_it_is(env) as options:
        start = attempt(env.save_bytes)[0]
        different = _exam(env)
        if not different and start is not None:
            env.load_bytes(start)  # wrappers that count forget the exam
            return False, ""
        noise = _noise(env)
        if all(path in noise for path in different):
            env.load_bytes(start)
            _warn(env, noise)
            return False, ""
        told = f"{env!r} is not restored exactly by a snapshot: {_first(different, noise)}"
        own = type(env).save_bytes.__module__ != type(env).use_replay.__module__
        if own or not options["clone_seeds"]:  # adapters that save by themselves do not replay
            return False, told + _advice(env)
        _turn_to_replay(env)
        played, refusal = _examine_replay(env, noise)
        return played, refusal and f"{told}; nor by playing again from the seed: {refusal}"


def _examine_replay(env: Any, noise: frozenset[str] | None = None) -> tuple[bool, str]:
    with _as_it_is(env):
        different = _exam(env)
        if different and noise is None:
            noise = _noise(env)
        noise = frozenset(path for path in noise or () if path.startswith("info"))
        if all(path in noise for path in different):
            return True, ""
        return True, _first(different, noise) + _advice(env)


def _warn(env: Any, noise: frozenset[str]) -> None:
    """An info may tell the time; if observations do, exactness ends there, and is said to."""
    seen = sorted(path for path in noise if not path.startswith("info"))
    if seen:
        text = f"{env!r}: new environments of one seed differ in {', '.join(seen)}: no state can"
        warnings.warn(f"{text} hold what that depends on (a clock, a global?)", stacklevel=2)


def _turn_to_replay(env: Any) -> None:
    old = env._gym_env
    env.use_replay()
    old.close()


def _first(different: dict[str, str], noise: frozenset[str]) -> str:
    return next(f"{path}: {text}" for path, text in different.items() if path not in noise)


def _advice(env: Any) -> str:
    snapshot = getattr(env, "_snapshot", None)
    names = sorted(set().union(*snapshot.left_out)) if snapshot is not None else []
    left_out = f". Left out of the snapshot: {', '.join(names)}" if names else ""
    return f"{left_out}. Pass certify=False to use it all the same"


# ---- the exam -----------------------------------------------------------------------------------


def _exam(env: Any) -> dict[str, str]:
    """The paths that differ after a restore, and how."""
    draw = _sampler(env)
    env._begin_episode(0, None)
    _play(env, [draw() for _ in range(BEFORE)])
    saved, error = attempt(env.save_bytes)
    if error:
        return {"saving": error}
    actions = [draw() for _ in range(MOVES)]
    expected = [_seen(env), *_play(env, actions)]
    env._begin_episode(1, None)
    _play(env, [draw() for _ in range(WANDERING)])
    _, error = attempt(lambda: env.load_bytes(saved))
    if error:
        return {"restoring": error}
    return differences(expected, [_seen(env), *_play(env, actions)])


def _play(env: Any, actions: list[Any]) -> Tape:
    """Make the moves; an ended episode, and one move in between, is an unseeded reset."""

    def move(number: int, action: Any) -> dict[str, Any]:
        if env._ended or number == RESET_AT:
            info, reward = env._begin_episode(None, None), 0.0
        else:
            reward, info = env._transition(action, 1)
            info = {key: value for key, value in info.items() if key not in ("n_step", "dt")}
        return {**_seen(env), **tokens_of(reward, "reward"), **tokens_of(info, "info")}

    return _tape(move, actions)


def _tape(move: Callable[[int, Any], dict[str, Any]], actions: list[Any]) -> Tape:
    tape: Tape = []
    for number, action in enumerate(actions):
        tokens, error = attempt(lambda k=number, a=action: move(k, a))  # type: ignore[misc]
        tape.append(tokens if tokens is not None else {"raised": error})
        if error:
            break
    return tape


def _seen(env: Any) -> dict[str, Any]:
    return {**tokens_of(env.current_obs(), "obs"), "ended": env._ended}


def _noise(env: Any) -> frozenset[str]:
    """What two new environments of one seed do not agree on."""
    tapes = []
    for _ in range(2):
        random.seed(0)
        np.random.seed(0)
        fresh = env.make_stack()
        draw = _sampler(fresh)
        ended = False

        def move(number: int, action: Any, fresh: gym.Env = fresh) -> dict[str, Any]:
            nonlocal ended
            if ended or number in (0, 1 + BEFORE + RESET_AT):
                (obs, info), reward, ended = fresh.reset(seed=None if number else 0), 0.0, False
            else:
                obs, reward, terminated, truncated, info = fresh.step(action)  # type: ignore
                ended = bool(terminated or truncated)
            seen = {**tokens_of(obs, "obs"), "ended": ended}
            return {**seen, **tokens_of(float(reward), "reward"), **tokens_of(info, "info")}

        tapes.append(_tape(move, [draw() for _ in range(1 + BEFORE + MOVES)]))
        fresh.close()
    return frozenset(differences(*tapes))


def _sampler(env: Any) -> Callable[[], Any]:
    space = copy.deepcopy(env.action_space)
    space.seed(0)
    return space.sample


@contextlib.contextmanager
def _as_it_is(env: Any) -> Iterator[dict[str, Any]]:
    """Generators restored, no images; afterwards everything, Python's generators too, as before."""
    numbers = random.getstate(), np.random.get_state()
    names = ("clone_seeds", "obs_type", "return_image", "frameskip")
    options = {name: getattr(env, name) for name in names}
    env.clone_seeds, env.return_image, env.frameskip = True, False, 1
    if env.DEFAULT_OBS_TYPE == "coords":
        env.obs_type = "coords"
    try:
        yield options
    finally:
        random.setstate(numbers[0])
        np.random.set_state(numbers[1])
        for name, value in options.items():
            setattr(env, name, value)
        env._ended = RUNNING


def _frozen(recipe: Any) -> Any:
    """A recipe as a key; ``None`` where it cannot be one."""

    def freeze(value: Any) -> Any:
        if isinstance(value, dict):
            return tuple((key, freeze(part)) for key, part in sorted(value.items()))
        if isinstance(value, (list, tuple)):
            return type(value).__name__, *(freeze(part) for part in value)
        hash(value)
        return type(value), value

    try:
        return freeze((recipe.target, recipe.args, recipe.kwargs or {}))
    except TypeError:  # unhashable: examined each time
        return None
