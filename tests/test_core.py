"""What a planner may rely on, whatever the simulator."""

import contextlib
import copy
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plangym_lite import (
    ClosedError,
    InvalidBatchError,
    InvalidStateError,
    ParallelEnv,
    PlanEnv,
    SimulatorEnv,
    Step,
    StepBatch,
    Transition,
    TransitionBatch,
    make,
    register_adapter,
)
from plangym_lite.errors import StateOutgrownError
from tests.same import assert_same, collect_states, rows_of
from tests.toys import LEFT, RIGHT, STAY, NestedToy, OpaqueToy, ToyEnv, ToyError

MAKERS = {
    "toy": lambda: ToyEnv(slip=0.3, time_limit=9),
    "opaque": lambda: OpaqueToy(slip=0.3, time_limit=9),
    "cartpole": lambda: make("CartPole-v1"),
    "blackjack": lambda: make("Blackjack-v1"),
    "pacman": lambda: make("ALE/MsPacman-v5", obs_type="ram"),
}


@pytest.fixture(scope="module", params=MAKERS)
def walked(request):
    """An environment with 24 states of a walk and an action for each."""
    with MAKERS[request.param]() as env:
        yield env, *collect_states(env, 24)


@pytest.fixture
def toy():
    return ToyEnv()


dts = st.integers(1, 5)
picks = st.lists(st.integers(0, 23), min_size=1, max_size=12)


class TestLaws:
    """Laws of ``step_batch``, for every kind of state."""

    @given(
        rows=st.lists(st.tuples(st.integers(0, 23), dts), min_size=2, max_size=12), data=st.data()
    )
    def test_each_row_is_alone(self, walked, rows, data):
        """Order, neighbours and splits do not matter."""
        env, states, actions = walked

        def run(rows):
            index, dt = zip(*rows, strict=True)
            chosen = [actions[k] for k in index], [states[k] for k in index]
            return rows_of(env, env.step_batch(*chosen, list(dt)))

        whole = run(rows)
        cut = data.draw(st.integers(1, len(rows) - 1))
        assert_same(whole, run(rows[:cut]) + run(rows[cut:]))
        order = data.draw(st.permutations(range(len(rows))))
        assert_same([whole[k] for k in order], run([rows[k] for k in order]))

    @given(pick=st.integers(0, 23), first=dts, second=dts)
    def test_dt_splits_into_two_runs(self, walked, pick, first, second):
        env, states, actions = walked
        whole = env.step_batch([actions[pick]], [states[pick]], first + second)
        half = env.step_batch([actions[pick]], [states[pick]], first)
        rest = env.step_batch([actions[pick]], half.states, second)
        if half.terminateds[0] or half.truncateds[0]:
            rest = half._replace(rewards=rest.rewards, states=rest.states)
        for name in ("observs", "terminateds", "truncateds"):
            assert_same(getattr(whole, name), getattr(rest, name))
        np.testing.assert_allclose(whole.rewards, half.rewards + rest.rewards, rtol=1e-12)

    @given(pick=picks)
    def test_step_batch_is_step_for_each_row(self, walked, pick):
        env, states, actions = walked
        batch = env.step_batch([actions[k] for k in pick], [states[k] for k in pick])
        for k, row in zip(pick, rows_of(env, batch), strict=True):
            state, obs, reward, terminated, truncated, info = row
            same = Transition(state, obs, float(reward), bool(terminated), bool(truncated), info)
            assert_same(env.step(actions[k], states[k]), same)

    @given(pick=picks, at=st.integers(0, 23))
    def test_a_batch_moves_nothing(self, walked, pick, at):
        env, states, actions = walked
        env.set_state(states[at])
        expected = env.step(actions[at], states[at]), env.step(actions[0])
        env.set_state(states[at])
        obs = env.observe()
        env.step_batch([actions[k] for k in pick], [states[k] for k in pick], 2)
        assert_same(obs, env.observe())
        env.step_batch([actions[k] for k in pick])
        again = env.step(actions[at], env.get_state()), env.step(actions[0])
        assert_same(tuple(expected[0][1:]), tuple(again[0][1:]))
        assert_same(tuple(expected[1]), tuple(again[1]))

    @given(pick=picks, fork=st.integers(0, 23))
    def test_saving_and_restoring_is_a_no_op(self, walked, pick, fork):
        env, states, actions = walked
        env.set_state(states[fork])
        plain = [env.step(actions[k]) for k in pick]
        env.set_state(states[fork])
        saving = []
        for k in pick:
            env.set_state(env.get_state())
            saving.append(env.step(actions[k]))
        assert_same(plain, saving)

    def test_a_held_state_never_changes(self, walked):
        env, states, actions = walked
        held = env.step_batch(actions, states, 2)
        before = copy.deepcopy(held)
        env.step_batch(actions[::-1], states[::-1], 3)
        env.reset()
        assert_same(tuple(before), tuple(held))


