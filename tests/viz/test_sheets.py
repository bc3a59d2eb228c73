"""Pictures of states, archives, trees and plans."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from plangym_lite import make
from plangym_lite.planners import mcts
from plangym_lite.states.archive import StateArchive
from plangym_lite.testing.toy import LEFT, RIGHT, ToyEnv
from plangym_lite.viz import sheets as viz
from tests.same import assert_same, collect_states


@pytest.fixture
def env():
    with ToyEnv(size=9) as env:
        env.reset(seed=0)
        yield env


def at(sheet, images, index, columns, width, line=0):
    """The part of a sheet where a picture must be."""
    height = round(width * images[0].shape[0] / images[0].shape[1])
    left = index % columns * (width + viz.GAP)
    top = index // columns * (height + line + viz.GAP) + line
    return np.asarray(sheet)[top : top + height, left : left + width]


def n_frames(path):
    with Image.open(path) as film:
        return film.n_frames


@pytest.mark.parametrize("columns", [1, 3, 50])
def test_every_picture_is_on_the_sheet_in_its_place(env, columns):
    images = env.get_images(collect_states(env, 7)[0])
    width = images.shape[2]
    for titles, line in ((None, 0), (range(7), viz.LINE)):
        sheet = viz.contact_sheet(images, columns=columns, titles=titles, width=width)
        for index, image in enumerate(images):
            got = at(sheet, images, index, min(columns, 7), width, line)
            assert np.array_equal(got, image)


def test_wrong_sheets_are_refused(env):
    image = env.get_image()
    with pytest.raises(ValueError, match="no pictures"):
        viz.contact_sheet([])
    with pytest.raises(ValueError, match="1 titles for 2 pictures"):
        viz.contact_sheet([image, image], titles=["one"])
    with pytest.raises(ValueError, match="no pictures"):
        viz.archive_sheet(env, StateArchive())


def test_a_sheet_of_an_archive_moves_nothing(env):
    archive, states = StateArchive(), collect_states(env, 20)[0]
    archive.add(np.array(states))
    home = env.get_state()
    images = env.get_images(np.array(states)[[0, 6, 12, 19]])
    sheet = viz.archive_sheet(env, archive, count=4)
    own = viz.contact_sheet(images, titles=[0, 6, 12, 19])
    assert np.array_equal(sheet, own)
    assert np.array_equal(viz.archive_sheet(env, archive, handles=[0, 6, 12, 19]), own)
    assert viz.archive_sheet(env, archive, count=99).size[1] > own.size[1]
    assert_same(home, env.get_state())


def test_a_sheet_of_a_tree_begins_with_the_root(env):
    state = env.get_state()
    tree = mcts(env, state, num_simulations=60, max_depth=6, rng=np.random.default_rng(0)).search
    sheet = viz.tree_sheet(env, tree, count=5, columns=5)
    images = env.get_images([state] * 5)
    assert np.array_equal(
        at(sheet, images, 0, 5, 120, viz.LINE),
        at(viz.contact_sheet(images, columns=5), images, 0, 5, 120),
    )
    assert sheet.size[0] == 5 * (120 + viz.GAP) - viz.GAP


def test_a_film_shows_the_plan_until_the_game_ends(env, tmp_path):
    state, home = env.get_state(), env.get_state()
    path = viz.film_plan(env, state, [RIGHT, RIGHT, LEFT], tmp_path / "plan.gif")
    assert n_frames(path) == 4
    path = viz.film_plan(env, state, [LEFT] * 9, tmp_path / "short.gif")
    assert n_frames(path) == 3  # the coin is two cells away
    assert_same(home, env.get_state())


def test_mp4_needs_its_extra(env, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(ImportError, match=r"\.\[video\]"):
        viz.film_plan(env, env.get_state(), [RIGHT], tmp_path / "plan.mp4")


def test_a_film_as_mp4(tmp_path):
    ffmpeg = pytest.importorskip("imageio_ffmpeg")
    with make("ALE/Pong-v5", obs_type="ram") as env:
        state, _, _ = env.reset(seed=0)
        path = viz.film_plan(env, state, [0, 2, 3] * 4, tmp_path / "plan.mp4")
    n_frames, seconds = ffmpeg.count_frames_and_secs(path)
    assert n_frames == 13
    assert seconds == pytest.approx(13 * 5 / 60, abs=0.05)


@pytest.mark.filterwarnings("ignore")  # matplotlib's own
def test_a_drawing_of_a_tree(env):
    pytest.importorskip("matplotlib").use("Agg")
    from matplotlib import pyplot

    rng = np.random.default_rng(0)
    tree = mcts(env, env.get_state(), num_simulations=80, max_depth=6, rng=rng).search
    axes = viz.plot_tree(tree)
    lines, dots = axes.collections
    assert len(dots.get_offsets()) == tree.size
    assert len(lines.get_segments()) == tree.size - 1
    assert len(np.unique(dots.get_offsets(), axis=0)) == tree.size, "no two nodes in one place"
    for start, stop in lines.get_segments():
        assert stop[1] == start[1] + 1, "parents stand a step above"
    few = viz.plot_tree(tree, max_nodes=10, axes=axes)
    assert few is axes
    assert len(axes.collections[-1].get_offsets()) == 10
    alone = mcts(env, env.get_state(), num_simulations=1, rng=rng).search
    viz.plot_tree(alone)
    pyplot.close("all")


def test_sheets_need_no_matplotlib():
    code = "import sys, plangym_lite.viz.sheets; print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
