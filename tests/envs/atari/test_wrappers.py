"""Atari under wrappers, by ``wrappers=`` and inside callables: plain Gymnasium is the judge."""

import functools

import ale_py
import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import (
    AddRenderObservation,
    AtariPreprocessing,
    Autoreset,
    DelayObservation,
    FrameStackObservation,
    MaxAndSkipObservation,
    NormalizeObservation,
    ResizeObservation,
    StickyAction,
    TimeLimit,
)

from plangym_lite import NotCloneableError, make
from tests.beside import restore_in_any_order, roll_out_in_any_order, walk_beside_plain
from tests.same import assert_same

pytest.importorskip("cv2")
gym.register_envs(ale_py)


class Inverted(gym.ObservationWrapper):
    """Hands out one buffer again and again."""

    def __init__(self, env):
        super().__init__(env)
        self.buffer = np.zeros(env.observation_space.shape, np.uint8)

    def observation(self, obs):
        np.subtract(255, obs, out=self.buffer)
        return self.buffer


class Screens(gym.Wrapper):
    """Reads the screen before and after each step, from the console that it has kept."""

    def __init__(self, env):
        super().__init__(env)
        self.ale = env.unwrapped.ale
        self.observation_space = spaces.Box(0, 255, (2, 210, 160), np.uint8)

    def reset(self, **kwargs):
        info = self.env.reset(**kwargs)[1]
        return np.array([self.ale.getScreenGrayscale()] * 2), info

    def step(self, action):
        before = self.ale.getScreenGrayscale()
        _, *rest = self.env.step(action)
        return np.array([before, self.ale.getScreenGrayscale()]), *rest


class Drives(gym.Wrapper):
    """Runs frames past the environment, and leaves a mark there."""

    n = 0

    def step(self, action):
        self.n += 1
        if self.n % 3 == 0:
            self.unwrapped.ale.act(0)
        _, reward, terminated, truncated, info = self.env.step(action)
        reward += self.unwrapped.ale.act(1)
        self.unwrapped.mark = self.n
        obs = self.unwrapped._get_obs()
        return obs, reward, terminated, truncated, {**info, "mark": self.unwrapped.mark}


class LifeIsEpisode(gym.Wrapper):
    """Goes on after a lost life where the console stands, as baselines do."""

    lives, is_over = 0, True

    def reset(self, *, seed=None, options=None):
        if self.is_over or seed is not None:
            obs, info = self.env.reset(seed=seed, options=options)
        else:
            obs, *_, info = self.env.step(0)
        self.lives = self.unwrapped.ale.lives()
        return obs, info

    def step(self, action):
        obs, reward, terminated, truncated, info = self.env.step(action)
        self.is_over, lives = terminated or truncated, self.unwrapped.ale.lives()
        terminated, self.lives = terminated or 0 < lives < self.lives, lives
        return obs, reward, terminated, truncated, info


def preprocessed(**options):
    return AtariPreprocessing, {"noop_max": 0, **options}


def stacked(number):
    return FrameStackObservation, number


STICKY = {"repeat_action_probability": 0.25}
STACKS = {
    "field": ("Breakout", {"frameskip": 1}, [preprocessed(noop_max=9), stacked(4)]),
    "lives": (
        "Breakout",
        {"frameskip": 1, **STICKY},
        [preprocessed(terminal_on_life_loss=True), stacked(2)],
    ),
    "skipped below": ("Breakout", {**STICKY, "obs_type": "grayscale"}, [stacked(3)]),
    "random skip": (
        "Breakout",
        {"frameskip": (2, 6), "obs_type": "ram", **STICKY},
        [stacked(2)],
    ),
    "same shape": ("Asterix", {"obs_type": "grayscale"}, [Inverted, Inverted, Inverted]),
    "memory": ("Pong", {"obs_type": "ram"}, [stacked(4), (DelayObservation, 2)]),
    "screens": ("Qbert", {"obs_type": "ram"}, [Screens, stacked(2)]),
    "drives": ("Breakout", {**STICKY, "obs_type": "ram"}, [Drives, stacked(2)]),
    "baselines": ("Breakout", {"frameskip": 4}, [LifeIsEpisode, stacked(2)]),
    "truncated": (
        "Breakout",
        {"max_num_frames_per_episode": 63, "obs_type": "ram", **STICKY},
        [Autoreset, stacked(2)],
    ),
    "paddle": ("Breakout", {"continuous": True, **STICKY, "obs_type": "ram"}, [stacked(2)]),
}
MORE_STACKS = {
    "colours": ("MsPacman", {"frameskip": 1}, [preprocessed(grayscale_obs=False), stacked(2)]),
    "floats": ("Pong", {"frameskip": 1}, [preprocessed(scale_obs=True, noop_max=30)]),
    "own size": ("Pong", {"frameskip": 1}, [preprocessed(screen_size=(160, 210))]),
    "pooled": (
        "SpaceInvaders",
        {"frameskip": 1},
        [(MaxAndSkipObservation, 4), (ResizeObservation, {"shape": (84, 84)}), stacked(4)],
    ),
    "half frames": ("Tetris", {"frameskip": 1}, [preprocessed(noop_max=3), stacked(2)]),
    "yars": ("YarsRevenge", {"obs_type": "ram", "frameskip": 3}, [Screens, stacked(2)]),
    "checkers": ("VideoCheckers", {"frameskip": 1}, [preprocessed(), stacked(2)]),
    "long reset": ("Amidar", {"frameskip": 2}, [Drives, stacked(2)]),
    "music": ("Pitfall2", {"frameskip": 1}, [preprocessed(), stacked(2)]),
    "rendered": (
        "Freeway",
        {"obs_type": "ram"},
        [AddRenderObservation, (StickyAction, 0.3), stacked(2)],
    ),
    "statistics": ("Boxing", {"obs_type": "ram"}, [(TimeLimit, 13), NormalizeObservation]),
    "modes": ("Breakout", {"mode": 4, "difficulty": 1, "full_action_space": True}, [stacked(2)]),
}


