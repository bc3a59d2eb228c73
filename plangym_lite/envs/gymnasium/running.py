"""RunningStates: the states of a plain environment that goes on being stepped as it is.

The adapter that ``make`` would use saves and restores it. Where an adapter needs nothing changed in
what Gymnasium builds, it works on the running environment itself. Where it does (Atari, Box2D, and
what is played again from its seed), the episode so far is repeated in an environment that the
adapter has built, and that one takes its place.
"""

from __future__ import annotations

import copy
import zlib
from collections.abc import Callable
from typing import Any

from plangym_lite.envs.gymnasium.env import PlangymEnv
from plangym_lite.errors import InvalidStateError, NotCloneableError
from plangym_lite.nested import differences
from plangym_lite.recipe.plain import PlainEpisode
from plangym_lite.recipe.recipe import informed
from plangym_lite.simulator import RUNNING, TERMINATED, TRUNCATED
from plangym_lite.validation import check_state

__all__ = ["RunningStates"]

TAG_BYTES = 4


class RunningStates:
    """Saves and restores one environment, ``env``, wherever ``episode`` has led it.

    Args:
        adapter: the class that ``make`` would use.
        factory: makes another such environment.

    Raises:
        NotCloneableError: its state cannot be saved exactly, or the episode not be repeated.
    """

    def __init__(
        self, adapter: type, factory: Callable[[], Any], env: Any, episode: PlainEpisode
    ) -> None:
        if not issubclass(adapter, PlangymEnv):
            raise NotCloneableError(
                f"{adapter.__name__} steps {type(env.unwrapped).__name__} itself: let the factory "
                "return plangym_lite.make(...) of it"
            )
        verified = adapter(factory, **_options_of(adapter))
        if verified._changes_stack or verified._replayed is not None or verified._owns_globals:
            try:
                _repeat(verified, episode)
            except BaseException:
                verified.close()
                raise
            self._adapter: Any = verified
            env.close()
        else:
            self._adapter = _adopted(verified, factory, env)
            verified.close()
        self._has_tag = self._adapter._snapshot is not None and not self._adapter._saves_itself

    @property
    def env(self) -> Any:
        """What is stepped from now on: it may be another one than before."""
        return self._adapter._gym_env

    @property
    def layers(self) -> Any:
        return self._adapter.gym_env

    def save(self, obs: Any, info: dict[str, Any], terminated: bool, truncated: bool) -> Any:
        """The state, where the last step gave ``obs``, ``info`` and these flags."""
        adapter = self._adapter
        adapter._obs, adapter._info = copy.deepcopy(obs), info
        adapter._ended = (TERMINATED if terminated else 0) | (TRUNCATED if truncated else 0)
        state = adapter.get_state()
        return self._tag() + state if self._has_tag else state

    def check(self, state: Any) -> None:
        """Raise ``InvalidStateError`` unless it looks like a state of this environment."""
        if not self._has_tag:
            check_state(self._adapter.batch_spec, state)
        elif not isinstance(state, bytes) or state[:TAG_BYTES] != self._tag():
            raise InvalidStateError(f"not a state of {self._adapter!r}: {type(state).__name__}")

    def load(self, state: Any) -> tuple[Any, dict[str, Any], bool, bool]:
        """Restore a state, if it is one; return its observation, info and flags."""
        self.check(state)
        self._adapter.set_state(state[TAG_BYTES:] if self._has_tag else state)
        ended, info = self._adapter._ended, self._adapter.current_info()
        return self._adapter.observe(), info, bool(ended & TERMINATED), bool(ended & TRUNCATED)

    def run(self, name: str, actions: Any, states: Any, *others: Any, **kwargs: Any) -> Any:
        """``step_batch`` or ``rollout_batch`` of the adapter; the environment stays where it is."""
        if self._has_tag and states is not None:
            for state in states:
                if state is not None:
                    self.check(state)
            states = [state and state[TAG_BYTES:] for state in states]
        try:
            batch = getattr(self._adapter, name)(actions, states, *others, **kwargs)
        finally:
            self._adapter._restore_current()
        if self._has_tag and getattr(batch, "states", None) is not None:
            tag, tagged = self._tag(), batch.states.copy()
            tagged[:] = [tag + state for state in batch.states]
            batch = batch._replace(states=tagged)
        return batch

    def close(self) -> None:
        self._adapter.close()

    def _tag(self) -> bytes:
        """What a snapshot refers to by number must be the same when it is restored."""
        anchors = self._adapter._snapshot._anchors
        names = [f"{type(each).__module__}.{type(each).__qualname__}" for each in anchors]
        return zlib.crc32("\n".join(names).encode()).to_bytes(TAG_BYTES, "little")


def _options_of(adapter: type[PlangymEnv]) -> dict[str, Any]:
    """Nothing is drawn that the factory does not ask for, but where pictures are observations."""
    return {"render_mode": None} if adapter.DEFAULT_OBS_TYPE == "coords" else {}


def _adopted(verified: Any, factory: Callable[[], Any], env: Any) -> Any:
    """An adapter around the running environment, which stays where it is."""
    adapter = type(verified)(factory, delay_setup=True, **_options_of(type(verified)))
    adapter._findings = verified.findings()
    adapter._probed = getattr(verified, "_probed", None)
    adapter._adopt(env)
    if not adapter._is_plain:
        verdict = adapter._findings
        with informed(verdict):
            adapter.take_verdict(verdict._replace(capacity=None))
        constants = verified._snapshot.constants, adapter._snapshot.constants
        if any(differences(*constants, "constants")):  # arrays that never change
            adapter.take_verdict(verdict._replace(capacity=None, constants=()))
        adapter._is_discovered = True
    adapter.OBS_IS_ARRAY = verified.OBS_IS_ARRAY
    adapter._ended, adapter._has_begun, adapter._phase = RUNNING, True, verified._phase
    return adapter


def _repeat(adapter: Any, episode: PlainEpisode) -> None:
    """Play an episode again; ``NotCloneableError`` if it leads elsewhere or is too long."""
    if episode.attributes:
        raise NotCloneableError(
            f"states of {adapter!r} need another environment in its place, which would lack what "
            f"was set: {', '.join(map(repr, episode.attributes))}. Set that in the factory"
        )
    if not episode.is_whole:
        raise NotCloneableError(
            f"this episode is too long to be repeated, as the states of {adapter!r} need it the "
            "first time: ask for a state soon after reset"
        )
    env = adapter._gym_env
    seed = episode.put_generator(env)
    adapter._has_begun, adapter._ended = True, RUNNING
    obs, _ = env.reset(seed=seed, options=episode.options)
    rewards, flags = 0.0, (False, False)
    for action in episode.actions:
        obs, reward, *ends, _ = env.step(action)
        rewards, flags = rewards + float(reward), (bool(ends[0]), bool(ends[1]))
    adapter._obs = copy.deepcopy(obs)
    is_same = (rewards, flags) == (episode.rewards, episode.flags)
    if not is_same or any(differences(episode.obs, obs, "obs")):
        raise NotCloneableError(
            f"this episode cannot be repeated, as the states of {adapter!r} need it the first "
            "time: begin with reset(seed=...)"
        )
