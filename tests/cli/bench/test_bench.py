"""The benchmark measures what it says: both sides do their units, in turns."""

import json
import time
from contextlib import ExitStack

import numpy as np
import pytest

from plangym_lite.cli.bench.atari import act_only, raw_limit, raw_loop
from plangym_lite.cli.bench.ours import ATARI, gather, open_env, play_rows, step_rows
from plangym_lite.cli.bench.references import async_vector_env
from plangym_lite.cli.bench.rounds import Comparison, Work, compare, rate
from plangym_lite.cli.bench.works import scaling_works, table
from plangym_lite.cli.main import main


def test_ratios_are_medians_of_rounds():
    found = Comparison([1.0, 2.0, 9.0], [2.0, 2.0, 2.0], [3e-6, 1e-6, 2e-6])
    assert found.ratios == [0.5, 1.0, 4.5]
    assert found.ratio == 1.0
    assert found.spread == (0.75, 2.75)
    assert found.cpu_us == 2.0


def test_both_sides_take_turns():
    turns = []

    def contender(name, units):
        def run():
            turns.append(name)
            return units

        return run

    work = Work("work", "other", lambda stack: (contender("a", 4), contender("b", 2)))
    found = compare(work, rounds=4, seconds=0.0)
    assert "".join(turns) == "ab" + "ba" + "ab" + "ba" + "ab"  # the first pair does not count
    assert len(found.ours) == len(found.reference) == len(found.cpu) == 4


def test_a_rate_is_units_by_seconds():
    speed, cpu = rate(lambda: time.sleep(0.01) or 1, 0.1)
    assert 50 < speed <= 100
    assert cpu < 0.005  # sleep takes none
    end = time.process_time() + 0.02

    def burn():
        while time.process_time() < end:
            pass
        return 1

    assert rate(burn, 0.0)[1] > 0.01


@pytest.mark.parametrize("obs_type", ["ram", "rgb", "grayscale"])
def test_the_raw_loop_does_its_transitions(obs_type):
    assert raw_loop(obs_type, 2, 5)() == 5


def test_processes_do_the_raw_loop_side_by_side():
    with ExitStack() as stack:
        assert raw_limit(stack, "ram", 1, 64, 2)() % 64 == 0
        assert act_only(stack, 2, 50)() % 100 == 0


def test_our_side_does_its_units():
    with ExitStack() as stack:
        assert step_rows(open_env(stack, ATARI, obs_type="ram"), 3)() % 3 == 0
        assert play_rows(open_env(stack, ATARI), 2, 4, dt=3)() == 2 * 4 * 3
        assert async_vector_env(stack, "CartPole-v1", 2)() % 2 == 0


def test_states_are_all_different():
    with ExitStack() as stack:
        env = open_env(stack, ATARI, None, obs_type="ram")
        states, actions = gather(env, 20)
    assert len(np.unique(states, axis=0)) == len(actions) == 20


def test_lines_of_the_table_have_names_of_their_own():
    for works in (table(2), scaling_works([1, 2, 4])):
        assert len({(work.name, work.reference) for work in works}) == len(works)


class TestCommand:
    def run(self, *args):
        return main(["bench", "--rounds", "1", "--seconds", "0.01", *args])

    def test_the_table(self, tmp_path, capsys):
        path = tmp_path / "bench.json"
        assert self.run("--workers", "1", "--only", "batch 1, ", "--json", str(path)) == 0
        out = capsys.readouterr().out
        assert "| ratio (quartiles) |" in out
        assert "CartPole-v1, batch 1, 1 workers" in out
        lines = json.loads(path.read_text())["lines"]
        assert len(lines) >= 3
        assert all(len(line["ours"]) == 1 and line["ratio"] > 0 for line in lines)

    def test_scaling(self, capsys):
        assert self.run("--workers", "1,2", "--only", "ram, 1 frame, batch 128") == 0
        out = capsys.readouterr().out
        assert "batch 128, 2 workers |" in out
        assert "batch 128, 1 workers, use_caller=False |" in out

    def test_a_module_that_is_missing(self, monkeypatch, capsys):
        works = [
            Work(name, "other", lambda stack: (lambda: 1, lambda: 1), needs=needs)
            for name, needs in (("a", None), ("b", "no_such.module"), ("c", "json.nothing"))
        ]
        monkeypatch.setattr("plangym_lite.cli.bench.works.table", lambda n: works)
        assert self.run("--workers", "1") == 0
        out = capsys.readouterr().out
        assert "| a | other |" in out
        assert "| b | other |" not in out
        assert "json.nothing is not installed" in out

    def test_nothing_of_that_name(self, capsys):
        assert self.run("--only", "no such line") == 2
        assert "no such line" in capsys.readouterr().err
