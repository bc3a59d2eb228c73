"""What a script defines is known in its workers, by its name: objects of it travel both ways."""

import functools
import multiprocessing
import os
import subprocess
import sys
import textwrap

import gymnasium as gym
import pytest

from plangym_lite.vectorization.process import launch
from tests.vectorization.helpers import ROOT, run_python

SPAWN = pytest.param("spawn", marks=pytest.mark.slow)
METHODS = [SPAWN if each == "spawn" else each for each in multiprocessing.get_all_start_methods()]

GAME = """
import dataclasses, enum, functools, typing
import gymnasium as gym, numpy as np, plangym_lite

class Kind(enum.Enum):
    PAWN, ROOK = "pawn", "rook"

class Piece:
    moves = 0
    def __eq__(self, other): return type(self) is type(other) and vars(self) == vars(other)
    __hash__ = None

@dataclasses.dataclass
class Slotted:
    __slots__ = ("at",)
    at: int

class Missing:
    def __reduce__(self): return "MISSING"

MISSING = Missing()

class WrongMove(Exception):
    def __init__(self, move, why="no"):
        super().__init__(f"{why}: {move}")
        self.move = move

class Place(typing.NamedTuple):
    row: int = 0
    def down(self): return self._replace(row=self.row + 1)

class Twice:
    @functools.cached_property
    def factor(self): return 2
    def __call__(self, n): return self.factor * n

@functools.lru_cache
def worth(n):
    return n if n < 2 else worth(n - 1) + worth(n - 2)

def plus(n): return n + 1

class Pieces(gym.spaces.Space):
    def contains(self, x): return isinstance(x, (Piece, Kind))
    def sample(self, mask=None, probability=None): return Kind.PAWN

class Game(gym.Env):
    observation_space = gym.spaces.Box(-1e9, 1e9, (1,), np.float64)
    action_space = gym.spaces.Discrete(5)
    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.piece, self.kind, self.slotted, self.mode = Piece(), Kind.PAWN, Slotted(0), Twice()
        self.place = Place()
        return np.zeros(1), {}
    def step(self, action):
        if action == 4: raise WrongMove(4, why="out")
        self.place = self.place.down()
        self.piece.moves += self.mode(int(action))
        self.slotted.at += plus(int(action))
        self.kind = Kind.ROOK if self.piece.moves > 3 else Kind.PAWN
        info = {"piece": Piece(), "kind": self.kind, "slotted": Slotted(self.slotted.at)}
        info["place"] = self.place
        info |= {"missing": MISSING, "how": plus, "worth": worth(self.piece.moves), "memo": worth}
        return np.full(1, float(self.piece.moves)), 1.0, False, False, info
"""

PLAY = """
env = plangym_lite.make(Game, n_workers=2, use_caller=False, start_method=METHOD)
start, *_ = env.reset(seed=0)
for life in range(2):
    batch = env.step_batch([1, 2, 3], [start] * 3)
    deep = env.step_batch([0, 1, 2], batch.states)
    print(batch.observs[:, 0].tolist(), deep.observs[:, 0].tolist())
    for info in batch.infos:
        assert type(info["piece"]) is Piece and info["piece"] == Piece()
        assert info["kind"] is (Kind.ROOK if info["worth"] > 2 else Kind.PAWN), info
        assert type(info["slotted"]) is Slotted and info["missing"] is MISSING
        assert type(info["place"]) is Place and info["place"].row == 1
        assert info["how"] is plus and info["memo"] is worth
    try:
        env.step_batch([4, 0], [start] * 2)
    except WrongMove as error:
        print(type(error) is WrongMove, error, error.move)
    for process in env.batch_env: process.restart()
    env.sync_states(start)
env.close()
"""
PLAYED = "[2.0, 4.0, 6.0] [2.0, 6.0, 10.0]\nTrue out: 4 4\n" * 2


