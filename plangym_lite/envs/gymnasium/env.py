"""PlangymEnv: any Gymnasium environment, saved by the generic snapshot or by replay.

The adapters of particular engines inherit from it and replace how the state is saved.
"""

from __future__ import annotations

import functools
import pickle
import warnings
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec

from plangym_lite.envs.generators.seeding import seed_all
from plangym_lite.envs.generators.shared import OwnGlobals, shared_kept
from plangym_lite.envs.gymnasium.families import render, spec_of
from plangym_lite.envs.gymnasium.replay import ReplayedEnv
from plangym_lite.envs.gymnasium.stack import (
    apply_wrapper,
    call_factory,
    check_options,
    checked_wrappers,
    make_by_gymnasium,
    spaces_of,
    to_grayscale,
)
from plangym_lite.envs.snapshot.packing import pack, pack_info, unpack
from plangym_lite.envs.snapshot.pickling import NotUnderstoodError
from plangym_lite.envs.snapshot.snapshot import (
    Snapshot,
    has_replaced_methods,
    layers_of,
    mute,
    mute_films,
    saved_and_films,
    unmute,
)
from plangym_lite.envs.verify.verification import Verdict
from plangym_lite.envs.verify.verify import refuse_the_same, verdict_on
from plangym_lite.errors import InvalidStateError, NotCloneableError, StateOutgrownError
from plangym_lite.nested import copy_element, run_frames, split_reset
from plangym_lite.recipe.recipe import freeze, take_findings
from plangym_lite.simulator import RUNNING, SimulatorEnv
from plangym_lite.stable import digest_of, versions_of

__all__ = ["STATELESS_WRAPPERS", "PlangymEnv", "to_grayscale"]

STATELESS_WRAPPERS = (gym.wrappers.PassiveEnvChecker, gym.wrappers.OrderEnforcing)


