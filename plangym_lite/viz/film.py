"""Film: pictures, written as GIF or MP4. GameFilm: players side by side, at the game's own speed.

A step of a game may last many frames. A :class:`Camera` plays it again from its saved state, a few
frames at a time, on a copy of the environment::

    state ──action──> step                              as it was played: one step, frameskip frames
    state ──action──> ──> ──> ──> ──> step              the camera: the same step, five pictures
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from plangym_lite.core import PlanEnv
from plangym_lite.errors import MissingPackageError, to_install

__all__ = ["Camera", "Film", "GameFilm", "Play", "ending"]

MAX_PICTURES = 1000
SIDE = 420  # pixels of the longer side of an image: twice that of Atari
GAP = 8  # pixels between images
SAME, DARK, LIGHT = range(3)  # indices in a palette: as in the picture before, colours of text
OWN_COLOURS: dict[tuple[int, ...], int] = {
    (253, 1, 254): SAME,
    (24, 24, 32): DARK,
    (255, 255, 255): LIGHT,
}
COLOURS = 256 - len(OWN_COLOURS)  # of images
SHORTEST = 20  # milliseconds: browsers slow down GIFs whose pictures are shorter
TICK = 10  # milliseconds: durations of a GIF are multiples of it
LAST = 3000  # milliseconds for which the last picture is shown

Pen = ImageDraw.ImageDraw


class Picture(NamedTuple):
    """An image of mode P, compressed."""

    size: tuple[int, int]
    palette: list[int] | None  # None: that of the film
    data: bytes


class Film:
    """Pictures of a game; of a long game every second, fourth, ... is kept, and the last.

    Pictures share a palette while all of them have few colours: the file is a third smaller.
    """

    def __init__(self, milliseconds: float = 80) -> None:
        self.milliseconds = milliseconds
        self.stride = max(1, round(SHORTEST / milliseconds))  # steps from one picture to the next
        self.pictures: list[Picture] = []
        self._colours: dict[tuple[int, ...], int] = dict(OWN_COLOURS)  # the film's palette
        self._last: Picture | None = None  # if it is not among the pictures
        self._steps = 0

    def add(
        self, *images: np.ndarray, top: int = 0, label: Callable[[Pen], None] | None = None
    ) -> None:
        """Add the next picture.

        Args:
            images: of one size, ``[height, width, 3]`` uint8, drawn side by side. They are shrunk
                to ``SIDE``; small ones grow by a whole number.
            top: height of a dark strip above them in pixels.
            label: draws on the picture, in the colours ``DARK`` and ``LIGHT``.
        """
        drawn, palette = self._draw(images)
        picture = Image.new("P", (drawn.width, drawn.height + top), DARK)
        picture.paste(drawn, (0, top))
        if label is not None:
            label(ImageDraw.Draw(picture))
        kept = Picture(picture.size, palette, zlib.compress(picture.tobytes(), 1))
        self._last = None if self._steps % self.stride == 0 else kept
        if self._last is None:
            self.pictures.append(kept)
        self._steps += 1
        if len(self.pictures) > MAX_PICTURES:
            self._last = kept if len(self.pictures) % 2 == 0 else None
            self.pictures = self.pictures[::2]
            self.stride *= 2

    def write(self, path: Path) -> None:
        """Write the pictures, if there are any, as a GIF that loops, or as MP4 for ``*.mp4``."""
        if not self.pictures:
            raise ValueError("no pictures to write")
        if Path(path).suffix.lower() == ".mp4":
            self._write_mp4(Path(path))
            return
        images = self._images()
        options: dict[str, Any] = {"duration": self._durations(), "loop": 0}
        if all(picture.palette is None for picture in self.pictures):
            palette = bytes(palette_of(self._colours))
            options |= {"palette": palette, "transparency": SAME, "optimize": True}
        next(images).save(path, "GIF", save_all=True, append_images=images, **options)

    def _draw(self, images: tuple[np.ndarray, ...]) -> tuple[Image.Image, list[int] | None]:
        joined, factor = side_by_side(images)
        colours: Any = joined.getcolors(256)
        new = [] if colours is None else sorted({c for _, c in colours} - self._colours.keys())
        palette = None
        if colours is not None and len(self._colours) + len(new) <= 256:
            self._colours |= {colour: len(self._colours) + k for k, colour in enumerate(new)}
            known = Image.new("P", (1, 1))
            known.putpalette(palette_of(self._colours))
            drawn = joined.quantize(palette=known, dither=Image.Dither.NONE)
        else:
            drawn = joined.quantize(COLOURS)
            palette = palette_of(OWN_COLOURS) + (drawn.getpalette() or [])[: 3 * COLOURS]
            drawn = drawn.point(lambda index: index + len(OWN_COLOURS))
        size = drawn.width * factor, drawn.height * factor
        return drawn.resize(size, Image.Resampling.NEAREST), palette

    def _images(self) -> Iterator[Image.Image]:
        for picture in [*self.pictures, *([self._last] if self._last is not None else [])]:
            image = Image.frombytes("P", picture.size, zlib.decompress(picture.data))
            image.putpalette(picture.palette or palette_of(self._colours))
            yield image

    def _durations(self) -> list[int]:
        n_pictures = len(self.pictures) + (self._last is not None)
        begins = [round(n * self.stride * self.milliseconds / TICK) for n in range(n_pictures)]
        return [TICK * (end - begin) for begin, end in pairwise(begins)] + [LAST]

    def _write_mp4(self, path: Path) -> None:
        try:
            from imageio_ffmpeg import write_frames
        except ImportError:
            needed = f"{path} needs imageio-ffmpeg: {to_install('video')}, or write a .gif"
            raise MissingPackageError(needed) from None
        width, height = self.pictures[0].size
        even = width - width % 2, height - height % 2  # the format requires even sizes
        fps = 1000 / (self.milliseconds * self.stride)
        film = write_frames(path, even, fps=fps, macro_block_size=2, ffmpeg_log_level="error")
        film.send(None)
        for picture in self._images():
            film.send(np.ascontiguousarray(picture.convert("RGB").crop((0, 0, *even))))
        film.close()


def palette_of(colours: Iterable[tuple[int, ...]]) -> list[int]:
    return [part for colour in colours for part in colour]


def side_by_side(images: tuple[np.ndarray, ...]) -> tuple[Image.Image, int]:
    """All images in one of mode RGB, and the factor by which it is to grow."""
    pictures = [Image.fromarray(image) for image in images]
    longer = max(pictures[0].size)
    for picture in pictures:
        if longer > SIDE:
            picture.thumbnail((SIDE, SIDE))
    width, height = pictures[0].size
    factor = max(1, SIDE // longer)
    pitch = width + -(-GAP // factor)
    size = (len(images) - 1) * pitch + width, height
    joined = Image.new("RGB", size, [*OWN_COLOURS][DARK])
    for place, picture in enumerate(pictures):
        joined.paste(picture, (place * pitch, 0))
    return joined, factor


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
    """Takes pictures of steps of ``dt``; the current state of ``env`` does not change."""

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
        if self._copy is not None:
            self._copy.close()


class GameFilm:
    """A film of players who play the same game, side by side; ``env`` is not moved."""

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
        self.film.write(path)

    def close(self) -> None:
        self._camera.close()

    def _scores_after(self, shots: Sequence[Shot]) -> list[float]:
        return [score + shot.reward for score, shot in zip(self._scores, shots, strict=True)]

    def _add(self, shots: Sequence[Shot], ends: Sequence[str | None] = ()) -> None:
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
