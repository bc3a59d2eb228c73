"""The arguments of ``make`` that type checkers know, against the signatures of the engines."""

import importlib
import inspect
from importlib.util import find_spec

import gymnasium as gym
import pytest
from gymnasium.envs.registration import load_env_creator

from plangym_lite import PlangymEnv, envs, make
from plangym_lite.recipe.options import AdapterOptions, KnownOptions
from plangym_lite.vectorization import ParallelEnv

ADAPTERS = {"AtariEnv": "ale_py", "Box2DEnv": "Box2D", "ClassicControl": None, "ToyText": None}
HOMES = (
    "ale_py",
    "minigrid",
    *(f"gymnasium.envs.{kind}." for kind in ("classic_control", "toy_text", "box2d", "mujoco")),
)
NOT_OPTIONS = {"self", "name", "n_workers", "env_class"}  # those of ``make`` itself
OF_THE_ID = {"self", "game", "id"}  # it says them


def named(function):
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    found = inspect.signature(function).parameters.values()
    return {parameter.name for parameter in found if parameter.kind not in kinds}


def of_class(kind):
    makers = [base.__init__ for base in kind.__mro__ if "__init__" in vars(base)]
    return set().union(*(named(maker) for maker in makers if maker is not object.__init__))


def engines():
    """Every class behind an id of Gymnasium or a provider with an extra."""
    for provider in ("ale_py", "minigrid"):
        if find_spec(provider):
            gym.register_envs(importlib.import_module(provider))
    for spec in list(gym.registry.values()):
        if str(spec.entry_point).startswith(HOMES):
            yield spec


def test_the_options_of_adapters_and_workers():
    known = set(AdapterOptions.__annotations__)
    kinds = [
        getattr(envs, name) for name, needs in ADAPTERS.items() if not needs or find_spec(needs)
    ]
    wanted = set().union(*map(of_class, [PlangymEnv, ParallelEnv, *kinds])) - NOT_OPTIONS
    if find_spec("ray"):
        from plangym_lite.vectorization.ray.env import RayEnv

        wanted |= of_class(RayEnv) - NOT_OPTIONS
        assert known == wanted
    assert wanted <= known
    assert known <= set(KnownOptions.__annotations__)


def test_the_arguments_of_engines():
    known, seen = set(KnownOptions.__annotations__), 0
    for spec in engines():
        try:
            made = load_env_creator(str(spec.entry_point))
        except (ImportError, AttributeError, gym.error.Error):
            continue  # its package is missing, or the id can only raise an error
        if isinstance(made, type):
            assert of_class(made) - OF_THE_ID <= known, spec.id
            seen += 1
    assert seen > 10


def test_the_arguments_of_dm_control_and_of_retro():
    known = set(KnownOptions.__annotations__)
    if find_spec("dm_control"):
        assert of_class(envs.DMControlEnv) - NOT_OPTIONS <= known
    if find_spec("stable_retro"):
        import stable_retro

        retro = named(stable_retro.make) | of_class(stable_retro.RetroEnv)
        assert retro - OF_THE_ID <= known
    if not (find_spec("dm_control") or find_spec("stable_retro")):
        pytest.skip("neither is installed")


def test_options_of_workers_do_not_reach_a_callable():
    with make(lambda: gym.make("CartPole-v1"), threads=False, n_workers=1) as env:
        assert env.n_workers == 1