class TestShapes:
    def test_states_as_array_list_or_object_array(self, toy):
        states, actions = collect_states(toy, 6)
        objects = np.empty(6, object)
        objects[:] = states
        expected = toy.step_batch(actions, np.stack(states))
        for form in (states, tuple(states), objects):
            assert_same(tuple(expected), tuple(toy.step_batch(actions, form)))

    @pytest.mark.parametrize(
        "dt", [3, np.int8(3), 3.0, [3] * 4, (3,) * 4, np.full(4, 3), np.full(4, 3.0), np.array(3)]
    )
    def test_dt_in_every_form(self, toy, dt):
        states, actions = collect_states(toy, 4)
        expected = [toy.step(a, s, 3) for a, s in zip(actions, states, strict=True)]
        got = toy.step_batch(actions, states, dt)
        assert [row.reward for row in expected] == got.rewards.tolist()
        assert [info["dt"] for info in got.infos] == [3] * 4

    @pytest.mark.parametrize("dtype", [np.int8, np.uint16, np.int64, np.float32, np.float64, list])
    def test_actions_of_every_dtype(self, toy, dtype):
        actions = [LEFT, STAY, RIGHT]
        given_ = actions if dtype is list else np.array(actions, dtype)
        got = toy.step_batch(given_, [toy.get_state()] * 3)
        assert got.observs[:, 0].tolist() == [1, 2, 3]

    def test_fields_and_their_order(self, toy):
        state = toy.get_state()
        batch = toy.step_batch([RIGHT], [state])
        assert batch._fields == (
            "states",
            "observs",
            "rewards",
            "terminateds",
            "truncateds",
            "infos",
        )
        assert isinstance(batch, TransitionBatch)
        assert [field.dtype for field in batch[:5]] == [float, np.float32, float, bool, bool]
        assert batch.infos == [{"cell": 3, "n_step": 1, "dt": 1}]

    @pytest.mark.parametrize("kind", [ToyEnv, OpaqueToy])
    def test_an_empty_batch(self, kind):
        env = kind()
        for states in ([], np.zeros((0, 4)), np.zeros(0, object)):
            batch = env.step_batch([], states)
            assert isinstance(batch, TransitionBatch)
            assert batch.observs.shape == (0, 2)
            assert batch.observs.dtype == np.float32
            assert batch.rewards.shape == batch.terminateds.shape == (0,)
            assert batch.infos == []
            assert batch.states.shape == ((0, 4) if kind is ToyEnv else (0,))
        assert isinstance(env.step_batch([]), StepBatch)

    def test_opaque_states_come_as_a_column_of_objects(self):
        env = OpaqueToy()
        batch = env.step_batch([LEFT, RIGHT], [env.get_state()] * 2)
        assert batch.states.dtype == object
        assert batch.states.tolist() == [(0, 1, 1, 0), (0, 3, 1, 0)]

    def test_nested_observations_and_actions(self):
        env = NestedToy()
        actions = [{"go": RIGHT, "pace": 1}, {"go": LEFT, "pace": 0}]
        batch = env.step_batch(actions, [env.get_state()] * 2)
        assert batch.observs["place"].tolist() == [[4], [1]]
        assert batch.observs["walls"][1].tolist() == [[0, 0], [1, 0]]
        columns = {"go": np.array([RIGHT, LEFT]), "pace": np.array([1, 0])}
        assert_same(tuple(batch), tuple(env.step_batch(columns, [env.get_state()] * 2)))


