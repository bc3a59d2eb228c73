"""Playing: one episode by a planner, and random play from the same state.

One environment plays both games::

    state        ──planner──> action ──env.step(action, state)──> state, reward, picture
    random_state ──────> random action ──env.step(...)──> random_state, reward

Where infos have a mask of legal actions, random play is legal. Of two players in turn the planner
is the first, random play the other; scores are those of the first.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from gymnasium import spaces
from tqdm import tqdm

from plangym_lite import planners
from plangym_lite.cli.play.options import flag_of, parameters_of
from plangym_lite.cli.play.saving import Turn
from plangym_lite.cli.target import CommandError, find_target, make_env
from plangym_lite.core import PlanEnv
from plangym_lite.planners import OnBatch, PlanOutput
from plangym_lite.planners.chance import draws
from plangym_lite.planners.simulator import Simulator
from plangym_lite.registry import adapter_for
from plangym_lite.viz.film import GameFilm, Play

__all__ = ["Game", "check_options_of", "open_environment", "play", "progress_bar"]

FOR_TWO_PLAYERS = ("mcts",)
MASK = "action_mask"
OBS_TYPES = {"rollout_iw": "palette", "go_explore": "grayscale"}
"""Default ``obs_type`` of planners on Atari: images or RAM."""


@dataclass
class Game:
    """A game so far: the record for the JSON."""

    seed: int = 0
    score: float = 0.0
    random_score: float = 0.0  # of random play with the same number of steps
    steps: int = 0
    draws: bool = False  # whether the environment draws, by a probe at its start
    knew_the_dice: bool = False  # whether it does, and the planner knew what it would draw
    two_players: bool = False  # whether random play makes every second move against the planner
    probe_calls: int = 0  # of simulator_calls
    simulator_calls: int = 0  # rows stepped by the planner
    frames: int = 0  # simulator steps run by the planner
    seconds: float = 0.0
    ended: bool = False  # whether the episode has ended
    rewards: list[float] = field(default_factory=list)  # of each step
    random_rewards: list[float] = field(default_factory=list)  # of random play
    search: Any = None  # of the last decision; not in the JSON

    def add(self, step: Any, random_step: Any) -> None:
        sign = -1.0 if self.is_opponents_turn() else 1.0
        self.rewards.append(sign * float(step.reward) + 0.0)  # no -0.0
        self.score += self.rewards[-1]
        self.random_rewards.append(sign * float(random_step.reward) + 0.0)
        self.random_score += self.random_rewards[-1]
        self.steps += 1
        self.ended = bool(step.terminated or step.truncated)

    def is_opponents_turn(self) -> bool:
        return self.two_players and self.steps % 2 == 1


def play(
    env: PlanEnv,
    planner: str,
    game: Game,
    *,
    planner_options: dict[str, Any],
    steps: int,
    execute: int = 1,
    know_the_dice: bool = False,
    film: GameFilm | None = None,
    history: list[Turn] | None = None,
    on_batch: OnBatch | None = None,
    on_step: Callable[[], Any] = lambda: None,
) -> None:
    """Play both games step by step, and update ``game``, whose ``seed`` is the only randomness.

    Args:
        execute: number of actions of each plan that are played.
        know_the_dice: plan with the draws that the state holds; otherwise with others, if the
            environment draws.
        film: gets each step of both games; ``history`` gets all steps.
        on_batch: called after every batch of the planner; ``on_step`` after every step.
    """
    planner_options, rng = dict(planner_options), np.random.default_rng(game.seed)
    state, obs, info = env.reset(seed=game.seed)
    key = set_rules(env, planner, game, info, planner_options)
    randomly, opponent = RandomPlay(env, game.seed, key), RandomPlay(env, game.seed + 1, key)
    random_state, random_info, plan = state, info, list[Any]()
    if film is not None:
        film.begin(state)

    def count(rows: int, frames: int) -> None:
        game.simulator_calls += rows
        game.frames += frames
        if on_batch is not None:
            on_batch(rows, frames)

    start = time.perf_counter()
    simulator = Simulator(env, np.random.default_rng(game.seed), count, legal_actions=key)
    game.draws, game.probe_calls = draws(simulator, state, info), simulator.calls
    planner_options["resample"] = game.draws and not know_the_dice
    game.knew_the_dice = game.draws and know_the_dice
    player = Player(planner, planner_options, execute, 2 if game.two_players else 1)
    while game.steps < steps and not game.ended:
        decision = None
        if game.is_opponents_turn():
            plan = [opponent.draw(info)]
        elif not plan:
            decision = player.decide(env, state, info, on_batch=count, rng=rng)
            plan, game.search = decision.actions[:execute], decision.search
        action, random_action = plan.pop(0), randomly.draw(random_info)
        random_step: Any = env.step(random_action, random_state)
        step: Any = env.step(action, state)
        game.add(step, random_step)
        game.seconds = time.perf_counter() - start
        if history is not None:
            history.append(Turn(game.seed, state, obs, action, decision, step))
        if film is not None:
            film.add(Play(state, action, step), Play(random_state, random_action, random_step))
            start = time.perf_counter() - game.seconds  # films take no time of the game
        state, obs, info = step.state, step.obs, step.info
        random_state, random_info = random_step.state, random_step.info
        on_step()


class Player:
    """A planner with its options, which keeps its search for the next decision.

    Args:
        played: number of actions from one decision to the next; 2 against another player.

    Raises:
        ValueError: more than one action of a plan is to be played against another player.
    """

    def __init__(self, planner: str, options: dict[str, Any], execute: int, played: int) -> None:
        if played > 1 and execute > 1:
            raise ValueError("--execute: the other player need not follow the plan")
        self.plan: Any = getattr(planners, planner)
        known = parameters_of(planner)
        kept = (name for name in ("tree", "before") if name in known and execute == 1)
        self.kept, self.options = next(kept, None), dict(options)
        if self.kept and played > 1:
            self.options["played"] = played

    def decide(
        self, env: PlanEnv, state: Any, info: Any, *, on_batch: OnBatch, rng: np.random.Generator
    ) -> PlanOutput:
        if "legal_actions" in self.options:
            self.options["info"] = info
        output: PlanOutput = self.plan(env, state, **self.options, on_batch=on_batch, rng=rng)
        if self.kept:
            self.options[self.kept] = output.search
        return output


class RandomPlay:
    """Random actions from a generator of their own; legal ones where infos have a mask, ``key``."""

    def __init__(self, env: PlanEnv, seed: int, key: str | None) -> None:
        self.space, self.key = deepcopy(env.action_space), key
        self.space.seed(seed)

    def draw(self, info: dict[str, Any]) -> Any:
        if self.key is None or not np.any(info.get(self.key, 0)):
            return self.space.sample()
        return self.space.sample(mask=np.asarray(info[self.key], np.int8))


def set_rules(
    env: PlanEnv, planner: str, game: Game, info: dict[str, Any], planner_options: dict[str, Any]
) -> str | None:
    """Add what the environment says of its rules to the options; the key of the mask, if any."""
    space, key = env.action_space, planner_options.get("legal_actions")
    shape = np.shape(info[MASK]) if MASK in info else None
    if key is None and isinstance(space, spaces.Discrete) and shape == (space.n,):
        key = MASK
        if "legal_actions" in parameters_of(planner):
            planner_options["legal_actions"] = key
    alternate = getattr(getattr(env, "plan_env", env), "players_alternate", False)
    if alternate and planner in FOR_TWO_PLAYERS:
        planner_options.setdefault("discount", -1.0)
    game.two_players = alternate or planner_options.get("discount", 1.0) < 0
    return key


@contextmanager
def progress_bar(
    title: str, total: int, games: list[Game], quiet: bool = False
) -> Iterator[tuple[Any, OnBatch]]:
    """A progress bar of steps, with score and frames per second; on terminals only."""
    start = shown = time.perf_counter()
    options: Any = {"unit": "step", "mininterval": 0.5, "delay": 0.2, "disable": quiet or None}
    with tqdm(total=total, desc=title, **options) as bar:

        def on_batch(rows: int, frames: int) -> None:
            nonlocal shown
            now = time.perf_counter()
            if not bar.disable and now - shown > bar.mininterval:
                shown = now
                speed = sum(game.frames for game in games) / (now - start)
                bar.set_postfix_str(f"score {games[-1].score:g}, {speed:,.0f} frames/s")

        yield bar, on_batch


def open_environment(name: str, planner: str, options: dict[str, Any]) -> PlanEnv:
    """The environment; Atari with RAM observations if the planner needs no images."""
    target = find_target(name)
    if isinstance(target, str) and "ram" in getattr(adapter_for(target)[0], "OBS_TYPES", ()):
        options = {"obs_type": OBS_TYPES.get(planner, "ram"), **options}
    return make_env(target, name, **options)


def check_options_of(planner: str, planner_options: dict[str, Any]) -> None:
    """Raise unless the planner has all of these options."""
    for option in planner_options:
        if option not in parameters_of(planner):
            raise CommandError(f"{planner} has no {flag_of(option)}")
