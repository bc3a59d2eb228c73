"""The DeepMind Control Suite: bit for bit what dm_control does, and exact."""

import importlib.util
import sys

import numpy as np
import pytest

if importlib.util.find_spec("dm_control") is None:
    pytest.skip("no dm_control", allow_module_level=True)

from plangym_lite import InvalidStateError, make
from plangym_lite.envs.generators.generator import RandomMemory
from plangym_lite.envs.mujoco.dm_control import DMControlEnv, tasks
from plangym_lite.envs.mujoco.dm_control import env as adapter
from plangym_lite.envs.mujoco.dm_control.tasks import TASKS, suite
from plangym_lite.envs.snapshot import mjdata
from plangym_lite.errors import NotCloneableError, UnknownEnvironmentError
from plangym_lite.testing import check_exact
from tests.same import assert_same, collect_states

SAMPLE = ["cartpole-balance", "finger-turn_easy", "hopper-hop", "lqr-lqr_2_1"]
BRIEF = {"remove_time_limit": False, "task_kwargs": {"time_limit": 0.15}}  # 15 steps
SHORT = {"depths": (0, 6), "length": 12, "reach": 30}


def blind(name, **options):
    """Pictures take long; there is a test of their own."""
    return make(name, render_mode=None, **options)


@pytest.mark.parametrize("name", SAMPLE)
def test_exact(name):
    report = check_exact(lambda: blind(name), **SHORT)
    assert report.exact, report


def test_exact_in_workers_and_through_terminals():
    report = check_exact(
        lambda: make("cartpole-swingup", render_mode=None, **BRIEF), n_workers=2, **SHORT
    )
    assert report.exact, report


def walk_is_dm_controls(name, steps):
    domain, task = TASKS[name]
    raw = suite.load(domain, task, task_kwargs={"random": 0})
    raw.physics._make_rendering_contexts = lambda: None
    with blind(name, remove_time_limit=False) as env:
        raw.task.random.seed(3)
        first = env.reset(return_state=False, seed=3)[0]
        assert_same(flat(raw.reset()), first)
        for _ in range(steps):
            action = env.sample_action()
            timestep, step = raw.step(action), env.step(action)
            assert_same(flat(timestep), step.obs)
            assert step.reward == timestep.reward
            assert step.info["discount"] == timestep.discount
            assert (step.terminated or step.truncated) == timestep.last()
            if timestep.last():
                assert_same(flat(raw.reset()), env.reset(return_state=False)[0])


def flat(timestep):
    return np.concatenate([np.ravel(part) for part in timestep.observation.values()]).astype(float)


@pytest.mark.parametrize("name", SAMPLE)
def test_a_plain_walk_is_dm_controls(name):
    walk_is_dm_controls(name, 60)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", TASKS)
def test_every_plain_walk_is_dm_controls(name):
    walk_is_dm_controls(name, 1010 if name in SAMPLE else 100)


class TestNames:
    def test_three_of_them(self):
        with (
            make("cartpole-balance") as one,
            make(domain_name="cartpole", task_name="balance") as two,
            make("dm_control/cartpole-balance-v0") as three,
            make("cartpole", task_name="balance") as four,
        ):
            assert four.name == "cartpole-balance"
            assert_same(one.reset(seed=0), two.reset(seed=0))
            assert_same(one.reset(seed=0), three.reset(seed=0))
            assert isinstance(three, DMControlEnv)
            assert two.name == "cartpole-balance"

    def test_unknown(self):
        with pytest.raises(UnknownEnvironmentError, match="cartpole-balance"):
            make("cartpole-balanced")
        with pytest.raises(UnknownEnvironmentError, match="cartpole-swingup"):
            make(domain_name="cartpole", task_name="swing")
        with pytest.raises(UnknownEnvironmentError, match="cartpole-swingup"):
            make("cartpole", task_name="swing")
        with pytest.raises(UnknownEnvironmentError, match="cartpole-balance"):
            DMControlEnv("cartpole-balanced")
        with pytest.raises(NotCloneableError, match="composer"):
            DMControlEnv("dm_control/CmuHumanoidRunWalls-v0")
        with pytest.raises(UnknownEnvironmentError):
            make("dm_control/nope-v0")
        with pytest.raises(TypeError, match="domain_name"):
            make()

    def test_without_the_extra(self, monkeypatch):
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
        for names in ({"name": "cartpole-balance"}, {"domain_name": "a", "task_name": "b"}):
            with pytest.raises(UnknownEnvironmentError, match=r'"\.\[dm-control\]"'):
                make(**names)

    def test_gymnasiums_ids_stay_gymnasiums(self):
        with make("CartPole-v1") as env:
            assert not isinstance(env, DMControlEnv)


