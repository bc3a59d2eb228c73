"""Pictures of MuJoCo simulations need OpenGL, which a machine without a display may lack.

A second attempt after a failed one can abort the whole process, inside MuJoCo. So the first
failure is remembered, and answers every later attempt.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

__all__ = ["first_picture"]

_failures: list[str] = []


def first_picture(draw: Callable[[], np.ndarray]) -> np.ndarray:
    """An environment's first picture.

    Raises:
        RuntimeError: there is no OpenGL here.
    """
    if _failures:
        raise RuntimeError(_failures[0])
    try:
        return draw()
    except NotImplementedError:
        raise
    except Exception as error:  # each way of drawing has its own errors
        _failures.append(
            f"no picture can be drawn here ({type(error).__name__}: {error}): without a display "
            "set MUJOCO_GL=egl or MUJOCO_GL=osmesa before Python starts"
        )
        raise RuntimeError(_failures[0]) from error
