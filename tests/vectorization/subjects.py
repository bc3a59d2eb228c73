"""What the laws are tested on: environments of every kind, alone, in pools, with processes."""

import numpy as np

from plangym_lite import make
from tests.same import assert_same, collect_states, rows_of
from tests.toys import NestedToy, OpaqueToy, ToyEnv

MAKERS = {
    "toy": lambda: ToyEnv(slip=0.3, time_limit=9),
    "opaque states": lambda: OpaqueToy(slip=0.3, time_limit=9),
    "nested": lambda: NestedToy(slip=0.3, time_limit=9, frameskip=2),
    "images in infos": lambda: ToyEnv(return_image=True),
    "cartpole": lambda: make("CartPole-v1"),
    "generic snapshot": lambda: make("Blackjack-v1"),
    "atari rgb": lambda: make("ALE/Pong-v5", obs_type="rgb", frameskip=2),
    "atari grayscale": lambda: make("ALE/Freeway-v5", obs_type="grayscale"),
    "atari ram": lambda: make("ALE/MsPacman-v5", obs_type="ram", repeat_action_probability=0.25),
}


class Subject:
    """An environment, the same with workers, and states to start from."""

    def __init__(self, maker):
        self.env = maker()
        states, self.actions = collect_states(self.env, 60)
        self.states = states + self.ends(states)
        self.actions += self.actions[: len(self.states) - len(states)]
        self.env.set_state(states[3])
        self.expected = {}

    def ends(self, states):
        """A few states in which an episode has ended."""
        steps = [
            self.env.step(action, state) for action, state in zip(self.actions, states, strict=True)
        ]
        return [step.state for step in steps if step.terminated or step.truncated][:5]

    def row(self, index, dt):
        """What the environment itself answers, one row at a time."""
        if (index, dt) not in self.expected:
            home = self.env.get_state()
            step = self.env.step(self.actions[index], self.states[index], dt)
            self.expected[index, dt] = tuple(step)
            self.env.set_state(home)
        return self.expected[index, dt]

    def batch(self, stepper, picks, form="list", return_state=None):
        """Run rows ``(index, dt)``, the states handed over in one of three forms."""
        actions = [self.actions[index] for index, _ in picks]
        states = [self.states[index] for index, _ in picks]
        if form != "list" and not self.env.STATE_IS_ARRAY:
            form = "objects"
        if form == "objects":
            objects = np.empty(len(states), object)
            for row, state in enumerate(states):
                objects[row] = state
            states = objects
        elif form == "array":
            states = np.array([*states, self.states[0]])[: len(states)]
        return stepper(actions, states, [dt for _, dt in picks], return_state)

    def check(self, picks, batch):
        rows = rows_of(self.env, batch)
        assert len(rows) == len(picks)
        for pick, (*fields, reward, terminated, truncated, info) in zip(picks, rows, strict=True):
            numbers = float(reward), bool(terminated), bool(truncated)
            assert_same(self.row(*pick), (*fields, *numbers, info))