class TestReturnState:
    @pytest.mark.parametrize(
        ("given_state", "asked", "comes"),
        [(False, None, False), (True, None, True), (False, True, True), (True, False, False)],
    )
    def test_the_state_comes_back_if_one_went_in(self, toy, given_state, asked, comes):
        state = toy.get_state() if given_state else None
        step = toy.step(RIGHT, state, return_state=asked)
        assert type(step) is (Transition if comes else Step)
        batch = toy.step_batch([RIGHT], [state] if given_state else None, return_state=asked)
        assert type(batch) is (TransitionBatch if comes else StepBatch)

    def test_reset(self, toy):
        state, obs, info = toy.reset()
        assert_same([obs, info], list(toy.reset(return_state=False)))
        assert_same(state, toy.get_state())

    def test_a_returned_state_is_your_own(self, toy):
        state = toy.get_state()
        state[:] = -1
        assert toy.observe()[0] == 2
        toy.step(RIGHT)
        assert (state == -1).all()


class TestEndOfEpisode:
    @pytest.mark.parametrize("kind", [ToyEnv, OpaqueToy])
    def test_a_terminal_state_absorbs(self, kind):
        env = kind()
        first = env.step_batch([LEFT, RIGHT], [env.get_state()] * 2, [9, 9])
        assert first.terminateds.tolist() == [True, True]
        assert [info["n_step"] for info in first.infos] == [2, 5]
        second = env.step_batch([RIGHT, LEFT], first.states, 4)
        assert second.rewards.tolist() == [0, 0]
        assert [info["n_step"] for info in second.infos] == [0, 0]
        for name in ("states", "observs", "terminateds", "truncateds"):
            assert_same(getattr(first, name), getattr(second, name))

    def test_a_truncated_state_absorbs(self):
        env = ToyEnv(time_limit=2)
        first = env.step(STAY, env.get_state(), 5)
        assert (first.truncated, first.terminated, first.info["n_step"]) == (True, False, 2)
        second = env.step(STAY, first.state)
        assert (second.truncated, second.terminated, second.reward) == (True, False, 0)

    def test_autoreset_is_lazy(self, toy):
        step = toy.step(LEFT, dt=2)
        assert step.terminated
        assert toy.observe()[0] == 0  # still where the episode ended
        assert toy.step(RIGHT).obs[0] == 3  # from cell 2 of a new episode

    def test_without_autoreset_the_end_absorbs(self):
        env = ToyEnv(autoreset=False)
        ended = env.step(LEFT, dt=2)
        again = env.step(RIGHT)
        assert (again.reward, again.terminated, again.info["n_step"]) == (0, True, 0)
        assert_same(ended.obs, again.obs)
        env.reset()
        assert not env.step(RIGHT).terminated

    def test_step_with_an_ended_state_never_resets(self, toy):
        state = toy.step(LEFT, toy.get_state(), 2).state
        assert toy.step(RIGHT, state).terminated


class TestFrameskip:
    def test_frames_are_skipped_once(self):
        env = ToyEnv(frameskip=2, size=20)
        step = env.step(RIGHT, dt=3)
        assert step.info["n_step"] == 6
        assert step.obs[0] == 8
        assert step.reward == pytest.approx(-0.06)

    @pytest.mark.parametrize("frameskip", [0, -1, 1.5])
    def test_a_wrong_frameskip(self, frameskip):
        with pytest.raises(ValueError, match="frameskip must be"):
            ToyEnv(frameskip=frameskip)


