"""Atari: real games, bit for bit what ale-py does, and exact."""

import ale_py
import gymnasium as gym
import numpy as np
import pytest

from plangym_lite import InvalidStateError, NotCloneableError, make
from plangym_lite.envs.atari import ale_state
from plangym_lite.testing import ContractSuite
from tests.same import assert_same

gym.register_envs(ale_py)


class AtariSuite(ContractSuite):
    depths = (5,)
    length, reach = 12, 0
    game = "Breakout"
    options: dict = {}

    def make_env(self):
        return make(f"ALE/{self.game}-v5", **self.options)


class TestMsPacman(AtariSuite):
    game = "MsPacman"
    depths = (0, 25)
    n_workers = 2


class TestSticky(AtariSuite):
    options = {"repeat_action_probability": 0.25, "obs_type": "grayscale", "episodic_life": True}
    reach = 150


@pytest.mark.slow
class TestRandomFrameskip(AtariSuite):
    game = "BeamRider"
    options = {"frameskip": (2, 5), "obs_type": "ram", "repeat_action_probability": 0.1}


@pytest.mark.slow
class TestWrapped(AtariSuite):
    game = "Pong"
    options = {
        "obs_type": "ram",
        "wrappers": [(gym.wrappers.TimeLimit, 20), (gym.wrappers.FrameStackObservation, 2)],
    }


class TestPartialFrames(AtariSuite):
    game = "Qbert"
    options = {"frameskip": 1}
    depths = (0, 1, 7)


class TestMusicCartridge(AtariSuite):
    """Of its clock ale-py's states hold a rounded fraction only."""

    game = "Pitfall2"
    options = {"obs_type": "ram"}
    length = 20


def test_the_music_clock_is_rounded_once_a_frame(monkeypatch):
    """Also where the generator of sticky actions is set anew before a frame."""

    def walk(frames_between):
        monkeypatch.setattr(ale_state, "CALM_FRAMES", frames_between)
        options = {"obs_type": "ram", "frameskip": 1, "repeat_action_probability": 0.25}
        with make("ALE/Pitfall2-v5", **options) as env:
            env.reset(seed=0)
            return [env.step(action % 18, return_state=True).state for action in range(40)]

    assert_same(walk(312), walk(1))


def raw_env(game, **options):
    """Gymnasium's own environment, one frame a step, nothing sticky unless asked for."""
    options = {"frameskip": 1, "repeat_action_probability": 0.0, **options}
    return gym.make(f"ALE/{game}-v5", disable_env_checker=True, **options)


def walk_beside(raw, env, episodes, steps, seed=2):
    """The same walk in both: seeded at first, then an unseeded reset for each episode."""
    raw.action_space.seed(seed)
    for episode in range(episodes):
        seeds = {"seed": seed} if episode == 0 else {}
        obs, info = raw.reset(**seeds)
        assert_same(
            [obs, info["lives"]], [(reset := env.reset(False, **seeds))[0], reset[1]["lives"]]
        )
        for _ in range(steps):
            action = raw.action_space.sample()
            obs, reward, terminated, truncated, info = raw.step(action)
            step = env.step(action)
            assert_same((obs, float(reward), terminated, truncated), step[:4])
            assert {name: step.info[name] for name in info} == info
            if terminated or truncated:
                break
    assert_same(raw.unwrapped.ale.getRAM(), env.get_ram())


def walk_sticky_resets(game, steps, **options):
    """Two seeds, one after another, and an unseeded reset after each."""
    options = {"repeat_action_probability": 0.25, "obs_type": "ram", **options}
    raw = raw_env(game, **options)
    with make(f"ALE/{game}-v5", frameskip=1, **options) as env:
        for seed, n_steps in enumerate(steps):
            walk_beside(raw, env, episodes=2, steps=n_steps, seed=seed)
    raw.close()


