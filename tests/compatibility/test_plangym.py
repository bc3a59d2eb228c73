"""What plangym offers, one test for each thing."""

import os
import pickle

import gymnasium as gym
import pytest

from plangym_lite import (
    BatchEnv,
    ExternalProcess,
    InvalidBatchError,
    ParallelEnv,
    PlanEnv,
    ProtocolError,
    UnknownEnvironmentError,
    make,
)
from plangym_lite.testing.toy import LEFT, RIGHT, STAY, ToyEnv
from plangym_lite.vectorization import Message
from plangym_lite.vectorization.worker.worker import unknown
from tests.same import assert_same

PACMAN = "ALE/MsPacman-v5"


class Telling(ToyEnv):
    """Returns the id of its process."""

    @property
    def pid(self):
        return os.getpid()

    def tell(self, *args, **kwargs):
        return os.getpid(), args, kwargs


@pytest.fixture
def process():
    process = ExternalProcess(Telling)
    yield process
    process.close()


@pytest.fixture(scope="module")
def pair():
    """Two workers as a BatchEnv, and the same environment here."""
    with ParallelEnv(ToyEnv, n_workers=2, slip=0.3) as env:
        yield env


def test_external_process_calls_any_constructor_in_the_child():
    size = 5

    def closure():
        return ToyEnv(size=size)

    for constructor in (ToyEnv, lambda: ToyEnv(size=6), closure):
        process = ExternalProcess(constructor)
        assert process.pid != os.getpid()
        assert process.access("size") == constructor().size
        process.close()
    with pytest.raises(ValueError, match="size must be"):
        ExternalProcess(lambda: ToyEnv(size=1))


def test_message_codes():
    assert [Message(code).name for code in range(1, 7)] == [
        "ACCESS",
        "CALL",
        "RESULT",
        "EXCEPTION",
        "CLOSE",
        "READY",
    ]
    assert isinstance(unknown(9), ProtocolError)


def test_spaces_are_cached(process):
    assert process.observation_space is process.observation_space
    assert process.action_space == ToyEnv().action_space


def test_attribute_access(process, pair):
    assert process.access("pid") == process.pid == process.tell()[0]
    for name in ("missing", "_private"):
        with pytest.raises(AttributeError, match=name):
            process.access(name)
    assert process.tell(1, key=2)[1:] == ((1,), {"key": 2})
    assert pair.batch_env.slip == 0.3


def test_call_gives_a_promise(process):
    promise = process.call("tell", 3, key="value")
    process.call("tell")  # dropped
    assert promise.result(timeout=20) == promise() == (process.pid, (3,), {"key": "value"})
    assert promise.done()


def test_verbs_of_a_process_block_or_promise(process):
    state, *_ = process.reset(return_state=True)
    assert len(process.reset()) == 2
    for verb, args in (
        ("step", (RIGHT, state, 1, True)),
        ("step_batch", ([RIGHT], [state], 1, True)),
        ("get_state", ()),
        ("set_state", (state,)),
        ("render", ()),
        ("reset", (True,)),
    ):
        promise = getattr(process, verb)(*args, blocking=False)
        assert_same(getattr(process, verb)(*args, blocking=True), promise())


def test_close_can_be_repeated(process):
    process.close()
    process.close()
    assert not process.is_alive()


def test_batch_env(pair):
    batch = pair.batch_env
    state = pair.get_state()
    assert isinstance(batch, BatchEnv)
    assert len(batch) == 2
    assert isinstance(batch[1], ExternalProcess)
    made = batch.make_transitions([RIGHT] * 5, [state] * 5)
    assert_same(pair.plan_env.step_batch([RIGHT] * 5, [state] * 5), made)
    states, observs, infos = batch.reset(indices=[1], return_states=True)
    assert states.shape[0] == len(observs) == len(infos) == 1
    with pytest.raises(InvalidBatchError):
        batch.make_transitions([RIGHT] * 5, [state] * 4)


def test_batch_env_wants_equal_spaces():
    workers = [ExternalProcess(ToyEnv), ExternalProcess(lambda: ToyEnv(size=5))]
    with pytest.raises(ValueError, match="worker 1"):
        BatchEnv(workers)
    for worker in workers:
        worker.close()


@pytest.mark.parametrize("blocking", [True, False])
def test_sync_states(pair, blocking):
    state = pair.plan_env.step(RIGHT, pair.get_state(), return_state=True).state
    pair.sync_states(state, blocking)
    assert_same([state] * 3, [pair.get_state(), *[one.get_state() for one in pair.batch_env]])
    pair.sync_states()


