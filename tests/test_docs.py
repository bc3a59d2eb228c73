"""The documentation: its code runs, links lead somewhere, the reference has every public name."""

import importlib
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import plangym_lite

ROOT = Path(__file__).parent.parent
PAGES = {
    str(path.relative_to(ROOT)): path.read_text()
    for path in sorted([*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md")])
}
REFERENCE = "\n".join(text for name, text in PAGES.items() if name.startswith("docs/reference/"))
BLOCKS = {
    f"{name}:{number}": blocks[: number + 1]
    for name, text in PAGES.items()
    if name != "README.md"  # test_readme.py
    for blocks in [re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)]
    for number in range(len(blocks))
}
"""For each block of a page the code that it needs: the blocks before it, too."""
DOORS = [
    "plangym_lite",
    *("plangym_lite.envs", "plangym_lite.errors", "plangym_lite.planners", "plangym_lite.testing"),
    *("plangym_lite.vector", "plangym_lite.vectorization", "plangym_lite.viz"),
]
"""Modules whose names are public."""


SLOW = "docs/cluster.md:0"  # starts a Ray cluster


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow if name == SLOW else ()) for name in BLOCKS],
)
def test_code_runs(name, tmp_path):
    *_, code = BLOCKS[name]
    for engine in ("jax", "mctx", "ray", "pettingzoo"):
        if any(sign in code for sign in (f"import {engine}", f"{engine}=True", f'"{engine}/')):
            pytest.importorskip(engine)
    script = tmp_path / "page.py"
    script.write_text("\n".join(BLOCKS[name]))
    environment = {**os.environ, "PYTHONPATH": str(Path(plangym_lite.__file__).parents[1])}
    command = [sys.executable, script.name]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=50
    )
    assert done.returncode == 0, done.stderr


def test_there_is_code():
    assert len(BLOCKS) >= 5


def documented():
    """What the directives of the reference show: by identity, as names have several homes."""
    shown = set()
    for path in re.findall(r"^::: (\S+)$", REFERENCE, re.MULTILINE):
        module, _, name = path.rpartition(".")
        try:
            if importlib.util.find_spec(path) is not None:
                inside = importlib.import_module(path)
                shown.update(id(getattr(inside, public)) for public in inside.__all__)
                continue
        except ModuleNotFoundError:  # it is no module
            pass
        try:
            shown.add(id(getattr(importlib.import_module(module), name)))
        except ModuleNotFoundError as error:  # an engine
            if error.name.startswith("plangym_lite"):
                raise
            shown.add(name)
    return shown


def test_every_public_name_is_in_the_reference():
    shown = documented()
    missing = []
    for door in map(importlib.import_module, DOORS):
        for name in door.__all__:
            try:
                there = id(getattr(door, name)) in shown
            except ModuleNotFoundError:
                there = name in shown
            if not there:
                missing.append(f"{door.__name__}.{name}")
    assert not missing


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name):
    text = re.sub(r"```.*?```|`[^`\n]*`", "", PAGES[name], flags=re.DOTALL)
    for target, anchor in re.findall(r"\]\(([^)#\s]*)#?([^)]*)\)", text):
        if target.startswith("http"):
            continue
        there = (ROOT / name).parent / target if target else ROOT / name
        assert there.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", there.read_text(), re.MULTILINE)
            assert anchor in [slug(heading) for heading in headings], f"{target}#{anchor}"


def slug(heading):
    """The anchor of a heading."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


@pytest.mark.timeout(180)
def test_the_site_is_built_strictly(tmp_path):
    for package in ("material", "mkdocstrings", "mkdocs_jupyter"):
        pytest.importorskip(package)
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # ruff
    environment = {**os.environ, "PATH": path, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=170
    )
    assert done.returncode == 0, done.stderr
    assert "rollout IW" in (tmp_path / "index.html").read_text()
    assert "img" in (tmp_path / "notebooks" / "03_plan.html").read_text()