class PlangymEnv(SimulatorEnv):
    """Any Gymnasium environment as a :class:`~plangym_lite.core.PlanEnv`.

    Args:
        name: a Gymnasium id or ``EnvSpec``, an environment class, or a callable that returns an
            environment.
        frameskip: environment steps for each unit of ``dt``.
        autoreset: see :class:`~plangym_lite.simulator.SimulatorEnv`.
        wrappers: applied in order; each a callable ``wrapper(env)`` or a pair of such a callable
            and its arguments (a dict of keywords, a tuple or list of positions, or one value).
        delay_setup: build at first use.
        remove_time_limit: leave out the ``TimeLimit`` of the id.
        render_mode: passed to the environment if it supports the mode.
        obs_type: ``"coords"`` (the environment's own), ``"rgb"`` or ``"grayscale"`` images.
        return_image: put the image after each step in ``info["rgb"]``.
        clone_seeds: whether the random generators are part of the state. ``False`` leaves them
            running, so that a stochastic environment can be sampled from one state.
        state_capacity: bytes of a state; the default is twice the size found when it was made.
        array_state: ``False``: states are ``bytes`` of varying length.
        state_method: ``"snapshot"`` or ``"replay"``; ``None``: the first that is exact.
        certify: verify that states are exact when the environment is made: snapshots, or seeds
            and actions, which are replayed. If neither is, ``NotCloneableError`` is raised.
        engine_kwargs: passed to ``gymnasium.make``, the class or the callable.
    """

    STATES_NAME: ClassVar[str] = "PlangymEnv"
    LAYOUT: ClassVar[int] = 1  # version of the states; raised when older ones cannot be read
    _is_plain: bool = False  # the engine's array is the whole state: no wrappers to save
    _spec_made: EnvSpec | None = None  # the spec of an id when it was first made
    _replayed: ReplayedEnv | None = None  # set if states are restored by replay
    _owns_globals: bool = False  # it draws from the global generators
    _saved_by_engine: tuple[str, ...] = ()  # attributes of the base that the adapter saves
    _changes_stack: bool = False  # the adapter adds a layer to what Gymnasium builds
    _is_bare: bool = False  # while the plain environment is built: without that layer
    _plays_only: bool = False  # snapshots of its engine are not possible, only replay
    _snapshot: Any = None
    _obs: Any = None  # of the last step or reset
    _info: Any = None  # likewise
    _is_discovered: bool = True  # whether the snapshot has seen an episode begin
    _image_shape: tuple[int, ...] | None = None  # if images are the observations
    verdict: Verdict | None = None  # the result of verification
    STATE_METHODS: ClassVar[tuple[str, ...]] = ("snapshot", "replay")
    OBS_TYPES: ClassVar[tuple[str, ...]] = ("coords", "rgb", "grayscale")
    DEFAULT_OBS_TYPE: ClassVar[str] = "coords"

    def __init__(
        self,
        name: str | EnvSpec | Callable[..., gym.Env],
        frameskip: int = 1,
        autoreset: bool = True,
        wrappers: Iterable[Any] | None = None,
        delay_setup: bool = False,
        *,
        remove_time_limit: bool = True,
        render_mode: str | None = "rgb_array",
        obs_type: str | None = None,
        return_image: bool = False,
        clone_seeds: bool = True,
        state_capacity: int | None = None,
        array_state: bool = True,
        state_method: str | None = None,
        certify: bool = True,
        **engine_kwargs: Any,
    ) -> None:
        obs_type = obs_type or self.DEFAULT_OBS_TYPE
        check_options(self, state_method, obs_type, render_mode, return_image)
        self._make = freeze(name)
        self._wrappers = freeze(checked_wrappers(wrappers))
        self._engine_kwargs = freeze(engine_kwargs)
        self.remove_time_limit = remove_time_limit
        self.render_mode = render_mode
        self.obs_type = obs_type
        self.clone_seeds = clone_seeds
        self.STATE_IS_ARRAY = array_state
        self._capacity, self._has_own_capacity = state_capacity, state_capacity is not None
        self.state_choice = state_method
        self._certify = certify
        label = name if isinstance(name, str) else getattr(name, "__name__", repr(name))
        label = name.id if isinstance(name, EnvSpec) else label
        super().__init__(label, frameskip, autoreset, delay_setup, return_image)

    @property
    def gym_env(self) -> gym.Env:
        """The Gymnasium environment, in the current state."""
        self._restore_current()
        return self._gym_env if self._replayed is None else self._replayed.live_env

    # ---- building -----------------------------------------------------------------------------

    def build_engine(self) -> None:
        self._findings = take_findings()
        self._adopt(self.make_stack())
        self.is_trusted = self._is_plain
        if self._is_plain:
            if self._findings is None:
                refuse_the_same(self)
        else:
            self.prepare_states()
        self._ended = RUNNING
        self._has_begun = False
        draws = self.obs_type != "coords" and self.DEFAULT_OBS_TYPE == "coords"
        if self._is_plain or (draws and self._image_shape is None):
            self._begin_at_all()  # otherwise the first episode begins when it is needed
        if draws:
            shape = self._image_shape or self.current_obs().shape
            self.observation_space = spaces.Box(0, 255, shape, np.uint8)
        self.OBS_IS_ARRAY = isinstance(self.observation_space, spaces.Box)

    def _adopt(self, env: gym.Env) -> None:
        self._gym_env = env
        self._layers: list[Any] = layers_of(env)
        self._base: Any = self._layers[-1]
        self._films = saved_and_films(self._layers)[1]
        self.action_space, self._own_space = spaces_of(env)
        self.observation_space = self._own_space
        self.adopt_layers()

    def make_stack(self) -> gym.Env:
        """A new environment with the user's wrappers."""
        if not self._owns_globals:
            return self.wrap(self.make_gym_env())
        with shared_kept():
            return OwnGlobals(self.wrap(self.make_gym_env()))

    def wrap(self, env: gym.Env) -> gym.Env:
        """Apply the user's wrappers to an environment."""
        return functools.reduce(apply_wrapper, self._wrappers, env)

    def make_plain(self) -> gym.Env:
        """The plain Gymnasium environment to compare with, without any class of ours."""
        self._is_bare = True
        try:
            return self.wrap(self.make_gym_env())
        finally:
            self._is_bare = False

    def prepare_states(self) -> None:
        """Find out how states are saved, unless they are the engine's own array."""
        self.take_verdict(self._findings or verdict_on(self))

    def take_verdict(self, verdict: Verdict) -> None:
        """Save states in the way that verification found to be exact."""
        if verdict.refusal:
            raise NotCloneableError(verdict.refusal)
        if verdict.shared_numbers and not self._owns_globals:
            self._owns_globals = True
            self._adopt(OwnGlobals(self._gym_env))
        self.verdict, self._image_shape = verdict, verdict.image_shape
        if verdict.played:
            self.use_replay()
            return
        saved, films = saved_and_films(self._layers)
        kept = verdict.constants, verdict.fields, self._saved_by_engine
        self._snapshot = Snapshot(saved, films, *kept)
        self._is_discovered = False
        self.STATE_IS_ARRAY = self.STATE_IS_ARRAY and verdict.capacity is not None
        self._capacity = self._capacity or verdict.capacity

    def findings(self) -> Any:
        return Verdict() if self._is_plain else self.verdict

    def use_replay(self, **kwargs: Any) -> None:
        """Save states as seed and actions from now on; ``kwargs``: see :class:`ReplayedEnv`."""
        if not self.clone_seeds:
            raise ValueError("clone_seeds=False: states of seed and actions hold the generators")
        if self.state_choice == "snapshot":
            raise ValueError(f"{self!r} cannot be saved as state_method='snapshot'")
        known = {*STATELESS_WRAPPERS, gym.wrappers.TimeLimit}
        gathers = not known.issuperset(map(type, self._layers[:-1]))
        kwargs = {"keep_from_start": self._owns_globals, "keep_wrappers": gathers, **kwargs}
        kwargs.setdefault("first", self._gym_env)
        self._gym_env = self._replayed = ReplayedEnv(self._make_another, **kwargs)
        self.STATE_IS_ARRAY = False

    def _make_another(self) -> gym.Env:
        env = self.make_stack()
        mute_films(env)
        return env

    @property
    def _saves_itself(self) -> bool:
        return type(self).save_bytes is not PlangymEnv.save_bytes

    @property
    def state_method(self) -> str:
        self.setup()
        if self._replayed is not None:
            return "replay"
        return "engine" if self._is_plain or self._saves_itself else "snapshot"

    def make_gym_env(self) -> gym.Env:
        """The environment without the user's wrappers."""
        return self.make_with(dict(self._engine_kwargs))

    def make_with(self, kwargs: dict[str, Any]) -> gym.Env:
        """What the id, class or callable makes of these arguments."""
        if not isinstance(self._make, (str, EnvSpec)):
            return call_factory(self._make, kwargs, self.render_mode)
        made_by: Any = self._spec_made or self._make
        if isinstance(made_by, str):  # a worker has not imported the provider of the id
            self._spec_made = spec_of(made_by)
        if self.remove_time_limit:
            kwargs.setdefault("max_episode_steps", -1)
        return make_by_gymnasium(made_by, self._spec_made or made_by, kwargs, self.render_mode)

    def adopt_layers(self) -> None:
        """Find what the adapter needs in the layers, and whether the state is plain."""

    def surrounded_only_by(self, *known: type) -> bool:
        """Whether all layers around the base are stateless or ``known``, no method replaced."""
        kinds = set(map(type, self._layers[:-1]))
        is_known = kinds <= {*STATELESS_WRAPPERS, *known} and not has_replaced_methods(self._layers)
        return self.state_choice is None and is_known

    # ---- running ------------------------------------------------------------------------------

    def apply_reset(self, seed: int | None, options: dict[str, Any] | None) -> dict[str, Any]:
        self._obs, info = split_reset(self._gym_env.reset(seed=seed, options=options), self)
        self._info = info.copy()
        if not self.clone_seeds:  # workers must have as many generators as there are in states
            _ = self._base.np_random  # reading it makes one
        if not self._is_discovered:
            self._is_discovered = True
            self._snapshot.discover()
        return info

    def advance(self, action: Any, n_frames: int) -> tuple[float, bool, bool, dict[str, Any]]:
        ran = run_frames(self._gym_env.step, action, n_frames, self)
        self._obs, self._info = ran[0], ran[4].copy()
        return ran[1:]

    def current_info(self) -> dict[str, Any]:
        info = self._info if self._replayed is None else self._replayed.info
        return {name: value for name, value in info.items() if name != "n_step"}

    def generators(self) -> list[Any]:
        """The random generators: the base's first, then those of layers from the inside out."""
        return [self._base.np_random] if self._is_plain else self._snapshot.generators()

    def seed_generators(self, seed: int) -> Callable[[], None]:
        if self._replayed is not None:
            return self._replayed.seed_generators(seed)
        put_back = seed_all(self.generators(), seed)
        return put_back if not self.clone_seeds else lambda: None

    def current_obs(self) -> Any:
        if self.obs_type == "rgb":
            return self.draw_image()
        if self.obs_type == "grayscale":
            return to_grayscale(self.draw_image())
        obs = self._obs if self._replayed is None else self._replayed.obs
        return copy_element(self._own_space, obs)

    def draw_image(self) -> np.ndarray:
        image = render(self._gym_env) if self.render_mode == "rgb_array" else None
        if not isinstance(image, np.ndarray):
            raise NotImplementedError(f"{self!r} draws no image (render_mode={self.render_mode!r})")
        return image.copy()  # some environments reuse the array

    def render(self) -> Any:
        self._restore_current()
        return render(self._gym_env) if self.render_mode == "human" else self.draw_image()

    def close_engine(self) -> None:
        self._gym_env.close()

    # ---- the state ----------------------------------------------------------------------------

    def state_layout(self) -> tuple[tuple[int, ...], np.dtype] | None:
        if self._is_plain or not self.STATE_IS_ARRAY:
            return super().state_layout()
        return (self._capacity,), np.dtype(np.uint8)  # type: ignore[return-value]

    def save_state(self, out: np.ndarray | None = None) -> Any:
        data = self.save_bytes()
        if not self.STATE_IS_ARRAY:
            return data
        out = np.empty(self._capacity, np.uint8) if out is None else out  # type: ignore[arg-type]
        kind = InvalidStateError if self._has_own_capacity else StateOutgrownError
        return pack(data, out, self, kind)

    def load_state(self, state: Any) -> None:
        if isinstance(state, np.ndarray) and state.dtype == np.uint8:
            state = unpack(state, self)
        self.load_bytes(state)

    def save_current(self) -> Any:
        self._film(False)
        return self.save_state() if self._is_plain else self.save_bytes()

    def load_current(self, state: Any) -> None:
        self._film(self._findings is None and self._replayed is None)
        self.load_state(state)

    def _begin_at_all(self) -> None:
        if not self._has_begun:
            self._film(False)
            super()._begin_at_all()
            self._film(self._findings is None and self._replayed is None)

    def _film(self, on: bool) -> None:
        """Let wrappers that film record, or not, if the user did not ask for the frames."""
        for layer in self._films:
            (unmute if on else mute)(layer)

    def outgrow(self, quiet: bool = False) -> None:
        """Save states as ``bytes`` of varying length from now on; array states stay valid."""
        if not quiet and self.STATE_IS_ARRAY:
            warnings.warn(f"states of {self!r} outgrew their arrays: opaque now", stacklevel=2)
        self.verdict = self.verdict and self.verdict._replace(capacity=None)  # for new workers
        self.STATE_IS_ARRAY, self._spec = False, None

    def describe_states(self) -> str:
        made_by = self._spec_made and (self._spec_made.entry_point, self._spec_made.kwargs)
        flags = self.remove_time_limit, self.clone_seeds
        options = self._engine_kwargs, self._wrappers, *flags, made_by
        versions = " ".join(versions_of(self._base))
        if self._snapshot is not None and self._snapshot.simulations is not None:
            versions += "".join(f" model={int(tag):08x}" for tag in self._snapshot.simulations.tags)
        return f"{self.name} {super().describe_states()} {versions} options={digest_of(options)}"

    def holds_pickles(self) -> bool:
        return not self._is_plain

    def save_bytes(self) -> Any:
        """The whole state as bytes, or as a :class:`Trail` for replay."""
        if self._replayed is not None:
            return self._replayed.save(self._ended)
        try:
            extra = self._ended, self._obs, pack_info(self.current_info())
            return self._snapshot.save(extra)
        except NotUnderstoodError as error:
            what = f"{self!r} holds something that no snapshot does, {error}"
            raise NotCloneableError(f"{what}: pass state_method='replay'") from error

    def load_bytes(self, data: Any) -> None:
        """Restore what ``save_bytes`` returned."""
        if self._replayed is not None:
            self._ended = self._replayed.load(data)
            return
        try:
            self._ended, self._obs, *info = self._snapshot.load(data, self.clone_seeds)
            self._info = pickle.loads(info[0]) if info else {}  # older states have none
        except Exception as error:  # bytes that are not a state can raise anything
            raise InvalidStateError(f"not a state of {self!r}: {error}") from error
