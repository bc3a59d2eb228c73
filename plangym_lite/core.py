"""PlanEnv: the interface that planners use.

An adapter for a simulator implements only the hooks of :class:`plangym_lite.engine.Engine`.
Batches, ``dt``, absorbing terminal states, automatic reset, cloning and pickling are implemented
here, once for every simulator.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any

import numpy as np

from plangym_lite.batches import Batches
from plangym_lite.engine import BORROWED, CLOSED, READY, TERMINATED, TRUNCATED
from plangym_lite.errors import InvalidStateError
from plangym_lite.nested import own_info
from plangym_lite.recipe.recipe import Recipe, freeze
from plangym_lite.transitions import Step, Transition, table
from plangym_lite.validation import check_action, check_dt, check_state

__all__ = ["PlanEnv"]


class PlanEnv(Batches):
    """An environment that can be stepped from any saved state.

    Args:
        name: the name of the environment, as given to ``make``.
        frameskip: simulator steps for each unit of ``dt``.
        autoreset: whether ``step`` without a state resets an ended episode first.
        delay_setup: build the engine at first use, not now.
        return_image: put the image after each step, and after a reset, in ``info["rgb"]``.
    """

    _recipe: Recipe

    def __new__(cls, *args: Any, **kwargs: Any) -> PlanEnv:
        """Record the class and the arguments, whatever ``__init__`` does with them."""
        self = super().__new__(cls)
        self._recipe = Recipe(cls, freeze(args), freeze(kwargs))
        return self

    def __init__(
        self,
        name: str,
        frameskip: int = 1,
        autoreset: bool = True,
        delay_setup: bool = False,
        return_image: bool = False,
    ) -> None:
        if int(frameskip) != frameskip or frameskip < 1:
            raise ValueError(f"frameskip must be a whole number of at least 1, got {frameskip!r}")
        self._name = name
        self.frameskip = int(frameskip)
        self.autoreset = autoreset
        self.delay_setup = delay_setup
        self.return_image = return_image
        if not delay_setup:
            self.setup()

    def reset(
        self,
        return_state: bool = True,
        *,
        seed: int | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Any, ...]:
        """Start an episode; return ``(state, obs, info)``, or ``(obs, info)`` without states.

        ``seed`` makes this episode and the following ones reproducible.
        """
        self._return_engine()
        info = own_info(self._begin_episode(seed, options))
        if self.return_image:
            info["rgb"] = self.draw_image()
        obs = self.observe()
        return (self.get_state(), obs, info) if return_state else (obs, info)

    def seed(self, seed: int | None = None) -> list[int | None]:
        """Seed the next reset and ``sample_action``; return the seed in a list."""
        self._return_engine()
        self._next_seed = seed
        self.action_space.seed(seed)
        return [seed]

    def step(
        self, action: Any, state: Any = None, dt: int = 1, return_state: bool | None = None
    ) -> Step | Transition:
        """Apply ``action`` for ``dt * frameskip`` simulator steps; this moves the current state.

        Args:
            action: an element of ``action_space``; dtypes as in ``step_batch``.
            state: start from this state; ``None``: from the current one. If the current state has
                ended, a new episode starts first (``autoreset=True``), or nothing is run.
            dt: units of ``frameskip``, at least 1. The step stops at the end of the episode.
            return_state: whether the state is returned; ``None``: if ``state`` is given.

        Returns:
            ``(obs, reward, terminated, truncated, info)``, with the state in front if returned.
            ``reward`` is the sum over the frames; ``info["n_step"]`` counts them.
        """
        self._restore_current()
        action, dt = check_action(self.action_space, action), check_dt(dt)
        if state is not None:
            self.set_state(state)
        elif self._ended and self.autoreset:
            self._begin_episode(None, None)
        reward, info = self._transition(action, dt)
        ended = self._ended
        step = self.observe(), reward, bool(ended & TERMINATED), bool(ended & TRUNCATED), info
        if return_state or (return_state is None and state is not None):
            return Transition(self.get_state(), *step)
        return Step(*step)

    def set_state(self, state: Any) -> None:
        """Make ``state`` the current state.

        Raises:
            InvalidStateError: it is not a state of this environment.
        """
        self._ensure_setup()
        self._begin_at_all()
        state = check_state(self.batch_spec, state)
        phase, self._phase = self._phase, READY
        try:
            self.load_state(state)
        except InvalidStateError:
            self._phase = phase  # after an error the saved current state is still restored
            raise
        self._current_state = None

    def observe(self) -> Any:
        """The observation of the current state."""
        self._restore_current()
        return self.current_obs()

    def get_image(self) -> np.ndarray:
        """The image of the current state, ``[height, width, 3]`` uint8."""
        self._restore_current()
        return self.draw_image()

    def render(self) -> Any:
        """The same as ``get_image``."""
        return self.get_image()

    def sample_action(self) -> Any:
        """A random valid action."""
        self._ensure_setup()
        return self.action_space.sample()

    def clone(self, **overrides: Any) -> Any:
        """A new environment made in the same way; ``overrides`` replace constructor arguments.

        Without overrides it is in this environment's current state, otherwise newly reset.
        """
        copy = self._recipe.replace(**overrides)()
        if not overrides and self._has_state():
            copy.set_state(self.get_state())
        return copy

    def close(self) -> None:
        """Free the engine. May be called again."""
        if self._phase in (READY, BORROWED):
            self._phase = CLOSED
            self.close_engine()
        self._phase = CLOSED

    @property
    def name(self) -> str:
        """The name that the environment was made with."""
        return self._name

    @property
    def state_method(self) -> str:
        """How states are saved: ``"engine"``, ``"snapshot"`` or ``"replay"``."""
        return "engine"

    @property
    def unwrapped(self) -> PlanEnv:
        """The environment itself; of a vectorized environment its local copy."""
        return self

    @property
    def obs_shape(self) -> tuple[int, ...] | None:
        """Shape of an observation; ``None`` for nested ones."""
        self._ensure_setup()
        return self.observation_space.shape

    @property
    def action_shape(self) -> tuple[int, ...] | None:
        """Shape of an action; ``()`` for discrete, ``None`` for nested ones."""
        self._ensure_setup()
        return self.action_space.shape

    @property
    def img_shape(self) -> tuple[int, ...] | None:
        """Shape of ``get_image()``; ``None`` if there are no images."""
        try:
            return self.get_image().shape
        except (NotImplementedError, RuntimeError):
            return None

    def _has_state(self) -> bool:
        return self._phase in (READY, BORROWED) and self._has_begun

    def __reduce__(self) -> tuple[Any, ...]:
        state = self.get_state() if self._has_state() else None
        return _rebuild, (self._recipe, state)

    def __enter__(self) -> Any:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({getattr(self, '_name', None)!r})"

    def _repr_html_(self) -> str | None:
        """A table for notebooks, of what is known already: it builds and moves nothing."""
        phase = ("not built yet", "ready", "ready", "closed")[self._phase]
        names = ("observation_space", "action_space", "frameskip", "n_workers")
        known = ((name, getattr(self, name)) for name in names if hasattr(self, name))
        return table(f"{self!r}: {phase}", known)


def _rebuild(recipe: Recipe, state: Any) -> PlanEnv:
    env = recipe()
    if state is not None:
        env.set_state(state)
    return env
