"""The rules of the house, read off the source: floors, sizes, names, imports."""

import ast
import functools
import gc
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

import plangym_lite

ROOT = Path(plangym_lite.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
IDS = [str(path.relative_to(ROOT)) for path in FILES]
FOLDERS = sorted({path.parent.relative_to(ROOT) for path in FILES})
MODULES = {
    ".".join(("plangym_lite", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(
        ".__init__"
    ): path
    for path in FILES
}
FLOORS = [
    {"errors", "stable", "pickled", "system"},
    {"recipe", "nested", "transitions", "validation"},
    {"core", "simulator"},
    {"states"},
    {"envs", "vectorization", "vector", "planners", "testing"},
    {"registry"},
    {"cli", "viz", "__main__", ""},
]
ROOMS = FLOORS[4]
DOORS = {("vector", "vectorization"), ("testing", "envs")}
"""From room to room on one floor."""
INSIDE = {
    "envs": [
        "generators",
        "snapshot",
        "verify",
        "gymnasium",
        "batched",
        "atari box2d mujoco retro",
    ],
    "vectorization": ["memory", "worker", "process dispatch", "env", "parallel ray"],
    "cli": ["parser", "target", "output", "envs", "check play bench", "main"],
    "testing": ["toy", "contract"],
}
"""Inside a room, from the ground up."""
PASSED_ON = {"engine_kwargs", "overrides", "others", "kwargs", "toy_args"}
"""Names that ``**`` may have: arguments that go on to somebody else as they are."""
ENGINES = {
    "jax": ("planners/mctx",),
    "mctx": ("planners/mctx",),
    "ale_py": ("envs/atari", "cli/bench/atari"),
    "mujoco": ("envs/mujoco", "envs/snapshot/mjdata"),
    "dm_control": ("envs/mujoco/dm_control",),
    "Box2D": ("envs/box2d",),
    "minigrid": (),
    "pettingzoo": ("envs/gymnasium/pettingzoo",),
    "stable_retro": ("envs/retro",),
    "ray": ("vectorization/ray",),
    "stable_baselines3": ("vector/stable_baselines3",),
    "shimmy": (),
    "pygame": ("envs/gymnasium/window",),
    "torch": (),
    "cv2": (),
}
"""Packages that only files whose path begins so may import."""
FORWARDERS = {"EnvironmentWorker", "BatchEnv", "VecEnvWrapper"}  # ExternalProcess is the first


@functools.cache
def tree_of(path):
    gc.disable()  # a collection in the middle of it can end in a SystemError (Python 3.11)
    try:
        return ast.parse(path.read_text(), str(path))
    finally:
        gc.enable()


def place(module):
    """Floor and room of a module of ours."""
    name = module.split(".")[1] if "." in module else ""
    floor = next(number for number, names in enumerate(FLOORS) if name in names)
    return floor, name if name in ROOMS else None


def imports(tree, *, lazy):
    """Full names of what a file imports: all of it, or only what importing the file imports."""
    found = set()
    for node in ast.walk(tree) if lazy else _run_at_import(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            for alias in node.names:
                deeper = f"{node.module}.{alias.name}"
                found.add(deeper if deeper in MODULES else node.module)
    return found


def _run_at_import(node):
    """The nodes that run when a file is imported: not the insides of functions."""
    yield node
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
        return
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        return
    for child in ast.iter_child_nodes(node):
        yield from _run_at_import(child)


def functions(tree):
    return [
        node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    ]


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_down(module):
    """The registry and the doors above it may open any room; others only what is below."""
    floor, room = place(module)
    tree = tree_of(MODULES[module])
    now = imports(tree, lazy=False)
    for other in imports(tree, lazy=True):
        if not other.startswith("plangym_lite") or other == module:
            continue
        other_floor, other_room = place(other)
        same_room = (room == other_room and room is not None) or (room, other_room) in DOORS
        tested = room == "testing" and other_room is not None and other not in now
        assert (
            other_floor < floor
            or same_room
            or tested
            or (other_floor == floor and room is other_room is None)
        ), f"{module} imports {other}: a door that the house does not have"


def test_imports_go_down_inside_a_room():
    seen = 0
    for room, storeys in INSIDE.items():
        height = {name: level for level, names in enumerate(storeys) for name in names.split()}
        inside = [name.split(".") for name in MODULES if name.startswith(f"plangym_lite.{room}.")]
        assert {parts[2] for parts in inside} == set(height)
        for parts in inside:
            module = ".".join(parts)
            for other in imports(tree_of(MODULES[module]), lazy=True):
                if not other.startswith(f"plangym_lite.{room}."):
                    continue
                here, there = parts[2], other.split(".")[2]
                seen += 1
                assert here == there or height[there] < height[here], f"{module} imports {other}"
    assert seen > 100


@pytest.mark.parametrize("folder", FOLDERS, ids=str)
def test_folders_are_narrow(folder):
    limit = {".": 21, "planners": 15}.get(str(folder), 10)
    entries = [
        path
        for path in (ROOT / folder).iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    ]
    assert 3 <= len(entries) <= limit, sorted(path.name for path in entries)


def test_every_module_has_its_floor():
    for module in MODULES:
        place(module)


def test_no_cycles():
    graph = {
        module: {other for other in imports(tree_of(path), lazy=False) if other in MODULES}
        - {module}
        for module, path in MODULES.items()
    }
    finished = set()

    def visit(module, above):
        assert module not in above, f"a cycle: {' -> '.join([*above, module])}"
        if module not in finished:
            for other in sorted(graph[module]):
                visit(other, [*above, module])
            finished.add(module)

    for module in graph:
        visit(module, [])


def test_the_cycle_test_sees_cycles():
    tree = ast.parse(
        "from plangym_lite.core import PlanEnv\ndef f():\n    import plangym_lite.registry"
    )
    assert imports(tree, lazy=False) == {"plangym_lite.core"}
    assert imports(tree, lazy=True) == {"plangym_lite.core", "plangym_lite.registry"}


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_files_are_short(path):
    assert len(path.read_text().splitlines()) <= 400


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_functions_are_short_and_take_little(path):
    for node in functions(tree_of(path)):
        body = node.body
        if ast.get_docstring(node) is not None:
            body = body[1:]
        lines = body[-1].end_lineno - body[0].lineno + 1 if body else 0
        assert lines <= 40, f"{node.name}: {lines} lines"
        positional = [arg.arg for arg in (*node.args.posonlyargs, *node.args.args)]
        count = len(positional) - (positional[:1] in (["self"], ["cls"]))
        assert count <= 6, f"{node.name}: {count} positional parameters"


def _has_no_body(node):
    names = {ast.unparse(decorator) for decorator in node.decorator_list}
    return bool(names & {"abstractmethod", "overload"}) or ast.unparse(node.body[-1]) == "..."


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_keywords_are_only_passed_on(path):
    for node in functions(tree_of(path)):
        if node.args.kwarg is not None and not _has_no_body(node):
            name = node.args.kwarg.arg
            assert name in PASSED_ON, f"{node.name}(**{name})"
            used = any(isinstance(inner, ast.Name) and inner.id == name for inner in ast.walk(node))
            assert used or node.name == "__new__", f"{node.name} accepts **{name} and ignores it"


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_engines_are_imported_in_their_own_files(path):
    here = path.relative_to(ROOT).as_posix()
    for name in imports(tree_of(path), lazy=True):
        homes = ENGINES.get(name.split(".")[0])
        assert homes is None or here.startswith(homes), f"{here} imports {name}"


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_names_are_not_forwarded(path):
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.ClassDef):
            names = {inner.name for inner in node.body if isinstance(inner, ast.FunctionDef)}
            assert "__getattr__" not in names or node.name in FORWARDERS, node.name


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_every_file_opens_with_what_it_is(path):
    assert ast.get_docstring(tree_of(path))


def test_the_drawing_of_the_floors_is_this_one():
    drawing = plangym_lite.__doc__
    floors = [line for line in drawing.splitlines() if line.strip().startswith("floor")]
    assert len(floors) == len(FLOORS)
    text = drawing
    for above, below in pairwise(FLOORS):
        for name in (above | below) - {"", "commands"}:
            assert name in text


def test_importing_loads_no_simulator():
    code = (
        "import sys, plangym_lite; "
        f"print([name for name in {sorted(ENGINES)} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