def test_options_that_do_not_fit():
    with pytest.raises(ValueError, match="obs_type"):
        make("cartpole-balance", obs_type="ram")
    with pytest.raises(ValueError, match="render_mode must"):
        make("cartpole-balance", render_mode="ascii")
    with pytest.raises(ValueError, match="images need"):
        make("cartpole-balance", render_mode=None, return_image=True)


def test_a_window(monkeypatch):
    """``tests/conftest.py`` has pygame draw into nothing."""
    pygame = pytest.importorskip("pygame")
    with make("cartpole-balance", render_mode="human") as env:
        env.reset(seed=0)
        env.step(env.sample_action())
        assert env.render() is None
        shown = np.swapaxes(pygame.surfarray.array3d(pygame.display.get_surface()), 0, 1)
        assert np.array_equal(shown, env.get_image())
    assert not pygame.display.get_init()
    with make("cartpole-balance", render_mode="human") as env:
        monkeypatch.setenv("SDL_VIDEODRIVER", "x11")
        monkeypatch.delenv("DISPLAY", raising=False)
        with pytest.raises(RuntimeError, match=r"no window can be opened.*rgb_array"):
            env.render()
        monkeypatch.setitem(sys.modules, "pygame", None)
        with pytest.raises(ImportError, match=r"\.\[classic-control\]"):
            env.render()


def test_workers_say_the_same():
    with make("walker-walk") as local, make("walker-walk", n_workers=2) as parallel:
        states, actions = collect_states(local, 6)
        assert_same(
            local.step_batch(actions, states, 2)._asdict(),
            parallel.step_batch(actions, states, 2)._asdict(),
        )


def test_rewards_are_summed_once():
    with make("cartpole-balance", frameskip=3) as env, make("cartpole-balance") as single:
        state = env.reset(seed=0)[0]
        action = env.sample_action()
        skipped = env.step(action, state, dt=2)
        single.set_state(state)
        rewards = [single.step(action).reward for _ in range(6)]
        assert skipped.info["n_step"] == 6
        assert skipped.reward == sum(rewards)
        assert_same(single.get_state(), skipped.state)


def test_observations_that_nobody_sees_are_not_built(monkeypatch):
    seen = []
    with blind("cartpole-balance", frameskip=5) as env:
        kind = type(env.task)
        own = kind.get_observation
        monkeypatch.setattr(kind, "get_observation", lambda *args: seen.append(1) or own(*args))
        state, _, _ = env.reset(seed=0)
        seen.clear()
        env.rollout_batch(np.zeros((3, 4, 1)), [state] * 3, return_observs=None)
        assert len(seen) == 0
        env.rollout_batch(np.zeros((3, 4, 1)), [state] * 3)
        assert len(seen) == 3


def test_the_time_limit():
    with make("cartpole-balance", remove_time_limit=False, render_mode=None) as env:
        state = env.reset(seed=0)[0]
        action = env.sample_action()
        step = env.step(action, state, 2000)
        assert (step.info["n_step"], step.truncated, step.terminated) == (1000, True, False)
        late = env.step(action, state, 999).state
        assert env.step(action, late).truncated
        assert not env.step(action, state).truncated
    with make("cartpole-balance", render_mode=None) as env:
        assert not env.step(action, env.get_state(), 1001).truncated


