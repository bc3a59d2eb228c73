"""Trees of arrays, dicts, lists and whatever else they hold: copies, elements of spaces, checks.

:mod:`.own` makes copies that nobody else holds. :mod:`.answers` checks steps and resets.
"""

from plangym_lite.nested.answers import as_info, as_reward, no_step, run_frames, split_reset
from plangym_lite.nested.own import (
    ARRAY_SPACES,
    ATOMS,
    copy_element,
    fit_element,
    own_copy,
    own_info,
)

__all__ = [
    "ARRAY_SPACES",
    "ATOMS",
    "as_info",
    "as_reward",
    "copy_element",
    "fit_element",
    "no_step",
    "own_copy",
    "own_info",
    "run_frames",
    "split_reset",
]
