"""The curves are measured and drawn."""

import json

import pytest

from plangym_lite.testing import check_exact
from tests.tools import curves


def test_the_engine_without_work_is_exact():
    report = check_exact(lambda: curves.Ballast(state_bytes=100, obs_bytes=7), n_workers=1)
    assert report.exact, report


def test_curves_are_measured_and_drawn(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    picture, data = tmp_path / "curves.png", tmp_path / "curves.json"
    chosen = "--workers", "1", "--seconds", "0.01", "--only", "CartPole, serial"
    assert curves.main([str(picture), *chosen, "--json", str(data)]) == 0
    ((_, label, points),) = json.loads(data.read_text())["curves"]
    assert label == "CartPole, serial"
    assert [size for size, _ in points] == list(curves.BATCH_SIZES)
    assert all(speed > 0 for _, speed in points)
    assert picture.stat().st_size > 1000
