"""Films: colours, speed, length, and what the camera takes between two steps."""

import ale_py
import gymnasium as gym
import numpy as np
import pytest
from PIL import Image

from plangym_lite import make
from plangym_lite.testing.toy import LEFT, RIGHT, ToyEnv
from plangym_lite.transitions import Transition
from plangym_lite.viz import film as films
from plangym_lite.viz.film import GAP, MAX_PICTURES, STRIP, Camera, Film, GameFilm, Play, ending
from tests.same import assert_same

gym.register_envs(ale_py)
CLEAR = np.zeros((4, 4, 3), np.uint8)


def shown(path):
    """The pictures of a GIF and their milliseconds."""
    pictures, times = [], []
    with Image.open(path) as gif:
        for number in range(gif.n_frames):
            gif.seek(number)
            pictures.append(np.asarray(gif.convert("RGB")))
            times.append(gif.info["duration"])
    return pictures, times


def checks(step):
    """An image of many colours, which are not nearly the same, another for each step."""
    numbers = (np.arange(64 * 64) + step) % 60
    return (
        np.stack([numbers * 4, 255 - numbers * 4, numbers], -1).astype(np.uint8).reshape(64, 64, 3)
    )


@pytest.mark.parametrize("side", [64, 500])
def test_colours_are_kept(tmp_path, side):
    film, images = Film(), [np.resize(checks(step), (side, side, 3)) for step in range(4)]
    for image in images:
        film.add(image)
    film.write(tmp_path / "film.gif")
    pictures, times = shown(tmp_path / "film.gif")
    assert times == [80, 80, 80, films.LAST]
    if side == 64:
        for picture, image in zip(pictures, images, strict=True):
            assert np.array_equal(picture, image.repeat(6, 0).repeat(6, 1))
    assert all(max(picture.shape) <= films.SIDE for picture in pictures)


def test_pictures_of_more_colours_have_palettes_of_their_own(tmp_path):
    images = [np.random.default_rng(seed).integers(256, size=(90, 90, 3)) for seed in range(3)]
    film = Film()
    for image in (CLEAR.repeat(25, 0)[:90].repeat(25, 1)[:, :90], *images):
        film.add(image.astype(np.uint8))
    film.write(tmp_path / "film.gif")
    pictures, _ = shown(tmp_path / "film.gif")
    assert not pictures[0].any()
    for picture, image in zip(pictures[1:], images, strict=True):
        assert np.abs(picture[::4, ::4].astype(int) - image).mean() < 30


def test_a_long_film_stays_small_and_keeps_speed_and_end(tmp_path):
    film, steps = Film(30), 3 * MAX_PICTURES
    for step in range(steps):
        film.add(np.full((2, 420, 3), step % 61 * 4, np.uint8))
    assert film.stride == 4
    assert len(film.pictures) == steps // 4
    film.write(tmp_path / "film.gif")
    pictures, times = shown(tmp_path / "film.gif")
    assert pictures[-1][0, 0, 0] == (steps - 1) % 61 * 4
    assert sum(times[:-1]) == pytest.approx(30 * steps, abs=130)
    with Image.open(tmp_path / "film.gif") as gif:
        assert gif.info["loop"] == 0


def test_quick_games_drop_pictures_and_not_speed(tmp_path):
    film = Film(1000 / 120)
    for step in range(240):
        film.add(np.full((2, 420, 3), step % 61 * 4, np.uint8))
    film.write(tmp_path / "film.gif")
    _, times = shown(tmp_path / "film.gif")
    assert min(times) >= 10
    assert sum(times[:-1]) == pytest.approx(2000, abs=30)


def test_a_film_of_nothing_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no pictures"):
        Film().write(tmp_path / "film.gif")


# ---- the camera -------------------------------------------------------------------------------


def test_the_camera_takes_the_frames_of_plain_gymnasium():
    plain = gym.make("ALE/Boxing-v5", frameskip=3, repeat_action_probability=0.0)
    plain.reset(seed=0)
    with make("ALE/Boxing-v5", obs_type="ram", frameskip=15) as env:
        state, _, _ = env.reset(seed=0)
        here, camera = env.get_state(), Camera(env)
        assert camera.milliseconds == pytest.approx(50)
        for action in (3, 4, 1):
            step = env.step(action, state)
            here = env.get_state()
            shots, rewards = camera.film_step(Play(state, action, step)), 0.0
            assert_same(here, env.get_state())
            assert len(shots) == 5
            for shot in shots:
                image, reward, *_ = plain.step(action)
                rewards += reward
                assert np.array_equal(shot.image, image)
                assert shot.reward == rewards
            state = step.state
        camera.close()
    plain.close()


