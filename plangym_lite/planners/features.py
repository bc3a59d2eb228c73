"""Features of observations, as sets of numbers, for novelty search.

``B`` denotes the number of rows. A feature is an integer below ``Features.size``.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from itertools import compress
from math import atan, inf
from operator import or_
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
from gymnasium import spaces

from plangym_lite.planners.simulator import (
    PolicyFn,
    Simulator,
    ValueFn,
    values_after,
)
from plangym_lite.planners.tree import ROOT, UNKNOWN
from plangym_lite.planners.uct import policies_at
from plangym_lite.transitions import TransitionBatch

__all__ = [
    "Features",
    "NodeEvaluator",
    "NodeData",
    "as_array",
    "basic_features",
    "break_records",
    "features_of",
    "flatten",
    "held_records",
    "value_features",
]

TILES = 14, 16  # an Atari screen of 210 by 160 is cut into tiles of 15 by 10 pixels
COLOURS = 256
BINS = 256
FEW = 32  # numbers; with so many Python is faster than numpy
LIFE_COST = 10  # lost points for a lost life


class Features(NamedTuple):
    """A set of features, and how they are computed."""

    size: int
    of: Callable[[Any], list[Any]]
    """``of(observs [B, ...])``: for each row its features, without duplicates: an array; a list,
    which takes less time where they are few; or bytes, of which byte ``k`` is feature ``256 * k``
    plus its value."""


def features_of(space: spaces.Space, kind: str | Features = "auto") -> Features:
    """The features of the observations of ``space``.

    Args:
        space: the observation space.
        kind: ``"basic"``: see :func:`basic_features`; ``"values"``: see :func:`value_features`;
            ``"auto"``: the first for images, the second otherwise; or your own ``Features``.

    Raises:
        TypeError: not defined for these observations.
        ValueError: unknown ``kind``.
    """
    if isinstance(kind, Features):
        return kind
    shape = space.shape or ()
    is_image = space.dtype == np.uint8 and (len(shape) == 2 or shape[2:] in ((1,), (3,)))
    if kind not in ("auto", "basic", "values"):
        raise ValueError(f"features must be auto, basic, values or Features, got {kind!r}")
    if kind == "basic" and not is_image:
        raise TypeError(f"basic features are of images, the observations are {space}")
    return basic_features(shape) if is_image and kind != "values" else value_features(space)


def basic_features(shape: tuple[int, ...]) -> Features:
    """BASIC (Bellemare et al., 2013): which colours occur in each of 14 by 16 tiles.

    ``shape`` is that of an image: ``[height, width]``, or with 3 colour channels, which are then
    quantized to 256 colours. On Atari ``obs_type="palette"`` gives the console's own 128 colours.
    """
    height, width = shape[:2]
    if height < TILES[0] or width < TILES[1]:
        raise TypeError(f"an image of {height} by {width} is too small for basic features")
    down = np.arange(height) * TILES[0] // height
    across = np.arange(width) * TILES[1] // width
    first = (((down[:, None] * TILES[1]) + across) * COLOURS).ravel()  # feature of colour 0
    starts_down = np.diff(down, prepend=-1)[:, None] > 0
    starts_across = np.diff(across, prepend=-1) > 0

    def features_in(image: np.ndarray) -> np.ndarray:
        if image.shape[2:] == (3,):
            red, green, blue = np.moveaxis(image, -1, 0)
            image = (red & 0xE0) | (green >> 3 & 0x1C) | blue >> 6
        image = image.reshape(height, width)
        # A pixel equal to the one above or to its left in the same tile adds nothing.
        new, new_across = np.empty((2, height, width), bool)
        new[:] = starts_down
        new[1:] |= image[1:] != image[:-1]
        new_across[:] = starts_across
        new_across[:, 1:] |= image[:, 1:] != image[:, :-1]
        pixels = np.flatnonzero(new & new_across)
        seen = np.zeros(TILES[0] * TILES[1] * COLOURS, bool)
        seen[first[pixels] + image.ravel()[pixels]] = True
        return np.flatnonzero(seen)

    return Features(
        TILES[0] * TILES[1] * COLOURS, lambda observs: [features_in(obs) for obs in observs]
    )


def value_features(space: spaces.Space) -> Features:
    """The value of each entry of the observation, such as each byte of RAM.

    Integers with at most 256 values are used directly; other numbers are divided into 256 bins
    between the bounds of their entry, or by their arc tangent if it has no bounds. A text has one
    of 256 values.
    """
    if isinstance(space, spaces.Discrete):
        start = int(space.start)
        return Features(int(space.n), lambda observs: [[int(obs) - start] for obs in observs])
    if is_text(space):
        return Features(BINS, lambda texts: [[crc32(text.encode()) % BINS] for text in texts])
    if isinstance(space, (spaces.Dict, spaces.Tuple)):
        return _nested_features(space)
    if isinstance(space, spaces.MultiBinary):
        space = spaces.Box(0, 1, space.shape, np.int8)
    if isinstance(space, spaces.MultiDiscrete):
        space = spaces.Box(space.start, space.start + space.nvec - 1, dtype=np.int64)
    if not isinstance(space, spaces.Box):
        raise TypeError(f"no features are known of observations {space}: give Features")
    low, high = (np.ravel(bound).astype(float) for bound in (space.low, space.high))
    bounded = np.isfinite(low) & np.isfinite(high) & (high - low < 1e9)
    low, high = np.where(bounded, low, -np.pi / 2), np.where(bounded, high, np.pi / 2)
    whole = np.issubdtype(space.dtype, np.integer) & bounded & (high - low < BINS)
    scale = np.where(whole, 1.0, (BINS - 1e-6) / np.maximum(high - low, 1e-9))
    first = np.arange(low.size) * BINS
    least, most = np.zeros(low.size), np.full(low.size, BINS - 1.0)
    unbounded = None if bounded.all() else ~bounded
    entries = list(zip(bounded.tolist(), low.tolist(), scale.tolist(), first.tolist(), strict=True))

    def of(observs: Any) -> list[Any]:
        rows = np.asarray(observs).reshape(len(observs), -1)
        if rows.size <= FEW:
            return [bins(row, entries) for row in rows.tolist()]
        values = rows.astype(float)
        if unbounded is not None:
            np.arctan(values, out=values, where=unbounded)
        values -= low
        values *= scale
        features = np.minimum(np.maximum(values, least), most).astype(int)
        return list(features + first)

    def of_whole(observs: Any) -> list[Any]:
        data, size = np.asarray(observs, np.uint8).tobytes(), low.size
        return [data[row * size : (row + 1) * size] for row in range(len(observs))]

    return Features(low.size * BINS, of_whole if whole.all() and not low.any() else of)


def bins(row: list[float], entries: list[tuple[bool, float, float, int]]) -> list[int]:
    """The features of a row of numbers: of each its bin, by ``(bounded, low, scale, first)``."""
    return [
        first + int(min(max(0.0, ((value if bounded else atan(value)) - low) * scale), BINS - 1.0))
        for value, (bounded, low, scale, first) in zip(row, entries, strict=True)
    ]


def is_text(space: spaces.Space) -> bool:
    """Whether the observations are strings, as in ``Text`` or MiniGrid's missions."""
    return space.dtype is not None and space.dtype.kind == "U"