def test_samples_stay_small_where_there_are_no_bounds():
    with blind("lqr-lqr_6_2") as env:
        assert (env.action_space.high > 1e6).all()
        assert max(abs(env.sample_action()).max() for _ in range(50)) <= 1.0


def test_a_task_that_ends_terminates():
    with blind("lqr-lqr_2_1") as env:
        env.reset(seed=0)
        env.physics.data.qpos[:] = env.physics.data.qvel[:] = 0.0
        env.physics.forward()
        step = env.step(np.zeros(1))
        assert (step.terminated, step.truncated) == (True, False)


@pytest.mark.parametrize("clone_seeds", [True, False])
def test_clone_seeds(clone_seeds):
    with make("cartpole-swingup", clone_seeds=clone_seeds) as env:
        state = env.reset(seed=0)[0]
        observs = set()
        for _ in range(4):
            env.set_state(state)
            observs.add(env.reset(return_state=False)[0].tobytes())
        assert len(observs) == (1 if clone_seeds else 4)


def test_numbers_drawn_by_the_user_are_noticed():
    with make("cartpole-balance") as env:
        env.reset(seed=0)
        draw = env.task.random.randn
        draw()
        state = env.get_state()
        expected = env.task.random.randn()  # the spare one: no word of the generator moves
        env.set_state(state)
        assert env.task.random.randn() == expected


def test_generators_come_back():
    random = np.random.RandomState(1)
    memory, rows, expected = RandomMemory(random), [], []
    for count in (0, 1, 2, 700):
        random.randn(count)
        memory.drawn()
        rows.append(np.empty(RandomMemory.NBYTES, np.uint8))
        memory.save(rows[-1])
        copy = np.random.RandomState()
        copy.set_state(random.get_state())
        expected.append(copy.randn(5))
    for index in (3, 0, 2, 1, 1, 3):
        memory.load(rows[index])
        assert_same(expected[index], random.randn(5))
        memory.drawn()
    with pytest.raises(NotCloneableError, match="PCG64"):
        RandomMemory(np.random.RandomState(np.random.PCG64(0)))


def test_what_is_no_state():
    with make("cartpole-balance") as env, make("cartpole-swingup") as other:
        state = env.get_state()
        with pytest.raises(InvalidStateError, match="another task"):
            other.set_state(state)
        with pytest.raises(InvalidStateError, match="another environment"):
            env.set_state(state[:-8])


def test_attributes_of_the_task_come_back():
    with make("cartpole-balance") as env:
        env.task.mood = 1.5
        state = env.get_state()
        env.task.mood = 2.0
        env.task.later = "x"
        env.set_state(state)
        assert env.task.mood == 1.5
        assert not hasattr(env.task, "later")
        env.task.mood = "long" * 1000
        with pytest.raises(InvalidStateError, match="have grown"):
            env.get_state()


def test_pictures_are_of_the_state():
    with make("quadruped-escape") as env:
        if env.img_shape is None:
            with pytest.raises(RuntimeError, match="MUJOCO_GL"):
                env.get_image()
            pytest.skip("no OpenGL")
        state = env.reset(seed=1)[0]
        image = env.get_image()
        assert image.shape == (240, 320, 3)
        env.reset(seed=2)  # another terrain
        assert not np.array_equal(image, env.get_image())
        env.set_state(state)
        assert_same(image, env.get_image())
    options = {"render_kwargs": {"height": 48, "width": 64}}
    with make("cartpole-balance", obs_type="grayscale", **options) as env:
        state, obs, _ = env.reset(seed=1)
        assert obs.shape == env.obs_shape == (48, 64)
        env.step([1.0], dt=20)
        env.set_state(state)
        assert_same(obs, env.observe())


