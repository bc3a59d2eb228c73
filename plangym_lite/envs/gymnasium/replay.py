"""Replay: a state is the seed of an episode and all actions since, and is restored by replaying.

This is exact if the seed and the actions determine the episode, even if the simulator hides its
state from Python. Each episode is played in a new environment, because a simulator may carry data
from one episode into the next. Some environments are kept alive: if one of them is at the state to
be restored, or at an earlier state of the same episode, only the missing actions are replayed. If
an environment supports checkpoints, those of the latest states are kept too, and a row that starts
from one of them replays nothing.
"""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from plangym_lite.envs.snapshot.pickling import NotUnderstoodError
from plangym_lite.envs.snapshot.snapshot import Snapshot, layers_of
from plangym_lite.errors import InvalidStateError
from plangym_lite.nested import ARRAY_SPACES
from plangym_lite.stable import register, stable_reduce

__all__ = ["Checkpointer", "ReplayedEnv", "Root", "LiveEnv", "Trail"]


class Root(NamedTuple):
    """How an episode began."""

    seed: int
    options: bytes | None  # pickled
    wrappers: bytes | None  # the state of the wrappers before the reset

    def __reduce__(self) -> tuple[Any, ...]:
        return stable_reduce("Root", *self)


register("Root", Root)


class Checkpointer(Protocol):
    """Takes checkpoints of one environment: ``load`` restores what ``save`` returned."""

    def save(self) -> Any: ...

    def load(self, checkpoint: Any) -> None: ...


class LiveEnv:
    """An environment in the state after ``frames``, the actions of its episode so far."""

    def __init__(self, env: gym.Env, root: Root) -> None:
        self.env, self.root = env, root
        self.frames = b""
        self.obs: Any = None
        self.gathered: Any = None  # a Snapshot of the wrappers, if they keep state
        self.checkpointer: Any = None  # a Checkpointer, if the environment supports them
        self.checkpoints: dict[bytes, tuple[Any, Any]] = {}  # by frames: checkpoint and observation

    def keep_checkpoint(self) -> bool:
        """Take a checkpoint of this state unless there is one; return whether one was taken."""
        if self.checkpointer is None or self.frames in self.checkpoints:
            return False
        self.checkpoints[self.frames] = self.checkpointer.save(), self.obs
        return True

    def nearest(self, frames: bytes) -> bytes | None:
        """The longest prefix of ``frames`` that it is at or has a checkpoint of, or ``None``."""
        if frames == self.frames or frames in self.checkpoints:
            return frames
        places = [place for place in (self.frames, *self.checkpoints) if frames.startswith(place)]
        return max(places, key=len, default=None)

    def go_back(self, frames: bytes) -> None:
        """Go to the state that ``nearest`` returned."""
        if frames != self.frames:
            checkpoint, self.obs = self.checkpoints[frames]
            self.checkpointer.load(checkpoint)
            self.frames = frames


FLOATS = frozenset("efd")  # half, single and double, as numpy's type characters
MOST_WORLDS = 16  # environments kept alive if there are checkpoints


class Trail(NamedTuple):
    """A state: picklable and comparable; its size grows with the episode."""

    root: Root
    frames: bytes  # the actions, one after another
    ended: int

    def __reduce__(self) -> tuple[Any, ...]:
        return stable_reduce("Trail", *self)


register("Trail", Trail)


