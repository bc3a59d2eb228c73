"""mctx searches our environments: the known best plan, exact states, order, ends, workers."""

import os
from functools import partial

import numpy as np
import pytest

os.environ.setdefault("JAX_PLATFORMS", "cpu")
jax = pytest.importorskip("jax")
mctx = pytest.importorskip("mctx")
jax.config.update("jax_disable_most_optimizations", True)  # compiling takes longer than searching

from plangym_lite import InvalidStateError, make  # noqa: E402
from plangym_lite.planners.mctx import SimulatorModel  # noqa: E402
from plangym_lite.states.archive import StateArchive  # noqa: E402
from tests.toys import LEFT, RIGHT, STAY, NestedToy, OpaqueToy, ToyEnv  # noqa: E402

from .games import TicTacToe  # noqa: E402


def search(model, states, observs=None, params=(), n=64, max_depth=8):
    policy = partial(
        mctx.muzero_policy,
        recurrent_fn=model.recurrent_fn,
        num_simulations=n,
        max_depth=max_depth,
        dirichlet_fraction=0.0,
        temperature=0.0,
    )
    root = model.root(params, np.asarray(states), observs)
    return jax.block_until_ready(jax.jit(policy)(params, jax.random.PRNGKey(0), root))


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


def observs_of(env, states):
    observs = []
    for state in states:
        env.set_state(state)
        observs.append(env.observe())
    return np.array(observs)


def check_tree(env, model, tree, states):
    """Replay each tree by ``step``: states bit for bit, rewards, discounts, in the right row."""
    for row, state in enumerate(states):
        nodes = model.states_of(tree.embeddings[row])
        parents, actions = np.asarray(tree.parents[row]), np.asarray(tree.action_from_parent[row])
        assert nodes[0].tobytes() == state.tobytes()
        reached = np.flatnonzero(parents >= 0)
        assert len(reached) > len(nodes) // 2
        for node, parent, action in zip(reached, parents[reached], actions[reached], strict=True):
            step = env.step(action, nodes[parent])
            assert step.state.tobytes() == nodes[node].tobytes()
            ended = step.terminated or step.truncated
            assert tree.children_rewards[row, parent, action] == np.float32(step.reward)
            discount = tree.children_discounts[row, parent, action]
            assert discount == np.float32(0.0 if ended else 0.99)


def test_bytes_or_handles_alone_or_with_workers_the_search_is_the_same():
    trees = []
    for n_workers, archive in ((None, None), (2, StateArchive())):
        with make("CartPole-v1", n_workers=n_workers) as env:
            states = starts(env, 9)
            model = SimulatorModel(env, archive=archive)
            home = env.get_state()
            trees.append(search(model, states, n=20).search_tree)
            assert model.calls == 20 * len(states)
            assert np.array_equal(home, env.get_state())
            check_tree(env.unwrapped, model, trees[-1], states)
    for name in ("node_visits", "node_values", "children_index", "children_rewards"):
        assert np.array_equal(getattr(trees[0], name), getattr(trees[1], name)), name


def test_atari_states_in_an_archive():
    with make("ALE/MsPacman-v5", obs_type="ram") as env:
        states, archive = starts(env, 3), StateArchive()
        model = SimulatorModel(env, archive=archive)
        tree = search(model, states, n=10).search_tree
        assert tree.embeddings.dtype == np.int32
        assert len(archive) == 3 + 10 * 3
        check_tree(env, model, tree, states)


