"""Search any environment here with DeepMind's mctx: the simulator as its ``recurrent_fn``.

::

    jax    select leaves ──action, embedding──┐        ┌──reward, discount, observs──> evaluate
    numpy                              ordered callback: env.step_batch, one row for each tree

mctx searches ``B`` trees concurrently and requests one step of each: one ``step_batch`` of ``B``
rows, which the workers of a vectorized environment share. An embedding is a state as bytes
(jax would round float64 numbers), or its handle in a :class:`~plangym_lite.StateArchive`,
which takes 4 bytes a node instead of the whole state.

Needs the extra ``mctx``. ``A`` denotes the number of actions, ``S`` the bytes of a state.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from gymnasium import spaces

from plangym_lite.core import PlanEnv
from plangym_lite.errors import MissingPackageError, to_install
from plangym_lite.planners.simulator import LegalFn, Simulator, ValueFn, check_options
from plangym_lite.planners.tree import outgrown
from plangym_lite.states.archive import StateArchive
from plangym_lite.transitions import empty_columns, map_leaves
from plangym_lite.validation import check_states

try:
    import jax
    import jax.numpy as jnp
    import mctx
    from jax.experimental import io_callback
except ImportError as error:
    needed = f"{__name__} needs jax and mctx: {to_install('mctx')}"
    raise MissingPackageError(needed, name=error.name) from error

__all__ = ["Evaluate", "SimulatorModel"]

Evaluate = Callable[[Any, Any], tuple[Any, Any]]
"""``evaluate(params, observs [B, ...]) -> (prior_logits [B, A], values [B])``, in jax."""


class SimulatorModel:
    """An environment as a model for mctx: ``root`` and ``recurrent_fn``.

    ::

        model = SimulatorModel(env)
        policy = partial(mctx.muzero_policy, recurrent_fn=model.recurrent_fn, num_simulations=50)
        out = jax.block_until_ready(jax.jit(policy)((), key, model.root((), states)))

    The search runs in threads of jax: wait for its end, as above, before using ``env`` again. Every
    row is stepped exactly once and in order, also under ``jit``; ``vmap`` is refused. The same key
    and the same states give the same search, with any number of workers.

    With ``legal_actions`` mctx masks the root only: give it ``model.invalid_actions(states, ...)``.
    Below the root an illegal action is not stepped: it earns ``illegal`` and ends there.

    Args:
        env: an environment with discrete actions, whose states are arrays; its current state does
            not change.
        discount: of a reward one step later, -1 for two players in turn; 0 at the end of an
            episode.
        dt: units for which each action is held.
        evaluate: a network; ``None``: equal priors.
        value_fn: without a network: values of states, in numpy, as for the other planners; it must
            not call jax. ``None``: 0.
        archive: stores the states; ``None``: they are in mctx's tree.
        legal_actions: the key of an info with the mask ``[A]`` of the legal actions, or a function
            of observations, states and infos.
        illegal: the reward of an illegal action, and in place of one that is not finite: choose it
            below all returns.
        resample: draw new seeds in each step, from the keys of mctx.

    Raises:
        TypeError: the actions are not discrete, or states are not arrays.
        ValueError: an option is out of range, or both ``evaluate`` and ``value_fn`` are given.
    """

    def __init__(
        self,
        env: PlanEnv,
        *,
        discount: float = 0.99,
        dt: int = 1,
        evaluate: Evaluate | None = None,
        value_fn: ValueFn | None = None,
        archive: StateArchive | None = None,
        legal_actions: str | LegalFn | None = None,
        illegal: float = -1.0,
        resample: bool = False,
    ) -> None:
        check_options(discount, {"dt": dt}, least=-1.0)
        if evaluate is not None and value_fn is not None:
            raise ValueError(
                "give evaluate or value_fn: one of them must say what states are worth"
            )
        if not isinstance(env.action_space, spaces.Discrete):
            raise TypeError(f"mctx needs a Discrete action space, {env!r} has {env.action_space}")
        spec = env.batch_spec
        if spec.state_shape is None or spec.state_dtype is None:
            raise TypeError(f"mctx needs states that are arrays: those of {env!r} are not")
        self.env, self.discount, self.dt = env, discount, dt
        self.evaluate, self.value_fn, self.archive = evaluate, value_fn, archive
        self.illegal, self.resample = illegal, resample
        rng = np.random.default_rng(0)  # not used: the seeds are from mctx
        self._simulator = Simulator(env, rng, resample=resample, legal_actions=legal_actions)
        self._masks: dict[int, np.ndarray] = {}  # of states in the archive
        self._state_dtype = spec.state_dtype
        self._state_bytes = int(np.prod(spec.state_shape)) * spec.state_dtype.itemsize

    def root(
        self, params: Any, states: np.ndarray, observs: Any = None, infos: Any = None
    ) -> mctx.RootFnOutput:
        """The roots of ``B`` searches.

        Args:
            params: of the network; ``()`` without one.
            states: ``[B, S]``.
            observs: ``[B, ...]`` of these states, for a network.
            infos: of these states, for legal actions, if the environment does not restore the info
                with a state.

        Raises:
            InvalidStateError: they are not states of the environment.
            ValueError: there is a network, but no observations; or legal actions are not known.
        """
        states = np.asarray(check_states(self.env.batch_spec, states), self._state_dtype)
        if self.evaluate is not None and observs is None:
            raise ValueError("the network needs the observations of the states: give observs")
        values = np.zeros(len(states), np.float32)
        if self.value_fn is not None:
            values = np.asarray(self.value_fn(observs, states), np.float32)
        logits, values = self._judge(params, observs, values)
        masks = ~self.invalid_actions(states, infos)
        embedding = jnp.asarray(self._embed(states, masks))
        return mctx.RootFnOutput(prior_logits=logits, value=values, embedding=embedding)

    def invalid_actions(self, states: np.ndarray, infos: Any = None) -> np.ndarray:
        """``[B, A]`` which actions are illegal, for the policies of mctx."""
        if self._simulator.legal_actions is None:
            return np.zeros((len(states), self._simulator.n_actions), bool)
        known = [None] * len(states) if infos is None else infos
        pairs = zip(states, known, strict=True)
        return ~np.concatenate([self._simulator.look(*pair)[2] for pair in pairs])

    def recurrent_fn(
        self, params: Any, rng_key: Any, action: Any, embedding: Any
    ) -> tuple[mctx.RecurrentFnOutput, Any]:
        """One step of every row, the function that mctx calls."""
        size = len(action)
        numbers = jax.ShapeDtypeStruct((size,), jnp.float32)
        after = jax.ShapeDtypeStruct(embedding.shape, embedding.dtype)
        shapes = (numbers, numbers, numbers, after, self._observs_like(size))
        seeds = jax.random.randint(rng_key, (size,), 0, 2**31 - 1) if self.resample else action
        out = io_callback(self._step, shapes, action, embedding, seeds, ordered=True)
        rewards, discounts, values, embedding, observs = out
        logits, values = self._judge(params, observs, values)
        output = mctx.RecurrentFnOutput(
            reward=rewards, discount=discounts, prior_logits=logits, value=values
        )
        return output, embedding

    def states_of(self, embeddings: Any) -> np.ndarray:
        """``[B, S]`` the states of embeddings of a finished search."""
        found = np.asarray(embeddings)
        if self.archive is not None:
            return self.archive.get(found)
        return np.ascontiguousarray(found[:, : self._state_bytes]).view(self._state_dtype)

    @property
    def calls(self) -> int:
        """Rows stepped so far."""
        return self._simulator.calls

    @property
    def frames(self) -> int:
        """Simulator steps run so far."""
        return self._simulator.frames

    def _step(self, actions: Any, embeddings: Any, seeds: Any) -> tuple[Any, ...]:
        """The callback: numpy in, numpy out."""
        actions, size = np.asarray(actions), len(actions)
        legal = self._masks_of(embeddings)[np.arange(size), actions]
        rows = np.flatnonzero(legal)
        states, rewards = self.states_of(embeddings), np.full(size, self.illegal, np.float32)
        discounts, values = np.zeros((2, size), np.float32)
        columns = empty_columns(self.env.batch_spec, size).observs
        masks = np.zeros((size, self._simulator.n_actions), bool)  # nothing follows an illegal one
        if rows.size:
            moves, chosen = self._simulator.first + actions[rows], np.asarray(seeds)[rows].tolist()
            options = {"seeds": chosen} if self.resample else {}
            out = self._simulator.step(moves, states[rows], self.dt, **options)
            ended = out.terminateds | out.truncateds
            good = np.isfinite(out.rewards)
            rewards[rows] = np.where(good, out.rewards, self.illegal)
            discounts[rows] = np.where(ended, 0.0, self.discount**self.dt)
            if self.value_fn is not None:
                values[rows] = np.where(ended, 0.0, self.value_fn(out.observs, out.states))
            if not self.env.STATE_IS_ARRAY:
                raise outgrown()
            states = states.copy()
            states[rows] = out.states
            masks[rows] = True if self._simulator.masks is None else self._simulator.masks
            if self.evaluate is not None:
                columns = map_leaves(partial(_put, rows), columns, out.observs)
        observs = None if self.evaluate is None else map_leaves(_for_jax, columns)
        return rewards, discounts, values, self._embed(states, masks), observs

    def _embed(self, states: np.ndarray, masks: np.ndarray) -> np.ndarray:
        has_masks = self._simulator.legal_actions is not None
        if self.archive is not None:
            handles = self.archive.add(states).astype(np.int32)
            if has_masks:
                self._masks.update(zip(handles.tolist(), masks, strict=True))
            return handles
        states = np.ascontiguousarray(states)
        embedded = states.view(np.uint8).reshape(len(states), self._state_bytes)
        return np.hstack([embedded, masks.astype(np.uint8)]) if has_masks else embedded

    def _masks_of(self, embeddings: Any) -> np.ndarray:
        """``[B, A]`` the legal actions of embedded states."""
        found = np.asarray(embeddings)
        if self._simulator.legal_actions is None:
            return np.ones((len(found), self._simulator.n_actions), bool)
        if self.archive is not None:
            return np.array([self._masks[handle] for handle in found.tolist()])
        return found[:, self._state_bytes :].astype(bool)

    def _judge(self, params: Any, observs: Any, values: Any) -> tuple[Any, Any]:
        """``[B, A]`` logits and ``[B]`` values."""
        if self.evaluate is None:
            return jnp.zeros((len(values), self._simulator.n_actions)), jnp.asarray(values)
        return self.evaluate(params, map_leaves(_for_jax, observs))

    def _observs_like(self, size: int) -> Any:
        if self.evaluate is None:
            return None
        empty = empty_columns(self.env.batch_spec, size).observs
        return map_leaves(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, _for_jax(leaf).dtype), empty
        )


def _put(rows: np.ndarray, column: Any, leaf: Any) -> Any:
    """A column with ``leaf`` in some of its rows."""
    if isinstance(column, list):
        raise TypeError("a network cannot take observations that are not arrays of numbers")
    column[rows] = leaf
    return column


def _for_jax(leaf: Any) -> Any:
    """An observation in dtypes of jax, which by default has float32 in place of float64."""
    if isinstance(leaf, list):
        raise TypeError("a network cannot take observations that are not arrays of numbers")
    return leaf.astype(jax.dtypes.canonicalize_dtype(leaf.dtype), copy=False)