def build(game, options, wrappers):
    """Gymnasium's environment with our defaults written out; nothing of ours in it."""
    options = {"frameskip": 5, "repeat_action_probability": 0.0, **options}
    env = gym.make(
        f"ALE/{game}-v5",
        max_episode_steps=-1,
        disable_env_checker=True,
        render_mode="rgb_array",
        **options,
    )
    for wrapper in wrappers:
        function, argument = wrapper if isinstance(wrapper, tuple) else (wrapper, {})
        env = function(env, **argument) if isinstance(argument, dict) else function(env, argument)
    return env


def compare(stack, steps, count, **options):
    plain = build(*stack)
    game, engine, wrappers = stack
    env = make(f"ALE/{game}-v5", wrappers=wrappers, **engine, **options)
    judge(plain, env, steps, count)


def judge(plain, env, steps, count):
    with env:
        walk = walk_beside_plain(plain, env, steps, images=True)
        restore_in_any_order(env, walk, count)
        roll_out_in_any_order(env, walk, count=2)
    plain.close()


@pytest.mark.parametrize("name", ["field", "random skip", "screens", "drives"])
def test_a_stack_by_wrappers(name):
    compare(STACKS[name], steps=40, count=5)


def test_a_stack_in_a_callable():
    stack = STACKS["same shape"]
    judge(build(*stack), make(functools.partial(build, *stack)), steps=20, count=4)


def test_a_stack_with_workers():
    compare(STACKS["memory"], steps=20, count=5, n_workers=2)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*STACKS, *MORE_STACKS])
def test_a_stack_for_longer(name):
    stack = {**STACKS, **MORE_STACKS}[name]
    compare(stack, steps=250, count=25)
    compare(stack, steps=30, count=10, n_workers=2)
    judge(build(*stack), make(functools.partial(build, *stack)), steps=250, count=25)


def test_the_plain_twin():
    """``make_plain`` is what Gymnasium makes, without any class of ours."""
    game, engine, wrappers = STACKS["random skip"]
    plain = build(game, engine, wrappers)
    with make(f"ALE/{game}-v5", wrappers=wrappers, **engine) as env:
        twin = env.make_plain()
        assert type(twin.unwrapped.ale) is ale_py.ALEInterface
        assert_same(plain.reset(seed=4), twin.reset(seed=4))
        plain.action_space.seed(4)
        for action in [plain.action_space.sample() for _ in range(10)]:
            assert_same(plain.step(action), twin.step(action))
        twin.close()
    plain.close()


def test_what_comes_back_is_yours_and_what_is_born_goes():
    with make("ALE/Breakout-v5", wrappers=[Inverted, Drives], certify=False) as env:
        state, first, _ = env.reset(seed=0)
        before = first.copy()
        marks = [env.step(1).info["mark"] for _ in range(3)]
        assert_same(before, first)
        env.set_state(state)
        assert not hasattr(env.gym_env.unwrapped, "mark")
        assert [env.step(1).info["mark"] for _ in range(3)] == marks


