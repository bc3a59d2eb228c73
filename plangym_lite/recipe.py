"""A recipe travels, not an object: how an environment was made, so that it can be made again."""

from __future__ import annotations

import contextlib
import inspect
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

__all__ = ["Informed", "Recipe", "informed", "take_findings"]

_told = threading.local()


@dataclass(frozen=True)
class Recipe:
    """A callable and the arguments that it was called with.

    Calling the recipe makes the object again. ``clone``, pickling and the workers all use it.
    """

    target: Callable[..., Any]
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] | None = None

    def __call__(self) -> Any:
        return self.target(*self.args, **(self.kwargs or {}))

    def replace(self, **overrides: Any) -> Recipe:
        """The same recipe with some arguments changed; ``overrides`` win over positional ones."""
        if not overrides:
            return self
        if not self.args:
            return Recipe(self.target, (), {**(self.kwargs or {}), **overrides})
        bound = inspect.signature(self.target).bind(*self.args, **(self.kwargs or {}))
        named: dict[str, Any] = {}
        for name, value in bound.arguments.items():
            kind = bound.signature.parameters[name].kind
            if kind is inspect.Parameter.VAR_KEYWORD:
                named.update(value)
            elif kind is inspect.Parameter.VAR_POSITIONAL:
                raise TypeError(f"{self.target} takes *{name}: pass arguments by name to clone it")
            else:
                named[name] = value
        return Recipe(self.target, (), {**named, **overrides})


@dataclass
class Informed:
    """A recipe, and what was found out about its environment where it was made before."""

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