class ReplayedEnv(gym.Env):
    """Acts like the environment that ``build`` returns, and can be put into any ``Trail``.

    Args:
        build: makes a new environment, wrappers included.
        first: a newly built environment, used for the first episode.
        keep_wrappers: whether wrappers carry state from one episode into the next.
        keep_from_start: whether they carry state into the first episode, too.
        n_live: how many states are kept, as environments or as checkpoints. If it is over 1,
            environments must not share any state.
        skip: ``skip(env, actions)`` runs many actions without drawing intermediate frames and
            returns the last observation.
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
        skip: Callable[[gym.Env, Iterator[Any]], Any] | None = None,
        checkpoints: Callable[[gym.Env], Checkpointer | None] | None = None,
    ) -> None:
        self._build, self._n_live = build, n_live
        self._keep_wrappers, self._keep_from_start = keep_wrappers, keep_from_start
        self.cannot_keep = False  # whether the state of wrappers was lost between episodes
        self._skip, self._checkpointer_of = skip or _play, checkpoints
        self._taken: OrderedDict[tuple[int, bytes], LiveEnv] = OrderedDict()  # by last use
        self._live: list[LiveEnv] = []  # least recently used first
        self._next: gym.Env | None = first or build()  # for the next episode
        self._gathered: Any = self._snapshot_of_wrappers(self._next)  # of that one
        self.action_space = self._next.action_space
        self.observation_space = self._next.observation_space
        self._current: LiveEnv | None = None  # the one in the current state, if any
        self._root: Root | None = None
        self._frames = b""

    # ---- what PlangymEnv calls ----------------------------------------------------------------

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin an episode in a new environment. Without a seed, one derives from the last seed."""
        if seed is None:
            before = None if self._root is None else [self._root.seed, 1]
            seed = int(np.random.SeedSequence(before).generate_state(1)[0])
        packed = None if options is None else pickle.dumps(options)
        root = Root(int(seed), packed, self._wrapper_state())
        info = self._begin(root)
        self._root, self._frames = root, b""
        return self._live[-1].obs, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        live = self._ready()
        frame = _to_bytes(self.action_space, action)
        (same,) = _actions_in(self.action_space, frame)
        try:
            answer = live.env.step(same)
        except BaseException:
            self._forget(live)  # its state is unknown
            raise
        live.obs = answer[0]
        live.frames = self._frames = live.frames + frame
        return answer

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
        """The observation of the current state."""
        return self._ready().obs

    def look(self, obs: Any) -> None:
        """Set the observation of the current state."""
        self._ready().obs = obs

    @property
    def live_env(self) -> gym.Env:
        """The environment in the current state."""
        return self._ready().env

    def save(self, ended: int) -> Trail:
        """The current state."""
        if self._root is None:
            raise InvalidStateError("nothing to save before the first reset")
        if self._current is not None:
            self._keep_checkpoint(self._current)
        return Trail(self._root, self._frames, ended)

    def load(self, trail: Any) -> int:
        """Make ``trail`` the current state, replayed when needed; return its ``ended``."""
        if not isinstance(trail, Trail):
            raise InvalidStateError(f"not a state: expected a Trail, got {type(trail).__name__}")
        self._root, self._frames, self._current = trail.root, trail.frames, None
        return trail.ended

    # ---- reaching the current state -----------------------------------------------------------

    def _ready(self) -> LiveEnv:
        if self._current is None:
            assert self._root is not None
            live = self._nearest()
            if live is None:
                self._begin(self._root)
                live = self._live[-1]
            self._go_on(live, self._frames[len(live.frames) :])
            self._keep_checkpoint(live)
            self._current = live
        return self._current

    def _nearest(self) -> LiveEnv | None:
        """Take the live environment with the fewest missing actions back to that state."""
        best: LiveEnv | None = None
        place = b""
        for live in self._live:
            found = live.nearest(self._frames) if live.root == self._root else None
            if found is not None and (best is None or len(found) >= len(place)):
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
            live.keep_checkpoint() and live.frames
        ):  # the first checkpoint is kept as long as the environment
            self._taken[id(live), live.frames] = live
            while len(self._taken) > self._n_live:
                (_, frames), old = self._taken.popitem(last=False)
                del old.checkpoints[frames]

    def _go_on(self, live: LiveEnv, frames: bytes) -> None:
        if not frames:
            return
        try:
            live.obs = self._skip(live.env, _actions_in(self.action_space, frames))
        except BaseException:
            self._forget(live)
            raise
        live.frames += frames

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
        self._live.append(live)
        self._current = live
        if self._checkpointer_of is not None:
            live.checkpointer = self._checkpointer_of(env)
            live.keep_checkpoint()
        return info

    def _forget(self, live: LiveEnv) -> None:
        self._live.remove(live)
        self._current = None
        for frames in live.checkpoints:
            self._taken.pop((id(live), frames), None)
        live.env.close()

    def _wrapper_state(self) -> bytes | None:
        """The state that the wrappers carry into the next episode."""
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


def _play(env: gym.Env, actions: Iterator[Any]) -> Any:
    for action in actions:
        obs = env.step(action)[0]
    return obs


# ---- actions as bytes ---------------------------------------------------------------------------


def _is_short(space: Any) -> bool:
    return isinstance(space, spaces.Discrete) and space.n <= 256


def _to_bytes(space: Any, action: Any) -> bytes:
    """An action as bytes that can be concatenated and split again.

    Elements of a ``Box`` keep their dtype: the first byte says which.
    """
    if _is_short(space):
        return bytes((int(action) - int(space.start),))
    if isinstance(space, spaces.Box):
        array = np.asarray(action)
        kind: str = array.dtype.char
        if kind not in FLOATS or space.dtype.kind != "f":
            array, kind = array.astype(space.dtype), " "
        return kind.encode() + array.tobytes()
    if isinstance(space, ARRAY_SPACES):
        return np.asarray(action, space.dtype).tobytes()
    return pickle.dumps(action)


def _actions_in(space: Any, frames: bytes) -> Iterator[Any]:
    if _is_short(space):
        for number in frames:
            yield space.dtype.type(number + space.start)
    elif isinstance(space, spaces.Box):
        yield from _boxes_in(space, frames)
    elif isinstance(space, ARRAY_SPACES):
        shape: Any = space.shape
        for action in np.frombuffer(frames, space.dtype).reshape(-1, *shape):
            yield np.array(action) if shape else action
    else:
        stream = io.BytesIO(frames)
        while stream.tell() < len(frames):
            yield pickle.load(stream)


def _boxes_in(space: spaces.Box, frames: bytes) -> Iterator[Any]:
    size, at = int(np.prod(space.shape, dtype=int)), 0
    while at < len(frames):
        kind = frames[at : at + 1].decode()
        dtype = space.dtype if kind == " " else np.dtype(kind)
        end = at + 1 + size * dtype.itemsize
        action = np.frombuffer(frames[at + 1 : end], dtype).reshape(space.shape)
        yield action.copy() if space.shape else action[()]
        at = end
