"""Verification: how the states of an unknown environment are saved exactly, or an error.

The reference is the environment itself, as Gymnasium builds and steps it. It is played from a seed
and its results are recorded. Then our environment plays the same actions, is saved, moved to other
states, restored and played on. A difference to the record was not restored, or was wrong from the
start.

::

    everything reachable is understood, and the snapshot passes ──yes──> states are snapshots
            │ no
    replay passes ──────────────────────────────────────────────yes──> states are seeds and actions
            │ no
    NotCloneableError, with the first difference

Every environment that is played here is closed before the next one is built, because closing one
may close a display that others use. The user gets one that was not played. The outcome is cached
in the process, by the classes of all layers and their arguments.
"""

from __future__ import annotations

import contextlib
import warnings
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import gymnasium as gym

from plangym_lite.envs.generators.shared import shared_kept, shared_seeded
from plangym_lite.envs.snapshot.snapshot import layers_of
from plangym_lite.envs.verify.verification import (
    NUMBERS,
    Record,
    Verdict,
    Verification,
    constants_of_all,
    noise_of_runs,
    record_afresh,
    record_plain,
)
from plangym_lite.errors import NotCloneableError
from plangym_lite.nested import NO_NOISE, Noise
from plangym_lite.recipe.recipe import informed, original_of

__all__ = ["Verdict", "refuse_the_same", "verdict_on"]

REMEMBERED = 256
OUTCOMES: OrderedDict[Any, Verdict] = OrderedDict()
"""Outcomes of verifications, by key."""


def verdict_on(env: Any) -> Verdict:
    """How the states of ``env``, newly built, are saved.

    If it had to be verified, ``env`` holds another Gymnasium environment afterwards.
    """
    if env.render_mode == "human":  # verify without a window
        recipe = env._recipe.replace(render_mode="rgb_array", delay_setup=False)
        with contextlib.closing(recipe()) as twin:
            return twin.verdict
    key = key_of(env)
    verdict = OUTCOMES.get(key) if key is not None else None
    if verdict is None:
        verdict = _verify(env)
        if key is not None:
            OUTCOMES[key] = verdict
            while len(OUTCOMES) > REMEMBERED:
                OUTCOMES.popitem(last=False)
        if verdict.refusal:
            return verdict
        if verdict.warning:
            warnings.warn(verdict.warning, stacklevel=2)
        env._owns_globals = verdict.shared_numbers
        with _quiet():
            env._adopt(env.make_stack())
    return verdict


def refuse_the_same(env: Any) -> None:
    """Raise if a callable returns the same environment each time."""
    if isinstance(env._make, (str, type, gym.envs.registration.EnvSpec)):
        return
    key = key_of(env)
    if key in OUTCOMES:
        return
    with _quiet():
        other = env.make_stack()
    _check_is_new(env, layers_of(other), layers_of(env._gym_env))
    other.close()
    if key is not None:
        OUTCOMES[key] = Verdict()


def key_of(env: Any) -> Any:
    """The key of a verification: classes and arguments, in order; ``None`` if there is none."""
    options = env.clone_seeds, env.obs_type, env.state_choice, env._certify, env.STATE_IS_ARRAY
    made_by, spec = original_of(env._make), env._spec_made
    if isinstance(made_by, gym.envs.registration.EnvSpec):
        made_by, spec = made_by.id, made_by
    if spec is not None:
        made_by = made_by, spec.entry_point, spec.kwargs, spec.additional_wrappers
    layers = tuple(type(layer) for layer in layers_of(env._gym_env))
    others = env.remove_time_limit, env.render_mode, env._engine_kwargs, env._wrappers
    try:
        return _hashable((type(env), made_by, layers, options, others))
    except TypeError:  # unhashable: verified each time
        return None


def _hashable(value: Any) -> Any:
    if isinstance(value, dict):
        return "dict", *((key, _hashable(part)) for key, part in value.items())
    if isinstance(value, (list, tuple)):
        return type(value), *(_hashable(part) for part in value)
    hash(value)
    return type(value), value


# ---- ways to save states ------------------------------------------------------------------------


def _verify(env: Any) -> Verdict:
    with _quiet(), shared_kept():
        record = constants_of_all(env, record_plain(env, env._gym_env))
        verdict, reason = _first_exact(env, record)
        is_settled = env._saves_itself and bool(record.problems)
        if reason and env._certify and not is_settled:  # each build of the environment may differ
            record = constants_of_all(env, record_plain(env, None))
            record, noise = noise_of_runs(env, record)
            verdict, reason = _first_exact(env, record, noise)
            if reason and any(noise) and not (record.problems or env._plays_only):
                own, different = _try(env, record, record.findings, noise, with_itself=True)
                verdict, reason = (own, "") if not different else (verdict, reason)
    if reason and env._certify:
        if env.state_choice is not None and not env._saves_itself:
            raise ValueError(f"{reason}: state_method={env.state_choice!r} cannot be had")
        return Verdict(refusal=f"{reason}. Pass certify=False to use it all the same")
    return verdict


def _first_exact(env: Any, record: Record, noise: list[Noise] | None = None) -> tuple[Verdict, str]:
    """The first way of saving that is exact; otherwise the last one tried, and what differed."""
    reason, verdict = f"{env!r} is not restored exactly by a snapshot: ", record.findings
    played = record.findings._replace(played=True)
    if record.has_shifting_sets and env.state_choice is None and env.clone_seeds:
        verdict, different = _try(env, record, played, noise)
        if not different:  # a set may still be restored in another order
            return verdict, ""
    if env.state_choice == "replay" or env._plays_only:
        reason = f"{env!r}: "
    elif record.problems:
        reason += f"it holds {', '.join(record.problems)}"
    else:
        verdict, different = _try(env, record, record.findings, noise)
        if not different or not env._certify:
            return verdict, ""
        reason += different
        if noise is None:  # the environment itself may differ from run to run
            return verdict, reason
    if env._saves_itself or env.state_choice == "snapshot":
        return verdict, reason
    if not env.clone_seeds:
        return verdict, f"{reason}, and clone_seeds=False needs a snapshot"
    verdict, different = _try(env, record, played, noise)
    if different and noise is not None:  # simulators may carry data from one episode into the next
        verdict, different = _try(env, record_afresh(env, record), played, noise)
    return verdict, different and f"{reason}; nor by playing again from the seed: {different}"


def _try(
    env: Any,
    record: Record,
    findings: Verdict,
    noise: list[Noise] | None,
    with_itself: bool = False,
) -> tuple[Verdict, str]:
    """Verify a twin of ``env`` that saves its states in this way; return the first difference.

    If the seed does not determine the episode, it can only be compared ``with_itself``.
    """
    with shared_seeded(NUMBERS), informed(findings._replace(capacity=1 << 40)):
        twin = env._recipe.replace(delay_setup=False)()
    with contextlib.closing(twin):
        _check_is_new(env, twin._layers, record.layers)
        noise = noise or [NO_NOISE for _ in record.recordings]
        return Verification(twin, record, noise, with_itself).outcome(findings)


def _check_is_new(env: Any, built: list[gym.Env], layers: list[gym.Env]) -> None:
    if {id(layer) for layer in layers} & {id(layer) for layer in built}:
        raise NotCloneableError(
            f"{env!r} returned the same environment twice: give a callable that builds a new one "
            "each time"
        )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppress warnings, which were shown when the environment was built first."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
