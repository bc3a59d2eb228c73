"""Snapshots of a Box2D world: its memory, copied and restored at the same addresses.

::

    b2World ──chunks──> 16 KB each: bodies, fixtures, shapes, joints, contacts, cut from free lists
       │ ────nodes────> the tree of the broad phase
       └ ────moved────> proxies to be looked at
    Python's side: the attributes that a step changes, and the generator

Restored into the same world in the same process, a snapshot is exact: it includes warm starts,
contacts and sleep timers. It cannot be used in another process. If the memory is not laid out as
expected (:meth:`WorldSnapshots.of` checks it) there are no snapshots.
"""

from __future__ import annotations

import copy
import ctypes
import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

import Box2D
import gymnasium as gym
import numpy as np

from plangym_lite.envs.box2d.picture import foreign_layers
from plangym_lite.envs.snapshot.snapshot import Snapshot, layers_of

__all__ = ["WorldSnapshots", "are_exact", "load_attributes"]

TRIED = 6  # steps before and after a snapshot is tested

CHUNK_BYTES = 16 * 1024
BLOCK_SIZES = (16, 32, 64, 96, 128, 160, 192, 224, 256, 320, 384, 448, 512, 640)
FREE_LISTS = slice(16, 16 + 8 * len(BLOCK_SIZES))  # offsets in b2World, from here on
STACK_INDEX = 128 + 100 * 1024
FLAGS = 103064
NODES = struct.Struct("<Qii")  # address, count, capacity
NODES_AT = FLAGS + 16
FREE_NODE, FREE_NODE_AT = struct.Struct("<i"), FLAGS + 32
PROXY_COUNT = FLAGS + 48
BUFFERS = slice(FLAGS + 56, FLAGS + 88)  # two of: address, capacity, count
CONTACT_COUNT = FLAGS + 104
ALLOCATOR = FLAGS + 128
BODY_LIST = ALLOCATOR + 8
COUNTS = ALLOCATOR + 24  # of bodies and of joints
GRAVITY = ALLOCATOR + 32
END = ALLOCATOR + 72  # only timings follow
NODE_BYTES = 40
NEXT, HEIGHT = 6, 9  # words of a node
NOTHING = -1
MOVED_BYTES = 4

OF_ENVIRONMENTS = (
    *("game_over", "prev_shaping", "prev_reward", "wind_idx", "torque_idx"),  # LunarLander
    *("scroll", "lidar_render"),  # BipedalWalker
    *("reward", "t", "tile_visited_count", "new_lap", "state"),  # CarRacing
)
OF_WHEELS = ("gas", "brake", "steer", "phase", "omega", "skid_start", "skid_particle")
"""Attributes that a step changes."""


class WorldSnapshot(NamedTuple):
    """A copy of a world's memory, with the attributes of environment and wrappers."""

    free_lists: bytes
    chunks: list[bytes]
    tail: bytes  # of b2World
    nodes: bytes
    moved: bytes
    layers: Any  # of the wrappers
    attributes: Any  # of the environment


class WorldSnapshots:
    """Snapshots of the world of ``env``, an environment that was reset and must keep this world."""

    def __init__(self, env: gym.Env) -> None:
        layers: list[Any] = layers_of(env)
        *self._wrappers, base = layers
        self._base = base
        foreign = foreign_layers(self._wrappers)
        self._layers = Snapshot(self._wrappers, [base]) if foreign else _Counters(self._wrappers)
        self._world: Any = base.world  # keeps the memory alive
        self._address = int(self._world.this)
        self._chunks: list[tuple[int, int]] = []  # address and block size
        self._find_chunks()

    @classmethod
    def of(cls, env: gym.Env) -> WorldSnapshots | None:
        """Snapshots of an environment; ``None`` if its memory is not laid out as expected."""
        return cls(env) if _is_as_expected(env.unwrapped.world) else None  # type: ignore

    def save(self) -> WorldSnapshot:
        self._find_chunks()
        tail = ctypes.string_at(self._address + FLAGS, END - FLAGS)
        address, _, capacity = NODES.unpack_from(tail, NODES_AT - FLAGS)
        buffer, _, moved = NODES.unpack_from(tail, BUFFERS.start - FLAGS)  # capacity, then count
        return WorldSnapshot(
            ctypes.string_at(self._address + FREE_LISTS.start, FREE_LISTS.stop - FREE_LISTS.start),
            [ctypes.string_at(chunk, CHUNK_BYTES) for chunk, _ in self._chunks],
            tail,
            ctypes.string_at(address, capacity * NODE_BYTES),
            ctypes.string_at(buffer, moved * MOVED_BYTES),
            self._layers.save(),
            save_attributes(self._base),
        )

    def load(self, snapshot: WorldSnapshot) -> None:
        self._find_chunks()
        head, first = bytearray(snapshot.free_lists), len(snapshot.chunks)
        for (address, _), data in zip(self._chunks, snapshot.chunks, strict=False):
            ctypes.memmove(address, data, CHUNK_BYTES)
        for address, size in self._chunks[first:]:  # newer chunks become free blocks
            _free_all(address, size, head)
        ctypes.memmove(self._address + FREE_LISTS.start, bytes(head), len(head))
        self._load_fields(snapshot)
        self._layers.load(snapshot.layers)
        load_attributes(self._base, snapshot.attributes)

    def _load_fields(self, snapshot: WorldSnapshot) -> None:
        """Restore the world's fields, except addresses and sizes of its present buffers."""
        now = ctypes.string_at(self._address + FLAGS, END - FLAGS)
        fields = bytearray(snapshot.tail)
        for start in (BUFFERS.start - FLAGS, BUFFERS.start - FLAGS + 16):
            fields[start : start + 12] = now[start : start + 12]  # address and capacity
        address, _, capacity = NODES.unpack_from(now, NODES_AT - FLAGS)
        _, count, before = NODES.unpack_from(snapshot.tail, NODES_AT - FLAGS)
        NODES.pack_into(fields, NODES_AT - FLAGS, address, count, capacity)
        nodes = snapshot.nodes
        if capacity > before:
            nodes = _with_more_nodes(nodes, fields, capacity)
        ctypes.memmove(address, nodes, len(nodes))
        ctypes.memmove(self._address + FLAGS, bytes(fields), len(fields))
        buffer = NODES.unpack_from(now, BUFFERS.start - FLAGS)[0]
        ctypes.memmove(buffer, snapshot.moved, len(snapshot.moved))

    def _find_chunks(self) -> None:
        table, count, _ = NODES.unpack(ctypes.string_at(self._address, NODES.size))
        for index in range(len(self._chunks), count):
            size, address = struct.unpack("<ixxxxQ", ctypes.string_at(table + 16 * index, 16))
            self._chunks.append((address, size))


