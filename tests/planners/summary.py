"""A whole search as plain values, to be compared or kept as JSON."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from plangym_lite.planners import Cells, PlanOutput, Swarm, Tree

COLUMNS = ("parents", "actions", "depths", "rewards", "ended", "visits", "values", "heights")

FIELDS = ("action", "actions", "value", "action_weights")


def summary(output: PlanOutput) -> dict[str, Any]:
    """The plan, and all of the search behind it; numbers rounded to 9 decimals."""
    search = output.search
    if isinstance(search, Tree):
        found = {name: getattr(search, name)[: search.size] for name in COLUMNS}
        found["states"] = digest(list(search.states[: search.size]))
    elif isinstance(search, Cells):
        names = ("parents", "actions", "returns", "depths", "ended")
        found = {name: getattr(search, name) for name in names}
        found |= {
            "states": digest(list(search.states[: len(search.parents)])),
            "places": list(search.best.values()),
        }
    else:
        found = dict(search._asdict() if isinstance(search, tuple) else vars(search))
        found = {name: value for name, value in found.items() if not name.startswith("_")}
    found.pop("lengths", None) if isinstance(search, Swarm) else None
    found |= {"simulator_calls": search.simulator_calls, "frames": search.frames}
    fields = {name: getattr(output, name) for name in FIELDS}
    return plain({**fields, "search": found})


def digest(states: list[Any]) -> str:
    """A name for states."""
    texts = (state.tobytes() if isinstance(state, np.ndarray) else repr(state) for state in states)
    return hashlib.sha256("\n".join(map(str, texts)).encode()).hexdigest()


def plain(value: Any) -> Any:
    """The same in lists, numbers and strings."""
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return plain(value.tolist())
    return round(value, 9) if isinstance(value, float) else value
