"""Nested values (arrays, dicts, lists, other objects): copies, elements of spaces, comparison.

:mod:`.own` makes copies for the caller. :mod:`.compare` says where two values differ.
:mod:`.answers` checks what an environment's ``step`` and ``reset`` return.
"""

from plangym_lite.nested.answers import as_info, as_reward, no_step, run_frames, split_reset
from plangym_lite.nested.compare import (
    NO_NOISE,
    Difference,
    Noise,
    assert_same,
    differences,
    noise_between,
    same_space,
)
from plangym_lite.nested.own import (
    ARRAY_SPACES,
    ATOMS,
    DOUBLE,
    SINGLE,
    copy_element,
    fit_box,
    fit_element,
    own_action,
    own_copy,
    own_info,
    row_of,
)

__all__ = [
    "ARRAY_SPACES",
    "ATOMS",
    "DOUBLE",
    "NO_NOISE",
    "SINGLE",
    "Difference",
    "Noise",
    "as_info",
    "as_reward",
    "assert_same",
    "copy_element",
    "differences",
    "fit_box",
    "fit_element",
    "no_step",
    "noise_between",
    "own_action",
    "own_copy",
    "own_info",
    "row_of",
    "run_frames",
    "same_space",
    "split_reset",
]