class TestBesideGymnasium:
    @pytest.mark.parametrize(
        ("game", "obs_type"),
        [("MsPacman", "rgb"), ("MsPacman", "grayscale"), ("BeamRider", "ram"), ("Tetris", "rgb")],
    )
    def test_a_plain_walk(self, game, obs_type):
        raw = raw_env(game, obs_type=obs_type)
        with make(f"ALE/{game}-v5", frameskip=1, obs_type=obs_type) as env:
            walk_beside(raw, env, episodes=3, steps=60)
        raw.close()

    @pytest.mark.parametrize("frameskip", [1, 4])
    def test_sticky_actions_are_the_consoles_own(self, frameskip):
        """Gymnasium goes on drawing for the frames that it skips after an end; so does this."""
        options = {"frameskip": frameskip, "repeat_action_probability": 0.25, "obs_type": "ram"}
        raw = raw_env("Breakout", **options)
        with make("ALE/Breakout-v5", **options) as env:
            walk_beside(raw, env, episodes=3, steps=900 // frameskip)
        raw.close()

    @pytest.mark.parametrize(
        ("game", "options"),
        [
            ("DoubleDunk", {}),
            ("DoubleDunk", {"mode": 4, "repeat_action_probability": 0.6}),
            ("Berzerk", {}),
            ("VideoCube", {"mode": 201, "repeat_action_probability": 0.8}),
            ("Adventure", {"mode": 2, "difficulty": 1}),
            ("Adventure", {"mode": 2, "repeat_action_probability": 0.0}),
        ],
    )
    def test_sticky_actions_in_resets(self, game, options):
        """These games act, or draw how long to press select, while they are reset."""
        walk_sticky_resets(game, steps=(25, 10), **options)

    def test_random_frameskip_is_gymnasiums(self):
        raw = raw_env("Breakout", frameskip=(2, 5), obs_type="ram")
        with make("ALE/Breakout-v5", frameskip=(2, 5), obs_type="ram") as env:
            walk_beside(raw, env, episodes=2, steps=60)
            lengths = {env.step(0).info["n_step"] for _ in range(60)}
        assert lengths == {2, 3, 4}
        raw.close()

    @pytest.mark.parametrize("sticky", [0.0, 0.25])
    def test_continuous_actions(self, sticky):
        """The paddle's strength sticks with the action."""
        options = {"continuous": True, "obs_type": "ram", "repeat_action_probability": sticky}
        raw = raw_env("Breakout", **options)
        with make("ALE/Breakout-v5", frameskip=1, **options) as env:
            walk_beside(raw, env, episodes=1, steps=80)
        raw.close()

    def test_saving_on_the_way_changes_nothing(self):
        raw = raw_env("Breakout", obs_type="rgb", repeat_action_probability=0.25)
        with make("ALE/Breakout-v5", frameskip=1, repeat_action_probability=0.25) as env:
            raw.reset(seed=5)
            state = env.reset(seed=5)[0]
            raw.action_space.seed(5)
            for _ in range(80):
                action = raw.action_space.sample()
                state, obs, *_ = env.step(action, state)
                assert_same(raw.step(action)[0], obs)
        raw.close()


class TestFrameskip:
    def test_five_is_five_frames(self):
        with make("ALE/MsPacman-v5") as env:
            assert env.frameskip == 5
            before = env.reset(seed=0)[2]["episode_frame_number"]
            step = env.step(1, dt=3)
            assert step.info["n_step"] == step.info["episode_frame_number"] - before == 15

    @pytest.mark.parametrize("sticky", [0.0, 0.4])
    def test_the_reward_is_the_sum_over_single_frames(self, sticky):
        options = {"obs_type": "ram", "repeat_action_probability": sticky}
        game = "ALE/MsPacman-v5"
        with make(game, frameskip=1, **options) as one, make(game, frameskip=40, **options) as many:
            one.reset(seed=1)
            many.reset(seed=1)
            for action in (3, 3, 2):
                singles = [one.step(action) for _ in range(80)]
                step = many.step(action, dt=2)
                assert step.reward == sum(single.reward for single in singles)
                assert_same(singles[-1].obs, step.obs)
            assert step.info["frame_number"] == singles[-1].info["frame_number"]

    def test_it_stops_where_the_episode_ends(self):
        with make("ALE/Breakout-v5", obs_type="ram", episodic_life=True) as env:
            env.reset(seed=0)
            step = env.step(1, dt=500)
            assert step.terminated
            assert step.info["lost_life"]
            assert step.info["n_step"] == step.info["episode_frame_number"] < 2500

    def test_truncation_by_the_number_of_frames(self):
        with make("ALE/Breakout-v5", obs_type="ram", max_num_frames_per_episode=42) as env:
            state = env.reset(seed=0)[0]
            step = env.step(0, state, 99)
            assert (step.terminated, step.truncated, step.info["episode_frame_number"]) == (
                False,
                True,
                42,
            )
            assert env.step_batch([0], [step.state]).truncateds[0]


class TestEpisodicLife:
    def test_lives_are_part_of_the_state(self):
        with make("ALE/Breakout-v5", obs_type="ram", episodic_life=True) as env:
            fresh = env.reset(seed=0)[0]
            batch = env.step_batch([1], [fresh], 500)
            assert batch.infos[0]["lives"] == 4
            again = env.step_batch([1, 1, 0], [fresh, batch.states[0], fresh], [500, 1, 1])
            assert again.terminateds.tolist() == [True, True, False]
            assert [info.get("lost_life") for info in again.infos] == [True, None, False]

    def test_without_it_losing_a_life_is_no_end(self):
        with make("ALE/Breakout-v5", obs_type="ram") as env:
            env.reset(seed=0)
            step = env.step(1)
            while step.info["lives"] == 5:
                step = env.step(1)
            assert (step.terminated, step.info["lost_life"], step.info["lives"]) == (False, True, 4)


class TestOptions:
    @pytest.mark.parametrize(
        ("name", "options", "shape"),
        [
            ("ALE/Pong-v5", {}, (210, 160, 3)),
            ("ALE/Pong-v5", {"obs_type": "grayscale"}, (210, 160)),
            ("ALE/Pong-v5", {"obs_type": "ram"}, (128,)),
            ("PongNoFrameskip-v4", {}, (210, 160, 3)),
        ],
    )
    def test_observations(self, name, options, shape):
        with make(name, **options) as env:
            assert env.obs_shape == shape
            batch = env.step_batch([0, 1], [env.get_state()] * 2)
            assert batch.observs.shape == (2, *shape)
            assert batch.observs.dtype == np.uint8
            assert env.img_shape == (210, 160, 3)

    def test_actions_mode_and_difficulty(self):
        with make("ALE/Breakout-v5", full_action_space=True, mode=4, difficulty=1) as env:
            assert (env.n_actions, env.mode, env.difficulty) == (18, 4, 1)
        with make("ALE/Breakout-v5") as env:
            assert (env.n_actions, env.mode, env.difficulty) == (4, 0, 0)
            assert env.get_ram().shape == (128,)

    def test_a_game_without_mode_0_uses_its_own_default(self):
        with make("ALE/Pooyan-v5") as env:
            assert env.mode != 0

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"mode": 99}, "no mode 99: choose one of"),
            ({"difficulty": 9}, "no difficulty 9"),
            ({"repeat_action_probability": 1.0}, "must be in"),
            ({"repeat_action_probability": -0.1}, "must be in"),
            ({"obs_type": "coords"}, "obs_type must be one of"),
        ],
    )
    def test_wrong_ones(self, options, message):
        with pytest.raises(ValueError, match=message):
            make("ALE/Breakout-v5", **options)

    def test_a_picture_that_no_state_can_tell_is_refused(self):
        for options in ({}, {"obs_type": "ram", "return_image": True}):
            with pytest.raises(NotCloneableError, match="leaves its picture alone"):
                make("ALE/TicTacToe3D-v5", **options)
        with make("ALE/TicTacToe3D-v5", obs_type="ram") as env:
            assert env.img_shape is None

    def test_sound_is_refused(self):
        with pytest.raises(NotCloneableError, match="sound"):
            make("ALE/Breakout-v5", sound_obs=True)


