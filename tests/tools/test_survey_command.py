"""The survey as a command: what it prints, writes and returns."""

import json

import pytest

from tests.tools.survey import __main__ as command
from tests.tools.survey.__main__ import main
from tests.tools.survey.checking import EXACT, NOT_MADE, REFUSED, WRONG, Row
from tests.tools.survey.table import as_markdown, as_text, totals_of
from tests.tools.survey.targets import Target


def row(name, verdict=EXACT, reason="", variant="plain", family="Toys"):
    return Row(family, name, variant, verdict, reason, "adapter", 32, 1.5, 2.5, True, 20)


ROWS = [
    row("one"),
    row("one", variant="rgb", verdict=REFUSED, reason="'one' draws | badly"),
    row("two", REFUSED, "'two' draws | badly"),
    row("three", WRONG, "same object, depth 5: obs"),
    row("four", NOT_MADE, "no such package", family="Games"),
]


def test_totals_count_ids():
    assert totals_of(ROWS) == {
        "ids": 4,
        "exact": 1,
        "wrong": 1,
        "refused": 1,
        "not made": 1,
        "runs": 5,
    }


def test_text():
    lines = as_text(ROWS).splitlines()
    assert lines[0].split() == ["Toys", "held", "by", "bytes", "save", "us", "restore", "us"]
    assert lines[1].split() == ["one", "[plain]", "adapter", "32", "1.5", "2.5", "exact"]
    assert lines[4].endswith("wrong: same object, depth 5: obs")
    assert lines[-1] == "4 ids: 1 exact, 1 wrong, 1 refused, 1 not made (5 runs of the contract)"


def test_markdown():
    page = as_markdown(ROWS, [{"python": "3.11"}, {"python": "3.12"}])
    assert "Versions: python 3.11; and python 3.12." in page
    assert "| Toys | 3 | 1 | 1 | 1 | 0 | 4 |" in page
    assert "| **all** | 4 | 1 | 1 | 1 | 1 | 5 |" in page
    assert "- **refused**: it draws | badly: `one` (rgb), `two` (plain)" in page
    assert "| one | adapter | 32 | 1.5 | 2.5 | yes | exact |" in page
    assert "| three | adapter | 32 | 1.5 | 2.5 | yes | wrong |" in page
    assert "<details>" not in page
    many = as_markdown([row(f"n{k}") for k in range(40)], [])
    assert "<details><summary>40 ids</summary>" in many


def test_a_family(tmp_path, capsys):
    page, data = tmp_path / "exact.md", tmp_path / "exact.json"
    options = "--family", "toy", "--sample", "2", "--jobs", "2"
    assert main([*options, "--json", str(data), "--markdown", str(page)]) == 0
    printed = capsys.readouterr()
    assert "2 ids: 2 exact, 0 wrong, 0 refused, 0 not made" in printed.out
    assert "2/2" in printed.err
    written = json.loads(data.read_text())
    assert written["totals"]["exact"] == 2
    assert [each["verdict"] for each in written["rows"]] == [EXACT, EXACT]
    assert main(["--from", str(data), "--markdown", str(tmp_path / "again.md")]) == 0
    assert (tmp_path / "again.md").read_text() == page.read_text()
    assert capsys.readouterr().out == printed.out


def test_what_is_wrong_is_told(user_games, monkeypatch, capsys):
    names = "Forgetful", "Stubborn", "Fine"
    todo = [Target("Toys", f"user_games:{name}", "plain", {}) for name in names]
    monkeypatch.setattr(command, "targets", lambda *args: todo)
    assert main(["--jobs", "1"]) == 1
    printed = capsys.readouterr()
    assert "3 ids: 1 exact, 1 wrong, 1 refused, 0 not made" in printed.out
    assert "user_games:Forgetful [plain]: wrong: set_state(get_state())" in printed.err
    todo.pop(0)
    assert main(["--jobs", "1"]) == 0


def test_interrupted_it_tells_what_it_knows(monkeypatch, capsys, tmp_path):
    def survey(todo, **options):
        yield row("CartPole-v1", family="Classic control")
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "survey", survey)
    data = tmp_path / "exact.json"
    assert main(["--family", "classic", "--json", str(data)]) == 130
    assert "1 ids: 1 exact" in capsys.readouterr().out
    assert len(json.loads(data.read_text())["rows"]) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--family", "chess"], "no family is called 'chess'"),
        (["--variants", "loud"], "no variant is called 'loud'"),
        (["--json", "nowhere/out.json"], "nowhere/out.json cannot be written"),
        (["--from", "nothing.json"], "nothing.json was not written by --json"),
        (["--from", __file__], "was not written by --json"),
    ],
)
def test_wrong_arguments(arguments, message, capsys):
    assert main(arguments) == 2
    assert message in capsys.readouterr().err
