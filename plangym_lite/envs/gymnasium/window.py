"""A window that shows images, for engines without their own."""

from __future__ import annotations

from typing import Any

import numpy as np

from plangym_lite.errors import MissingPackageError, to_install

__all__ = ["Window"]


class Window:
    """Opens with the first image. Needs pygame and a display.

    Args:
        title: the title of the window.
    """

    def __init__(self, title: str) -> None:
        self.title = title
        self._pygame: Any = None
        self._screen: Any = None

    def show(self, image: np.ndarray) -> None:
        """Show ``image``, ``[height, width, 3]`` uint8.

        Raises:
            MissingPackageError: pygame is not installed.
            RuntimeError: there is no display.
        """
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
        """Close the window, if it was opened."""
        if self._screen is not None:
            self._pygame.display.quit()
            self._screen = None
