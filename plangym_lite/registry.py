"""``make()``, which chooses the adapter by the class of the environment, not by its name.

The adapter is looked up along the base classes of the environment, so that a subclass of an
engine's environment gets that engine's adapter. An environment without an adapter is saved by the
generic snapshot of :class:`~plangym_lite.envs.gymnasium.env.PlangymEnv`.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any, Literal, TypeVar, overload

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec, load_env_creator
from typing_extensions import Unpack

from plangym_lite.core import PlanEnv
from plangym_lite.envs.gymnasium.env import PlangymEnv
from plangym_lite.envs.gymnasium.families import check_installed, lacking, looks_like, spec_of
from plangym_lite.envs.gymnasium.stack import hand_over, take_over, takes
from plangym_lite.errors import MissingPackageError, UnknownEnvironmentError, to_install
from plangym_lite.recipe.options import AdapterOptions, KnownOptions
from plangym_lite.recipe.plain import PlainEpisode, provide_states
from plangym_lite.simulator import SimulatorEnv
from plangym_lite.system import check_workers, missing_for_workers, usable_cores

__all__ = ["adapter_for", "find_spec", "make", "module_of", "register_adapter"]

_ADAPTERS = {
    "ale_py.env:AtariEnv": "plangym_lite.envs.atari.env:AtariEnv",
    "gymnasium.envs.mujoco.mujoco_env:MujocoEnv": "plangym_lite.envs.mujoco.env:MujocoEnv",
    "stable_retro.retro_env:RetroEnv": "plangym_lite.envs.retro:RetroEnv",
    "shimmy.dm_control_compatibility:DmControlCompatibilityV0": (
        "plangym_lite.envs.mujoco.dm_control:DMControlEnv"
    ),
    "pettingzoo.utils.env:AECEnv": "plangym_lite.envs.gymnasium.pettingzoo:PettingZooEnv",
    "gymnasium.envs.classic_control": "plangym_lite.envs.batched.classic_control:ClassicControl",
    "gymnasium.envs.toy_text": "plangym_lite.envs.batched.toy_text:ToyText",
    "gymnasium.envs.box2d": "plangym_lite.envs.box2d.env:Box2DEnv",
}
"""By class, or by the package that all its classes are in."""
_MODULES = {
    "dm_control": ("dm_control", "plangym_lite.envs.mujoco.dm_control"),
    "stable-retro": ("stable_retro", "plangym_lite.envs.retro"),
    "PettingZoo": ("pettingzoo", "plangym_lite.envs.gymnasium.pettingzoo"),
}
"""By family, the package that is needed, and our module, which has the names."""

Local = TypeVar("Local", bound=PlanEnv)


@overload
def make(
    name: type[Local], n_workers: None = None, ray: Literal[False] = False, **engine_kwargs: Any
) -> Local: ...
@overload
def make(
    name: str,
    n_workers: int | Literal["auto"] | None = None,
    ray: bool = False,
    **engine_kwargs: Unpack[KnownOptions],
) -> PlanEnv: ...
@overload
def make(
    name: EnvSpec | Callable[..., Any] | None = None,
    n_workers: int | Literal["auto"] | None = None,
    ray: bool = False,
    **engine_kwargs: Any,
) -> PlanEnv: ...
def make(
    name: str | EnvSpec | Callable[..., Any] | None = None,
    n_workers: int | str | None = None,
    ray: bool = False,
    **engine_kwargs: Any,
) -> PlanEnv:
    """Make an environment that can be stepped from any saved state.

    Args:
        name: a Gymnasium id, ``"module:Id-v0"`` if a module must be imported for it, or an
            ``EnvSpec``; a task of dm_control (``"cartpole-balance"``, or the domain with
            ``task_name=``, or ``domain_name=`` and ``task_name=``); a game of stable-retro, or of
            PettingZoo (``"pettingzoo/tictactoe_v3"``); a ``PlanEnv`` or ``gymnasium.Env`` class; or
            a callable that returns such an environment, or one of PettingZoo's (AEC).
        n_workers: number of worker processes that share each batch; ``None``: no workers;
            ``"auto"``: one for each usable core; none where there can be none (Windows).
        ray: run the workers on a Ray cluster; ``n_workers=None`` then means ``"auto"``, and the
            arguments of :class:`~plangym_lite.vectorization.ray.env.RayEnv` are accepted.
        engine_kwargs: arguments of the adapter (see its class); all others go to the engine. Type
            checkers know those of the engines that have an extra, and refuse others for an id; if
            your own id has others, pass ``gym.spec(id)`` or a callable.

    Raises:
        UnknownEnvironmentError: nothing has that name; the message lists similar names, and the
            extra for names of its kind if a package is missing.
        NotCloneableError: the environment's state cannot be saved exactly.
        MissingPackageError: a package is not installed: the environment's, or Ray.
        NoWorkersError: this system cannot have workers.
    """
    if name is None or ("task_name" in engine_kwargs and _is_domain(name)):
        domain, task = engine_kwargs.pop("domain_name", name), engine_kwargs.pop("task_name", None)
        if not isinstance(domain, str) or not isinstance(task, str):
            raise TypeError(
                "make needs a name, or domain_name= and task_name= of a dm_control task"
            )
        name = f"{domain}-{task}"
    take_over(None, None)  # close what an earlier call may have left behind
    adapter, named = adapter_for(name, **engine_kwargs)
    if named:
        engine_kwargs["name"] = name
    if ray:
        check_workers()
        if importlib.util.find_spec("ray") is None:
            raise MissingPackageError(f"ray=True needs Ray: {to_install('ray')}")
        from plangym_lite.vectorization.ray.env import RayEnv

        actors: Any = "auto" if n_workers is None else n_workers
        return RayEnv(adapter, n_workers=actors, **engine_kwargs)
    if n_workers is None or (n_workers == "auto" and missing_for_workers()):
        return adapter(**engine_kwargs)
    from plangym_lite.vectorization.parallel import ParallelEnv

    count: Any = usable_cores() if n_workers == "auto" else n_workers
    return ParallelEnv(adapter, n_workers=count, **engine_kwargs)


def adapter_for(
    name: str | EnvSpec | Callable[..., Any], **engine_kwargs: Any
) -> tuple[Callable[..., PlanEnv], bool]:
    """The adapter for ``name``, and whether the adapter takes the name as an argument.

    A callable is called to find out. The adapter then takes over the environment that it returned,
    if it is made with the same arguments.
    """
    if isinstance(name, EnvSpec):
        return _adapter_of_spec(name, name, engine_kwargs), True
    if isinstance(name, str):
        suite, retro, games = (
            module_of(title) if looks_like(title, name) else None for title in _MODULES
        )
        is_composers = name.startswith("dm_control/")  # a task that needs OpenGL: refused when made
        if suite and (suite.task_of(name) or (is_composers and find_spec(name))):
            return suite.DMControlEnv, True
        if retro and retro.is_game(name):
            return retro.RetroEnv, True
        if games:
            return games.PettingZooEnv, True
        return _adapter_of_spec(find_spec(name), name, engine_kwargs), True
    if isinstance(name, type):
        if issubclass(name, PlanEnv):
            return name, False
        if issubclass(name, gym.Env) or _adapter_of(name) is not PlangymEnv:
            return _adapter_of(name), True
        raise TypeError(f"expected a PlanEnv or gymnasium.Env class, got {name!r}")
    if isinstance(name, (gym.Env, PlanEnv)):
        raise TypeError(f"{name!r} is made already: pass a callable, make(lambda: gym.make(...))")
    if not callable(name):
        raise TypeError(f"expected an id, a class or a callable, got {name!r}")
    kwargs = _for_engine(engine_kwargs)
    mode = engine_kwargs.get("render_mode", "rgb_array")
    if mode is not None and takes(name, "render_mode"):
        kwargs["render_mode"] = mode
    env = name(**kwargs)
    if isinstance(env, PlanEnv):
        env.close()
        return name, False
    adapter = _adapter_of(type(getattr(env, "unwrapped", env)))
    if not isinstance(env, gym.Env) and adapter is PlangymEnv:
        raise TypeError(f"{name!r} returned {env!r}, not an environment")
    hand_over(name, kwargs, env)
    return adapter, True


def register_adapter(engine: str | type, adapter: str | type[SimulatorEnv]) -> None:
    """Let ``make`` use ``adapter`` for environments of the class ``engine`` and its subclasses.

    Both are classes or strings of the form ``"module:Class"``. A package can also announce the
    pair as an entry point of the group ``plangym_lite.adapters``.

    Raises:
        TypeError: the adapter is no class that inherits ``SimulatorEnv``; of a string ``make`` says
            it.
    """
    key = engine if isinstance(engine, str) else _key(engine)
    _ADAPTERS[key] = adapter if isinstance(adapter, str) else _checked(adapter)  # type: ignore


def find_spec(name: str) -> Any:
    """Gymnasium's spec of an id, of packages that may provide it, or an error with near names."""
    try:
        spec = spec_of(name)
    except ModuleNotFoundError as error:
        raise UnknownEnvironmentError(f"no environment is called {name!r}: {error}") from error
    if spec is not None:
        return spec
    suite, retro, family = module_of("dm_control"), module_of("stable-retro"), lacking(name)
    known = [*gym.registry, *(suite.TASKS if suite else ()), *(retro.games() if retro else ())]
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.8 if family else 0.5)
    hint = f"; the nearest names are {', '.join(near)}" if near else ""
    if family is not None:
        hint += f"; those of {family.title} need {family.missing}: {family.install}"
    raise UnknownEnvironmentError(f"no environment is called {name!r}{hint}")