def flatten(space: spaces.Space, observs: Any) -> np.ndarray:
    """``[B, F]`` a batch of observations as rows of numbers.

    Discrete values are one-hot; a text is one number, a hash.

    Raises:
        TypeError: observations of variable size.
    """
    if isinstance(space, (spaces.Dict, spaces.Tuple)):
        keys: list[Any] = list(space) if isinstance(space, spaces.Dict) else [*range(len(space))]
        return np.hstack([flatten(space[key], observs[key]) for key in keys])
    if is_text(space):
        return np.array([[crc32(text.encode()) / 2**32] for text in observs], np.float32)
    rows = np.asarray(observs, np.float32)
    if isinstance(space, spaces.Discrete):
        return np.equal.outer(rows, np.arange(space.start, space.start + space.n)).astype(
            np.float32
        )
    if not isinstance(space, (spaces.Box, spaces.MultiBinary, spaces.MultiDiscrete)):
        raise TypeError(f"observations {space} cannot be compared")
    return rows.reshape(len(rows), -1)


def _nested_features(space: spaces.Dict | spaces.Tuple) -> Features:
    keys: list[Any] = list(space) if isinstance(space, spaces.Dict) else list(range(len(space)))
    parts = [value_features(space[key]) for key in keys]
    *firsts, size = np.cumsum([0, *(part.size for part in parts)]).tolist()

    def of(observs: Any) -> list[np.ndarray]:
        columns = [
            [first + as_array(features) for features in part.of(observs[key])]
            for key, part, first in zip(keys, parts, firsts, strict=True)
        ]
        return [np.concatenate(row) for row in zip(*columns, strict=True)]

    return Features(size, of)


def as_array(features: Any) -> np.ndarray:
    """The features of a row as numbers."""
    if isinstance(features, bytes):
        return BINS * np.arange(len(features)) + np.frombuffer(features, np.uint8)
    return np.asarray(features)


def new_bytes(features: bytes, known: bytes | None) -> list[int]:
    """The numbers of features, without those in ``known``, of the same length."""
    if known is None:
        return [BINS * place + value for place, value in enumerate(features)]
    size = len(features)
    new = int.from_bytes(features, "little") ^ int.from_bytes(known, "little")
    places = compress(range(size), new.to_bytes(size, "little"))
    return [BINS * place + features[place] for place in places]


