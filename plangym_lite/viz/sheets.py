"""Contact sheets of states, archives and search trees; films of plans; plots of trees.

Sheets are PIL images, which notebooks display. Only ``plot_tree`` needs matplotlib (the
``notebooks`` extra). ``B`` denotes the number of images.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from plangym_lite.core import PlanEnv
from plangym_lite.errors import MissingPackageError, to_install
from plangym_lite.states.archive import StateArchive
from plangym_lite.transitions import Transition
from plangym_lite.viz.film import Camera, Film, Play

__all__ = ["archive_sheet", "contact_sheet", "film_plan", "plot_tree", "tree_sheet"]

GAP = 4  # pixels
LINE = 14  # pixels for a title
NODES = 2000  # drawn of a tree at most, by default


def contact_sheet(
    images: np.ndarray | Sequence[np.ndarray],
    *,
    columns: int = 8,
    titles: Sequence[Any] | None = None,
    width: int = 120,
) -> Image.Image:
    """All images in one, row by row.

    Args:
        images: ``[B, height, width, 3]`` uint8, for example from ``env.get_images``.
        columns: images in a row.
        titles: ``B`` strings, written above the images.
        width: of each image in pixels.

    Raises:
        ValueError: there are no images, or not one title for each.
    """
    if len(images) == 0:
        raise ValueError("no pictures to show")
    if titles is not None and len(titles) != len(images):
        raise ValueError(f"{len(titles)} titles for {len(images)} pictures")
    height = max(1, round(width * images[0].shape[0] / images[0].shape[1]))
    line = LINE if titles is not None else 0
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    size = (columns * (width + GAP) - GAP, rows * (height + line + GAP) - GAP)
    sheet = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(sheet)
    for index, image in enumerate(images):
        left = index % columns * (width + GAP)
        top = index // columns * (height + line + GAP)
        if titles is not None:
            pen.text((left, top), str(titles[index]), fill="black")
        sheet.paste(Image.fromarray(image).resize((width, height)), (left, top + line))
    return sheet


def archive_sheet(
    env: PlanEnv,
    archive: StateArchive,
    *,
    handles: np.ndarray | Sequence[int] | None = None,
    count: int = 32,
    columns: int = 8,
) -> Image.Image:
    """Images of states of an archive, each with its handle.

    Args:
        env: the environment of the states; its current state does not change.
        archive: the archive.
        handles: which states; ``None``: ``count`` of them, spread evenly over all.
        count: see ``handles``.
        columns: images in a row.

    Raises:
        ValueError: there are no states to show.
    """
    if handles is None:
        handles = np.unique(np.linspace(0, len(archive) - 1, min(count, len(archive)), dtype=int))
    if len(handles) == 0:
        raise ValueError("no pictures to show: no states were chosen")
    return contact_sheet(
        env.get_images(archive.get(handles)), columns=columns, titles=list(handles)
    )


def tree_sheet(env: PlanEnv, tree: Any, *, count: int = 32, columns: int = 8) -> Image.Image:
    """Images of the most visited nodes of a search tree, from the root down.

    Args:
        env: the environment of the states; its current state does not change.
        tree: the ``search`` of a tree planner.
        count: number of nodes.
        columns: images in a row.
    """
    known = np.arange(tree.size)
    nodes = known[np.argsort(-tree.visits[known], kind="stable")[:count]]
    nodes = nodes[np.lexsort((-tree.visits[nodes], tree.depths[nodes]))]
    titles = [f"{tree.depths[node]} deep, {tree.visits[node]}x" for node in nodes]
    return contact_sheet(env.get_images(tree.states[nodes]), columns=columns, titles=titles)


def film_plan(
    env: PlanEnv, state: Any, actions: Sequence[Any], path: str | os.PathLike[str], *, dt: int = 1
) -> Path:
    """Play ``actions`` from ``state`` and write the images to ``path``, a GIF or MP4.

    Args:
        env: the environment; its current state does not change.
        state: the first state.
        actions: the plan, for example ``actions`` of a ``PlanOutput``; the film ends with the game.
        path: ``.mp4`` needs the ``video`` extra; anything else is written as a GIF.
        dt: how long each action is repeated.

    Returns:
        ``path``.
    """
    camera = Camera(env, dt)
    film = Film(camera.milliseconds)
    film.add(env.get_images([state])[0])
    with closing(camera):
        for action in actions:
            out: Any = env.step_batch([action], [state], dt)
            ends = bool(out.terminateds[0]), bool(out.truncateds[0])
            step = Transition(out.states[0], None, float(out.rewards[0]), *ends, {})
            for shot in camera.film_step(Play(state, action, step)):
                film.add(shot.image)
            state = step.state
            if any(ends):
                break
    film.write(Path(path))
    return Path(path)


def plot_tree(tree: Any, *, axes: Any = None, max_nodes: int = NODES) -> Any:
    """Draw a search tree with matplotlib: the root on top, nodes coloured by value.

    The size of a dot shows how often it was visited; the most visited path is bold.

    Args:
        tree: the ``search`` of a tree planner.
        axes: matplotlib axes; ``None``: a new figure.
        max_nodes: how many nodes are drawn, the most visited first.

    Returns:
        The axes.

    Raises:
        MissingPackageError: matplotlib is not installed.
    """
    try:
        import matplotlib.pyplot as plt
        from matplotlib.collections import LineCollection
    except ImportError as error:
        needed = f"a drawing of a tree needs matplotlib: {to_install('notebooks')}"
        raise MissingPackageError(needed) from error

    if axes is None:
        axes = plt.subplots(figsize=(10, 5))[1]
    across = _places(tree, max_nodes)
    nodes = np.array(list(across))
    x, y = np.array(list(across.values())), -tree.depths[nodes]
    at = dict(zip(nodes.tolist(), zip(x.tolist(), y.tolist(), strict=True), strict=True))
    best = set(_most_visited_path(tree))
    lines = [(at[node], at[int(tree.parents[node])]) for node in at if node != 0]
    bold = [3.0 if node in best else 0.5 for node in at if node != 0]
    axes.add_collection(LineCollection(lines, linewidths=bold, colors="silver", zorder=1))
    visits = tree.visits[nodes]
    dots = axes.scatter(
        x, y, s=8 + 200 * visits / max(1, visits.max()), c=tree.values[nodes], zorder=2
    )
    axes.figure.colorbar(dots, ax=axes, label="value")
    axes.set_xticks([])
    axes.set_ylabel("depth")
    axes.yaxis.set_major_formatter(lambda depth, _: f"{abs(depth):g}")
    axes.set_title(f"{tree.size} nodes, {tree.visits[0]} visits")
    return axes


def _places(tree: Any, max_nodes: int) -> dict[int, float]:
    """The nodes to draw with their horizontal positions, parents above their children."""
    by_visits = np.argsort(-tree.visits[: tree.size], kind="stable")
    drawn = {0}
    for node in by_visits.tolist():
        if len(drawn) < max_nodes and (node == 0 or int(tree.parents[node]) in drawn):
            drawn.add(node)
    places: dict[int, float] = {}
    n_leaves, waiting = 0, [0]
    while waiting:
        node = waiting[-1]
        below = [child for child in tree.children[node].tolist() if child in drawn]
        missing = [child for child in below if child not in places]
        if missing:
            waiting += missing[::-1]
            continue
        waiting.pop()
        if below:
            places[node] = sum(places[child] for child in below) / len(below)
        else:
            places[node], n_leaves = float(n_leaves), n_leaves + 1
    return places


def _most_visited_path(tree: Any) -> list[int]:
    path = [0]
    while (below := tree.children[path[-1]][tree.children[path[-1]] >= 0]).size:
        path.append(int(below[tree.visits[below].argmax()]))
    return path
