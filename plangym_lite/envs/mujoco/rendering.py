"""First images of MuJoCo simulations, which need OpenGL.

A second attempt to create an OpenGL context after a failure can abort the process inside MuJoCo.
So the first failure is stored, and every later attempt raises it.
"""

from __future__ import annotations

import ctypes.util
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

__all__ = ["first_picture", "without_display"]

_failures: list[str] = []


def first_picture(draw: Callable[[], np.ndarray]) -> np.ndarray:
    """Draw an environment's first image.

    Raises:
        RuntimeError: OpenGL is not available.
    """
    if _failures:
        raise RuntimeError(_failures[0])
    try:
        with without_display():
            return draw()
    except NotImplementedError:
        raise
    except Exception as error:  # each rendering backend has its own errors
        _failures.append(
            f"no picture can be drawn here ({type(error).__name__}: {error}): without a display "
            "set MUJOCO_GL=egl or MUJOCO_GL=osmesa before Python starts"
        )
        raise RuntimeError(_failures[0]) from error


@contextmanager
def without_display() -> Iterator[None]:
    """Set ``MUJOCO_GL=egl`` in this context, if unset, without a display, and EGL exists."""
    wish = os.environ.get("MUJOCO_GL")
    display = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    helps = not wish and not display and sys.platform.startswith("linux")
    if not helps or ctypes.util.find_library("EGL") is None:
        yield
        return
    os.environ["MUJOCO_GL"] = "egl"
    try:
        yield
    finally:
        del os.environ["MUJOCO_GL"]
        if wish is not None:
            os.environ["MUJOCO_GL"] = wish