def break_records(records: array, features: Any, depth: int, known: Any = None) -> Any:
    """The features whose record is deeper than ``depth``, which is their record now.

    ``known``: features of another row whose records are not deeper; ``None``: there is no such row.
    """
    if isinstance(features, np.ndarray):
        least = np.frombuffer(records, np.int16)
        new = features[least[features] > depth]
        if len(new):
            least[new] = depth
        return new
    numbers = new_bytes(features, known) if isinstance(features, bytes) else features
    broken = [feature for feature in numbers if records[feature] > depth]
    for feature in broken:
        records[feature] = depth
    return broken


def held_records(records: array, features: Any, depth: int) -> Any:
    """The features whose record is ``depth``."""
    if isinstance(features, np.ndarray):
        return features[np.frombuffer(records, np.int16)[features] == depth]
    numbers = new_bytes(features, None) if isinstance(features, bytes) else features
    return [feature for feature in numbers if records[feature] == depth]


class NodeData(NamedTuple):
    """Data of a node besides its row."""

    features: Any  # as in ``Features.of``
    weights: np.ndarray | None  # [A] probability of each action; None: equal
    legal: np.ndarray | None = None  # [A] the legal actions; None: all
    adjusted: float = 0.0  # the reward of the step to here, with risk aversion
    terminated: bool = False  # with a finite reward


class NodeEvaluator(NamedTuple):
    """How new nodes are evaluated."""

    simulator: Simulator
    features: Features
    policy_fn: PolicyFn | None
    value_fn: ValueFn | None
    risk_aversion: float

    def at_root(self, state: Any, info: Any) -> NodeData:
        """The note of the root."""
        return NodeData(*self.notes(*self.simulator.look(state, info))[0])

    def notes(self, observs: Any, states: Any, masks: Any) -> list[tuple[Any, Any, Any]]:
        """For each row its features, weights of actions, legal actions."""
        nothing: Any = [None] * len(states)
        weights, legal = nothing, nothing if masks is None else masks
        if self.policy_fn is not None:
            weights = policies_at(observs, states, self.policy_fn, self.simulator.n_actions)
        return list(zip(self.features.of(observs), weights, legal, strict=True))

    def expand(self, search: Any, leaves: list[int]) -> None:
        """Step to new nodes, all in one batch."""
        first = self.simulator.first
        actions = [first + search.actions[leaf] for leaf in leaves]
        out = self.simulator.step(actions, search.states_before(leaves))
        values = [0.0] * len(leaves)
        if self.value_fn is not None:
            values = values_after(out, self.value_fn).tolist()
        rewards, terminated = out.rewards.tolist(), out.terminateds.tolist()
        ended = list(map(or_, terminated, out.truncateds.tolist()))
        search.enter(leaves, out.states, rewards, ended)
        adjusted = rewards if self.risk_aversion == 1 else adjusted_rewards(out, self.risk_aversion)
        notes = self.notes(out.observs, out.states, self.simulator.masks)
        for row, leaf in enumerate(leaves):
            is_goal = terminated[row] and adjusted[row] > -inf
            search.set_data(leaf, NodeData(*notes[row], adjusted[row], is_goal))
            search.back_up(leaf, values[row])

    def finish(self, search: Any) -> None:
        """With risk aversion, or rewards that are not finite, back up anew.

        With risk aversion an untried action below the root is worth 0. So a plan may end where a
        walk went on to a loss, as in the published program.
        """
        is_averse = self.risk_aversion > 1 and self.value_fn is None
        if not (price_bad(search) or is_averse):
            return
        for node in reversed(range(search.size)):
            below, legal = search.children[node], search.notes[node].legal
            if not below:
                continue
            _, value, height = search.best_branches(node)
            allowed = len(below) if legal is None else np.count_nonzero(legal)
            is_open = len(below) - below.count(UNKNOWN) < allowed
            if is_averse and is_open and value < 0 and node != ROOT:
                value, height = 0.0, -1
            search.values[node], search.heights[node] = value, height + 1


def price_bad(search: Any) -> bool:
    """Whether rewards were not finite; then they become such that returns are the least."""
    bad, gains = search.bad, search.gains
    others = set(range(1, search.size if bad else 0)).difference(bad)
    least = min((gains[node] for node in others), default=0.0)
    for node in bad:
        parent = search.parents[node]
        gains[node] = worst = least - 1e-9 * (1 + abs(least))
        reward = (worst - gains[parent]) / (search.discount ** search.depths[parent] or 1.0)
        search.rewards[node] = search.adjusted[node] = reward
    return bool(bad)


def adjusted_rewards(out: TransitionBatch, risk_aversion: float) -> list[float]:
    """The rewards of a batch, with risk aversion."""
    deaths = np.array([info.get("lost_life", False) for info in out.infos])
    losses = np.minimum(out.rewards, 0) - LIFE_COST * deaths
    return (np.maximum(out.rewards, 0) + risk_aversion * losses).tolist()
