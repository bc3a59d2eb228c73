"""The outcomes of the survey as a page."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

__all__ = ["write_markdown"]

HEAD = """# Environments of other packages

What `python tests/tools/world.py` found: each package was installed in a virtual environment of
its own, and a few of its environments were made with `plangym_lite.make`. The reference is plain
Gymnasium: same id (or callable), same seed, same actions, no class of ours. Compared
are the walk from the seed (40 steps, or the episode), the same steps from a state saved after 10
of them (at once, after another episode, in a new environment), and `step_batch` with three equal
rows, chained. Values that differ between two plain runs (noise) are left out.

- **exact**: every compared value is equal; in brackets how states are saved (`engine`, `snapshot`
  or `replay`).
- **refused**: `make` raises `NotCloneableError`, for the reason given.
- **not made**: the plain environment itself cannot be made or stepped here.
- **not finished**: the comparison took longer than its limit.
- **wrong**: anything else.
"""


def write_markdown(path: Path, found: dict[str, Any]) -> None:
    """Write the page."""
    rows = [row for entry in found.values() for row in entry["rows"]]
    count = Counter(row["verdict"] for row in rows)
    good = [name for name, entry in found.items() if _is_good(entry)]
    installed = [name for name, entry in found.items() if not entry["install"]]
    good_ones = f"of {len(good)} every environment that plain Gymnasium makes is exact or refused"
    lines = [
        HEAD,
        f"{len(found)} packages, {len(installed)} installed; {good_ones}. "
        f"{len(rows)} environments: "
        + ", ".join(f"{number} {verdict}" for verdict, number in sorted(count.items()))
        + ".\n",
        "| package | version | Gymnasium | environment | verdict | bytes a state | |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name in sorted(found):
        lines += _lines_of(name, found[name])
    path.write_text("\n".join(lines) + "\n")


def _is_good(entry: dict[str, Any]) -> bool:
    verdicts = {row["verdict"] for row in entry["rows"]} - {"not made"}
    return bool(verdicts) and verdicts <= {"exact", "refused"}


def _lines_of(name: str, entry: dict[str, Any]) -> list[str]:
    if entry["install"]:
        return [f"| {name} | | | | not installable | | {_cell(entry['install'], 160)} |"]
    version = entry["version"] + (" (past its pins)" if entry["past_pins"] else "")
    lines = []
    for row in entry["rows"]:
        verdict = row["verdict"]
        method = f" ({row['method']})" if verdict == "exact" else ""
        kwargs = ", ".join(f"{key}={value!r}" for key, value in row["kwargs"].items())
        label = f"`{row['id']}`" + (f" {kwargs}" if kwargs else "")
        size = f"{row['state_bytes']:,}" if verdict == "exact" and row.get("state_bytes") else ""
        gymnasium = row.get("gymnasium", "")
        cells = [name, version, gymnasium, label, verdict + method, size, _about(row)]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _about(row: dict[str, Any]) -> str:
    told = ("two plain runs", "the seed does not")
    noise = "; ".join(note for note in row.get("notes", ()) if note.startswith(told))
    if row["verdict"] == "exact":
        return _cell(noise, 120)
    text = row.get("text", "")
    reward = re.search(r"returned the reward (.*?)( \(shape|: a reward)", text)
    if reward:
        return _cell(f"a reward is one number, not {reward[1]}", 160)
    _, found, why = text.partition(" is not restored exactly by a snapshot: ")
    if not found:
        return _cell(text, 160)
    snapshot, _, replay = why.partition("; nor by playing again from the seed: ")
    replay = replay.partition(". Pass certify=False")[0]
    reason = f"snapshot: {_cell(snapshot, 80)}; replay: {_cell(replay, 80)}"
    noise = noise.partition(": ours")[0]
    return f"{reason} ({_cell(noise, 60)})" if noise else reason


def _cell(text: str, most: int) -> str:
    text = " ".join(text.split()).replace("|", "\\|")
    text = text if len(text) <= most else text[: most - 3] + "..."
    return text.replace("][", "]\\[")  # else it could be a link