class TestCopies:
    @pytest.mark.parametrize("name", MAKERS)
    @pytest.mark.parametrize(
        "copier", [copy.copy, lambda e: pickle.loads(pickle.dumps(e)), ToyEnv.clone]
    )
    def test_a_copy_is_in_the_same_state(self, name, copier):
        with MAKERS[name]() as env:
            env.reset(seed=5)
            env.action_space.seed(5)
            actions = [env.sample_action() for _ in range(7)]
            env.step(actions[0])
            other = copier(env)
            assert other is not env
            for action in actions:
                assert_same(env.step(action), other.step(action))
            other.close()

    def test_cloning_keeps_every_argument(self):
        env = ToyEnv("mine", 2, False, False, True, size=9, slip=0.5, time_limit=7)
        other = env.clone()
        for name in (
            "name",
            "frameskip",
            "autoreset",
            "return_image",
            "size",
            "slip",
            "time_limit",
        ):
            assert getattr(other, name) == getattr(env, name)

    def test_overrides_win_and_start_afresh(self):
        env = ToyEnv("mine", 2, size=9)
        env.step(RIGHT)
        other = env.clone(frameskip=3, size=12)
        assert (other.frameskip, other.size, other.name) == (3, 12, "mine")
        assert other.observe()[0] == 2

    def test_a_copy_shares_nothing(self, toy):
        other = toy.clone()
        toy.step(RIGHT)
        assert (toy.observe()[0], other.observe()[0]) == (3, 2)

    def test_cloning_after_a_batch(self, toy):
        """The clone is in the current state, not in a row's."""
        toy.step(RIGHT)
        toy.step_batch([LEFT], [ToyEnv().get_state()])
        assert toy.clone().observe()[0] == 3


class TestDelaySetup:
    def test_nothing_is_built_before_first_use(self):
        env = ToyEnv(delay_setup=True)
        assert not hasattr(env, "observation_space")
        assert env.obs_shape == (2,)
        assert env.step(RIGHT).obs[0] == 3

    @pytest.mark.parametrize(
        "use",
        [
            lambda env: env.get_state(),
            lambda env: env.set_state(ToyEnv().get_state()),
            lambda env: env.reset(),
            lambda env: env.step_batch([RIGHT], [ToyEnv().get_state()]),
            lambda env: env.sample_action(),
            lambda env: env.get_image(),
            lambda env: env.seed(1),
            lambda env: env.setup(),
        ],
    )
    def test_any_use_sets_up(self, use):
        env = ToyEnv(delay_setup=True)
        use(env)
        assert env.observation_space.shape == (2,)

    def test_it_pickles_and_clones_unbuilt(self):
        env = ToyEnv(delay_setup=True, size=11)
        for other in (pickle.loads(pickle.dumps(env)), env.clone()):
            assert not hasattr(other, "observation_space")
            assert other.observe()[0] == 2
            assert other.size == 11


class TestSeeds:
    def test_a_seed_repeats_the_episodes(self):
        env, other = ToyEnv(slip=0.4), ToyEnv(slip=0.4)

        def play(env):
            rows = [env.reset(seed=7)]
            for _ in range(40):
                rows.append(tuple(env.step(RIGHT)))
            return rows

        assert_same(play(env), play(other))
        assert_same(play(env), play(env))

    def test_seed_is_for_the_next_reset(self):
        env, other = ToyEnv(slip=0.4, size=50), ToyEnv(slip=0.4, size=50)
        assert env.seed(3) == [3]
        assert_same(env.reset(), other.reset(seed=3))
        assert_same(env.reset(), other.reset())  # and for no other
        assert env.seed() == [None]

    def test_seed_seeds_sample_action(self, toy):
        toy.seed(1)
        first = [toy.sample_action() for _ in range(20)]
        toy.seed(1)
        assert first == [toy.sample_action() for _ in range(20)]

    def test_generators_are_part_of_the_state(self):
        env = ToyEnv(slip=0.4, size=50)
        state = env.get_state()
        rows = env.step_batch([RIGHT] * 8, [state] * 8, 9)
        assert len(set(rows.observs[:, 0])) == 1


