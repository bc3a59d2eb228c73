"""Tables for notebooks: the fields of a value, with its images."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from html import escape
from typing import Any

import numpy as np

__all__ = ["env_table", "fields_table"]

LONG = 120  # characters
FEW = 8  # numbers of an array that are shown in full
PICTURES = 8
HEIGHT = 105  # pixels


def table(title: str, fields: Iterable[tuple[str, Any]]) -> str | None:
    """An HTML table with a title; ``None`` if a value has no usable representation."""
    try:
        rows = [
            f"<tr><th style='text-align:left'>{escape(name)}</th>"
            f"<td style='text-align:left'>{_cell(value)}</td></tr>"
            for name, value in fields
        ]
        return f"<b>{escape(title)}</b><table>{''.join(rows)}</table>"
    except Exception:  # the repr of a foreign object may raise anything
        return None


def fields_table(values: Any) -> str | None:
    """The ``_repr_html_`` of a named tuple."""
    return table(type(values).__name__, zip(values._fields, values, strict=True))


def env_table(env: Any, phase: str) -> str | None:
    """The ``_repr_html_`` of an environment."""
    names = ("observation_space", "action_space", "frameskip", "n_workers")
    known = ((name, getattr(env, name)) for name in names if hasattr(env, name))
    return table(f"{env!r}: {phase}", known)


def _cell(value: Any) -> str:
    if is_picture(value):
        return picture(value)
    if isinstance(value, np.ndarray) and value.ndim == 4 and all(map(is_picture, value[:PICTURES])):
        more = f"{len(value)} pictures" if len(value) > PICTURES or not len(value) else ""
        return " ".join([*map(picture, value[:PICTURES]), more])
    return escape(words(value))


def words(value: Any) -> str:
    """A value in one line: large arrays by dtype and shape, dicts by their items."""
    if isinstance(value, np.ndarray):
        if value.size <= FEW and value.dtype != object:
            return f"{value.tolist()} {value.dtype}"
        return f"{value.dtype} {list(value.shape)}"
    if isinstance(value, dict):
        text = ", ".join(f"{key}: {words(part)}" for key, part in value.items())
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        text = f"{len(value)} dicts with {', '.join(map(str, value[0]))}"
    else:
        text = str(value)
    return text if len(text) <= LONG else f"{text[: LONG - 1]}…"


def is_picture(value: Any) -> bool:
    """Whether it is an image: ``[height, width, 3]`` uint8, of a reasonable size."""
    return (
        isinstance(value, np.ndarray)
        and value.dtype == np.uint8
        and value.ndim == 3
        and value.shape[2] == 3
        and min(value.shape[:2]) >= FEW
    )


def picture(image: np.ndarray) -> str:
    """An HTML image with its data inside the page."""
    from PIL import Image

    small = Image.fromarray(image)
    small.thumbnail((2 * HEIGHT, HEIGHT))
    file = io.BytesIO()
    small.save(file, "PNG")
    data = base64.b64encode(file.getvalue()).decode()
    return f"<img style='display:inline' src='data:image/png;base64,{data}'>"