def test_it_finds_the_best_plan_also_after_an_error(tmp_path):
    """The first search fails, for the simulator does; the same policy then finds the treasure."""
    with ToyEnv(size=5, fail_at=STAY, trouble_once=str(tmp_path / "once")) as env:
        state, _, _ = env.reset(seed=0)
        model = SimulatorModel(env)
        policy = jax.jit(
            partial(
                mctx.gumbel_muzero_policy,
                recurrent_fn=model.recurrent_fn,
                num_simulations=100,
                gumbel_scale=0.0,
            )
        )
        root = model.root((), np.array([state] * 3))
        with pytest.raises(Exception, match="ToyError"):
            jax.block_until_ready(policy((), jax.random.PRNGKey(0), root))
        out = jax.block_until_ready(policy((), jax.random.PRNGKey(0), root))
        assert out.action.tolist() == [RIGHT] * 3


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
        observs = observs_of(env, states)
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
            reached = np.asarray(tree.parents[row]) >= 0
            expected = observs_of(env, nodes[reached]) @ np.arange(4.0)
            assert np.allclose(tree.raw_values[row][reached], expected, atol=1e-5)
        with pytest.raises(ValueError, match="give observs"):
            model.root(params, states)


def test_vmap_is_refused_for_it_would_lose_the_order():
    with ToyEnv() as env:
        model = SimulatorModel(env)
        root = model.root((), np.array([env.get_state()] * 4))
        step = jax.vmap(lambda action, part: model.recurrent_fn((), None, action, part))
        embeddings = root.embedding.reshape(2, 2, -1)
        with pytest.raises(ValueError, match="vmap"):
            step(np.zeros((2, 2), int), embeddings)
        assert model.calls == 0


def test_every_row_is_counted_without_jit_too():
    with ToyEnv(size=7) as env:
        state, _, _ = env.reset(seed=0)
        model = SimulatorModel(env)
        out = mctx.muzero_policy(
            (),
            jax.random.PRNGKey(0),
            model.root((), np.array([state] * 2)),
            model.recurrent_fn,
            num_simulations=64,
        )
        assert jax.block_until_ready(out).action.shape == (2,)
        assert model.calls == 128
        assert 0 < model.frames < 128, "ended rows run nothing"


def test_what_mctx_cannot_search_is_refused():
    with make("Pendulum-v1") as env, pytest.raises(TypeError, match="Discrete"):
        SimulatorModel(env)
    with OpaqueToy() as env, pytest.raises(TypeError, match="arrays"):
        SimulatorModel(env)
    with NestedToy() as env, pytest.raises(TypeError, match="Discrete"):
        SimulatorModel(env)
    with ToyEnv() as env:
        for options in ({"discount": 1.5}, {"dt": 0}, {"evaluate": len, "value_fn": len}):
            with pytest.raises(ValueError, match=r"discount|dt|evaluate"):
                SimulatorModel(env, **options)
        with pytest.raises(InvalidStateError):
            SimulatorModel(env).root((), np.zeros((2, 99)))


@pytest.mark.parametrize("with_archive", [False, True])
def test_two_players_with_legal_moves(with_archive):
    """X holds 0 and 1, O holds 4 and is to move: it must take 2. An illegal move would raise."""
    with make(TicTacToe) as env:
        state, _, info = env.reset(seed=0, options={"moves": [0, 4, 1]})
        options = {"archive": StateArchive()} if with_archive else {}
        model = SimulatorModel(env, discount=-1.0, legal_actions="action_mask", **options)
        states, infos = np.array([state] * 2), [info] * 2
        invalid = model.invalid_actions(states, infos)
        assert np.flatnonzero(invalid[0]).tolist() == [0, 1, 4]
        root = model.root((), states, infos=infos)
        policy = partial(
            mctx.gumbel_muzero_policy,
            recurrent_fn=model.recurrent_fn,
            num_simulations=300,
            gumbel_scale=0.0,
            qtransform=partial(mctx.qtransform_completed_by_mix_value, use_mixed_value=False),
        )
        key = jax.random.PRNGKey(0)
        out = jax.block_until_ready(jax.jit(policy)((), key, root, invalid_actions=invalid))
        assert out.action.tolist() == [2, 2]
        assert model.calls < 600  # illegal moves were not stepped
        tree = out.search_tree
        for row in range(2):
            nodes = model.states_of(tree.embeddings[row])
            assert nodes[0].tobytes() == state.tobytes()
