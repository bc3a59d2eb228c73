"""Film: the pictures of a game, kept small, written as an animated GIF."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

__all__ = ["Film"]

MAX_PICTURES = 400
MAX_SIDE = 480  # pixels
MILLISECONDS = 80  # for each step: five frames of an Atari game


class Film:
    """Pictures of a game, one for each step; of a long game every second, fourth, ... is kept."""

    def __init__(self) -> None:
        self.pictures: list[Image.Image] = []
        self.stride = 1  # steps from one picture to the next
        self._steps = 0

    def add(self, picture: np.ndarray) -> None:
        """Add the picture of the next step, ``[height, width, 3]`` uint8."""
        if self._steps % self.stride == 0:
            image = Image.fromarray(picture)
            image.thumbnail((MAX_SIDE, MAX_SIDE))
            self.pictures.append(image.quantize(128))
        self._steps += 1
        if len(self.pictures) > MAX_PICTURES:
            self.pictures = self.pictures[::2]
            self.stride *= 2

    def write(self, path: Path) -> None:
        """Write the pictures as a GIF that runs for ever.

        Raises:
            ValueError: there are no pictures.
            OSError: the file cannot be written.
        """
        if not self.pictures:
            raise ValueError("no pictures to write")
        first, *others = self.pictures
        durations = [MILLISECONDS * self.stride] * len(others) + [1000]
        first.save(path, "GIF", save_all=True, append_images=others, duration=durations, loop=0)