def test_parallel_env_honours_its_arguments():
    state = ToyEnv().get_state()
    expected = ToyEnv("x", 2).step_batch([STAY] * 3, [state] * 3)
    with ParallelEnv(ToyEnv, "x", 2, False, True, 2, blocking=True, size=8) as env:
        assert pickle.loads(pickle.dumps(env)).delay_setup
        assert_same(expected, env.step_batch([STAY] * 3, [state] * 3))
        assert env.frameskip == 2
        assert not env.autoreset
        with env.clone(size=5, n_workers=1) as other:
            assert other.unwrapped.size == 5
            assert len(other.batch_env) == 1


def test_splitting_helpers(pair):
    parts = list(pair.split_similar_chunks(list(range(7)), 3))
    assert [len(part) for part in parts] == [2, 2, 3]
    states, actions, dts = pair.batch_step_data([1, 2, 3], None, 1, 2)
    assert [list(part) for part in actions] == [[1], [2, 3]]
    assert [list(part) for part in dts] == [[1], [1, 1]]
    assert [list(part) for part in states] == [[None], [None, None]]
    whole = pair.unpack_transitions([ToyEnv().step_batch([0]), ToyEnv().step_batch([1])], False)
    assert whole[1] == [-0.01, -0.01]


def test_step_and_step_batch(pair):
    state = pair.get_state()
    assert pair.step(RIGHT, state, 2, True).info["dt"] == 2
    assert len(pair.step_batch([RIGHT] * 2, [state] * 2, [1, 2])) == 6
    assert len(pair.step_batch([RIGHT] * 2, dt=2)) == 5
    for bad in (0, [1], 1.5):
        with pytest.raises(InvalidBatchError):
            pair.step_batch([RIGHT] * 2, [state] * 2, bad)
    without = pair.step_batch([RIGHT] * 2, [state, None])  # None: the current state
    assert_same(pair.step_batch([RIGHT] * 2, [state, pair.get_state()]), without)


def test_the_rest_of_an_environment():
    wrapper = (gym.wrappers.TransformReward, {"func": lambda reward: 10 * reward})
    env = make("CartPole-v1", wrappers=[wrapper], frameskip=2, return_image=True)
    state, obs, info = env.reset(seed=3)
    assert_same((obs, info), env.reset(return_state=False, seed=3))
    assert env.seed(3) == [3]
    assert_same(obs, env.reset()[1])
    step = env.step(env.sample_action(), state)
    assert step.reward == 20
    assert_same(env.get_image(), step.info["rgb"])
    assert env.img_shape == step.info["rgb"].shape
    assert (env.name, env.frameskip, env.obs_shape, env.action_shape) == (
        "CartPole-v1",
        2,
        (4,),
        (),
    )
    assert (env.STATE_IS_ARRAY, env.OBS_IS_ARRAY, env.SINGLETON) == (True, True, False)
    assert isinstance(env.unwrapped, PlanEnv)
    layers = str(env.gym_env)
    assert "TransformReward" in layers
    assert "TimeLimit" not in layers
    assert "TimeLimit" in str(make("CartPole-v1", remove_time_limit=False).gym_env)
    late = pickle.loads(pickle.dumps(make("CartPole-v1", delay_setup=True)))
    assert late.clone(frameskip=4).frameskip == 4
    assert make("CartPole-v1", render_mode=None).img_shape is None
    assert make("CartPole-v1", obs_type="rgb").obs_shape == (400, 600, 3)


def test_the_rest_of_atari():
    for kind, shape in (("rgb", (210, 160, 3)), ("grayscale", (210, 160)), ("ram", (128,))):
        assert make(PACMAN, obs_type=kind).obs_shape == shape
    env = make(PACMAN, mode=1, difficulty=0, full_action_space=True, repeat_action_probability=0.25)
    assert (env.mode, env.difficulty, env.n_actions) == (1, 0, 18)
    assert env.repeat_action_probability == 0.25
    assert env.get_ram().shape == (128,)
    with pytest.raises(ValueError, match="choose one of"):
        make(PACMAN, mode=99)


def test_episodic_life_under_cloning():
    env = make(PACMAN, episodic_life=True, obs_type="ram")
    state, _, _ = env.reset(seed=0)
    lost = env.step_batch([0] * 3, [state] * 3, dt=[1, 200, 400])
    assert lost.terminateds.tolist() == [False, True, True]
    assert lost.infos[2]["lives"] == lost.infos[1]["lives"] == 2
    assert_same(lost.states[1], env.step_batch([0], lost.states[1:2]).states[0])


def test_make():
    with make("CartPole-v1", n_workers=1) as env:
        assert isinstance(env, ParallelEnv)
    for target in ("FrozenLake-v1", ToyEnv, lambda: ToyEnv(size=9)):
        assert isinstance(make(target), PlanEnv)
    with pytest.raises(UnknownEnvironmentError, match="CartPole"):
        make("CartPoel-v1")
    assert LEFT == 0
