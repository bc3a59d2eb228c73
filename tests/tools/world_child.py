"""One case of the survey in a process of its own: ``python world_child.py CASE.json OUT.json``.

Run by the Python of a package's virtual environment, with ``plangym_lite`` on ``PYTHONPATH``. The
outcome is written after each phase, so that a crash or a timeout leaves what was known before.
"""

from __future__ import annotations

import importlib
import json
import logging
import sys
import time
import traceback
import warnings
from functools import partial
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent


def resolve(text: str) -> Any:
    """The object that ``"module:name"`` names."""
    module, _, name = text.partition(":")
    found = importlib.import_module(module)
    for part in name.split(".") if name else ():
        found = getattr(found, part)
    return found


def prepare(imports: list[str]) -> None:
    """Import what registers the ids; ``"module:function"`` is called."""
    for text in imports:
        found = resolve(text)
        if ":" in text:
            found()


def new_ids(imports: list[str]) -> list[str]:
    """The ids that importing brings."""
    import gymnasium as gym

    before = set(gym.registry)
    prepare(imports)
    return [name for name in gym.registry if name not in before]


def plain_of(case: dict[str, Any]) -> Any:
    """What makes the plain environment: the id with our defaults written out, or the callable."""
    import gymnasium as gym
    from gymnasium.envs.registration import load_env_creator

    kwargs = dict(case["kwargs"])
    if case["make"]:
        return partial(resolve(case["make"]), **kwargs)
    creator: Any = gym.spec(case["id"]).entry_point
    creator = load_env_creator(creator) if isinstance(creator, str) else creator
    metadata = getattr(creator, "metadata", None)
    if not isinstance(metadata, dict) or "rgb_array" in metadata.get("render_modes", ()):
        kwargs.setdefault("render_mode", "rgb_array")
    if kwargs.get("render_mode", "") is None:
        del kwargs["render_mode"]
    bare = partial(gym.make, case["id"], disable_env_checker=True, max_episode_steps=-1)
    try:
        bare(**kwargs).close()
    except TypeError:  # its class names a render mode that it does not take
        kwargs.pop("render_mode", None)
    return partial(bare, **kwargs)


def method_of(env: Any) -> str:
    """``engine``, ``snapshot`` or ``replay``."""
    said = getattr(env, "state_method", None)
    if isinstance(said, str):
        return said
    if getattr(env, "_replayed", None) is not None:
        return "replay"
    from tests.tools.survey.checking import mechanism_of

    return "snapshot" if mechanism_of(env) == "snapshot" else "engine"


class Row(dict):
    """The outcome so far, written whenever it grows."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def put(self, **more: Any) -> None:
        self.update(more)
        self.path.write_text(json.dumps(self))


def short(error: BaseException) -> str:
    """An error on one line, with where it was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" [{Path(frames[-1].filename).name}:{frames[-1].lineno}]" if frames else ""
    return " ".join(f"{type(error).__name__}: {error}".split())[:500] + place


def run(case: dict[str, Any], row: Row) -> None:
    """All phases of one case."""
    import gymnasium as gym

    row.put(phase="import", gymnasium=gym.__version__)
    try:
        prepare(case["imports"])
    except Exception as error:
        row.put(verdict="not made", text=f"its import fails: {short(error)}")
        return
    from world_judge import Finding, judge, record_plain

    row.put(phase="plain")
    try:
        plain = record_plain(plain_of(case), case["walk"])
    except Exception as error:
        row.put(verdict="not made", text=f"plain Gymnasium fails: {short(error)}")
        traceback.print_exc()
        return
    row.put(phase="make", notes=plain.notes + plain.told(), steps=len(plain.actions))
    import plangym_lite

    name = resolve(case["make"]) if case["make"] else case["id"]
    make_ours = partial(plangym_lite.make, name, **case["kwargs"])
    start = time.perf_counter()
    try:
        env = make_ours()
    except plangym_lite.NotCloneableError as error:
        row.put(verdict="refused", text=" ".join(str(error).split())[:500])
        return
    except Exception as error:
        row.put(verdict="wrong", text=f"make raises {short(error)}")
        traceback.print_exc()
        return
    seconds = round(time.perf_counter() - start, 2)
    size = _state_bytes(env)
    row.put(phase="judge", method=method_of(env), make_seconds=seconds, state_bytes=size)
    env.close()
    try:
        notes = judge(make_ours, plain)
    except Finding as finding:
        row.put(verdict="wrong", text=str(finding)[:500])
    except plangym_lite.NotCloneableError as error:
        row.put(verdict="refused", text="after it was made: " + " ".join(str(error).split())[:400])
    except Exception as error:
        row.put(verdict="wrong", text=f"raises {short(error)}")
        traceback.print_exc()
    else:
        row.put(verdict="exact", text="", notes=plain.notes + plain.told() + notes)
    if case["check"]:
        row.put(phase="check")
        check(make_ours, case, row)
    row.put(phase="done")


def check(make_ours: Any, case: dict[str, Any], row: Row) -> None:
    """What the library's own contract says."""
    from plangym_lite.testing import check_exact

    try:
        report = check_exact(make_ours, name=case["id"], reach=60, length=20, depths=(0, 5))
    except Exception as error:
        row.put(check=f"raises {short(error)}")
    else:
        row.put(check="exact" if report.exact else f"NOT exact: {report.difference}"[:500])


def _state_bytes(env: Any) -> int | None:
    import pickle

    try:
        env.reset(seed=0)
        return len(pickle.dumps(env.get_state()))
    except Exception:  # the judge will say what
        return None


def main() -> None:
    """Run the case of the command line."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    sys.path.insert(0, str(HERE)) if str(HERE) not in sys.path else None
    case = json.loads(Path(sys.argv[1]).read_text())
    row = Row(Path(sys.argv[2]))
    if case.get("discover"):
        row.put(ids=new_ids(case["imports"]))
        return
    row.put(phase="start")
    run(case, row)


if __name__ == "__main__":
    main()
