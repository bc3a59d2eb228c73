"""A window that shows images, for engines without their own; whether there is a display."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import Any

import numpy as np

from plangym_lite.errors import MissingPackageError, to_install

__all__ = ["DISPLAYS", "SDL_DISPLAYS", "Window", "check_display"]

DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY")
"""Environment variables that name a display."""
SDL_DISPLAYS = (*DISPLAYS, "SDL_VIDEODRIVER")
"""The same for SDL, which draws the windows of pygame and Atari."""


def check_display(variables: Iterable[str] = SDL_DISPLAYS) -> None:
    """Raise ``RuntimeError`` if no window can be opened: on Linux, without any of ``variables``.

    Engines differ in what they do then: some draw where nobody sees it, some end the process.
    """
    if sys.platform.startswith("linux") and not any(map(os.environ.get, variables)):
        raise RuntimeError(
            "render_mode='human' opens a window, and there is no display here "
            f"({', '.join(variables)}: not set): use render_mode='rgb_array'"
        )


class Window:
    """Opens with the first image. Needs pygame and a display."""

    def __init__(self, title: str) -> None:
        self.title = title
        self._pygame: Any = None
        self._screen: Any = None

    def show(self, image: np.ndarray) -> None:
        """Show ``image``, ``[height, width, 3]`` uint8; ``RuntimeError`` if there is no display."""
        height, width = image.shape[:2]
        if self._screen is None or self._screen.get_size() != (width, height):
            self._open(width, height)
        surface = self._pygame.surfarray.make_surface(np.swapaxes(image, 0, 1))
        self._screen.blit(surface, (0, 0))
        self._pygame.event.pump()
        self._pygame.display.flip()

    def _open(self, width: int, height: int) -> None:
        try:
            import pygame
        except ImportError as error:
            raise MissingPackageError(
                "render_mode='human' opens its window with pygame: "
                f"{to_install('classic-control')}; or use render_mode='rgb_array'"
            ) from error
        self._pygame = pygame
        try:
            pygame.display.init()
            self._screen = pygame.display.set_mode((width, height))
        except pygame.error as error:
            raise RuntimeError(
                f"no window can be opened here ({error}): without a display use "
                "render_mode='rgb_array'"
            ) from error
        pygame.display.set_caption(self.title)

    def close(self) -> None:
        if self._screen is not None:
            self._pygame.display.quit()
            self._screen = None
