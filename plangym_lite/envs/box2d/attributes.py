"""The Python attributes that a step of Gymnasium's Box2D environments changes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

__all__ = ["load_attributes", "save_attributes"]

OF_ENVIRONMENTS = (
    *("game_over", "prev_shaping", "prev_reward", "wind_idx", "torque_idx"),  # LunarLander
    *("scroll", "lidar_render"),  # BipedalWalker
    *("reward", "t", "tile_visited_count", "new_lap", "state"),  # CarRacing
)
OF_WHEELS = ("gas", "brake", "steer", "phase", "omega", "skid_start", "skid_particle")


def _parts(base: Any) -> Iterator[tuple[Any, tuple[str, ...]]]:
    """Objects with the names of their attributes that change."""
    yield base, OF_ENVIRONMENTS
    for leg in getattr(base, "legs", ()):
        yield leg, ("ground_contact",)
    for ray in getattr(base, "lidar", ()):
        yield ray, ("fraction", "p1", "p2")
    car = getattr(base, "car", None)
    if car is not None:
        yield car, ("fuel_spent",)
        for wheel in car.wheels:
            yield wheel, OF_WHEELS


def save_attributes(base: Any) -> Any:
    """Copies of the attributes that a step changes."""
    values = [
        (vars(part), [(name, vars(part)[name]) for name in names if name in vars(part)])
        for part, names in _parts(base)
    ]
    exhaust = [(particle, particle.ttl) for particle in getattr(base, "particles", ())]
    return values, exhaust, _save_car(base), base.np_random, base.np_random.bit_generator.state


def load_attributes(base: Any, saved: Any) -> None:
    """Restore what ``save_attributes`` returned."""
    values, exhaust, car, generator, numbers = saved
    for attributes, pairs in values:
        attributes.update(pairs)
    if hasattr(base, "particles"):
        base.particles[:] = [particle for particle, _ in exhaust]
        for particle, ttl in exhaust:
            particle.ttl = ttl
    _load_car(base, car)
    base.np_random = generator
    generator.bit_generator.state = numbers


def _save_car(base: Any) -> Any:
    car = getattr(base, "car", None)
    if car is None:
        return None
    tiles = [(tile.road_visited, tile.color.tobytes()) for tile in base.road]
    tracks = [(track, list(track.poly)) for track in car.particles]
    return tiles, tracks, [set(wheel.tiles) for wheel in car.wheels]


def _load_car(base: Any, saved: Any) -> None:
    if saved is None:
        return
    tiles, tracks, touching = saved
    for tile, (visited, color) in zip(base.road, tiles, strict=True):
        tile.road_visited = visited
        if tile.color.tobytes() != color:
            tile.color[:] = np.frombuffer(color, tile.color.dtype)
    base.car.particles.clear()
    for track, corners in tracks:
        track.poly[:] = corners
        base.car.particles.append(track)
    for wheel, touched in zip(base.car.wheels, touching, strict=True):
        wheel.tiles.clear()
        wheel.tiles.update(touched)
