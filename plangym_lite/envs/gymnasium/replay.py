"""Replay: a state is the seed of an episode and all actions since, and is restored by replaying.

This is exact if the seed and the actions determine the episode, even if the simulator hides its
state from Python. Each episode is played in a new environment, because a simulator may carry data
from one episode into the next. Some environments are kept alive: if one of them is at the state to
be restored, or at an earlier state of the same episode, only the missing actions are replayed. If
an environment supports checkpoints, those of the latest states are kept too, and a row that starts
from one of them replays nothing.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import gymnasium as gym
import numpy as np

from plangym_lite.envs.generators.seeding import seed_all
from plangym_lite.envs.gymnasium.trail import Place, Root, Trail, actions_in, to_bytes
from plangym_lite.envs.snapshot.pickling import NotUnderstoodError
from plangym_lite.envs.snapshot.snapshot import Snapshot, layers_of
from plangym_lite.errors import InvalidStateError
from plangym_lite.nested import own_info

__all__ = ["ReplayedEnv"]


class Checkpointer(Protocol):
    """Takes checkpoints of one environment: ``load`` restores what ``save`` returned."""

    def save(self) -> Any: ...

    def load(self, checkpoint: Any) -> None: ...


class LiveEnv:
    """An environment in some state of one episode."""

    def __init__(self, env: gym.Env, root: Root) -> None:
        self.env, self.root = env, root
        self.place = Place()
        self.obs: Any = None
        self.info: dict[str, Any] = {}
        self.gathered: Any = None  # a Snapshot of the wrappers, if they keep state
        self.checkpointer: Any = None  # a Checkpointer, if the environment supports them
        self.checkpoints: dict[Place, tuple[Any, Any, Any]] = {}  # and observation and info

    def keep_checkpoint(self) -> bool:
        """Take a checkpoint of this state unless there is one; return whether one was taken."""
        if self.checkpointer is None or self.place in self.checkpoints:
            return False
        self.checkpoints[self.place] = self.checkpointer.save(), self.obs, own_info(self.info)
        return True

    def nearest(self, there: Place) -> Place | None:
        """The last place on the way ``there`` that it is at or has a checkpoint of, or ``None``."""
        if there == self.place or there in self.checkpoints:
            return there
        places = [here for here in (self.place, *self.checkpoints) if here.is_on_the_way(there)]
        return max(places, key=lambda here: (len(here.frames), len(here.seeds)), default=None)

    def go_back(self, place: Place) -> None:
        if place != self.place:
            checkpoint, self.obs, self.info = self.checkpoints[place]
            self.checkpointer.load(checkpoint)
            self.place = place

    def seed_generators(self, seed: int) -> None:
        seed_all(Snapshot(layers_of(self.env)).generators(discover=True), seed)
        self.place = self.place._replace(seeds=(*self.place.seeds, (len(self.place.frames), seed)))


MOST_WORLDS = 16  # environments kept alive if there are checkpoints


class ReplayedEnv(gym.Env):
    """Acts like the environment that ``build`` returns, and can be put into any ``Trail``.

    Args:
        first: a newly built environment, used for the first episode.
        keep_wrappers: whether wrappers carry state from one episode into the next.
        keep_from_start: whether they carry state into the first episode, too.
        n_live: how many states are kept, as environments or as checkpoints. If it is over 1,
            environments must not share any state.
        skip: ``skip(env, actions)`` runs many actions without drawing intermediate frames and
            returns the last observation and info.
        checkpoints: returns the :class:`Checkpointer` of a newly reset environment, or ``None``.
    """

    def __init__(
        self,
        build: Callable[[], gym.Env],
        first: gym.Env | None = None,
        *,
        keep_wrappers: bool = False,
        keep_from_start: bool = False,
        n_live: int = 1,
        skip: Callable[[gym.Env, Iterator[Any]], tuple[Any, Any]] | None = None,
        checkpoints: Callable[[gym.Env], Checkpointer | None] | None = None,
    ) -> None:
        self._build, self._n_live = build, n_live
        self._keep_wrappers, self._keep_from_start = keep_wrappers, keep_from_start
        self.cannot_keep = False  # whether the state of wrappers was lost between episodes
        self._skip, self._checkpointer_of = skip or _play, checkpoints
        self._taken: OrderedDict[tuple[int, Place], LiveEnv] = OrderedDict()  # by last use
        self._live: list[LiveEnv] = []  # least recently used first
        self._next: gym.Env | None = first or build()  # for the next episode
        self._gathered: Any = self._snapshot_of_wrappers(self._next)  # of that one
        self.action_space = self._next.action_space
        self.observation_space = self._next.observation_space
        self._current: LiveEnv | None = None  # the one in the current state, if any
        self._root: Root | None = None
        self._place = Place()

    # ---- what PlangymEnv calls ----------------------------------------------------------------

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin an episode in a new environment. Without a seed, one derives from the last seed."""
        if seed is None:
            before = None if self._root is None else [self._root.seed, 1]
            seed = int(np.random.SeedSequence(before).generate_state(1)[0]) >> 1  # an int of C
        packed = None if options is None else pickle.dumps(options)
        root = Root(int(seed), packed, self._wrapper_state())
        info = self._begin(root)
        self._root, self._place = root, Place()
        return self._live[-1].obs, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        live = self._ready()
        frame = to_bytes(self.action_space, action)
        (same,) = actions_in(self.action_space, frame)
        try:
            answer = live.env.step(same)
        except BaseException:
            self._forget(live)  # its state is unknown
            raise
        live.obs, live.info = answer[0], answer[-1]
        live.place = self._place = Place(live.place.frames + frame, live.place.seeds)
        return answer

    def seed_generators(self, seed: int) -> Callable[[], None]:
        """Seed the generators; the state tells it. Returns what puts back nothing."""
        live = self._ready()
        live.seed_generators(seed)
        self._place = live.place
        return lambda: None

    def render(self) -> Any:
        return self._ready().env.render()

    def close(self) -> None:
        for live in self._live:
            live.env.close()
        if self._next is not None:
            self._next.close()
        self._live, self._current, self._next = [], None, None
        self._taken.clear()

    @property
    def obs(self) -> Any:
        return self._ready().obs

    @property
    def info(self) -> dict[str, Any]:
        return self._ready().info

    def look(self, obs: Any) -> None:
        self._ready().obs = obs

    @property
    def live_env(self) -> gym.Env:
        return self._ready().env

    def save(self, ended: int) -> Trail:
        if self._root is None:
            raise InvalidStateError("nothing to save before the first reset")
        if self._current is not None:
            self._keep_checkpoint(self._current)
        return Trail(self._root, self._place.frames, ended, self._place.seeds)

    def load(self, trail: Any) -> int:
        """Make ``trail`` the current state, replayed when needed; return its ``ended``."""
        if not isinstance(trail, Trail):
            raise InvalidStateError(f"not a state: expected a Trail, got {type(trail).__name__}")
        self._root, self._current = trail.root, None
        self._place = Place(trail.frames, trail.seeds)
        return trail.ended

    # ---- reaching the current state -----------------------------------------------------------

    def _ready(self) -> LiveEnv:
        if self._current is None:
            assert self._root is not None
            live = self._nearest()
            if live is None:
                self._begin(self._root)
                live = self._live[-1]
            self._go_on(live, self._place)
            self._keep_checkpoint(live)
            self._current = live
        return self._current

    def _nearest(self) -> LiveEnv | None:
        """Take the live environment with the fewest missing actions back to that state."""
        best: LiveEnv | None = None
        place = Place()
        for live in self._live:
            found = live.nearest(self._place) if live.root == self._root else None
            if found is not None and (best is None or len(found.frames) >= len(place.frames)):
                best, place = live, found
        if best is not None:
            self._live.remove(best)
            self._live.append(best)
            best.go_back(place)
            if (id(best), place) in self._taken:
                self._taken.move_to_end((id(best), place))
        return best

    def _keep_checkpoint(self, live: LiveEnv) -> None:
        """Keep a checkpoint, which is likely to be used again; drop the least recently used."""
        if (
            live.keep_checkpoint() and live.place.frames
        ):  # the first checkpoint is kept as long as the environment
            self._taken[id(live), live.place] = live
            while len(self._taken) > self._n_live:
                (_, place), old = self._taken.popitem(last=False)
                del old.checkpoints[place]

    def _go_on(self, live: LiveEnv, there: Place) -> None:
        try:
            for at, seed in there.seeds[len(live.place.seeds) :]:
                self._run(live, there.frames[len(live.place.frames) : at])
                live.seed_generators(seed)
            self._run(live, there.frames[len(live.place.frames) :])
        except BaseException:
            self._forget(live)
            raise

    def _run(self, live: LiveEnv, frames: bytes) -> None:
        if frames:
            actions = actions_in(self.action_space, frames)
            live.obs, live.info = self._skip(live.env, actions)
            live.place = live.place._replace(frames=live.place.frames + frames)

    def _begin(self, root: Root) -> dict[str, Any]:
        """Begin the episode in a new environment, added at the end of the live ones."""
        most = self._n_live if self._checkpointer_of is None else min(self._n_live, MOST_WORLDS)
        while len(self._live) >= most:  # before building another: closing may end what they share
            self._forget(self._live[0])
        env, self._next = self._next, None
        gathered, self._gathered = self._gathered, None
        if env is None:
            env = self._build()
            gathered = self._snapshot_of_wrappers(env)
        if root.wrappers is not None:
            gathered.load(root.wrappers)
        live = LiveEnv(env, root)
        live.gathered = gathered
        options = None if root.options is None else pickle.loads(root.options)
        live.obs, info = env.reset(seed=root.seed, options=options)
        live.info = dict(info)
        self._live.append(live)
        self._current = live
        if self._checkpointer_of is not None:
            live.checkpointer = self._checkpointer_of(env)
            live.keep_checkpoint()
        return info

    def _forget(self, live: LiveEnv) -> None:
        self._live.remove(live)
        self._current = None
        for place in live.checkpoints:
            self._taken.pop((id(live), place), None)
        live.env.close()

    def _wrapper_state(self) -> bytes | None:
        if not self._keep_wrappers or self.cannot_keep:
            return None
        gathered = None if self._root is None else self._ready().gathered
        if self._root is None and self._keep_from_start:
            gathered = self._gathered
        try:
            return None if gathered is None else gathered.save()
        except NotUnderstoodError:  # they refer to objects of the engine
            self.cannot_keep = True
            return None

    def _snapshot_of_wrappers(self, env: gym.Env) -> Snapshot | None:
        *wrappers, base = layers_of(env)
        return Snapshot(wrappers, [base]) if self._keep_wrappers and wrappers else None


def _play(env: gym.Env, actions: Iterator[Any]) -> tuple[Any, Any]:
    for action in actions:
        obs, *_, info = env.step(action)
    return obs, info
