"""GameFilm: several players side by side, with their scores, at the game's own speed.

A step of a game may last many frames. A :class:`Camera` plays it again from its saved state, a few
frames at a time, on a copy of the environment::

    state ──action──> step                              as it was played: one step, frameskip frames
    state ──action──> ──> ──> ──> ──> step              the camera: the same step, five pictures
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import ImageFont

from plangym_lite.core import PlanEnv
from plangym_lite.viz.film import DARK, LIGHT, Film

__all__ = ["Camera", "GameFilm", "Play", "ending"]

FRAMES_PER_SECOND = 12.5  # of environments that do not tell
LEAST_SECONDS = 0.045  # from one picture to the next, if a step is played again
STRIP, MARGIN = 30, 6  # pixels: above the images, and around text
KNOCK_OUT = 100  # points in Boxing


class Play(NamedTuple):
    """A step of a player: from where, what, and the transition."""

    state: Any
    action: Any
    after: Any


class Shot(NamedTuple):
    """A picture during a step, and the rewards of the step until then."""

    image: np.ndarray
    reward: float


class Camera:
    """Takes pictures of steps.

    Args:
        env: the environment of the steps; its current state does not change.
        dt: of the steps.
    """

    def __init__(self, env: PlanEnv, dt: int = 1) -> None:
        self._env = env.unwrapped
        n_frames = dt * self._env.frameskip
        seconds = 1 / frames_per_second(env)
        divisors = [n for n in range(1, n_frames + 1) if n_frames % n == 0]
        most = [n for n in divisors if n_frames / n * seconds >= LEAST_SECONDS]
        self.shots_per_step = 1 if self._env.SINGLETON or not most else most[-1]
        self.milliseconds = 1000 * seconds * n_frames / self.shots_per_step
        self._copy: Any = None
        if self.shots_per_step > 1:
            self._copy = self._env.clone(frameskip=n_frames // self.shots_per_step)

    def film_step(self, play: Play) -> list[Shot]:
        """Pictures of a step, the last of its end.

        If playing it again does not end with the same picture and reward, all are of its end.
        """
        state, action, after = play
        end = Shot(self._env.get_images([after.state])[0], float(after.reward))
        shots, reward = list[Shot](), 0.0
        for _ in range(self.shots_per_step if self._copy is not None else 0):
            step = self._copy.step(action, state)
            state, reward = step.state, reward + float(step.reward)
            shots.append(Shot(self._copy.get_image(), reward))
        if shots and shots[-1].reward == end.reward and (shots[-1].image == end.image).all():
            return shots
        return [end] * self.shots_per_step

    def close(self) -> None:
        """Close the copy of the environment."""
        if self._copy is not None:
            self._copy.close()


class GameFilm:
    """A film of players who play the same game, side by side.

    Args:
        env: the environment that they play on; its current state does not change.
        players: their names.
    """

    def __init__(self, env: PlanEnv, *players: str) -> None:
        self._env, self._players = env, players
        self._camera = Camera(env)
        self._font = ImageFont.load_default(size=18)
        self._scores = [0.0] * len(players)
        self.film = Film(self._camera.milliseconds)

    def begin(self, state: Any) -> None:
        """Add a picture of the first state, which is that of all players."""
        image = self._env.unwrapped.get_images([state])[0]
        self._add([Shot(image, 0.0)] * len(self._players))

    def add(self, *plays: Play) -> None:
        """Add one step of each player."""
        *others, last = zip(*(self._camera.film_step(play) for play in plays), strict=True)
        for shots in others:
            self._add(shots)
        self._scores = self._scores_after(last)
        ends = [
            ending(self._env.name, score, play.after)
            for score, play in zip(self._scores, plays, strict=True)
        ]
        self._add([shot._replace(reward=0.0) for shot in last], ends)

    def write(self, path: Path) -> None:
        """Write the film: see :meth:`Film.write`."""
        self.film.write(path)

    def close(self) -> None:
        """Close the camera."""
        self._camera.close()

    def _scores_after(self, shots: Sequence[Shot]) -> list[float]:
        return [score + shot.reward for score, shot in zip(self._scores, shots, strict=True)]

    def _add(self, shots: Sequence[Shot], ends: Sequence[str | None] = ()) -> None:
        """Add a picture: images, names, scores, and how games have ended."""
        scores = self._scores_after(shots)

        def label(pen: Any) -> None:
            width, height = pen.im.size
            for place, (name, score) in enumerate(zip(self._players, scores, strict=True)):
                left = place * width // len(scores) + MARGIN
                right = (place + 1) * width // len(scores) - 2 * MARGIN
                pen.text((left, STRIP // 2), name, LIGHT, self._font, "lm")
                pen.text((right, STRIP // 2), f"{score:g}", LIGHT, self._font, "rm")
                if place < len(ends) and ends[place] is not None:
                    low = (left + right) // 2, height - STRIP
                    box = pen.textbbox(low, ends[place], self._font, "mm")
                    pen.rectangle([box[0] - 9, box[1] - 9, box[2] + 9, box[3] + 9], DARK)
                    pen.text(low, ends[place], LIGHT, self._font, "mm")

        self.film.add(*(shot.image for shot in shots), top=STRIP, label=label)


def ending(name: str, score: float, after: Any) -> str | None:
    """How a game has ended, in words; ``None`` if it goes on."""
    if after.truncated and not after.terminated:
        return "Time limit"
    if not after.terminated:
        return None
    knocked_out = "Boxing" in name and abs(score) >= KNOCK_OUT
    return "Episode over: knock-out" if knocked_out else "Episode over"


def frames_per_second(env: PlanEnv) -> float:
    """Simulator steps in a second of the game."""
    local: Any = env.unwrapped
    if (rate := getattr(local, "render_fps", None)) is None:
        rate = (getattr(getattr(local, "gym_env", None), "metadata", None) or {}).get("render_fps")
    return float(rate or FRAMES_PER_SECOND)