@pytest.mark.parametrize("method", METHODS)
def test_objects_of_a_script_in_states_infos_and_errors(method, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(GAME + PLAY.replace("METHOD", repr(method)))
    assert run_python(str(script)) == PLAYED


def test_a_module_that_cannot_be_imported(tmp_path):
    """Loaded from its path: no other process finds it under that name."""
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / "game_of_mine.py").write_text(GAME)
    names = "Game Piece Place Kind Slotted MISSING WrongMove plus worth"
    taken = "\n".join(f"{name} = module.{name}" for name in names.split())
    load = f"""
import importlib.util, sys, plangym_lite
spec = importlib.util.spec_from_file_location("game_of_mine", "hidden/game_of_mine.py")
sys.modules["game_of_mine"] = module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
{taken}
"""
    script = tmp_path / "script.py"
    script.write_text(load + PLAY.replace("METHOD", "'forkserver'"))
    assert run_python(str(script), cwd=tmp_path) == PLAYED


def test_observations_of_a_space_of_the_script():
    """A vector environment of plain Gymnasium, and an external process."""
    code = (
        GAME
        + """
class Shows(Game):
    observation_space = Pieces()
    def step(self, action): return self.kind, *super().step(action)[1:]
process = plangym_lite.ExternalProcess(Shows)
process.call("reset")()
obs, *_, info = process.call("step", 1)()
print(obs is Kind.PAWN, info["kind"] is Kind.PAWN, type(process.observation_space) is Pieces)
process.close()
"""
    )
    assert run_python("-c", code) == "True True True\n"


@pytest.mark.parametrize("method", METHODS)
def test_classes_stay_what_they_are_whatever_is_sent(method):
    """An action of a class of the script; a result that only cloudpickle can carry."""
    code = (
        GAME
        + """
class Moved(Game):
    action_space = Pieces()
    count = 0
    def step(self, action):
        Moved.count += 1
        same = action is Kind.ROOK and type(action) is type(self.kind)
        info = {"n": Moved.count, "f": lambda: 7, "p": Piece()}
        return np.zeros(1), float(same), False, False, info
before = Piece.__eq__, Moved.step
process = plangym_lite.ExternalProcess(Moved, start_method=METHOD)
process.call("reset")()
for n in (1, 2):
    _, same, *_, info = process.call("step", Kind.ROOK)()
    unmoved = before == (Piece.__eq__, Moved.step)
    print(same, info["n"], info["f"](), type(info["p"]) is Piece, unmoved)
process.close()
print(Moved.count)
""".replace("METHOD", repr(method))
    )
    assert run_python("-c", code) == "1.0 1 7 True True\n1.0 2 7 True True\n0\n"


def test_names_that_the_script_no_longer_has():
    """A class that was defined anew: what the old one made is not taken for the new one's."""
    code = (
        GAME
        + """
Old = Piece
class Piece: new = True
class Game(Game):
    def reset(self, **kwargs): super().reset(**kwargs); self.piece = Old(); return np.zeros(1), {}
process = plangym_lite.ExternalProcess(Game)
process.call("reset")()
print(type(process.call("get_wrapper_attr", "piece")()) is Piece)
process.close()
"""
    )
    assert run_python("-c", code) == "False\n"


# ---- ids of the program --------------------------------------------------------------------------

