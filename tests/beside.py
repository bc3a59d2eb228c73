"""Walks in plain Gymnasium and in one of our environments, side by side."""

import copy

import numpy as np

from plangym_lite.nested import row_of
from tests.same import assert_same


def walk_beside_plain(plain, env, steps, seed=3, images=False):
    """Compare every value through episode ends; return what was seen from each state.

    Each item: ``(state, obs, image, action, outcome)``, outcome as plain Gymnasium gave it.
    """
    plain.action_space.seed(seed)
    obs, info = copy.deepcopy(plain.reset(seed=seed))
    state, got, got_info = env.reset(seed=seed)
    assert env.observation_space == plain.observation_space
    _assert_told(obs, info, got, got_info)
    walk = []
    for _ in range(steps):
        image = plain.render() if images else None
        action = plain.action_space.sample()
        outcome = copy.deepcopy(plain.step(action))
        walk.append((state, obs, image, action, outcome))
        step = env.step(action, return_state=True)
        _assert_step(outcome, step[1:])
        state, obs = step.state, outcome[0]
        if outcome[2] or outcome[3]:
            obs, info = copy.deepcopy(plain.reset())
            state, got, got_info = env.reset()
            _assert_told(obs, info, got, got_info)
    return walk


def restore_in_any_order(env, walk, count=12, draw=0):
    """From any state of a walk: the same observation, picture, and next steps."""
    order = np.random.default_rng(draw).integers(len(walk), size=count)
    for k in order:
        state, obs, image, action, outcome = walk[k]
        env.set_state(state)
        if k % 2:
            assert_same(obs, env.observe())
        if image is not None:
            assert_same(image, env.get_image())
        _assert_step(outcome, env.step(action))
    states = [walk[k][0] for k in order]
    batch = env.step_batch([walk[k][3] for k in order], states)
    for row, k in enumerate(order):
        obs, reward, terminated, truncated, info = walk[k][4]
        got = row_of(env.observation_space, batch.observs, row)
        flags = bool(batch.terminateds[row]), bool(batch.truncateds[row])
        told = got, float(batch.rewards[row]), *flags, batch.infos[row]
        _assert_step((obs, reward, terminated, truncated, info), told)


def roll_out_in_any_order(env, walk, length=4, count=4, draw=0):
    """Rollouts that keep all observations show those of the walk."""
    starts = [
        k
        for k in np.random.default_rng(draw).permutation(len(walk) - length)
        if not any(walk[j][4][2] or walk[j][4][3] for j in range(k, k + length))
    ][:count]
    actions = [[walk[k + j][3] for j in range(length)] for k in starts]
    states = [walk[k][0] for k in starts]
    batch = env.rollout_batch(actions, states, return_observs="all")
    for row, k in enumerate(starts):
        assert_same(np.array([walk[k + j][4][0] for j in range(length)]), batch.observs[row])


def _assert_told(obs, info, got, got_info):
    assert_same(obs, got)
    _assert_info(info, got_info)


def _assert_info(info, got):
    assert_same(info, {key: got[key] for key in info})


def _assert_step(outcome, got):
    obs, reward, terminated, truncated, info = outcome
    assert_same((obs, float(reward), bool(terminated), bool(truncated)), tuple(got[:4]))
    _assert_info({key: value for key, value in info.items() if key != "episode"}, got[4])
