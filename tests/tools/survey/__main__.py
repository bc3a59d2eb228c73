"""Check every id that is installed, and write the tables of docs/exact.md.

::

    python -m tests.tools.survey --sample 2                        # a quick look
    python -m tests.tools.survey --json out.json --markdown docs/exact.md
    python -m tests.tools.survey --from one.json --from other.json # engines that exclude each other

The exit code is 1 if anything is wrong. A refusal is not: it is told when the environment is made.
Ctrl-C ends it with what is known by then.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from plangym_lite.cli.output import check_paths, versions
from plangym_lite.cli.parser import at_least_one
from plangym_lite.cli.target import CommandError
from plangym_lite.system import usable_cores
from tests.tools.survey.checking import EXACT, WRONG, Row
from tests.tools.survey.side_by_side import survey
from tests.tools.survey.table import as_data, as_markdown, as_text, totals_of
from tests.tools.survey.targets import Target, targets

FAILURE, INTERRUPTED = 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Check, or read what was written before; return the exit code: 2 for wrong arguments."""
    args = options().parse_args(argv)
    try:
        check_paths(args.json, args.markdown)
        if args.sources:
            rows, made_with = read(args.sources)
            return report(rows, made_with, args.json, args.markdown)
        todo = targets(args.family, args.variants, args.sample)
    except CommandError as error:
        print(error, file=sys.stderr)
        return FAILURE
    rows = check_all(todo, args)
    code = report(rows, [versions()], args.json, args.markdown)
    return code if len(rows) == len(todo) else INTERRUPTED


def options() -> argparse.ArgumentParser:
    """What may be given."""
    parser = argparse.ArgumentParser(prog="python -m tests.tools.survey", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("--family", action="append", default=[], metavar="F", help="only this one (repeatable)")
    add("--variants", metavar="V", help="a variant's name, or all (default: what matters most)")
    add("--sample", type=at_least_one, metavar="N", help="so many ids of each family")
    add("--jobs", type=at_least_one, metavar="N", help="side by side (default: usable cores)")
    add("--workers", type=at_least_one, metavar="N", help="check batches in processes too")
    add("--timeout", type=float, default=300.0, metavar="S", help="for one run (default: 300)")
    add("--json", type=Path, metavar="PATH", help="write the numbers")
    add("--markdown", type=Path, metavar="PATH", help="write a page of tables")
    text = "what --json wrote before, instead of running anything (repeatable)"
    add("--from", action="append", type=Path, dest="sources", metavar="PATH", help=text)
    return parser


def check_all(todo: Sequence[Target], args: argparse.Namespace) -> list[Row]:
    """The rows of all targets, in order; progress and what is not exact on standard error."""
    jobs = args.jobs or usable_cores()
    found = survey(todo, jobs=jobs, timeout=args.timeout, n_workers=args.workers)
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


def read(sources: Sequence[Path]) -> tuple[list[Row], list[dict[str, str]]]:
    """The rows that earlier runs wrote with ``--json``, and the versions they were made with.

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
            raise CommandError(f"{source} was not written by --json: {error}") from error
    families = list(dict.fromkeys(row.family for row in rows))
    return sorted(rows, key=lambda row: families.index(row.family)), found


def report(
    rows: Sequence[Row],
    made_with: Sequence[dict[str, str]],
    json_path: Path | None,
    markdown: Path | None,
) -> int:
    """Print and write the rows; return 1 if anything is wrong."""
    print(as_text(rows))
    if json_path is not None:
        json_path.write_text(json.dumps(as_data(rows, made_with), indent=1) + "\n")
    if markdown is not None:
        markdown.write_text(as_markdown(rows, made_with))
    return 1 if totals_of(rows)[WRONG] else 0


if __name__ == "__main__":
    sys.exit(main())