def _is_domain(name: Any) -> bool:
    suite = module_of("dm_control")
    if suite is not None:
        return name in {domain for domain, _ in suite.TASKS.values()}
    return isinstance(name, str) and name.isidentifier() and name not in gym.registry


def _adapter_of_spec(
    spec: EnvSpec, name: str | EnvSpec, engine_kwargs: dict[str, Any]
) -> type[SimulatorEnv]:
    creator: Any = spec.entry_point
    if isinstance(creator, str):
        check_installed(spec.id, creator)
        creator = load_env_creator(creator)
    if isinstance(creator, type):
        return _adapter_of(creator)
    env = gym.make(name, **_for_engine(engine_kwargs))
    env.close()
    return _adapter_of(type(env.unwrapped))


def _for_engine(engine_kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments of ``make`` that go to the engine, not to an adapter."""
    ours = AdapterOptions.__annotations__
    return {key: value for key, value in engine_kwargs.items() if key not in ours}


def module_of(title: str) -> Any:
    """Our module for a family of games or tasks; ``None`` if its package is not installed."""
    package, module = _MODULES[title]
    return importlib.import_module(module) if importlib.util.find_spec(package) else None


def _adapter_of(made: type) -> type[SimulatorEnv]:
    announced = entry_points(group="plangym_lite.adapters")
    known = {**{entry.name: entry.value for entry in announced}, **_ADAPTERS}
    for base in made.__mro__:
        adapter: Any = known.get(_key(base)) or known.get(base.__module__.rpartition(".")[0])
        if isinstance(adapter, str):
            module, _, attribute = adapter.partition(":")
            adapter = getattr(importlib.import_module(module), attribute)
        if adapter is not None:
            return _checked(adapter)
    return PlangymEnv


def _checked(adapter: Any) -> type[SimulatorEnv]:
    if not isinstance(adapter, type) or not issubclass(adapter, SimulatorEnv):
        raise TypeError(f"an adapter is a class that inherits SimulatorEnv, got {adapter!r}")
    return adapter


def _key(engine: type) -> str:
    return f"{engine.__module__}:{engine.__qualname__}"


def _states_of(factory: Callable[[], Any], env: Any, episode: PlainEpisode) -> Any:
    """What saves a plain environment that runs in a worker: by the adapter that ``make`` uses."""
    from plangym_lite.envs.gymnasium.running import RunningStates

    return RunningStates(_adapter_of(type(env.unwrapped)), factory, env, episode)


provide_states(_states_of)
