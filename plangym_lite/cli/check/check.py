"""``plangym-lite check``: is this environment exact, and are they all?"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tqdm import tqdm

from plangym_lite.cli.check.examine import EXACT, WRONG, Row
from plangym_lite.cli.check.survey import survey
from plangym_lite.cli.check.table import as_data, as_markdown, as_text, totals_of
from plangym_lite.cli.check.targets import Target, targets
from plangym_lite.cli.target import CommandError, find_target, make_env
from plangym_lite.cli.versions import versions
from plangym_lite.errors import NotCloneableError
from plangym_lite.system import usable_cores
from plangym_lite.testing.contract.contract import check_exact

__all__ = ["CheckOptions", "check", "check_again", "check_all", "examine_all", "report"]

INTERRUPTED = 130


@dataclass
class CheckOptions:
    """What ``check --all`` was asked for."""

    family: list[str]
    variants: str | None = None
    sample: int | None = None
    jobs: int | None = None  # None: one for each usable core
    workers: int | None = None
    timeout: float = 300.0
    json: Path | None = None
    markdown: Path | None = None


def check(name: str) -> int:
    """Run the exactness contract and print its report; return 0 if exact, else 1.

    Args:
        name: an environment's id, ``module:Id-v0`` or ``module:Class``.

    Raises:
        CommandError: there is no such class.
        UnknownEnvironmentError: nothing has that name.
    """
    try:
        report = check_exact(partial(make_env, find_target(name), name), name=name)
    except NotCloneableError as error:
        print(f"{name}: NOT exact, and says so when it is made: {error}")
        return 1
    print(report)
    return 0 if report.exact else 1


def check_all(options: CheckOptions) -> int:
    """The same for everything installed, as a table; return 1 if anything is wrong.

    A refusal is not wrong: it is told when the environment is made. Ctrl-C ends it with what is
    known by then.

    Raises:
        CommandError: no such family or variant, or a file that cannot be written.
    """
    todo = targets(options.family, options.variants, options.sample)
    for path in (options.json, options.markdown):
        if path is not None and not path.resolve().parent.is_dir():
            raise CommandError(f"{path} cannot be written: there is no such folder")
    rows = examine_all(todo, options)
    code = report(rows, [versions()], options.json, options.markdown)
    return code if len(rows) == len(todo) else INTERRUPTED


def examine_all(todo: Sequence[Target], options: CheckOptions) -> list[Row]:
    """The rows of all targets, in order; progress and what is not exact on standard error."""
    found = survey(
        todo,
        jobs=options.jobs or usable_cores(),
        timeout=options.timeout,
        n_workers=options.workers,
    )
    rows = []
    progress = tqdm(found, total=len(todo), unit="run", file=sys.stderr)
    with contextlib.suppress(KeyboardInterrupt), contextlib.closing(found), progress:
        for row in progress:
            rows.append(row)
            progress.set_postfix_str(row.name)
            if row.verdict != EXACT:
                text = f"{row.name} [{row.variant}]: {row.verdict}: {row.reason}"
                progress.write(text, file=sys.stderr)
    order = {target[:3]: number for number, target in enumerate(todo)}
    return sorted(rows, key=lambda row: order[row.family, row.name, row.variant])


def check_again(sources: Sequence[Path], json_path: Path | None, markdown: Path | None) -> int:
    """The table of what earlier runs wrote with ``--json``: of engines that exclude each other.

    Raises:
        CommandError: one of them is no such file.
    """
    rows, found = [], []
    for source in sources:
        try:
            data = json.loads(source.read_text())
            rows += [Row(**row) for row in data["rows"]]
            found += [known for known in data["versions"] if known not in found]
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise CommandError(f"{source} was not written by check --all: {error}") from error
    families = list(dict.fromkeys(row.family for row in rows))
    rows.sort(key=lambda row: families.index(row.family))
    return report(rows, found, json_path, markdown)


def report(
    rows: Sequence[Row],
    found: Sequence[dict[str, str]],
    json_path: Path | None,
    markdown: Path | None,
) -> int:
    """Print and write the rows, made with these versions; return 1 if anything is wrong."""
    print(as_text(rows))
    if json_path is not None:
        json_path.write_text(json.dumps(as_data(rows, found), indent=1) + "\n")
    if markdown is not None:
        markdown.write_text(as_markdown(rows, found))
    return 1 if totals_of(rows)[WRONG] else 0