def test_sticky_actions_run_on_under_wrappers():
    options = {"obs_type": "ram", "clone_seeds": False, "repeat_action_probability": 0.5}
    with make("ALE/MsPacman-v5", wrappers=[stacked(2)], certify=False, **options) as env:
        env.reset(seed=0)
        state = env.step(2, env.get_state(), 60).state
        batch = env.step_batch([3] * 8, [state] * 8, 3)
        assert len({obs.tobytes() for obs in batch.observs}) > 1


class TestDt:
    """A unit of ``dt`` is a step of the outermost layer."""

    def test_the_reward_is_the_sum(self):
        stack = ("MsPacman", {"obs_type": "ram"}, [stacked(2)])
        plain = build(*stack)
        with make("ALE/MsPacman-v5", obs_type="ram", wrappers=stack[2]) as env:
            plain.reset(seed=0)
            state = env.reset(seed=0)[0]
            steps = [plain.step(3) for _ in range(80)]
            step = env.step(3, state, dt=80)
            assert step.reward == sum(step[1] for step in steps) > 0
            assert_same(steps[-1][0], step.obs)
            assert step.info["n_step"] == 400
        plain.close()

    def test_a_drawn_number_of_frames(self):
        """After the end of an episode nothing more is drawn, nor for units that are not run."""
        options = {"frameskip": (2, 7), "max_num_frames_per_episode": 61, **STICKY}
        plain = build("Breakout", options, [])
        with make("ALE/Breakout-v5", **options) as env:
            plain.reset(seed=1)
            env.reset(seed=1)
            for _ in range(8):
                total = 0.0
                for _ in range(5):
                    obs, reward, terminated, truncated, _ = plain.step(3)
                    total += reward
                    if terminated or truncated:
                        break
                step = env.step(3, dt=5)
                assert_same((obs, total, truncated), (step.obs, step.reward, step.truncated))
                if truncated:
                    assert_same(plain.reset()[0], env.reset()[1])
        plain.close()


@pytest.mark.parametrize(
    "wrappers", [[], pytest.param([preprocessed(), stacked(4)], marks=pytest.mark.slow)]
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_gymnasium_knows_the_environment(wrappers):
    """Its checker, and what its own spec of it makes."""
    with make("ALE/Breakout-v5", frameskip=1, wrappers=wrappers) as env:
        again = gym.make(env.gym_env.spec)
        assert_same(again.reset(seed=5)[0], env.reset(seed=5)[1])
        for action in (1, 2, 3, 0):
            assert_same(again.step(action)[0], env.step(action).obs)
        again.close()
        check_env(env.gym_env, skip_render_check=True, skip_close_check=True)


class TestRefused:
    def test_an_observation_that_the_callable_does_not_give(self):
        with pytest.raises(ValueError, match="say obs_type inside the callable"):
            make(lambda: build("Pong", {}, []), obs_type="ram")

    def test_sound_in_a_callable(self):
        with pytest.raises(NotCloneableError, match="sound"):
            make(lambda: build("Pong", {"sound_obs": True}, []))

    def test_a_skip_below_preprocessing_as_gymnasium_does(self):
        with pytest.raises(ValueError, match="Disable frame-skipping"):
            make("ALE/Pong-v5", wrappers=[preprocessed()])


def test_a_subclass_runs_its_own_code():
    class Bonus(ale_py.AtariEnv):
        played = 0

        def step(self, action):
            obs, reward, *rest = super().step(action)
            self.played += 1
            return 255 - obs, reward + self.played, *rest

    with make(Bonus, game="breakout", frameskip=1) as env:
        plain = Bonus(game="breakout", render_mode="rgb_array")
        walk = walk_beside_plain(plain, env, 12)
        restore_in_any_order(env, walk, 4)
        plain.close()


def test_an_id_whose_entry_point_builds_a_stack():
    def build(flips=True):
        env = gym.make("ALE/Pong-v5", obs_type="ram", frameskip=2, max_episode_steps=-1)
        return Inverted(FrameStackObservation(env, 2)) if flips else env

    gym.register("Stacked-v0", entry_point=build, max_episode_steps=4)
    try:
        with make("Stacked-v0") as env, make(build) as expected:
            assert env.name == "Stacked-v0"
            assert_same(env.reset(seed=3)[1], expected.reset(seed=3)[1])
            assert_same(env.step(2, dt=9)[:4], expected.step(2, dt=9)[:4])
        with make("Stacked-v0", flips=False) as env:
            assert env.reset()[1].shape == (128,)
        with make("Stacked-v0", remove_time_limit=False) as env:
            env.reset()
            assert env.step(2, dt=9).truncated
    finally:
        del gym.registry["Stacked-v0"]
