"""EpisodeStatistics: returns and lengths of the episodes of a vector environment."""

from __future__ import annotations

import logging

import numpy as np

__all__ = ["EpisodeStatistics"]

logger = logging.getLogger(__name__)


class EpisodeStatistics:
    """Sums rewards and steps of every environment by episode; ``prefix`` is of every name."""

    def __init__(self, num_envs: int, prefix: str | None = None) -> None:
        self._prefix = prefix
        self._return_so_far = np.zeros(num_envs)
        self._length_so_far = np.zeros(num_envs, np.int64)
        self._returns: list[float] = []
        self._lengths: list[int] = []

    def begin(self, chosen: np.ndarray | None = None) -> None:
        """Begin episodes, all or the chosen ones; unfinished episodes do not count."""
        where = slice(None) if chosen is None else chosen
        self._return_so_far[where] = 0.0
        self._length_so_far[where] = 0

    def add(self, rewards: np.ndarray, ended: np.ndarray, steps: np.ndarray | int = 1) -> None:
        """Count one step of every environment; ``steps`` is 0 for environments only reset."""
        self._return_so_far += rewards
        self._length_so_far += steps
        if True in ended.tolist():
            self._returns.extend(self._return_so_far[ended].tolist())
            self._lengths.extend(self._length_so_far[ended].tolist())
            self.begin(ended)

    def summary(self) -> dict[str, float]:
        """Number of episodes ended so far, and mean, least and greatest return and length."""
        found: dict[str, float] = {"episodes": len(self._returns)}
        for name, values in (("return", self._returns), ("length", self._lengths)):
            if values:
                found[f"{name}_mean"] = float(np.mean(values))
                found[f"{name}_min"] = float(np.min(values))
                found[f"{name}_max"] = float(np.max(values))
        lead = f"{self._prefix}/" if self._prefix else ""
        return {lead + name: value for name, value in found.items()}

    def clear(self) -> dict[str, float]:
        summary = self.summary()
        if self._prefix:
            logger.info(", ".join(f"{name}={value:g}" for name, value in summary.items()))
        self._returns.clear()
        self._lengths.clear()
        return summary
