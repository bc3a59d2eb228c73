"""What the states of an environment depend on, as one line, equal in every process."""

from __future__ import annotations

import hashlib
import sys
from typing import Any

import numpy as np

__all__ = ["digest_of", "versions_of"]

ENGINES = ("ale_py", "mujoco", "Box2D")
"""Simulators that Gymnasium's environments use; their versions are included."""


def versions_of(base: Any) -> list[str]:
    """``package=version`` of an environment's class and of its simulator."""
    found: dict[str, str] = {}
    for kind in type(base).__mro__:
        module = sys.modules.get(kind.__module__)
        top = kind.__module__.partition(".")[0]
        for name in (top, *(name for name in ENGINES if name in vars(module or object()))):
            version = getattr(sys.modules.get(name), "__version__", None)
            if version is not None:
                found[name] = str(version)
    return [f"{name}={version}" for name, version in sorted(found.items())]


def digest_of(options: Any) -> str:
    """Eight characters, a digest of the options."""
    return hashlib.sha256(_spelled(options).encode()).hexdigest()[:8]


def _spelled(value: Any) -> str:
    """A value as text, without addresses of objects."""
    if isinstance(value, dict):
        pairs = sorted((str(key), _spelled(part)) for key, part in value.items())
        return f"{{{', '.join(f'{key}: {part}' for key, part in pairs)}}}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_spelled(part) for part in value)}]"
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{value.shape}{hashlib.sha256(value.tobytes()).hexdigest()}"
    if isinstance(value, (str, bytes, int, float, type(None), np.generic)):
        return repr(value)
    name = getattr(value, "__qualname__", None) or type(value).__qualname__
    module = getattr(value, "__module__", None) or ""
    if module.partition(".")[0] == "plangym_lite":
        module = "plangym_lite"  # so that ours may be moved
    return f"{module}.{name}"
