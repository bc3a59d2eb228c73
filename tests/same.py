"""Helpers: equality bit for bit, batches as rows, and states with actions to begin from."""

from plangym_lite.nested import assert_same, row_of

__all__ = ["assert_same", "collect_states", "rows_of"]


def rows_of(env, batch):
    """A batch as a list of rows, each a tuple of its fields."""
    return [
        tuple(
            row_of(env.observation_space, field, row) if name == "observs" else field[row]
            for name, field in batch._asdict().items()
        )
        for row in range(len(batch.rewards))
    ]


def collect_states(env, count, seed=0):
    """States of a random walk that resets at every end, and an action for each."""
    env.action_space.seed(seed)
    env.reset(seed=seed)
    states, actions = [], []
    for _ in range(count):
        states.append(env.get_state())
        actions.append(env.sample_action())
        env.step(actions[-1])
    return states, actions
