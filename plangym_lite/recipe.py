"""A recipe travels, not an object: how an environment was made, so that it can be made again."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["Recipe"]


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
