"""Input: whatever is wrong with a call is said clearly, and before anything is sent."""

import numpy as np
import pytest
from gymnasium import spaces

from plangym_lite import (
    ClosedError,
    InvalidBatchError,
    InvalidStateError,
    UnknownEnvironmentError,
    make,
)
from plangym_lite.vectorization import BatchEnv, ExternalProcess, InlineWorker, ParallelEnv
from plangym_lite.vectorization.worker.channel import Channel
from tests.toys import NestedToy, OpaqueToy, ToyEnv

RIGHT = 2
NAN, INF = float("nan"), float("inf")


class Boxed(ToyEnv):
    """Takes a pair of numbers for an action."""

    def build_engine(self):
        super().build_engine()
        self.action_space = spaces.Box(-1, 1, (2,), np.float32)

    def _decode(self, action):
        return super()._decode(int(action[0]) + 1)


@pytest.fixture(scope="module", params=["toy", "opaque", "nested", "boxed"])
def env(request):
    kinds = {"toy": ToyEnv, "opaque": OpaqueToy, "nested": NestedToy, "boxed": Boxed}
    with ParallelEnv(kinds[request.param], n_workers=2) as env:
        env.kind = request.param
        yield env


@pytest.fixture
def nothing_sent(env, monkeypatch):
    """Whatever is sent during the test fails it."""
    state = env.get_state()
    action = env.sample_action()
    monkeypatch.setattr(Channel, "send", lambda *args: pytest.fail("something was sent"))
    yield state, action
    monkeypatch.undo()
    assert len(env.step_batch([action] * 9, [state] * 9).rewards) == 9


STEPPERS = ["step_batch", "rollout_batch", "make_transitions"]


def stepper(env, name):
    """A function of actions, states and dt, where actions are those of ``step_batch``."""
    if name == "rollout_batch":
        return lambda actions, states=None, dt=1: env.rollout_batch(
            [[action] * 2 for action in actions], states, dt
        )
    return env.step_batch if name == "step_batch" else env.batch_env.make_transitions


@pytest.mark.parametrize("name", STEPPERS)
def test_lengths(env, nothing_sent, name):
    state, action = nothing_sent
    run = stepper(env, name)
    for actions, states, dt in (
        ([action] * 2, [state], 1),
        ([action] * 2, [state] * 3, 1),
        ([action] * 2, [], 1),
        ([], [state], 1),
        ([action] * 2, [state] * 2, [1]),
        ([action] * 2, [state] * 2, [1, 2, 3]),
        ([action] * 2, [state] * 2, [[1, 2]]),
        ([action] * 2, [state] * 2, []),
    ):
        with pytest.raises(InvalidBatchError, match=r"2|3|rows|actions"):
            run(actions, states, dt)


@pytest.mark.parametrize("name", STEPPERS)
@pytest.mark.parametrize("dt", [0, -1, 1.5, NAN, INF, True, None, "2", [1, 0], [1, NAN], 1j])
def test_dt(env, nothing_sent, name, dt):
    state, action = nothing_sent
    with pytest.raises(InvalidBatchError, match="dt"):
        stepper(env, name)([action] * 2, [state] * 2, dt)
    if np.ndim(dt) == 0:
        with pytest.raises(InvalidBatchError, match="dt"):
            env.step(action, state, dt)


BAD_ACTIONS = {
    "toy": [-1, 3, 0.5, NAN, INF, None, "2", [0, 1], {}, 1j, np.datetime64(0, "s")],
    "boxed": [[NAN, 0], [0], [0, 0, 0], 0.5, None, "ab", {}, [None, 0]],
    "nested": [0, None, {}, {"go": 1}, {"go": 5, "pace": 0}, {"go": NAN, "pace": 0}, []],
}
BAD_ACTIONS["opaque"] = BAD_ACTIONS["toy"]


@pytest.mark.parametrize("name", STEPPERS)
def test_actions(env, nothing_sent, name):
    state, action = nothing_sent
    for bad in BAD_ACTIONS[env.kind]:
        with pytest.raises(InvalidBatchError, match=r"action|NaN"):
            stepper(env, name)([action, bad], [state] * 2)
        with pytest.raises(InvalidBatchError, match=r"action|NaN"):
            env.step(bad, state)
    for bad in (None, 5, "22", object()):
        with pytest.raises(InvalidBatchError, match="action"):
            env.step_batch(bad, [state] * 2)
        with pytest.raises(InvalidBatchError, match="action"):
            env.rollout_batch(bad, [state] * 2)