class Flickering(ToyEnv):
    """Its images do not follow from its states."""

    drawn = 0

    def draw_image(self):
        self.drawn += 1
        return super().draw_image() + np.uint8(self.drawn)


def test_a_step_that_cannot_be_played_again_is_shown_by_its_end():
    with Flickering(frameskip=2, size=9) as env:
        state, _, _ = env.reset(seed=0)
        camera = Camera(env)
        shots = camera.film_step(Play(state, RIGHT, env.step(RIGHT, state)))
        camera.close()
    assert len(shots) == 2
    assert np.array_equal(shots[0].image, shots[1].image)


@pytest.mark.parametrize(
    ("name", "frameskip", "milliseconds", "shots"),
    [
        ("ALE/Pong-v5", 5, 5000 / 60, 1),
        ("ALE/Pong-v5", (2, 5), 50, 1),
        ("CartPole-v1", 1, 20, 1),
        ("CartPole-v1", 10, 100, 2),
        ("FrozenLake-v1", 1, 250, 1),
    ],
)
def test_the_speed_is_that_of_the_game(name, frameskip, milliseconds, shots):
    with make(name, frameskip=frameskip) as env:
        camera = Camera(env)
        camera.close()
    assert camera.shots_per_step == shots
    assert camera.milliseconds == pytest.approx(milliseconds)


# ---- players side by side ---------------------------------------------------------------------


def test_players_are_shown_with_scores_and_endings(tmp_path):
    with ToyEnv(size=9) as env:
        state, _, _ = env.reset(seed=0)
        image = env.get_image()
        film = GameFilm(env, "left", "right")
        film.begin(state)
        one = two = state
        for _ in range(3):
            plays = Play(one, LEFT, env.step(LEFT, one)), Play(two, RIGHT, env.step(RIGHT, two))
            film.add(*plays)
            one, two = plays[0].after.state, plays[1].after.state
        film.close()
        film.write(tmp_path / "film.gif")
        assert_same(env.get_images([state])[0], image)
        last = env.get_images([one, two])
    pictures, _ = shown(tmp_path / "film.gif")
    assert len(pictures) == 4
    factor = films.SIDE // max(image.shape)
    height, width = image.shape[0] * factor, image.shape[1] * factor
    gap = factor * -(-GAP // factor)
    assert pictures[0].shape == (STRIP + height, 2 * width + gap, 3)
    beside = 90  # pixels to the left of the words at the end
    for picture, images in ((pictures[0], (image, image)), (pictures[-1], last)):
        for place, drawn in enumerate(images):
            left = place * (width + gap)
            large = drawn.repeat(factor, 0).repeat(factor, 1)
            assert np.array_equal(picture[STRIP:, left : left + beside], large[:, :beside])
            words = slice(beside, width)
            is_covered = (picture[STRIP:, left:][:, words] != large[:, words]).any()
            has_ended = picture is pictures[-1] and place == 0
            assert is_covered == has_ended
    strips = [picture[:STRIP] for picture in pictures]
    assert not np.array_equal(strips[0], strips[-1]), "scores have changed"


@pytest.mark.parametrize(
    ("name", "score", "flags", "words"),
    [
        ("ALE/Boxing-v5", 100, (True, False), "Episode over: knock-out"),
        ("ALE/Boxing-v5", -100, (True, False), "Episode over: knock-out"),
        ("ALE/Boxing-v5", 7, (True, False), "Episode over"),
        ("ALE/Boxing-v5", 100, (False, True), "Time limit"),
        ("ALE/Pong-v5", 100, (True, False), "Episode over"),
        ("ALE/Pong-v5", 100, (False, False), None),
    ],
)
def test_endings(name, score, flags, words):
    assert ending(name, score, Transition(None, None, 0.0, *flags, {})) == words
