"""The lines against other searches: ours run, with few simulations."""

from tests.tools import searches


def test_ours_are_measured():
    lines = [line._replace(simulations=9) for line in searches.LINES if line.needs is None]
    figures = searches.measure(lines, rounds=1)
    assert len(figures) == len(lines) == 5
    assert min(figures.values()) > 0


def test_lines_have_names_of_their_own():
    assert len({line.label for line in searches.LINES}) == len(searches.LINES)