class _Counters:
    """Saves and restores layers whose attributes are numbers."""

    def __init__(self, layers: list[Any]) -> None:
        self._attributes = [vars(layer) for layer in layers]

    def save(self) -> list[dict[str, Any]]:
        return [attributes.copy() for attributes in self._attributes]

    def load(self, saved: list[dict[str, Any]]) -> None:
        for attributes, before in zip(self._attributes, saved, strict=True):
            attributes.clear()
            attributes.update(before)


def are_exact(env: gym.Env) -> bool:
    """Whether snapshots restore a new environment exactly, tested with a few steps."""
    space = copy.deepcopy(env.action_space)
    space.seed(0)
    env.reset(seed=0)
    snapshots = WorldSnapshots.of(env)
    if snapshots is None:
        return False

    def play(actions: list[Any]) -> list[Any]:
        steps = [env.step(action) for action in actions]
        return [(np.asarray(obs).tobytes(), repr(rest)) for obs, *rest in steps]

    play([space.sample() for _ in range(TRIED)])
    snapshot, actions = snapshots.save(), [space.sample() for _ in range(TRIED)]
    expected = play(actions)
    snapshots.load(snapshot)
    return play(actions) == expected


def _with_more_nodes(nodes: bytes, fields: bytearray, capacity: int) -> bytes:
    """Extend a saved tree to a larger capacity: new nodes follow the last free one."""
    before = len(nodes) // NODE_BYTES
    table = np.zeros((capacity, NODE_BYTES // 4), np.int32)
    table[:before] = np.frombuffer(nodes, np.int32).reshape(before, -1)
    table[before:, NEXT] = range(before + 1, capacity + 1)
    table[before:, HEIGHT] = table[-1, NEXT] = NOTHING
    last, node = NOTHING, FREE_NODE.unpack_from(fields, FREE_NODE_AT - FLAGS)[0]
    while node != NOTHING:
        last, node = node, table[node, NEXT]
    if last == NOTHING:
        FREE_NODE.pack_into(fields, FREE_NODE_AT - FLAGS, before)
    else:
        table[last, NEXT] = before
    return table.tobytes()


def _free_all(chunk: int, size: int, free_lists: bytearray) -> None:
    """Put all blocks of a chunk in front of the free list of their size."""
    place = 8 * BLOCK_SIZES.index(size)
    blocks = CHUNK_BYTES // size
    after = [chunk + size * number for number in range(1, blocks)]
    after.append(int.from_bytes(free_lists[place : place + 8], "little"))
    for number, address in enumerate(after):
        ctypes.c_uint64.from_address(chunk + size * number).value = address
    free_lists[place : place + 8] = chunk.to_bytes(8, "little")


def _is_as_expected(world: Any) -> bool:
    """Whether the values that Python reports of a world are at the expected offsets in memory."""
    if not Box2D.__version__.startswith("2.3.") or ctypes.sizeof(ctypes.c_void_p) != 8:
        return False
    address = int(world.this)
    data = ctypes.string_at(address, END)
    table, count, space = NODES.unpack_from(data, 0)
    (allocator,) = struct.unpack_from("<Q", data, ALLOCATOR)
    if allocator != address or not 0 < count <= space:
        return False
    sizes = [ctypes.c_int32.from_address(table + 16 * index).value for index in range(count)]
    first = int(world.bodies[-1].this) if world.bodies else 0
    found = (
        struct.unpack_from("<2i", data, COUNTS),
        struct.unpack_from("<i", data, CONTACT_COUNT),
        struct.unpack_from("<i", data, PROXY_COUNT),
        struct.unpack_from("<Q", data, BODY_LIST),
        struct.unpack_from("<i", data, STACK_INDEX),
        np.frombuffer(data[GRAVITY : GRAVITY + 8], np.float32).tolist(),
    )
    asked = (
        (world.bodyCount, world.jointCount),
        (world.contactCount,),
        (world.proxyCount,),
        (first,),
        (0,),
        list(world.gravity),
    )
    return found == asked and all(size in BLOCK_SIZES for size in sizes)


# ---- Python's side ------------------------------------------------------------------------------


def _parts(base: Any) -> Iterator[tuple[Any, tuple[str, ...]]]:
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
