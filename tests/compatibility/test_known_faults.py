"""A test, named here, excludes every known fault of the libraries that plangym_lite replaces."""

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
FAULTS = {
    "stale replies after an exception": (
        "vectorization/test_faults.py",
        "test_no_stale_answers_after_an_exception",
    ),
    "a worker dead after any exception": (
        "vectorization/test_faults.py",
        "test_every_worker_lives_after_an_exception",
    ),
    "sync_states shifting later replies": (
        "vectorization/test_faults.py",
        "test_unwaited_sync_does_not_shift_later_answers",
    ),
    "close() dead-locked on a large reply": (
        "vectorization/process/test_process.py",
        "test_close_with_a_large_answer_under_way",
    ),
    "children surviving a killed parent": (
        "vectorization/test_ends.py",
        "test_no_child_survives_a_killed_parent",
    ),
    "Ctrl-C killing every worker": (
        "vectorization/test_ends.py",
        "test_interrupt_in_a_batch_leaves_a_usable_environment",
    ),
    "constructors that only fork carries": (
        "vectorization/process/test_launch.py",
        "test_constructors_that_only_fork_could_carry",
    ),
    "lengths cut silently by zip": (
        "test_core.py",
        "test_lengths",
    ),
    "states[0] deciding for the batch": (
        "test_core.py",
        "test_a_missing_state",
    ),
    "empty batches crashing": (
        "test_core.py",
        "test_an_empty_batch",
    ),
    "n_workers=0 accepted": (
        "vectorization/test_parallel.py",
        "test_number_of_workers_must_be_one",
    ),
    "frames skipped twice": (
        "envs/atari/test_env.py",
        "test_five_is_five_frames",
    ),
    "dm_control rewards doubling": (
        "envs/mujoco/test_dm_control.py",
        "test_rewards_are_summed_once",
    ),
    "rewards leaking between calls": (
        "test_core.py",
        "test_each_row_is_alone",
    ),
    "clone_seeds ignored": (
        "envs/atari/test_env.py",
        "test_clone_seeds_false_samples_sticky_actions",
    ),
    "steps_beyond_terminated outside the state": (
        "envs/batched/test_classic_control.py",
        "test_steps_beyond_the_end_are_part_of_the_state",
    ),
    "the picture after set_state": (
        "envs/atari/test_env.py",
        "test_the_picture_is_that_of_the_restored_state",
    ),
    "seed doing nothing": (
        "test_core.py",
        "test_seed_is_for_the_next_reset",
    ),
    "autoreset=False ignored": (
        "test_core.py",
        "test_without_autoreset_the_end_absorbs",
    ),
    "a reset paid for every terminal row": (
        "test_core.py",
        "test_a_terminal_state_absorbs",
    ),
    "an unknown name made into something else": (
        "compatibility/test_plangym.py",
        "test_make",
    ),
    "forked workers drawing the same numbers": (
        "vector/test_gymnasium.py",
        "test_forked_environments_draw_different_numbers",
    ),
    "late replies after a timeout": (
        "vectorization/test_faults.py",
        "test_late_answer_after_a_timeout_answers_nothing_else",
    ),
    "step_wait hanging when worker k dies": (
        "vector/test_gymnasium.py",
        "test_a_dead_worker_is_named",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_test_rules_it_out(fault):
    path, name = FAULTS[fault]
    tree = ast.parse((TESTS / path).read_text())
    names = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    assert name in names, f"{path} has no {name}"
