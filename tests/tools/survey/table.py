"""The outcome of a survey as text, as Markdown and as data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

from tests.tools.survey.checking import EXACT, NOT_MADE, REFUSED, WRONG, Row

__all__ = ["as_data", "as_markdown", "as_text", "totals_of"]

VERDICTS = EXACT, WRONG, REFUSED, NOT_MADE
FOLDED = 30  # a family of more ids is folded away


def _verdict_of(rows: Iterable[Row]) -> str:
    """Of an id in all its variants: wrong if one is, else exact if one is."""
    found = {row.verdict for row in rows}
    return next(verdict for verdict in (WRONG, EXACT, REFUSED, NOT_MADE) if verdict in found)


def totals_of(rows: Sequence[Row]) -> dict[str, int]:
    """How many ids, how many of them with each verdict, and how many runs of the contract."""
    verdicts = Counter(_verdict_of(group) for _, group in _by_id(rows))
    counts = {verdict: verdicts[verdict] for verdict in VERDICTS}
    return {"ids": sum(counts.values()), **counts, "runs": len(rows)}


def as_data(rows: Sequence[Row], versions: Sequence[dict[str, str]]) -> dict[str, Any]:
    """For a file of JSON; ``versions``: of what each run was made with."""
    return {
        "versions": list(versions),
        "totals": totals_of(rows),
        "rows": [vars(row) for row in rows],
    }


# ---- text ---------------------------------------------------------------------------------------


def as_text(rows: Sequence[Row]) -> str:
    """A table for the terminal, totals at the end."""
    lines = []
    width = max((len(_label(row)) for row in rows), default=0)
    for family, group in groupby(rows, key=lambda row: row.family):
        heads = "held by", "bytes", "save us", "restore us"
        lines += [
            "",
            f"{family:<{width}}  {heads[0]:<14} {heads[1]:>8} {heads[2]:>8} {heads[3]:>10}",
        ]
        for row in group:
            numbers = (row.state_bytes, row.save_us, row.restore_us)
            size, save, restore = ("" if number is None else f"{number:,}" for number in numbers)
            lines.append(
                f"{_label(row):<{width}}  {row.mechanism:<14} {size:>8} {save:>8} {restore:>10}"
                f"  {_verdict(row)}"
            )
    totals = totals_of(rows)
    counts = ", ".join(f"{totals[verdict]} {verdict}" for verdict in VERDICTS)
    lines += ["", f"{totals['ids']} ids: {counts} ({totals['runs']} runs of the contract)"]
    return "\n".join(lines[1:])


def _label(row: Row) -> str:
    return f"{row.name} [{row.variant}]"


def _verdict(row: Row) -> str:
    return f"{row.verdict}: {row.reason}" if row.reason else row.verdict


# ---- Markdown -----------------------------------------------------------------------------------


def as_markdown(rows: Sequence[Row], versions: Sequence[dict[str, str]]) -> str:
    """A page: totals by family, what is not exact with its reason, and a table for each family."""
    families = [(name, list(group)) for name, group in groupby(rows, key=lambda row: row.family)]
    lines = [
        "# What is exact, id by id",
        "",
        _made_with(versions),
        "",
        *_totals(families, rows),
        "",
    ]
    odd = [row for row in rows if row.verdict != EXACT]
    if odd:
        lines += ["## Not exact, and why", ""]
        for (verdict, reason), names in _together(odd).items():
            lines.append(f"- **{verdict}**: {reason}: {', '.join(names)}")
        lines.append("")
    for name, group in families:
        made = [row for row in group if row.verdict not in (REFUSED, NOT_MADE)]
        if made:
            lines += [f"## {name}", "", *_table(made), ""]
    return "\n".join(lines)


def _made_with(versions: Sequence[dict[str, str]]) -> str:
    each = [", ".join(f"{name} {number}" for name, number in known.items()) for known in versions]
    found = "; and ".join(each)
    return (
        "Written by `python -m tests.tools.survey --markdown docs/exact.md`.\n"
        "[states.md](states.md) says what each run compares. Microseconds are medians of\n"
        "single calls on a busy machine.\n\n"
        f"Versions: {found}."
    )


def _totals(families: list[tuple[str, list[Row]]], rows: Sequence[Row]) -> list[str]:
    heads = ["family", "ids", *VERDICTS, "runs"]
    lines = [_row_of(heads), _row_of(["---", *["---:"] * (len(heads) - 1)])]
    for name, group in [*families, ("**all**", list(rows))]:
        lines.append(_row_of([name, *totals_of(group).values()]))
    return lines


def _table(rows: Sequence[Row]) -> list[str]:
    variants = list(dict.fromkeys(row.variant for row in rows))
    lines = [
        _row_of(["id", "held by", "bytes", "save us", "restore us", "images", *variants]),
        _row_of(["---", "---", "---:", "---:", "---:", "---", *["---"] * len(variants)]),
    ]
    for name, group in _by_id(rows):
        first, verdicts = group[0], {row.variant: row.verdict for row in group}
        size = "" if first.state_bytes is None else f"{first.state_bytes:,}"
        images = "yes" if any(row.pictures for row in group) else "no"
        cells = [name, first.mechanism, size, first.save_us, first.restore_us, images]
        lines.append(_row_of([*cells, *(verdicts.get(variant, "") for variant in variants)]))
    if len(lines) - 2 <= FOLDED:
        return lines
    summary = f"<details><summary>{len(lines) - 2} ids</summary>"
    return [summary, "", *lines, "", "</details>"]


def _together(rows: Iterable[Row]) -> dict[tuple[str, str], list[str]]:
    """Ids by verdict and reason, where the reason does not depend on the id."""
    found: dict[tuple[str, str], dict[str, list[str]]] = {}
    for row in rows:
        reason = row.reason.replace(repr(row.name), "it").replace(f"`{row.name}`", "it")
        together = found.setdefault((row.verdict, reason), {})
        together.setdefault(row.name, []).append(row.variant)
    return {
        key: [f"`{name}` ({'; '.join(variants)})" for name, variants in names.items()]
        for key, names in found.items()
    }


def _by_id(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row.name, []).append(row)
    return list(found.items())


def _row_of(cells: Iterable[Any]) -> str:
    return f"| {' | '.join('' if cell is None else str(cell) for cell in cells)} |"