class TestStates:
    @pytest.mark.parametrize(
        "other", [{}, {"repeat_action_probability": 0.1}, {"frameskip": (2, 4)}]
    )
    def test_one_of_another_game_or_other_options(self, other):
        with make("ALE/Breakout-v5", **other) as env:
            state = env.get_state()
        game = "Breakout" if other else "Pong"
        with make(f"ALE/{game}-v5") as env:
            before = env.get_state()
            with pytest.raises(InvalidStateError):
                env.set_state(state)
            with pytest.raises(InvalidStateError):
                env.step_batch([0], [state])
            assert_same(before, env.get_state())

    def test_the_picture_is_that_of_the_restored_state(self):
        with make("ALE/MsPacman-v5", obs_type="ram") as env:
            saved = []
            env.reset(seed=0)
            for action in (0, 1, 2, 3, 4):
                env.step(action, dt=8)
                saved.append((env.get_state(), env.get_image()))
            for state, image in saved[::-1]:
                env.set_state(state)
                assert_same(image, env.get_image())
                batch = env.step_batch([0], [saved[0][0]])
                assert "rgb" not in batch.infos[0]
                assert_same(image, env.render())

    def test_clone_seeds_false_samples_sticky_actions(self):
        options = {"repeat_action_probability": 0.5, "obs_type": "ram"}
        with make("ALE/MsPacman-v5", clone_seeds=False, **options) as env:
            env.reset(seed=0)
            state = env.step(2, env.get_state(), 60).state
            actions = [3] * 12
            batch = env.step_batch(actions, [state] * 12, 3)
            assert len({obs.tobytes() for obs in batch.observs}) > 1
        with make("ALE/MsPacman-v5", **options) as env:
            env.set_state(state)
            batch = env.step_batch(actions, [env.get_state()] * 12, 3)
            assert len({obs.tobytes() for obs in batch.observs}) == 1

    def test_images_in_the_info_of_a_batch(self):
        with make("ALE/MsPacman-v5", return_image=True, obs_type="ram") as env:
            state = env.get_state()
            batch = env.step_batch([1, 2], [state] * 2)
            for action, info in zip([1, 2], batch.infos, strict=True):
                assert_same(env.step(action, state).info["rgb"], info["rgb"])