IDS = """
import os, sys, gymnasium as gym, numpy as np, plangym_lite
sys.path.insert(0, os.getcwd())
from plangym_lite import *

class Mine(gym.Env):
    observation_space, action_space = gym.spaces.Box(-99, 99, (1,)), gym.spaces.Discrete(2)
    worth = 1.0
    def reset(self, *, seed=None, options=None): return np.zeros(1, np.float32), {}
    def step(self, a): return np.zeros(1, np.float32), self.worth, False, False, {}
class Richer(Mine): worth = 5.0
class OnlyNamed(Mine): pass
def build(**kwargs): return Mine()

def earn(env):
    with env:
        state = env.reset()[0]
        return env.step_batch([0, 1], [state] * 2).rewards.tolist()
def earn_vector(env):
    env.reset(seed=0)
    rewards = np.ravel(env.step([0] * env.num_envs)[1]).tolist()
    env.close()
    return rewards
def earn_sb3(env):
    env.reset(); rewards = env.step([0] * env.num_envs)[1].tolist(); env.close(); return rewards
"""
REGISTERED = """
gym.register("Mine-v0", entry_point=Mine)
gym.register("Built-v2", entry_point=build, max_episode_steps=9)
gym.register("spaced/Mine-v1", entry_point="__main__:OnlyNamed")
gym.register("Pole-v0", entry_point="gymnasium.envs.classic_control:CartPoleEnv")
many = dict(n_workers=2, use_caller=False, start_method=METHOD)
"""


@pytest.mark.parametrize("method", METHODS)
def test_ids_of_the_program(method, tmp_path):
    (tmp_path / "my_ids.py").write_text(
        IDS + 'gym.register("There-v0", entry_point="my_ids:Richer")\n'
    )
    code = (
        (IDS + REGISTERED).replace("METHOD", repr(method))
        + """
names = "Mine-v0", gym.spec("Mine-v0"), "Built-v2", gym.spec("spaced/Mine-v1"), "my_ids:There-v0"
for name in names:
    print(earn(make(name, **many)), earn(make(name)))
print(earn(ParallelEnv(PlangymEnv, gym.spec("Mine-v0"), **many)))
earlier = make("Mine-v0", **many)
gym.registry["Mine-v0"].entry_point = Mine
del gym.registry["Mine-v0"]
gym.register("Mine-v0", entry_point=Richer)
for process in earlier.batch_env: process.restart()
print(earn(earlier), earn(make("Mine-v0", **many)))
version = 0
factories = [lambda: gym.make(f"Mine-v{version}"), lambda: gym.make("my_ids:There-v0")]
names = ["my_ids:There-v0", gym.spec("Built-v2")]
print(earn_vector(SubprocVectorEnv(factories, start_method=METHOD)))
print(earn_vector(SequentialVectorEnv(factories)), earn_vector(SequentialVectorEnv(names)))
print(earn_sb3(SubprocVecEnv(names, start_method=METHOD)))
process = ExternalProcess(lambda: gym.make(f"Pole-v{version}"), start_method=METHOD)
print(process.call("reset", seed=0)()[0].shape)
process.close()
""".replace("METHOD", repr(method))
    )
    one, five = "[1.0, 1.0]", "[5.0, 5.0]"
    lines = [f"{one} {one}"] * 4 + [f"{five} {five}", one, f"{one} {five}"]
    lines += ["[5.0, 5.0]", "[5.0, 5.0] [5.0, 1.0]", "[5.0, 1.0]", "(4,)"]
    script = tmp_path / "script.py"
    script.write_text(code)
    assert run_python(str(script), cwd=tmp_path).splitlines() == lines


# ---- sets of words -------------------------------------------------------------------------------

WORDS = """
import threading, warnings, gymnasium as gym, numpy as np, plangym_lite
LIST = ["wood", "stone", "iron", "coal", "gold", "clay", "sand", "salt"]
WORDS = frozenset(LIST)
class Game(gym.Env):
    observation_space = gym.spaces.Box(-1e9, 1e9, (1,), np.float64)
    action_space = gym.spaces.Discrete(8)
    def words(self): return USED
    def reset(self, *, seed=None, options=None): return np.zeros(1), {}
    def step(self, a):
        word = list(self.words())[int(a)]
        return np.full(1, float(sum(map(ord, word)))), 0.0, False, False, {}
def check(env, plain):
    with env:
        state = env.reset(seed=0)[0]
        want = [plain.step(a)[0][0] for a in range(8)]
        for life in range(2):
            print(env.step_batch(list(range(8)), [state] * 8).observs[:, 0].tolist() == want)
            for process in env.batch_env: process.restart()
            env.sync_states(state)
"""


