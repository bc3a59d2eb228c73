"""The lines against other libraries: whichever of them are installed."""

import json

from tests.tools import peers


def test_lines_have_names_of_their_own():
    works = peers.table(2)
    assert len({(work.name, work.reference) for work in works}) == len(works)
    assert {work.needs for work in works} == {"envpool", "plangym"}


def test_what_is_missing_is_left_out(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(peers.importlib.util, "find_spec", lambda name: None)
    data = tmp_path / "peers.json"
    assert peers.main(["--workers", "1", "--json", str(data)]) == 0
    out = capsys.readouterr().out
    assert "envpool is not installed" in out
    assert "plangym is not installed" in out
    assert json.loads(data.read_text())["lines"] == []


def test_nothing_of_that_name(capsys):
    assert peers.main(["--only", "no such line"]) == 2
    assert "no such line" in capsys.readouterr().err