def test_a_reset_that_draws_is_part_of_the_state_without_sticky_actions():
    """Adventure draws for how long select is pressed, from the generator of sticky actions."""
    with make("ALE/Adventure-v5", mode=2, obs_type="ram", frameskip=1) as env:
        state = env.reset(seed=1)[0]
        expected = [env.reset()[1] for _ in range(2)]
        assert not np.array_equal(*expected)
        for _ in range(2):
            env.set_state(state)
            assert_same([env.reset()[1] for _ in range(2)], expected)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_sticky_actions_in_all_games():
    names = [name for name in gym.registry if name.startswith("ALE/") and name.endswith("-v5")]
    assert len(names) > 100
    for name in names:
        walk_sticky_resets(name[4:-3], steps=(30, 10))


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_pictures_of_batches_in_all_games():
    """One frame from any state, over whatever other picture, shows what a plain walk shows."""
    wrong = []
    games = [name for name in gym.registry if name.startswith("ALE/") and name.endswith("-v5")]
    for name in games:
        if name == "ALE/TicTacToe3D-v5":
            continue  # it is refused
        with make(name, frameskip=1, obs_type="rgb") as env:
            env.action_space.seed(1)
            env.reset(seed=1)
            states, actions, observs = [], [], []
            for number in range(60):
                if number == 30:
                    env.reset()
                states.append(env.get_state())
                actions.append(env.sample_action())
                observs.append(env.step(actions[-1]).obs)
            order = np.random.default_rng(0).permutation(60)
            batch = env.step_batch([actions[k] for k in order], [states[k] for k in order])
            bad = [
                k
                for row, k in enumerate(order)
                if not np.array_equal(batch.observs[row], observs[k])
            ]
            if bad:
                wrong.append((name, sorted(bad)))
    assert not wrong