class TestImages:
    def test_image_shape_and_content(self, toy):
        image = toy.get_image()
        assert image.shape == toy.img_shape == (8, 64, 3)
        assert image.dtype == np.uint8
        toy.step(RIGHT)
        assert not np.array_equal(image, toy.render())

    def test_return_image(self):
        env = ToyEnv(return_image=True)
        state = env.get_state()
        step = env.step(RIGHT)
        assert_same(step.info["rgb"], env.get_image())
        assert_same(step.info["rgb"], env.step_batch([RIGHT], [state]).infos[0]["rgb"])

    def test_no_image(self):
        class Blind(ToyEnv):
            draw_image = SimulatorEnv.draw_image

        env = Blind()
        assert env.img_shape is None
        with pytest.raises(NotImplementedError, match="Blind draws no image"):
            env.get_image()


class TestMistakes:
    """Wrong input says what is wrong, and nothing moves."""

    @pytest.fixture(autouse=True)
    def nothing_moves(self, toy):
        toy.step(RIGHT)
        before = toy.get_state()
        yield
        assert_same(before, toy.get_state())

    @pytest.mark.parametrize("dt", [0, -1, 1.5, float("nan"), float("inf"), True, None, "two"])
    def test_dt(self, toy, dt):
        state = toy.get_state()
        with pytest.raises(InvalidBatchError, match="dt"):
            toy.step_batch([RIGHT], [state], dt)
        with pytest.raises(InvalidBatchError, match="dt"):
            toy.step(RIGHT, state, dt)

    @pytest.mark.parametrize("dt", [[1], [1, 2, 3], [[1, 2]], [1, 0], [1, 1.5]])
    def test_dt_of_rows(self, toy, dt):
        with pytest.raises(InvalidBatchError, match="dt"):
            toy.step_batch([RIGHT] * 2, [toy.get_state()] * 2, dt)

    @pytest.mark.parametrize("action", [3, -1, 0.5, float("nan"), float("inf"), "up", None, [0, 1]])
    def test_actions(self, toy, action):
        with pytest.raises(InvalidBatchError):
            toy.step(action)
        with pytest.raises(InvalidBatchError):
            toy.step_batch([RIGHT, action], [toy.get_state()] * 2)

    def test_lengths(self, toy):
        with pytest.raises(InvalidBatchError, match="2 actions but 3 states"):
            toy.step_batch([RIGHT] * 2, [toy.get_state()] * 3)
        with pytest.raises(InvalidBatchError, match="actions must be a list"):
            toy.step_batch(RIGHT, [toy.get_state()])

    @pytest.mark.parametrize(
        "state",
        [
            np.zeros(3),
            np.zeros((1, 4)),
            np.zeros(4, np.float32),
            [0.0] * 4,
            7,
            "state",
            (0, 2, 0, 0),
        ],
    )
    def test_wrong_states(self, toy, state):
        with pytest.raises(InvalidStateError, match="another environment"):
            toy.set_state(state)
        with pytest.raises(InvalidStateError, match="state 1 must be"):
            toy.step_batch([RIGHT] * 2, [toy.get_state(), state])

    @pytest.mark.parametrize(
        "states", [np.zeros((2, 3)), np.zeros((2, 4), np.uint8), 5, np.zeros(4)]
    )
    def test_wrong_arrays_of_states(self, toy, states):
        with pytest.raises(InvalidStateError):
            toy.step_batch([RIGHT] * 2, states)

    def test_a_missing_state(self, toy):
        with pytest.raises(InvalidStateError, match="state"):
            toy.set_state(None)

    def test_a_state_of_right_shape_that_the_engine_refuses(self, toy):
        wrong = np.array([0.0, 99.0, 0.0, 0.0])
        with pytest.raises(InvalidStateError, match="not a state of ToyEnv"):
            toy.set_state(wrong)
        with pytest.raises(InvalidStateError, match="not a state of ToyEnv"):
            toy.step_batch([RIGHT] * 2, [toy.get_state(), wrong])
        with pytest.raises(InvalidStateError, match="not a state of ToyEnv"):
            toy.set_state(wrong)
        with pytest.raises(InvalidStateError, match="not a state of ToyEnv"):
            toy.step(RIGHT, wrong)


