"""The hooks that an adapter writes, and the loop that local and parallel share."""

import numpy as np
import pytest
from gymnasium import spaces

from plangym_lite import InvalidStateError, SimulatorEnv
from plangym_lite.transitions import Form, Rows, empty_columns
from tests.same import assert_same, collect_states
from tests.toys import LEFT, RIGHT, STAY, NestedToy, OpaqueToy, ToyEnv


class Counter(SimulatorEnv):
    """The least that an adapter may be: it counts, and keeps the actions it was given."""

    def build_engine(self):
        self.observation_space = spaces.Box(-np.inf, np.inf, (1,), np.float64)
        self.action_space = spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.kept = []
        self.apply_reset(None, None)

    def apply_reset(self, seed, options):
        self.count = (options or {}).get("start", 0)
        return {"started": self.count}

    def advance(self, action, n_frames):
        self.kept.append(action)
        self.count += n_frames
        return float(n_frames), False, False, {"n_step": n_frames}

    def current_obs(self):
        return np.array([self.count], np.float64)

    def save_state(self, out=None):
        out = np.empty(2, np.int32) if out is None else out
        out[:] = self._ended, self.count
        return out

    def load_state(self, state):
        self._ended, self.count = (int(number) for number in state)


@pytest.fixture
def counter():
    return Counter("counter", frameskip=3)


def fill(env, actions, states, dts, first=0, return_state=True):
    """Run rows the way a worker does: into columns of one's own."""
    out = empty_columns(env.batch_spec, len(dts), Form(states=return_state))
    rows = Rows(np.array(actions), states, np.array(dts), first)
    return env.make_transitions(rows, out), out


def test_the_hooks_make_a_whole_environment(counter):
    assert counter.reset(options={"start": 5})[2] == {"started": 5}
    assert counter.step([0.5, 0.5], dt=2).obs == [11]
    batch = counter.step_batch(np.zeros((2, 2)), [counter.get_state()] * 2, [1, 2])
    assert batch.observs[:, 0].tolist() == [14, 17]
    assert batch.states.dtype == np.int32


HOOKS = ["build_engine", "apply_reset", "advance", "current_obs", "save_state", "load_state"]


@pytest.mark.parametrize("missing", HOOKS)
def test_a_missing_hook_is_named(missing):
    hooks = {name: getattr(Counter, name) for name in HOOKS if name != missing}
    incomplete = type("Incomplete", (SimulatorEnv,), hooks)
    with pytest.raises(NotImplementedError, match=rf"Incomplete must define {missing}\(\)"):
        incomplete("incomplete").clone().step_batch([[0, 0]], np.zeros((1, 2), np.int32))


@pytest.mark.parametrize("state", [7, [1, 2], np.zeros((2, 2))])
def test_states_that_are_not_flat_arrays_need_a_word(state):
    class Odd(Counter):
        def save_state(self, out=None):
            return state

    with pytest.raises(InvalidStateError, match="STATE_IS_ARRAY = False"):
        Odd("odd").batch_spec  # noqa: B018


def test_columns_are_filled_in_place():
    env = ToyEnv()
    states, _ = collect_states(env, 3)
    infos, out = fill(env, [RIGHT] * 3, np.stack(states), [1, 1, 1])
    batch = env.step_batch([RIGHT] * 3, states)
    assert_same(tuple(batch), (*(out[k] for k in range(5)), infos))


@pytest.mark.parametrize("kind", [ToyEnv, OpaqueToy])
def test_states_are_only_written_where_asked_for(kind):
    env = kind()
    _, out = fill(env, [RIGHT], [env.get_state()], [1], return_state=False)
    assert out.states is None


def test_columns_may_be_dirty():
    """Recycled memory holds what an earlier batch left."""
    env = ToyEnv()
    out = empty_columns(env.batch_spec, 1)
    out.rewards[:], out.terminateds[:], out.truncateds[:], out.observs[:] = 9, True, True, 9
    env.make_transitions(Rows(np.array([STAY]), [env.get_state()], np.array([1])), out)
    expected = env.step_batch([STAY], [env.get_state()])
    assert_same([*expected][1:4], [out.observs, out.rewards, out.terminateds])
    assert not out.truncateds[0]


def test_an_engine_may_keep_its_actions(counter):
    actions = np.full((2, 2), 0.5, np.float32)
    counter.step_batch(actions, [counter.get_state()] * 2)
    actions[:] = 0
    assert [action.tolist() for action in counter.kept] == [[0.5, 0.5]] * 2


def test_both_ends_at_once():
    env = ToyEnv(time_limit=2)
    batch = env.step_batch([LEFT], [env.get_state()], 5)
    assert (batch.terminateds[0], batch.truncateds[0]) == (True, True)
    env.set_state(batch.states[0])
    again = env.step_batch([LEFT])
    assert (again.terminateds[0], again.truncateds[0]) == (True, True)


def test_a_failing_row_is_named_by_its_place_in_the_whole_batch():
    env = ToyEnv(fail_at=STAY)
    with pytest.raises(Exception, match="fails at action 1") as caught:
        fill(env, [RIGHT, STAY], [env.get_state()] * 2, [1, 4], first=10)
    notes = getattr(caught.value, "__notes__", ["row 11 action 1 dt 4"])
    assert all(part in notes[0] for part in ("row 11", "action", "dt 4"))


def test_many_batches_come_home_once(monkeypatch):
    """The current state is saved when a batch begins and restored when it is needed again."""
    env = ToyEnv()
    env.step(RIGHT)
    assert env.batch_spec.state_shape == (4,)
    saves = []
    save = ToyEnv.save_state
    monkeypatch.setattr(
        ToyEnv, "save_state", lambda self, out=None: saves.append(out) or save(self, out)
    )
    states = np.stack([np.array([0.0, 4, 0, 0])] * 5)
    for _ in range(3):
        env.step_batch([RIGHT] * 5, states, return_state=False)
    assert len(saves) == 1
    assert env.observe()[0] == 3


def test_nested_observations_are_written_leaf_by_leaf():
    env = NestedToy()
    actions = [{"go": RIGHT, "pace": pace} for pace in (0, 1)]
    batch = env.step_batch(actions, [env.get_state()] * 2)
    assert batch.observs["place"].dtype == np.float64
    assert batch.observs["walls"][0].dtype == np.int64
    assert batch.observs["walls"][1].dtype == np.int8
