"""An Atari game made by ale-py: options, actions, and how it is given an emulator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ale_py
import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec

from plangym_lite.envs.atari.emulator import Emulator
from plangym_lite.envs.atari.wrapper import EmulatorInterface
from plangym_lite.envs.gymnasium.env import STATELESS_WRAPPERS
from plangym_lite.envs.gymnasium.families import spec_of
from plangym_lite.envs.gymnasium.stack import takes
from plangym_lite.envs.snapshot.snapshot import has_replaced_methods, layers_of

__all__ = [
    "check_modes",
    "choose_modes",
    "decode_action",
    "factory_of_id",
    "is_bare_game",
    "run_drawn",
    "use_emulator",
    "with_palette",
]

Modes = tuple[int | None, int | None]
"""Mode and difficulty; ``None``: the game's default."""


def factory_of_id(name: str | EnvSpec, limits: dict[str, int]) -> Callable[..., gym.Env] | None:
    """What makes an id whose entry point is a function without ale-py's options, or ``None``."""
    spec: Any = spec_of(name) if isinstance(name, str) else name
    made_by = getattr(spec, "entry_point", None)
    options = ("obs_type", "frameskip", "repeat_action_probability", "full_action_space")
    if not callable(made_by) or all(takes(made_by, option, or_any=True) for option in options):
        return None

    def make_game(**kwargs: Any) -> gym.Env:
        return gym.make(spec, disable_env_checker=True, **limits, **kwargs)

    make_game.__name__ = spec.id
    return make_game


def is_bare_game(env: gym.Env) -> bool:
    """Whether it is ale-py's environment with no method replaced and no layers that matter."""
    *wrappers, base = layers = layers_of(env)
    is_own = type(base) is ale_py.env.AtariEnv and not has_replaced_methods(layers)
    return is_own and all(type(layer) in STATELESS_WRAPPERS for layer in wrappers)


def check_modes(base: Any, modes: Modes, name: str) -> None:
    """Raise ``ValueError`` for a mode or difficulty that the game does not have."""
    available = base.ale.getAvailableModes(), base.ale.getAvailableDifficulties()
    for option, value, known in zip(("mode", "difficulty"), modes, available, strict=True):
        if value is not None and value not in known:
            raise ValueError(f"{name} has no {option} {value}: choose one of {list(known)}")


def choose_modes(base: Any, modes: Modes) -> None:
    """Load the game again in another mode or difficulty."""
    mode, difficulty = modes
    if mode is not None:
        base._game_mode = mode
    if difficulty is not None:
        base._game_difficulty = difficulty
    if modes != (None, None):
        base.load_game()


def use_emulator(env: gym.Env, pictures: bool) -> Emulator:
    """Let the game in ``env`` run on a new emulator, in all layers that refer to its ``ale``."""
    base: Any = env.unwrapped
    emulator = Emulator(base.ale, base._game, pictures)
    interface = EmulatorInterface(emulator)
    for layer in layers_of(env):
        for name, value in list(vars(layer).items()):
            if value is emulator.ale:
                setattr(layer, name, interface)
    return emulator


def with_palette(env: gym.Env) -> gym.Env:
    """Make palette indices the observations, which Gymnasium has no option for."""
    base: Any = env.unwrapped
    return gym.wrappers.TransformObservation(env, lambda _: base.ale.getScreen(), None)


def decode_action(base: Any, action: Any) -> tuple[ale_py.Action, float]:
    """The console's action and paddle strength for an element of the action space."""
    if not base.continuous:
        return base._action_set[action], 1.0
    action = np.asarray(action, np.float32)  # computed in single precision, as ale-py does
    threshold = base.continuous_action_threshold
    x, y = action[0] * np.cos(action[1]), action[0] * np.sin(action[1])
    sides = [int(number > threshold) - int(number < -threshold) for number in (x, y)]
    fire = bool(action[-1] > threshold)
    return base.map_action_idx(sides[0], sides[1], fire), float(action[0])


def run_drawn(
    emulator: Emulator, base: Any, skip: tuple[int, int], units: int, held: tuple[Any, float, int]
) -> tuple[int, int]:
    """Run a random number of frames for each unit, drawn until the episode ends.

    ``held``: action, paddle strength, and the number of lives to stop below.
    """
    command, strength, floor = held
    generator = base.np_random
    before = generator.bit_generator.state if units > 1 else None
    drawn = [int(generator.integers(*skip)) for _ in range(units)]
    reward, n_step = emulator.run(command, sum(drawn), floor, strength)
    if n_step < sum(drawn):
        ends = np.cumsum(drawn)
        unit = int(np.searchsorted(ends, n_step))
        emulator.skip_draws(int(ends[unit]) - n_step)
        if before is not None:
            generator.bit_generator.state = before
            for _ in range(unit + 1):
                generator.integers(*skip)
    return reward, n_step
