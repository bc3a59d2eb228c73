"""Every id that can be made is exact: a few of each family always, all of them by `make slow`.

`python -m tests.tools.survey --variants all` does the same with more options.
"""

import contextlib
import io
import warnings

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of whatever is installed
    from tests.tools.survey.checking import EXACT, NOT_MADE, REFUSED, check_target
    from tests.tools.survey.targets import targets

    EVERYTHING = targets()
    SAMPLE = [target for target in targets(sample=1) if target.family != "Other"]

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(300)]


def is_refused(target):
    """What cannot be exact, and says so: composer tasks keep state that nobody can reach."""
    return target.family == "dm_control" and target.name.startswith("dm_control/")


def id_of(target):
    return f"{target.name}[{target.variant}]"


def check(target):
    with contextlib.redirect_stdout(io.StringIO()):
        row = check_target(target)
    if row.verdict == NOT_MADE:
        pytest.skip(row.reason)
    assert row.verdict == (REFUSED if is_refused(target) else EXACT), row
    if row.verdict == EXACT:
        assert row.checks > 15
        assert row.state_bytes > 0
        assert row.save_us > 0
        assert row.mechanism


@pytest.mark.parametrize("target", SAMPLE, ids=id_of)
def test_a_few(target):
    check(target)


@pytest.mark.slow
@pytest.mark.parametrize("target", EVERYTHING, ids=id_of)
def test_all(target):
    check(target)
