"""The versions of the packages that a result depends on."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

__all__ = ["versions"]

PACKAGES = (
    "gymnasium",
    "numpy",
    "ale-py",
    "mujoco",
    "dm-control",
    "box2d",
    "minigrid",
    "stable-retro",
    "ray",
)


def versions() -> dict[str, str]:
    """The versions of Python, plangym_lite and installed packages that it uses."""
    import plangym_lite

    found = {"plangym_lite": plangym_lite.__version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package.replace("-", "_")] = version(package)
        except PackageNotFoundError:
            continue
    return found