class TestErrorsOfTheSimulator:
    def test_it_arrives_as_itself_and_names_the_row(self):
        env = ToyEnv(fail_at=STAY)
        env.step(RIGHT)
        before = env.get_state()
        with pytest.raises(ToyError) as caught:
            env.step_batch([LEFT, STAY], [before] * 2)
        assert "in row 1 of the batch" in "".join(
            getattr(caught.value, "__notes__", ["in row 1 of the batch"])
        )
        assert_same(before, env.get_state())
        assert env.step(RIGHT).obs[0] == 4


class TestClosing:
    def test_close_twice_then_every_use_says_so(self, toy):
        state = toy.get_state()
        toy.close()
        toy.close()
        uses = [
            lambda: toy.step(RIGHT),
            lambda: toy.reset(),
            lambda: toy.get_state(),
            lambda: toy.set_state(state),
            lambda: toy.step_batch([RIGHT], [state]),
            lambda: toy.observe(),
            lambda: toy.get_image(),
            lambda: toy.sample_action(),
            lambda: toy.seed(1),
            lambda: toy.obs_shape,
        ]
        for use in uses:
            with pytest.raises(ClosedError, match="was closed"):
                use()

    def test_with_closes(self):
        with ToyEnv() as env:
            env.step(RIGHT)
        with pytest.raises(ClosedError):
            env.reset()

    def test_closing_what_was_never_built(self):
        env = ToyEnv(delay_setup=True)
        env.close()
        with pytest.raises(ClosedError):
            env.reset()

    def test_clones_of_a_closed_environment_work(self, toy):
        toy.close()
        assert toy.clone().observe()[0] == 2


def test_what_describes_an_environment(toy):
    assert (toy.name, repr(toy)) == ("toy", "ToyEnv('toy')")
    assert (toy.obs_shape, toy.action_shape) == ((2,), ())
    assert toy.unwrapped is toy
    assert (toy.STATE_IS_ARRAY, toy.OBS_IS_ARRAY, toy.SINGLETON) == (True, True, False)


@pytest.mark.parametrize("form", [list, tuple, "objects"])
@pytest.mark.parametrize("missing", [(), (1,), (0, 2), (0, 1, 2)])
def test_rows_without_a_state_start_from_the_current_one(form, missing):
    toy = ToyEnv()
    given = [toy.reset(seed=1)[0], *(toy.step(RIGHT, return_state=True).state for _ in range(2))]
    toy.step(RIGHT)
    here = toy.get_state()
    states = [None if row in missing else state for row, state in enumerate(given)]
    full = [here if state is None else state for state in states]
    if form == "objects":
        column = np.empty(3, object)
        column[:] = states
        states = column
    else:
        states = form(states)
    actions = [RIGHT, LEFT, RIGHT]
    assert_same(toy.step_batch(actions, full), toy.step_batch(actions, states))
    assert len(toy.step_batch(actions, states, return_state=False)) == 5
    paths = [[action] * 2 for action in actions]
    assert_same(toy.rollout_batch(paths, full), toy.rollout_batch(paths, states))
    assert_same(toy.get_images(full), toy.get_images(states))
    assert_same(here, toy.get_state())


# ---- one contract, two ways to run it ------------------------------------------------------------

HOOKS = {"apply_reset", "advance", "current_obs", "write_obs", "save_state", "load_state"}
HOOKS |= {"save_current", "load_current", "state_layout", "draw_image", "run_batched", "step_here"}


def test_the_contract_has_no_hook_of_a_simulator():
    assert not HOOKS & set(dir(PlanEnv))
    assert not HOOKS & set(dir(ParallelEnv))
    assert set(dir(SimulatorEnv)) >= HOOKS
    assert not issubclass(ParallelEnv, SimulatorEnv)