class TestNegativeControls:
    """Leave something out of the state and see the contract fail."""

    def check(self, name, **options):
        return check_exact(
            lambda: make(name, render_mode=None, **options), depths=(4, 12), length=8, reach=20
        )

    def test_the_contacts(self, monkeypatch):
        load = mjdata.SimulationMemory.load
        monkeypatch.setattr(adapter, "KERNELS", {})
        monkeypatch.setattr(
            adapter.SimulationMemory, "load", lambda self, row, contacts: load(self, row)
        )
        assert not self.check("hopper-hop").exact

    def test_laying_the_buffer_over(self, monkeypatch):
        """What ``mj_forward`` makes is not what the step left: sensors, for one."""

        def load(self, row, contacts):
            original(self, row)
            adapter.mujoco.mj_forward(self.model, self.data)

        original = mjdata.SimulationMemory.load
        monkeypatch.setattr(adapter, "KERNELS", {})
        monkeypatch.setattr(adapter.SimulationMemory, "load", load)
        assert not self.check("hopper-hop").exact

    @pytest.mark.parametrize("part", ["sensors", "warm start", "model"])
    def test_few_numbers(self, monkeypatch, part):
        """The simulation of a task with a kernel."""

        def load(self, row, contacts=True):
            sensors, warm_start = self.data.sensordata.copy(), self.data.qacc_warmstart.copy()
            model = [field.copy() for field, _ in self._fields]
            original(self, row)
            if part == "sensors":
                self.data.sensordata[:] = sensors
            elif part == "warm start":
                self.data.qacc_warmstart[:] = warm_start
            else:
                for (field, _), before in zip(self._fields, model, strict=True):
                    field[...] = before

        original = adapter.PhysicsMemory.load
        monkeypatch.setattr(adapter.PhysicsMemory, "continues", lambda *args: True)
        name = "finger-turn_easy" if part == "model" else "hopper-hop"
        assert self.check(name).exact
        monkeypatch.setattr(adapter.PhysicsMemory, "load", load)
        assert not self.check(name).exact

    def test_the_warm_start(self, monkeypatch):
        monkeypatch.setattr(mjdata, "EXPECTED", frozenset())
        monkeypatch.setattr(mjdata, "SCRATCH", mjdata.SCRATCH | {"qacc_warmstart", "qacc"})
        assert not self.check("humanoid-run").exact

    def test_the_model(self, monkeypatch):
        monkeypatch.setattr(tasks, "changed_fields", lambda model, before: ())
        assert not self.check("finger-turn_easy").exact

    @pytest.mark.parametrize("part", ["steps", "generator"])
    def test_a_part(self, monkeypatch, part):
        load = DMControlEnv.load_state

        def forgetful(self, state):
            state = state.copy()
            if part == "steps":
                state[16:24] = 0
            else:
                self.clone_seeds = False
            load(self, state)
            self.clone_seeds = True

        assert self.check("cartpole-balance", **BRIEF).exact
        monkeypatch.setattr(DMControlEnv, "load_state", forgetful)
        assert not self.check("cartpole-balance", **BRIEF).exact


def test_what_is_meant_for_gymnasium():
    with pytest.raises(TypeError, match="takes no Gymnasium wrappers"):
        make("cartpole-balance", wrappers=[lambda env: env])
    with make("cartpole-balance", wrappers=(), certify=False) as env:
        assert env.get_state().dtype == np.uint8


ONE_OF_EACH = sorted({domain: name for name, (domain, _) in TASKS.items()}.values())


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if number % 5 else ())
        for number, name in enumerate(ONE_OF_EACH)
    ],
)
def test_a_picture_of_every_domain(name):
    """Right after a restore, after other episodes, and in a fresh environment."""
    size = {"render_kwargs": {"height": 48, "width": 64}}
    with make(name, **size) as env, make(name, **size) as fresh:
        if env.img_shape is None:
            pytest.skip("no OpenGL")
        env.action_space.seed(0)
        env.reset(seed=1)
        action = env.sample_action()
        for _ in range(3):
            env.step(action)
        state, image = env.get_state(), env.get_image()
        after = env.step(action).obs, env.get_image()
        env.reset(seed=2)
        env.step(action, dt=5)
        for each in (env, fresh):
            each.set_state(state)
            assert_same(image, each.get_image())
            assert_same(after, (each.step(action).obs, each.get_image()))
