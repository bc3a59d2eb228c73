"""Film: the images of a game, written as an animated GIF or as MP4."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

__all__ = ["Film"]

MAX_PICTURES = 400
MAX_SIDE = 480  # pixels
MILLISECONDS = 80  # for each step: five frames of an Atari game


class Film:
    """Images of a game, one for each step; of a long game every second, fourth, ... is kept."""

    def __init__(self) -> None:
        self.pictures: list[Image.Image] = []
        self.stride = 1  # steps from one image to the next
        self._steps = 0

    def add(self, picture: np.ndarray) -> None:
        """Add the image of the next step, ``[height, width, 3]`` uint8."""
        if self._steps % self.stride == 0:
            image = Image.fromarray(picture)
            image.thumbnail((MAX_SIDE, MAX_SIDE))
            self.pictures.append(image.quantize(128))
        self._steps += 1
        if len(self.pictures) > MAX_PICTURES:
            self.pictures = self.pictures[::2]
            self.stride *= 2

    def write(self, path: Path) -> None:
        """Write the images as a GIF that loops, or as MP4 if the name ends in ``.mp4``.

        Raises:
            ValueError: there are no images.
            OSError: the file cannot be written.
            ImportError: MP4 needs ``pip install plangym-lite[video]``.
        """
        if not self.pictures:
            raise ValueError("no pictures to write")
        if Path(path).suffix.lower() == ".mp4":
            self._write_mp4(Path(path))
            return
        first, *others = self.pictures
        durations = [MILLISECONDS * self.stride] * len(others) + [1000]
        first.save(path, "GIF", save_all=True, append_images=others, duration=durations, loop=0)

    def _write_mp4(self, path: Path) -> None:
        try:
            from imageio_ffmpeg import write_frames
        except ImportError:
            raise ImportError(
                f"{path} needs imageio-ffmpeg: pip install 'plangym-lite[video]', or write a .gif"
            ) from None
        width, height = self.pictures[0].size
        even = width - width % 2, height - height % 2  # the format requires even sizes
        fps = 1000 / (MILLISECONDS * self.stride)
        film = write_frames(path, even, fps=fps, macro_block_size=2, ffmpeg_log_level="error")
        film.send(None)
        for picture in self.pictures:
            film.send(np.ascontiguousarray(picture.convert("RGB").crop((0, 0, *even))))
        film.close()