def test_sets_of_words_come_in_one_order():
    code = WORDS.replace("USED", "WORDS")
    for number, used in enumerate(["WORDS", "set(LIST)", "{w for w in LIST}", "{*LIST}"]):
        code += f"""
class Game{number}(Game):
    def words(self): return {used}
check(plangym_lite.make(Game{number}, n_workers=2, use_caller=False), Game{number}())
"""
    assert run_python("-c", code) == "True\n" * 8


def test_the_hash_seed_of_the_start(monkeypatch):
    """What the program makes of the variable later is not how it hashes."""
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    code = (
        WORDS.replace("USED", "set(LIST)")
        + """
import os
os.environ["PYTHONHASHSEED"] = "8"
many = {"n_workers": 2, "use_caller": False, "start_method": "forkserver"}
check(plangym_lite.make(Game, **many), Game())
print(os.environ["PYTHONHASHSEED"])
"""
    )
    assert run_python("-c", code).split() == ["True", "True", "8"]


def test_a_program_with_threads_is_told():
    code = (
        WORDS.replace("USED", "WORDS")
        + """
stop = threading.Event()
threading.Thread(target=stop.wait).start()
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for _ in range(2): plangym_lite.ExternalProcess(Game).close()
stop.set()
print([str(each.message) for each in caught if "PYTHONHASHSEED=0" in str(each.message)])
"""
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=50,
        check=True,
    )
    assert done.stdout.count("PYTHONHASHSEED=0") == 1, done.stdout


def numbers():
    return {1, 2, 3}.union(NUMBERS)


NUMBERS = frozenset({1, 2})


class Asks(gym.Env):
    def step(self, action):
        return action in {"left", "right"}


class Walks(Asks):
    def step(self, action):
        return [each for each in {"left", "right"} if each != action]


class Seen(Asks):
    seen: set = set()


class Keys(Asks):
    def step(self, action):
        return list({"left": 1, "right": 2}.keys() - {action: 0}.keys())


class Mute:
    """Will not be asked."""

    def __getattr__(self, name):
        raise RuntimeError("do not touch")


@pytest.mark.parametrize(
    ("constructor", "walks"),
    [
        (Asks, False),
        (Walks, True),
        (Seen, True),
        (Keys, True),
        (functools.partial(Asks, Mute()), False),
        (functools.partial(Asks, [{"a": ("b", {1, "c"})}]), True),
        (lambda: NUMBERS, False),
        (lambda: Walks(), True),
        (lambda: gym.make("CartPole-v1"), False),
    ],
)
def test_who_walks_sets(constructor, walks):
    from plangym_lite.recipe.parcel import Parcel

    assert Parcel(constructor).walks_sets is walks


@pytest.mark.parametrize("name", ["CartPole-v1", "Taxi-v4", "Blackjack-v1", "ALE/Pong-v5"])
def test_library_environments_are_not_forked(name):
    from plangym_lite.recipe.parcel import Parcel
    from plangym_lite.recipe.recipe import Recipe
    from plangym_lite.registry import adapter_for

    parcel = Parcel(Recipe(adapter_for(name)[0], (), {"name": name}))
    assert not parcel.walks_sets
    assert launch.default_start_method(parcel) != "fork"
    assert set(parcel.specs) >= {name}


def test_what_cannot_be_sent_says_so():
    code = (
        GAME
        + """
import threading
class Guarded(Game):
    guard = threading.Lock()
try:
    plangym_lite.make(Guarded, n_workers=1, start_method="forkserver")
except Exception as error:
    print(*getattr(error, "__notes__", ["Not sent to workers"]))
"""
    )
    assert run_python("-c", code).startswith("Not sent to workers")