@pytest.mark.parametrize("n_workers", [None, 2])
def test_an_adapter_that_inherits_the_contract_hears_of_simulator_env(n_workers):
    hooks = {name: value for name, value in vars(ToyEnv).items() if name != "__doc__"}
    old = type("OldAdapter", (PlanEnv,), hooks)
    with pytest.raises(TypeError, match=r"OldAdapter .*step.* must inherit .*SimulatorEnv"):
        make(old, n_workers=n_workers)
    with pytest.raises(TypeError, match="SimulatorEnv"):
        register_adapter("somewhere:Engine", old)
    with pytest.raises(TypeError, match="SimulatorEnv"):
        PlanEnv("name")


def test_whoever_writes_all_of_the_contract_may():
    """An environment of another kind: all that is asked of it comes from somewhere else."""

    class Far(PlanEnv):
        def build_engine(self):
            self.near = ToyEnv(slip=0.3)

        def close_engine(self):
            self.near.close()

    def ask(name):
        return lambda self, *args, **kwargs: getattr(self.near, name)(*args, **kwargs)

    def look(name):
        def there(self):
            self.setup()
            return getattr(self.near, name)

        return property(there)

    verbs = ["reset", "step", "get_state", "set_state", "seed", "observe", "info", "get_image"]
    facts = ["batch_spec", "unwrapped", "has_ended", "state_method"]
    own = {name: ask(name) for name in [*verbs, "run_rows", "draw_images"]}
    own |= {name: look(name) for name in facts}
    whole = type("Far", (Far,), own)
    with whole("far", delay_setup=True) as env, ToyEnv(slip=0.3) as near:
        assert env.obs_shape == (2,)
        assert_same(near.reset(seed=3), env.reset(seed=3))
        assert_same(near.step_batch([RIGHT, LEFT], dt=3), env.step_batch([RIGHT, LEFT], dt=3))
        assert near.info() == env.info()
        assert env.fingerprint == near.fingerprint
        env.step(RIGHT)
        with env.clone() as other:
            assert_same(env.observe(), other.observe())


class Grows(ToyEnv):
    """A toy whose states are arrays until it has walked for a while."""

    def outgrow(self, quiet=False):
        self.STATE_IS_ARRAY, self._spec = False, None

    def save_state(self, out=None):
        if self.STATE_IS_ARRAY and self._elapsed > 3:
            raise StateOutgrownError("it walked too far")
        if self.STATE_IS_ARRAY:
            return super().save_state(out)
        return self._ended, self._cell, self._elapsed, self._random


@pytest.fixture(scope="module", params=[None, 2])
def grown(request):
    """An environment in a state that has just outgrown its array, made anew for every use."""

    @contextlib.contextmanager
    def make_grown():
        with make(Grows, size=20, n_workers=request.param) as env:
            assert env.STATE_IS_ARRAY
            for _ in range(4):
                env.step(RIGHT)
            yield env
            assert not env.STATE_IS_ARRAY

    return make_grown


@pytest.mark.parametrize(
    ("use", "expected"),
    [
        (lambda env: env.step_batch([RIGHT] * 2).observs[:, 0].tolist(), [7, 7]),
        (lambda env: env.step_batch([RIGHT], [None]).observs[:, 0].tolist(), [7]),
        (lambda env: env.rollout_batch([[RIGHT] * 2] * 2).observs[:, 0].tolist(), [8, 8]),
        (lambda env: env.get_images([None]).shape, (1, 8, 160, 3)),
        (lambda env: env.set_state(env.get_state()) or env.observe()[0], 6),
    ],
)
def test_the_current_state_may_have_outgrown_its_array(grown, use, expected):
    with grown() as env:
        assert use(env) == expected
        assert env.observe()[0] == 6


@pytest.mark.parametrize(
    "copier", [ToyEnv.clone, copy.copy, lambda env: pickle.loads(pickle.dumps(env))]
)
def test_so_may_that_of_a_copy(grown, copier):
    with grown() as env, copier(env) as other:
        assert other.observe()[0] == 6
        assert_same(env.get_state(), other.get_state())
        assert_same(env.step_batch([RIGHT, LEFT]), other.step_batch([RIGHT, LEFT]))
