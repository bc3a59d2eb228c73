"""StateArchive: what goes in comes out, bit for bit, in any order, also from disk."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import plangym_lite
from plangym_lite.errors import InvalidStateError
from plangym_lite.states.archive import StateArchive

DTYPES = ["u1", "i2", "<f4", ">f8", "f8", "c8", "?"]


def same_bits(ours, theirs):
    return (
        ours.dtype == theirs.dtype
        and ours.shape == theirs.shape
        and ours.tobytes() == theirs.tobytes()
    )


@st.composite
def batches(draw):
    """Batches of states of one kind: some alike, some new, some of them empty."""
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    size = draw(st.integers(1, 40))
    found = []
    for _ in range(draw(st.integers(1, 6))):
        n_rows = draw(st.integers(0, 12))
        if draw(st.booleans()):
            rows = draw(hnp.arrays(dtype, (n_rows, size)))
        else:
            row = draw(hnp.arrays(dtype, (1, size)))
            rows = np.repeat(row, n_rows, axis=0)
        found.append(rows)
    return found


@given(batches(), st.randoms(use_true_random=False))
def test_get_gives_what_add_was_given(batches, random):
    archive = StateArchive()
    handles = [archive.add(batch) for batch in batches]
    everything = np.concatenate(batches, dtype=batches[0].dtype)
    order = list(range(len(everything)))
    random.shuffle(order)
    order += order[:3]
    assert np.array_equal(np.concatenate(handles), np.arange(len(everything)))
    assert len(archive) == len(everything)
    assert same_bits(archive.get(order), everything[order])


@given(batches())
def test_an_archive_from_disk_is_the_same(tmp_path, batches):
    archive = StateArchive()
    for batch in batches[:-1]:
        archive.add(batch)
    archive.save(tmp_path / "states.npz", "a print")
    again = StateArchive.load(tmp_path / "states.npz", "a print")
    assert len(again) == len(archive)
    for one in (archive, again):
        one.add(batches[-1])
    everything = np.concatenate(batches, dtype=batches[0].dtype)
    if len(everything):
        assert same_bits(again.get(np.arange(len(again))), everything)
        assert same_bits(again.get(np.arange(len(again))), archive.get(np.arange(len(archive))))


def random_walk(n_states, size=500, seed=0):
    """States of which each differs from the one before in a few of a few places."""
    rng = np.random.default_rng(seed)
    states = np.tile(rng.integers(256, size=size, dtype=np.uint8), (n_states, 1))
    places = rng.choice(size, 60, replace=False)
    for row in range(1, n_states):
        states[row] = states[row - 1]
        states[row, rng.choice(places, 6)] = rng.integers(256, size=6)
    return states


def test_alike_states_take_little_and_bases_are_picked(monkeypatch):
    states = random_walk(6000)
    archive = StateArchive()
    archive.add(states)
    assert same_bits(archive.get(np.arange(6000)), states)
    assert archive.nbytes < 6000 * 90  # 60 places differ: 8 bytes of mask, 12 to find it all
    only_one = StateArchive()
    monkeypatch.setattr("plangym_lite.states.archive.BASE_WORTH", len(states))
    only_one.add(states)
    assert same_bits(only_one.get(np.arange(6000)), states)
    assert archive.nbytes < only_one.nbytes


def test_numbers_that_compare_oddly_are_kept_as_they_are():
    oddities = np.array([[0.0, -0.0, np.nan, np.inf], [-0.0, 0.0, -np.nan, -np.inf]])
    oddities[1, 2] = np.frombuffer(np.uint64(0x7FF8000000000123).tobytes(), float)[0]
    archive = StateArchive()
    archive.add(oddities)
    assert same_bits(archive.get([1, 0]), oddities[[1, 0]])


def test_rows_of_any_shape_and_stride():
    states = np.arange(240.0).reshape(10, 4, 6)[::2, :, ::-1]
    archive = StateArchive()
    assert same_bits(archive.get(archive.add(states)), np.ascontiguousarray(states))


def test_what_get_returns_is_yours():
    archive = StateArchive()
    states = random_walk(20)
    archive.add(states)
    archive.get([3])[:] = 0
    kept, states[:] = states.copy(), 0
    assert same_bits(archive.get(np.arange(20)), kept)


def test_an_add_that_is_interrupted_leaves_the_archive_as_it_was(monkeypatch):
    archive, states = StateArchive(), random_walk(300)
    archive.add(states[:100])

    def interrupt(values):
        raise KeyboardInterrupt

    changed = states[100:] + np.uint8(1)
    monkeypatch.setattr(archive, "_nearest_bases", interrupt)
    with pytest.raises(KeyboardInterrupt):
        archive.add(changed)
    monkeypatch.undo()
    assert len(archive) == 100
    assert same_bits(archive.get(np.arange(100)), states[:100])
    assert same_bits(archive.get(archive.add(changed)), changed)
    assert same_bits(archive.get(np.arange(100)), states[:100])


@pytest.mark.parametrize(
    ("states", "what"),
    [
        ([[1, 2]], "list"),
        (np.array([[None]]), "STATE_IS_ARRAY"),
        (np.array(["text"]), "numbers"),
        (np.zeros(5), r"\[B, S\], got \[5\]"),
        (np.zeros((3, 0)), r"\[3, 0\]"),
        (np.zeros((2, 5)), r"shape \[4\] and dtype float64, got \[5\]"),
        (np.zeros((2, 4), np.float32), "got .* float32"),
    ],
)
def test_wrong_states_are_refused(states, what):
    archive = StateArchive()
    archive.add(np.ones((1, 4)))
    with pytest.raises(InvalidStateError, match=what):
        archive.add(states)
    assert len(archive) == 1
    assert (archive.get([0]) == 1).all()


def test_wrong_handles_are_refused():
    archive = StateArchive()
    with pytest.raises(IndexError, match="nothing yet"):
        archive.get([])
    archive.add(np.ones((3, 4)))
    for wrong in ([3], [0, -1], np.array([7], np.uint8)):
        with pytest.raises(IndexError, match=f"no handle {wrong[-1]}: .* 3 states"):
            archive.get(wrong)
    for wrong in (0, [[0]], [0.0], [True], "ab"):
        with pytest.raises(TypeError, match="whole numbers"):
            archive.get(wrong)
    assert archive.get([]).shape == (0, 4)


def test_files_that_are_no_archives_are_refused(tmp_path):
    path = tmp_path / "states.npz"
    archive = StateArchive()
    archive.add(random_walk(50))
    archive.save(path, "one print")
    with pytest.raises(InvalidStateError, match="'one print', not of 'other'"):
        StateArchive.load(path, "other")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InvalidStateError, match="holds no archive"):
        StateArchive.load(path, "one print")
    np.savez(path, fingerprint="one print")
    with pytest.raises(InvalidStateError, match="holds no archive"):
        StateArchive.load(path, "one print")
    with np.load(tmp_path / "states.npz") as file:
        assert "values" not in file
    with pytest.raises(FileNotFoundError):
        StateArchive.load(tmp_path / "nowhere.npz")


def test_a_file_with_a_part_missing_is_refused(tmp_path):
    path = tmp_path / "states.npz"
    archive = StateArchive()
    archive.add(random_walk(50))
    archive.save(path)
    columns = dict(np.load(path))
    columns["values"] = columns["values"][:-1]
    np.savez(path, **columns)
    with pytest.raises(InvalidStateError, match="values has"):
        StateArchive.load(path)


@pytest.mark.parametrize("name", ["ALE/MsPacman-v5", "CartPole-v1"])
def test_states_of_a_search_tree(name, tmp_path):
    """A real tree: what comes out of the archive steps like what went in."""
    options = {"obs_type": "ram"} if name.startswith("ALE") else {}
    env = plangym_lite.make(name, **options)
    rng, archive = np.random.default_rng(0), StateArchive()
    state, _, _ = env.reset(seed=0)
    for _ in range(15 if options else 0):  # past the tune
        state = env.step(int(rng.integers(env.action_space.n)), state, dt=4).state
    states = [np.array([state])]
    archive.add(states[0])
    for _ in range(20):
        parents = rng.integers(len(archive), size=50)
        actions = rng.integers(env.action_space.n, size=50)
        out = env.step_batch(actions, archive.get(parents))
        archive.add(out.states)
        states.append(out.states)
        kept = np.concatenate(states)
        assert same_bits(archive.get(np.arange(len(kept))), kept)
    archive.save(tmp_path / "tree.npz", env.fingerprint)
    again = StateArchive.load(tmp_path / "tree.npz", env.fingerprint)
    assert same_bits(again.get(np.arange(len(kept))), kept)
    if options:
        assert archive.nbytes < 200 * len(archive)
