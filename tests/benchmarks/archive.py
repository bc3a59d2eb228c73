"""A search tree of a million Atari states in a StateArchive: bytes, microseconds, exactness.

    python tests/benchmarks/archive.py --states 1000000 --workers 2

Each batch is expanded from nodes of the tree, taken out of the archive. ``random``: from any nodes;
``deep``: from recent ones; ``walks``: walkers go on for 40 steps, then start from any nodes again.
Of every state a 16-byte digest is kept beside the archive, and compared when all come out again, in
random order.
"""

import argparse
import hashlib
import tempfile
import time
from pathlib import Path

import numpy as np

import plangym_lite
from plangym_lite.states.archive import StateArchive

RECENT = 3000
WALK = 40


def digests(states):
    """``[B, 16]`` uint8."""
    found = [hashlib.blake2b(state.tobytes(), digest_size=16).digest() for state in states]
    return np.frombuffer(b"".join(found), np.uint8).reshape(-1, 16)


def choose_parents(tree, n_nodes, batch, step, rng):
    """``[batch]`` handles of the nodes to expand."""
    if tree == "deep":
        return n_nodes - 1 - rng.integers(min(n_nodes, RECENT), size=batch)
    if tree == "walks" and step % WALK:
        return np.arange(n_nodes - batch, n_nodes)
    return rng.integers(n_nodes, size=batch)


def grow(env, options):
    """Build the tree; return the archive, all digests, and the seconds spent in add and get."""
    rng, archive = np.random.default_rng(options.seed), StateArchive()
    state, _, _ = env.reset(seed=options.seed)
    for _ in range(60):  # past the tune that Ms. Pac-Man begins with
        state = env.step(int(rng.integers(env.action_space.n)), state).state
    archive.add(state[None])
    known, seconds, step = [digests([state])], {"add": 0.0, "get": 0.0}, 0
    while len(archive) < options.states:
        parents = choose_parents(options.tree, len(archive), options.batch, step, rng)
        start = time.perf_counter()
        states = archive.get(parents)
        seconds["get"] += time.perf_counter() - start
        out = env.step_batch(rng.integers(env.action_space.n, size=options.batch), states)
        start = time.perf_counter()
        archive.add(out.states)
        seconds["add"] += time.perf_counter() - start
        known.append(digests(out.states))
        step += 1
    return archive, np.concatenate(known), seconds


def check_all(archive, known, options):
    """Get every state, in random order; return the number of wrong ones and the seconds."""
    order = np.random.default_rng(1).permutation(len(archive))
    wrong, seconds = 0, 0.0
    for first in range(0, len(order), options.batch):
        handles = order[first : first + options.batch]
        start = time.perf_counter()
        states = archive.get(handles)
        seconds += time.perf_counter() - start
        wrong += int((digests(states) != known[handles]).any(1).sum())
    return wrong, seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--states", type=int, default=1_000_000)
    parser.add_argument("--game", default="ALE/MsPacman-v5")
    parser.add_argument("--tree", choices=("random", "deep", "walks"), default="random")
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with plangym_lite.make(options.game, obs_type="ram", n_workers=options.workers) as env:
        archive, known, seconds = grow(env, options)
    wrong, all_seconds = check_all(archive, known, options)
    size = len(archive)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tree.npz"
        archive.save(path)
        on_disk = path.stat().st_size
        again, _ = check_all(StateArchive.load(path), known, options)
    print(
        f"{options.game}, {options.tree} tree: {size:,} states of {archive.get([0]).nbytes} bytes"
    )
    print(f"memory  {archive.nbytes / 1e6:.1f} MB, {archive.nbytes / size:.1f} bytes a state")
    print(f"disk    {on_disk / 1e6:.1f} MB")
    print(f"add     {seconds['add'] / size * 1e6:.1f} us a state, in batches of {options.batch}")
    print(f"get     {seconds['get'] / size * 1e6:.1f} us a state, while growing")
    print(f"get     {all_seconds / size * 1e6:.1f} us a state, all in random order")
    print(f"wrong   {wrong} of {size:,}; {again} after save and load")


if __name__ == "__main__":
    main()
