"""What was found out about an environment where it was made first, for those who make it again."""

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
    """A recipe, and what was found out about its environment."""

    recipe: Callable[[], Any]
    findings: Any

    def __call__(self) -> Any:
        with informed(self.findings):
            return self.recipe()


@contextlib.contextmanager
def informed(findings: Any) -> Iterator[None]:
    """The first environment made inside of it takes ``findings``, and finds out nothing itself."""
    before, _told.findings = getattr(_told, "findings", None), findings
    try:
        yield
    finally:
        _told.findings = before


def take_findings() -> Any:
    """What is known of the environment that is being made; ``None``: nothing."""
    findings, _told.findings = getattr(_told, "findings", None), None
    return findings