@pytest.mark.parametrize("name", STEPPERS)
def test_states(env, nothing_sent, name):
    state, action = nothing_sent
    if not env.STATE_IS_ARRAY:
        bad_rows, bad_states = [], [5, "ab", object(), iter([state])]
    else:
        bad_rows = [5, "state", state[:-1], state.astype(np.float32), [*state], state[None]]
        rows = np.array([state, state])
        bad_states = [5, "ab", object(), rows[:, 1:], rows.astype(int), rows[None], state]
    for bad in bad_rows:
        with pytest.raises(InvalidStateError, match="state"):
            stepper(env, name)([action] * 2, [state, bad])
        for use in (env.set_state, env.batch_env.sync_states):
            with pytest.raises(InvalidStateError, match="state"):
                use(bad)
        with pytest.raises(InvalidStateError, match="state"):
            env.sync_states(bad)
        with pytest.raises(InvalidStateError, match="state"):
            env.step(action, bad)
    for bad in bad_states:
        with pytest.raises((InvalidStateError, InvalidBatchError), match="state"):
            stepper(env, name)([action] * 2, bad)


def test_states_of_another_environment(env, nothing_sent):
    _, action = nothing_sent
    with make("CartPole-v1") as other:
        state = other.get_state()
    if env.STATE_IS_ARRAY:
        with pytest.raises(InvalidStateError, match="another environment"):
            env.step_batch([action], [state])


@pytest.mark.parametrize("observs", ["first", 1, True, ["last"]])
def test_unknown_observations(env, nothing_sent, observs):
    _, action = nothing_sent
    with pytest.raises(InvalidBatchError, match="return_observs"):
        env.rollout_batch([[action]], return_observs=observs)


def test_ragged_sequences(env, nothing_sent):
    _, action = nothing_sent
    for actions in ([[action], [action] * 2], [action, action]):
        with pytest.raises(InvalidBatchError, match=r"action|step"):
            env.rollout_batch(actions)


# ---- making --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n_workers", "error"),
    [
        *((number, ValueError) for number in (0, -1, "two")),
        *((number, TypeError) for number in (2.5, NAN, True, [2])),
    ],
)
def test_numbers_of_workers(n_workers, error, new_children):
    error = (error, TypeError)  # "auto" is a word that make knows
    with pytest.raises(error, match="n_workers"):
        make(ToyEnv, n_workers=n_workers)
    with pytest.raises(error, match="n_workers"):
        ParallelEnv(ToyEnv, n_workers=n_workers)
    assert not new_children()


def test_unknown_names(new_children):
    with pytest.raises(UnknownEnvironmentError, match="CartPole-v1"):
        make("CartPol-v1", n_workers=2)
    with pytest.raises(TypeError, match="no_such"):
        ParallelEnv(ToyEnv, n_workers=1, no_such=1)
    with pytest.raises(ValueError, match="start_method"):
        ParallelEnv(ToyEnv, n_workers=1, start_method="teleport")
    assert not new_children()


def test_pools_of_nothing():
    with pytest.raises(ValueError, match="at least one"):
        BatchEnv([])
    with pytest.raises(TypeError, match="PlanEnv"):
        BatchEnv([InlineWorker(dict)])


def test_resets_of_workers_that_are_not_there(env):
    for indices in ([2], [-3], [0.5], ["a"], [None], 5):
        with pytest.raises((IndexError, TypeError), match=r"ind|work|iter"):
            env.batch_env.reset(indices)
    assert len(env.batch_env.reset([1, -1])[0]) == 2


# ---- one process ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def process():
    process = ExternalProcess(ToyEnv)
    yield process
    process.close()


def test_verbs(process):
    state = process.get_state()
    with pytest.raises(InvalidBatchError, match="action"):
        process.step(7)
    with pytest.raises(InvalidBatchError, match="dt"):
        process.step(1, state, 0)
    with pytest.raises(InvalidStateError, match="state"):
        process.set_state(state[1:])
    with pytest.raises(InvalidBatchError, match="2 actions but 1"):
        process.step_batch([1, 1], [state])
    with pytest.raises(TypeError):
        process.reset(1, 2, 3)
    with pytest.raises(NotImplementedError, match="human"):
        process.render("human")
    for name in (5, None, b"step"):
        with pytest.raises(TypeError, match="name"):
            process.call(name)
        with pytest.raises(TypeError, match="name"):
            process.access(name)
    assert_state_is(process, state)


def assert_state_is(process, state):
    assert (process.get_state() == state).all()


def test_closed():
    process, env = ExternalProcess(ToyEnv), ParallelEnv(ToyEnv, n_workers=1)
    state, batch_env = env.get_state(), env.batch_env
    process.close()
    env.close()
    for use in (
        lambda: process.step(RIGHT),
        lambda: process.step_batch([RIGHT]),
        lambda: process.rollout_batch([[RIGHT]], timeout=1),
        lambda: process.set_state(state),
        process.reset,
        process.get_state,
        process.render,
        process.start,
        process.restart,
        process.replace,
        process.fileno,
        lambda: process.access("size"),
        lambda: env.rollout_batch([[RIGHT]]),
        lambda: env.step_batch([RIGHT], [state], timeout=1),
        lambda: env.reset(timeout=1),
        env.sample_action,
        lambda: batch_env.make_transitions([RIGHT]),
        lambda: batch_env.make_transitions([RIGHT], [state], timeout=1),
        lambda: batch_env.sync_states(state),
        batch_env.reset,
    ):
        with pytest.raises(ClosedError):
            use()
