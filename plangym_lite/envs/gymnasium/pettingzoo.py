"""PettingZooEnv: games of PettingZoo (AEC) for several players, a step being one move.

The state is a generic snapshot of the game, or seed and moves, whichever is verified to be exact.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, ClassVar
from weakref import WeakSet

import gymnasium as gym
import pettingzoo
from gymnasium import spaces
from pettingzoo import AECEnv
from pettingzoo.env_registry.exceptions import PettingZooRegistryError

from plangym_lite.envs.gymnasium.env import PlangymEnv
from plangym_lite.envs.gymnasium.stack import call_factory, takes
from plangym_lite.errors import NotCloneableError, UnknownEnvironmentError
from plangym_lite.stable import versions_of

__all__ = ["PettingZooEnv", "Turns", "games", "make_game"]

CLASSIC = "classic"
NEEDS = {
    "chess": {"chess": "chess"},
    "hanabi": {"pyspiel": "open-spiel", "shimmy": "shimmy"},
    "leduc_holdem": {"rlcard": "rlcard"},
    "texas_holdem": {"rlcard": "rlcard"},
    "texas_holdem_no_limit": {"rlcard": "rlcard"},
}
"""Modules that classic games need besides pygame, and their packages."""
ALTERNATING = {"chess", "connect_four", "go", "tictactoe"}
"""Games of two players who move in turn, see everything, and win what the other loses."""
MASK = "action_mask"
BOARD = "observation"
IN_USE: WeakSet[Any] = WeakSet()
"""The games that are played."""


def games() -> list[str]:
    """The names of the classic games whose packages are installed."""
    return sorted(
        f"pettingzoo/{spec.name}_v{spec.version}"
        for spec in pettingzoo.aec_registry.values()
        if spec.namespace == CLASSIC and not missing_for(spec.name)
    )


def missing_for(game: str) -> list[str]:
    needed = {"pygame": "pygame", **NEEDS.get(game, {})}
    return [package for module, package in needed.items() if find_spec(module) is None]


def make_game(name: str, kwargs: dict[str, Any]) -> AECEnv:
    """A game such as ``"pettingzoo/tictactoe_v3"``, or ``UnknownEnvironmentError``."""
    game = name.partition("/")[2]
    try:
        return pettingzoo.make("aec", game if "/" in game else f"{CLASSIC}/{game}", **kwargs)
    except PettingZooRegistryError as error:
        raise UnknownEnvironmentError(f"no environment is called {name!r}: {error}") from error
    except ImportError as error:
        missing = " ".join(missing_for(game.rpartition("/")[2].rpartition("_v")[0]))
        if not missing:
            raise
        raise UnknownEnvironmentError(f"{name!r} needs other packages: {missing}") from error


class Turns(gym.Env):
    """An AEC environment as a Gymnasium environment: each step is one move, of whose turn it is.

    Observations are those of the agent whose turn it is. The reward is that of the agent that has
    moved. ``info`` has ``"agent"``, whose turn it is, and ``"action_mask"``, the legal moves, where
    PettingZoo says them. The episode ends when it has ended for all agents. ``ValueError`` if the
    agents have different spaces.
    """

    def __init__(self, game: AECEnv) -> None:
        agents = game.possible_agents
        pairs = [(game.observation_space(agent), game.action_space(agent)) for agent in agents]
        if any(pair != pairs[0] for pair in pairs):
            raise ValueError(f"{game}: its agents have different spaces, and a planner needs one")
        self.game = game
        self.metadata, self.render_mode = game.metadata, getattr(game, "render_mode", None)
        seen, self.action_space = pairs[0]
        self.has_board = isinstance(seen, spaces.Dict) and set(seen.spaces) == {BOARD, MASK}
        self.observation_space = seen[BOARD] if self.has_board else seen

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.game.reset(seed=seed, options=options)
        return self._look()

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        game, mover = self.game, self.game.agent_selection
        game.step(action)
        reward, ends = game.rewards[mover], (game.terminations[mover], game.truncations[mover])
        goes_on = self._goes_on()
        while goes_on and game.agent_selection not in goes_on:
            game.step(None)  # an agent that is out of the game leaves it
        obs, info = self._look()
        terminated, truncated = (not goes_on and bool(end) for end in ends)
        return obs, float(reward), terminated, truncated, info

    def _goes_on(self) -> list[Any]:
        game = self.game
        ends = game.terminations, game.truncations
        return [agent for agent in game.agents if not any(end[agent] for end in ends)]

    def render(self) -> Any:
        return None if self.render_mode is None else self.game.render()

    def close(self) -> None:
        self.game.close()

    def _look(self) -> tuple[Any, dict[str, Any]]:
        agent = self.game.agent_selection
        obs: Any = self.game.observe(agent)
        info = {**self.game.infos[agent], "agent": agent}
        if self.has_board:
            info[MASK] = obs[MASK]
            obs = obs[BOARD]
        return obs, info


class PettingZooEnv(PlangymEnv):
    """A game of PettingZoo, by :class:`Turns`: each step is one move of whose turn it is.

    Where two players alternate and one wins what the other loses, ``discount=-1`` and
    ``legal_actions="action_mask"`` let planners play it. All other arguments are those of
    :class:`~plangym_lite.envs.gymnasium.env.PlangymEnv`.

    Args:
        name: ``"pettingzoo/"`` and an id of PettingZoo, ``"pettingzoo/classic/tictactoe_v3"``, for
            classic games also ``"pettingzoo/tictactoe_v3"``; or a callable that returns a new AEC
            environment.
        engine_kwargs: passed to the callable, or to ``pettingzoo.make``.
    """

    STATES_NAME: ClassVar[str] = "PettingZooEnv"
    LAYOUT: ClassVar[int] = 1  # version of the states; raised when older ones cannot be read

    _painter: Any = None  # another game, which only draws
    _blank: dict[str, Any]  # its attributes at first

    def make_gym_env(self) -> gym.Env:
        game = self._new_game(None)
        if game.unwrapped in IN_USE:
            raise NotCloneableError(
                f"{self!r} returned the same environment twice: give a callable that builds a new "
                "one each time"
            )
        IN_USE.add(game.unwrapped)
        return Turns(game)

    def _new_game(self, render_mode: str | None) -> Any:
        kwargs = dict(self._engine_kwargs)
        if self._takes_render_mode():
            kwargs["render_mode"] = render_mode
        if isinstance(self._make, str):
            return make_game(self._make, kwargs)
        return call_factory(self._make, kwargs, None)

    def _takes_render_mode(self) -> bool:
        return isinstance(self._make, str) or takes(self._make, "render_mode", or_any=True)

    @property
    def players_alternate(self) -> bool:
        """Whether two players move in turn, and one wins what the other loses."""
        self.setup()
        return self._base.game.metadata.get("name", "").rpartition("_v")[0] in ALTERNATING

    def describe_states(self) -> str:
        return f"{super().describe_states()} {' '.join(versions_of(self._base.game.unwrapped))}"

    # ---- images: surfaces have no place in a state, so the game that is played draws nothing ----

    def draw_image(self) -> Any:
        if self.render_mode != "rgb_array" or not self._takes_render_mode():
            return super().draw_image()
        return self._paint().copy()

    def render(self) -> Any:
        self._restore_current()
        return self._paint() if self.render_mode == "human" else self.draw_image()

    def _paint(self) -> Any:
        if self._painter is None:
            self._painter = self._new_game(self.render_mode)
            self._blank = dict(vars(self._painter.unwrapped))
        canvas = vars(self._painter.unwrapped)
        canvas.clear()  # what was drawn before may show through
        canvas.update(self._blank)
        self._painter.reset()
        played: Any = self._gym_env if self._replayed is None else self._replayed.live_env
        game = vars(played.unwrapped.game.unwrapped)
        known = {name: value for name, value in game.items() if value is not None}
        canvas.update({**known, "render_mode": self.render_mode})
        return self._painter.render()

    def close_engine(self) -> None:
        super().close_engine()
        if self._painter is not None:
            self._painter.close()
