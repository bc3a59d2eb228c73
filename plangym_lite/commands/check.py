"""``plangym-lite check``: is this environment exact, and are they all?"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tqdm import tqdm

from plangym_lite.commands.examine import NOT_MADE, REFUSED, WRONG, Row
from plangym_lite.commands.survey import survey
from plangym_lite.commands.table import as_data, as_markdown, as_text, totals_of
from plangym_lite.commands.target import CommandError, find_target, make_env
from plangym_lite.commands.targets import targets
from plangym_lite.errors import NotCloneableError
from plangym_lite.registry import usable_cores
from plangym_lite.testing.contract import check_exact

__all__ = ["CheckOptions", "check", "check_all"]


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
        name: an environment's id, or ``module:Class``.

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

    A refusal is not wrong: it is told when the environment is made.

    Raises:
        CommandError: no such family or variant, or a file that cannot be written.
    """
    todo = targets(options.family, options.variants, options.sample)
    for path in (options.json, options.markdown):
        if path is not None and not path.resolve().parent.is_dir():
            raise CommandError(f"{path} cannot be written: there is no such folder")
    rows = []
    found = survey(
        todo,
        jobs=options.jobs or usable_cores(),
        timeout=options.timeout,
        n_workers=options.workers,
    )
    with tqdm(found, total=len(todo), unit="run", file=sys.stderr) as progress:
        for row in progress:
            rows.append(row)
            _tell(progress, row)
    order = {target[:3]: number for number, target in enumerate(todo)}
    rows.sort(key=lambda row: order[row.family, row.name, row.variant])
    print(as_text(rows))
    if options.json is not None:
        options.json.write_text(json.dumps(as_data(rows), indent=1) + "\n")
    if options.markdown is not None:
        options.markdown.write_text(as_markdown(rows) + "\n")
    return 1 if totals_of(rows)[WRONG] else 0


def _tell(progress: tqdm[Row], row: Row) -> None:
    progress.set_postfix_str(row.name)
    if row.verdict in (WRONG, REFUSED, NOT_MADE):
        text = f"{row.name} [{row.variant}]: {row.verdict}: {row.reason}"
        progress.write(text, file=sys.stderr)
