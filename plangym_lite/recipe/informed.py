"""Results of examining an environment, passed on to the processes that make it again."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

__all__ = ["Informed", "informed", "take_findings"]

_told = threading.local()


@dataclass
class Informed:
    """A recipe with the findings about its environment."""

    recipe: Callable[[], Any]
    findings: Any

    def __call__(self) -> Any:
        with informed(self.findings):
            return self.recipe()


@contextlib.contextmanager
def informed(findings: Any) -> Iterator[None]:
    """The first environment made in this context uses ``findings`` and examines nothing."""
    before, _told.findings = getattr(_told, "findings", None), findings
    try:
        yield
    finally:
        _told.findings = before


def take_findings() -> Any:
    """The findings about the environment that is being made, or ``None``. Clears them."""
    findings, _told.findings = getattr(_told, "findings", None), None
    return findings
