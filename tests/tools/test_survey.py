"""Many ids side by side: whatever one of them does, the others are checked."""

import contextlib
import os
import subprocess
import sys
import time

import psutil
import pytest

from plangym_lite.cli.target import CommandError
from plangym_lite.testing.contract.reference import NO_TWIN
from tests.tools.survey import checking
from tests.tools.survey.checking import EXACT, NOT_MADE, REFUSED, WRONG, check_target
from tests.tools.survey.side_by_side import survey
from tests.tools.survey.targets import Target, targets


def toys(*names):
    return [Target("Toys", f"user_games:{name}", "plain", {}) for name in names]


def children():
    return {child.pid for child in psutil.Process().children(recursive=True)}


class TestOneTarget:
    def test_an_exact_one(self, user_games):
        row = check_target(toys("Fine")[0])
        assert (row.verdict, row.reason, row.mechanism) == (EXACT, "", "Fine")
        assert row.state_bytes == 32
        assert row.checks > 20
        assert row.pictures
        assert row.save_us > 0 < row.restore_us

    @pytest.mark.parametrize(
        ("name", "verdict", "reason"),
        [
            ("Forgetful", WRONG, "set_state(get_state()), depth 5, step 0: state"),
            ("Stubborn", REFUSED, "its state is in the cloud"),
            ("Broken", WRONG, "RuntimeError: out of order"),
        ],
    )
    def test_others(self, user_games, monkeypatch, name, verdict, reason):
        monkeypatch.setattr(checking, "_gymnasium_cannot_either", lambda name: False)
        row = check_target(toys(name)[0])
        assert row.verdict == verdict
        assert row.reason.startswith(reason)

    def test_what_gymnasium_cannot_make_either(self):
        row = check_target(
            Target("Jax", "phys2d/Pendulum-v0", "plain", {"max_episode_steps": "many"})
        )
        assert row.verdict in (NOT_MADE, WRONG)
        assert row.reason

    def test_options_reach_the_environment(self):
        row = check_target(Target("Toy text", "FrozenLake-v1", "big", {"map_name": "8x8"}))
        assert row.verdict == EXACT

    @pytest.mark.parametrize(
        ("name", "mechanism"), [("CartPole-v1", "ClassicControl"), ("ALE/Pong-v5", "AtariEnv")]
    )
    def test_how_states_are_held(self, name, mechanism):
        with checking.make(name) as env:
            assert checking.mechanism_of(env) == mechanism
        with checking.make(name, wrappers=[NoWrapper]) as env:
            assert checking.mechanism_of(env) == (
                mechanism if mechanism == "AtariEnv" else "snapshot"
            )


class NoWrapper(checking.gym.Wrapper):
    pass


class TestSurvey:
    def test_whatever_happens_is_a_row(self, user_games):
        before = children()
        todo = toys("Fine", "Dying", "Forgetful", "Hanging", "Stubborn", "Fine")
        rows = list(survey(todo, jobs=2, timeout=10.0))
        assert children() == before
        found = sorted((row.name.partition(":")[2], row.verdict) for row in rows)
        assert found == [
            ("Dying", WRONG),
            ("Fine", EXACT),
            ("Fine", EXACT),
            ("Forgetful", WRONG),
            ("Hanging", WRONG),
            ("Stubborn", REFUSED),
        ]
        reasons = {row.name.partition(":")[2]: row.reason for row in rows}
        assert reasons["Dying"] == "the process ended with 3: last words"
        assert reasons["Hanging"] == "no answer within 10 s"

    def test_left_early_nothing_stays(self, user_games):
        before = children()
        rows = survey(toys("Fine", "Hanging", "Hanging"), jobs=2)
        assert next(rows).verdict == EXACT
        assert children() > before
        rows.close()
        assert children() == before

    def test_killed_nothing_stays(self, user_games):
        code = (
            "from tests.tools.survey.side_by_side import survey\n"
            "from tests.tools.survey.targets import Target\n"
            "list(survey([Target('Toys', 'user_games:Hanging', 'plain', {})]))"
        )
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        parent = subprocess.Popen([sys.executable, "-c", code], env=environ)
        found = []
        while len(found) < 2:  # the checker, and what hangs in it
            time.sleep(0.1)
            found = psutil.Process(parent.pid).children(recursive=True)
        parent.kill()
        parent.wait()
        alive = psutil.wait_procs(found, timeout=20)[1]
        with contextlib.suppress(psutil.NoSuchProcess):
            for process in alive:
                process.kill()
        assert not alive

    def test_through_workers(self, user_games):
        (row,) = survey(toys("Fine"), n_workers=2)
        (without,) = survey(toys("Fine"))
        assert row.verdict == EXACT
        assert row.checks > without.checks
        assert row.notes == without.notes == [NO_TWIN]

    def test_nothing_to_do(self):
        assert list(survey([])) == []


class TestTargets:
    def test_everything(self):
        found = targets()
        assert {"Classic control", "Toy text", "Atari"} <= {target.family for target in found}
        games = [target for target in found if target.family == "Atari"]
        assert {target.variant for target in games} == {"ram", "ram, sticky"}
        assert len(games) == 2 * len({target.name for target in games})
        assert len(set(map(str, found))) == len(found)

    def test_families_by_the_beginnings_of_their_names(self):
        found = targets(["toy", "Classic-Control"])
        assert {target.family for target in found} == {"Classic control", "Toy text"}
        with pytest.raises(CommandError, match="no family is called 'chess': Classic control"):
            targets(["chess"])

    def test_variants(self):
        (_, more) = len(targets(["atari"])), len(targets(["atari"], "all"))
        assert more == 7 * len(targets(["atari"], "rgb"))
        assert {target.variant for target in targets(variants="time limit")} == {"time limit"}
        with pytest.raises(CommandError, match="no variant is called 'loud'"):
            targets(["atari"], "loud")

    def test_a_sample_is_spread(self):
        names = sorted({target.name for target in targets(["atari"])})
        taken = [target.name for target in targets(["atari"], "ram", sample=4)]
        assert len(taken) == 4
        assert taken[0] == names[0]
        assert names.index(taken[-1]) > len(names) // 2
        assert len(targets(["toy"], sample=1000)) == len(targets(["toy"]))
