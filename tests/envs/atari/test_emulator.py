"""One console: saved, restored, reset and drawn exactly, without Gymnasium around it."""

import ale_py
import numpy as np
import pytest
from ale_py import roms

from plangym_lite import InvalidStateError
from plangym_lite.envs.atari.emulator import Emulator

GAMES = ["breakout", "beam_rider", "qbert"]  # plain; draws at its resets; partial frames
NOOP, FIRE, RIGHT = ale_py.Action.NOOP, ale_py.Action.FIRE, ale_py.Action.RIGHT
PLAN = [(FIRE, 3), (RIGHT, 7), (NOOP, 1), (RIGHT, 12)]


def load(game, sticky=0.0, seed=4):
    ale = ale_py.ALEInterface()
    ale.setInt("random_seed", seed)
    ale.setFloat("repeat_action_probability", sticky)
    ale.loadROM(roms.get_rom_path(game))
    return ale


def emulator(game="breakout", sticky=0.0, **options):
    return Emulator(load(game, sticky), game, **options)


def save(console, ended=0):
    out = np.zeros(console.size, np.uint8)
    console.save(out, ended)
    return out.tobytes()


def run(console, plan=PLAN):
    """What one can see of a walk."""
    seen = []
    for action, frames in plan:
        seen.append((console.run(action, frames), console.ale.getRAM().tobytes()))
    return seen


@pytest.mark.parametrize("sticky", [0.0, 0.5])
@pytest.mark.parametrize("game", GAMES)
class TestSaving:
    def test_saving_changes_nothing(self, game, sticky):
        one, two = emulator(game, sticky), emulator(game, sticky)
        one.reset()
        two.reset()
        for step in PLAN:
            save(two)
            assert run(one, [step]) == run(two, [step])

    def test_restored_over_anything(self, game, sticky):
        console = emulator(game, sticky)
        console.reset()
        run(console)
        state, picture = save(console), console.ale.getScreenRGB()
        expected = run(console)
        console.reset()
        for other in (console, emulator(game, sticky)):
            run(other, PLAN[:2])
            other.load(state)
            assert save(other) == state
            other.refresh_picture()
            assert np.array_equal(other.ale.getScreenRGB(), picture)
            assert save(other) == state
            assert run(other) == expected

    def test_the_next_reset_is_part_of_the_state(self, game, sticky):
        console = emulator(game, sticky)
        console.reset()
        run(console, PLAN[:1])
        state = save(console)
        console.reset()
        expected = run(console)
        for _ in range(3):
            console.reset()
        console.load(state)
        console.reset()
        assert run(console) == expected

    @pytest.mark.parametrize(("restored", "rerun"), [(True, 1000), (True, 10), (False, 1000)])
    def test_a_state_asked_for_after_all(self, game, sticky, restored, rerun):
        """Whoever did not expect to save, and then saves, gets the very state."""
        hasty, patient = emulator(game, sticky), emulator(game, sticky)
        states = []
        for console in (hasty, patient):
            console.reset()
            run(console, PLAN[:1])
            states.append(save(console))
            if restored:
                console.load(states[0])
        draw = np.random.default_rng(0)
        for _ in range(5):
            for _ in range(int(draw.integers(1, 5))):
                action, frames = PLAN[draw.integers(len(PLAN))]
                assert hasty.run(action, frames, rerun=rerun) == patient.run(action, frames)
            assert save(hasty) == save(patient)
            assert hasty.ale.getScreenRGB().tobytes() == patient.ale.getScreenRGB().tobytes()
            assert run(hasty, PLAN[1:]) == run(patient, PLAN[1:])


@pytest.mark.parametrize("sticky", [0.0, 0.3])
def test_sticky_actions_are_ale_pys_sequence(sticky):
    ale = load("pong", sticky)
    console = emulator("pong", sticky)
    for _ in range(3):  # each of more frames than a generator is calm for
        ale.reset_game()
        console.reset()
        for action, frames in PLAN * 40:
            rewards = sum(ale.act(action) for _ in range(frames))
            assert console.run(action, frames) == (rewards, frames)
            assert ale.getRAM().tobytes() == console.ale.getRAM().tobytes()


@pytest.mark.parametrize("generators", [True, False])
def test_the_picture_of_a_reset_with_sticky_actions(generators):
    """Double Dunk chooses its options, and starts, by actions that may stick."""
    console, other = emulator("double_dunk", 0.5), emulator("double_dunk", 0.5)
    for _ in range(4):
        console.reset()
        other.reset()
        run(other)
        other.load(save(console), generators)
        other.refresh_picture()
        assert np.array_equal(other.ale.getScreenRGB(), console.ale.getScreenRGB())
        assert other.core() == console.core()
        assert (save(other) == save(console)) is generators
        run(console)


def test_resets_are_ale_pys_sequence():
    """BeamRider's console draws random numbers when it is reset."""
    ale, console = load("beam_rider"), emulator("beam_rider")
    for _ in range(3):
        ale.reset_game()
        console.reset()
        assert ale.getRAM().tobytes() == console.ale.getRAM().tobytes()


def test_the_flag_of_the_end_travels():
    console = emulator()
    assert [console.load(save(console, ended)) for ended in (0, 1, 2, 3)] == [0, 0, 0, 0]


def test_running_stops_at_a_lost_life():
    console = emulator()
    console.reset()
    console.run(FIRE, 5)
    reward, frames = console.run(NOOP, 5000, stop_below_lives=5)
    assert console.ale.lives() == 4
    assert frames < 5000
    assert reward >= 0


def test_running_stops_at_the_end_of_the_game():
    console = emulator()
    console.reset()
    frames = 500
    while frames == 500:
        frames = console.run(FIRE, 500)[1]
    assert console.ale.game_over()


def test_loading_without_the_generator_lets_it_run_on():
    console = emulator(sticky=0.5)
    console.reset()
    state = save(console)
    console.run(FIRE, 30)
    before = console.mt.state["state"]["pos"]
    console.load(state, generators=False)
    assert console.mt.state["state"]["pos"] == before
    console.load(state)
    assert console.mt.state["state"]["pos"] != before


@pytest.mark.parametrize("other", [("pong", 0.0), ("breakout", 0.2)])
def test_a_state_of_another_console_is_refused_and_nothing_moves(other):
    console = emulator()
    console.reset()
    before = save(console)
    with pytest.raises(InvalidStateError, match="another game"):
        console.load(save(emulator(*other)))
    assert save(console) == before


def test_states_are_small():
    assert emulator().size < 3000
    assert emulator(sticky=0.1).size < 6000
