"""mctx searches our environments: the known best plan, exact states, order, ends, workers."""

import os
from functools import partial

import numpy as np
import pytest

os.environ.setdefault("JAX_PLATFORMS", "cpu")
jax = pytest.importorskip("jax")
mctx = pytest.importorskip("mctx")

from plangym_lite import InvalidStateError, make  # noqa: E402
from plangym_lite.archive import StateArchive  # noqa: E402
from plangym_lite.planners.mctx import SimulatorModel  # noqa: E402
from plangym_lite.testing.toy import LEFT, RIGHT, NestedToy, OpaqueToy, ToyEnv  # noqa: E402


def search(model, states, observs=None, params=(), n=64, seed=0, max_depth=8):
    policy = partial(
        mctx.muzero_policy,
        recurrent_fn=model.recurrent_fn,
        num_simulations=n,
        max_depth=max_depth,
        dirichlet_fraction=0.0,
        temperature=0.0,
    )
    root = model.root(params, np.asarray(states), observs)
    return jax.block_until_ready(jax.jit(policy)(params, jax.random.PRNGKey(seed), root))


def starts(env, count=5):
    """States of a walk, all of them running."""
    state, _, _ = env.reset(seed=1)
    states = [state]
    rng = np.random.default_rng(0)
    while len(states) < count:
        step = env.step(int(env.action_space.start + rng.integers(env.action_space.n)), states[-1])
        if not (step.terminated or step.truncated):
            states.append(step.state)
    return np.array(states)


KINDS = {"bytes": lambda: None, "handles": StateArchive}


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("name", ["CartPole-v1", "ALE/MsPacman-v5"])
def test_every_node_of_every_tree_is_the_state_that_its_actions_lead_to(name, kind):
    """Replays each tree by ``step``: states bit for bit, rewards, discounts, in the right row."""
    options = {"obs_type": "ram"} if name.startswith("ALE") else {}
    with make(name, **options) as env:
        states = starts(env)
        model = SimulatorModel(env, discount=0.9, archive=kind())
        tree = search(model, states, n=12).search_tree
        assert model.calls == 12 * len(states)
        for row, state in enumerate(states):
            nodes = model.states_of(tree.embeddings[row])
            assert nodes[0].tobytes() == state.tobytes()
            for node in range(1, len(nodes)):
                parent, action = (
                    int(tree.parents[row, node]),
                    int(tree.action_from_parent[row, node]),
                )
                if parent < 0:  # never reached: max_depth was hit instead
                    continue
                step = env.step(action, nodes[parent])
                assert step.state.tobytes() == nodes[node].tobytes()
                ended = step.terminated or step.truncated
                assert tree.children_rewards[row, parent, action] == np.float32(step.reward)
                discount = tree.children_discounts[row, parent, action]
                assert discount == np.float32(0.0 if ended else 0.9)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_it_finds_the_best_plan(kind):
    with ToyEnv(size=7) as env:
        state, _, _ = env.reset(seed=0)
        home = env.get_state()
        model = SimulatorModel(env, discount=0.99, archive=kind())
        out = search(model, [state] * 3, n=200)
        assert out.action.tolist() == [RIGHT] * 3
        short = SimulatorModel(env, discount=0.5)
        assert search(short, [state], n=200).action.tolist() == [LEFT], "the coin is nearer"
        assert np.array_equal(home, env.get_state())


def test_workers_bytes_and_handles_do_not_change_the_search():
    trees = []
    for n_workers in (None, 2):
        for kind in KINDS.values():
            with make("CartPole-v1", n_workers=n_workers) as env:
                states = starts(env, 9)
                model = SimulatorModel(env, archive=kind())
                trees.append(search(model, states, n=20).search_tree)
    for tree in trees[1:]:
        for name in ("node_visits", "node_values", "children_index", "children_rewards"):
            assert np.array_equal(getattr(tree, name), getattr(trees[0], name)), name


def test_a_terminal_state_is_worth_nothing_more():
    with ToyEnv(size=7) as env:
        state, _, _ = env.reset(seed=0)
        for _ in range(2):
            end = state = env.step(LEFT, state).state
        model = SimulatorModel(env, value_fn=lambda observs, states: np.full(len(states), 100.0))
        tree = search(model, [end, env.reset(seed=0)[0]], n=10).search_tree
        assert not tree.children_rewards[0].any()
        assert not tree.children_discounts[0].any()
        assert tree.node_values[1, 0] > 1


def test_a_network_sees_the_observations_and_its_values_count():
    with make("CartPole-v1") as env:
        states = starts(env, 3)
        observs = env.rollout_batch(np.zeros((3, 0), int), states).observs
        seen = {}

        def evaluate(params, observs):
            seen["dtype"], seen["shape"] = observs.dtype, observs.shape
            values = observs @ params
            return jax.numpy.stack([values, -values], 1), values

        params = jax.numpy.arange(4.0)
        model = SimulatorModel(env, evaluate=evaluate)
        tree = search(model, states, observs, params, n=5).search_tree
        assert seen == {"dtype": np.float32, "shape": (3, 4)}
        assert np.allclose(tree.raw_values[:, 0], observs @ np.arange(4.0), atol=1e-6)
        for row in range(3):
            nodes = model.states_of(tree.embeddings[row])
            after = env.rollout_batch(np.zeros((len(nodes), 0), int), nodes).observs
            reached = np.asarray(tree.parents[row]) >= 0
            expected = (after @ np.arange(4.0))[reached]
            assert np.allclose(tree.raw_values[row][reached], expected, atol=1e-5)
        with pytest.raises(ValueError, match="give observs"):
            model.root(params, states)


def test_gumbel_muzero_without_jit():
    with ToyEnv(size=7) as env:
        state, _, _ = env.reset(seed=0)
        model = SimulatorModel(env)
        out = mctx.gumbel_muzero_policy(
            (),
            jax.random.PRNGKey(0),
            model.root((), np.array([state] * 2)),
            model.recurrent_fn,
            num_simulations=64,
            gumbel_scale=0.0,
        )
        assert jax.block_until_ready(out).action.shape == (2,)
        assert model.calls == model.frames == 128


def test_what_mctx_cannot_search_is_refused():
    with make("Pendulum-v1") as env, pytest.raises(TypeError, match="Discrete"):
        SimulatorModel(env)
    with OpaqueToy() as env, pytest.raises(TypeError, match="arrays"):
        SimulatorModel(env)
    with NestedToy() as env, pytest.raises(TypeError, match="Discrete"):
        SimulatorModel(env)
    with ToyEnv() as env:
        for knobs in ({"discount": 1.5}, {"dt": 0}, {"evaluate": len, "value_fn": len}):
            with pytest.raises(ValueError, match=r"discount|dt|evaluate"):
                SimulatorModel(env, **knobs)
        with pytest.raises(InvalidStateError):
            SimulatorModel(env).root((), np.zeros((2, 99)))


def test_an_error_of_the_environment_is_seen_and_the_next_search_works():
    with ToyEnv(fail_at=RIGHT) as env:
        state, _, _ = env.reset(seed=0)
        with pytest.raises(Exception, match="ToyError"):
            search(SimulatorModel(env), [state], n=20)
    with ToyEnv(size=7) as env:
        state, _, _ = env.reset(seed=0)
        assert search(SimulatorModel(env), [state], n=200).action.tolist() == [RIGHT]
