"""Workers on a Ray cluster: the same answers, whatever dies; nothing left behind.

One small cluster of two nodes, bound to the loopback address, serves the tests that need no
cluster of their own.
"""

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress

import cloudpickle
import gymnasium as gym
import numpy as np
import psutil
import pytest
import ray
from ray.cluster_utils import Cluster
from ray.util.placement_group import placement_group, remove_placement_group
from ray.util.scheduling_strategies import (
    NodeAffinitySchedulingStrategy,
    PlacementGroupSchedulingStrategy,
)

from plangym_lite import ClosedError, WorkerDiedError, make
from plangym_lite.cli.main import main
from plangym_lite.transitions import STEPS
from plangym_lite.validation import prepare_rows
from plangym_lite.vectorization.ray.actor import INLINE_BYTES
from plangym_lite.vectorization.ray.cluster import Connection, on_loopback
from plangym_lite.vectorization.ray.env import RayEnv
from plangym_lite.vectorization.ray.worker import RayWorker, _all_the_same
from tests.same import assert_same
from tests.toys import LEFT, RIGHT, STAY, ToyEnv, ToyError
from tests.vectorization.helpers import ROOT, is_running, run_python, wait_until
from tests.vectorization.process.test_by_value import GAME
from tests.vectorization.subjects import MAKERS, Subject
from tests.vectorization.test_rollouts import check_rollouts
from tests.vectorization.worker.remote_suite import RemoteWorkerSuite

STORE = 100 << 20
QUICK_DEATHS = {"health_check_period_ms": 500, "health_check_failure_threshold": 3}


@pytest.fixture(autouse=True)
def new_children():
    """Ray's own processes come and go: ``cluster`` looks after them instead."""
    return


@pytest.fixture(scope="module")
def cluster():
    """A cluster of two nodes with two cores each, of which nothing is left at the end."""
    before = processes()
    head = {"num_cpus": 2, "object_store_memory": STORE, "_system_config": QUICK_DEATHS}
    with on_loopback():
        cluster = Cluster(True, head_node_args={**head, "include_dashboard": False})
        try:
            cluster.add_node(num_cpus=2, object_store_memory=STORE, resources={"second": 2})
            ray.init(address=cluster.address, logging_level="error", log_to_driver=False)
            yield cluster
        finally:
            started = processes() - before
            ray.shutdown()
            cluster.shutdown()
    assert started
    end_of(started)


def processes():
    """Those below this one, each with its name, except for servers that stay."""
    found = set()
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # it ended meanwhile (a zombie is one too)
            found.add((child.pid, " ".join(child.cmdline()).strip()))
    helpers = "from multiprocessing", "boot.serve"
    return {(pid, name) for pid, name in found if not any(part in name for part in helpers)}


def end_of(started):
    """Wait for the end of all but Ray's agents and of workers that were about to start.

    Those take a minute to notice that it is over.
    """
    late = [pid for pid, name in started if name.endswith("Agent") or "default_worker" in name]

    def left():
        return [entry for entry in started if entry[0] not in late and is_running(entry[0])]

    try:
        assert wait_until(lambda: not left(), 20), left()
    finally:
        for pid in filter(is_running, late):
            os.kill(pid, signal.SIGKILL)


@pytest.fixture(autouse=True)
def connected(request):
    """Every test but those of scripts runs on the cluster, and leaves no actor there."""
    if "script" in request.node.name:
        yield
        return
    request.getfixturevalue("cluster")
    yield
    assert ray.is_initialized()
    assert wait_until(lambda: unclaimed() == ray.cluster_resources().get("CPU"), 15)


def unclaimed(resource="CPU"):
    return ray.available_resources().get(resource, 0)


def kill(*workers):
    """Kill the processes of workers and wait until they are gone."""
    for worker in workers:
        os.kill(worker.pid, signal.SIGKILL)
    assert wait_until(lambda: not any(is_running(worker.pid) for worker in workers))


def batch_of(env, size=30, action=RIGHT):
    """A batch with different answers in every row, and those answers."""
    states = [env.get_state()] * size
    with ToyEnv(slip=env.unwrapped.slip) as local:
        expected = local.step_batch([action] * size, states, range(1, size + 1))
    return ([action] * size, states, range(1, size + 1)), expected


def place(name):
    """Arguments for workers on this node, or as it comes."""
    if name == "here":
        node = ray.get_runtime_context().get_node_id()
        strategy = NodeAffinitySchedulingStrategy(node, soft=False)
        return {"worker_options": {"scheduling_strategy": strategy}}
    return {}


@pytest.mark.slow  # what follows drives the same workers by way of batches
class TestRayWorker(RemoteWorkerSuite):
    told_of_exit = "died"  # Ray knows no more than that the connection broke
    answers_outlive_worker = False  # Ray may lose one that was on its way

    def make_worker(self, constructor):
        return RayWorker(constructor)


# ---- answers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["opaque states", "nested", "atari rgb"])
def test_same_answers_as_serial(name):
    subject, rng = Subject(MAKERS[name]), np.random.default_rng(0)
    options = {"chunk_size": 7, "use_caller": False}
    with RayEnv(MAKERS[name], n_workers=2, **options) as env:
        for size in (0, 1, 2, 40):
            picks = [(int(row), int(dt)) for row, dt in rng.integers((0, 1), (60, 4), (size, 2))]
            for form in ("list", "array"):
                subject.check(picks, subject.batch(env.step_batch, picks, form, True))
        for observs in ("last", "all", None):
            actions = [[subject.actions[at] for at in rng.integers(60, size=5)] for _ in range(15)]
            states, dts = subject.states[:15], [1, 2, 3] * 5
            got = env.rollout_batch(actions, states, dts, observs)
            check_rollouts(subject.env, got, actions, states, dts, observs)


def test_front_door_and_the_names_of_plangym():
    class Halved(ToyEnv):
        def _move(self, way):
            return super()._move(way) / 2

    with (
        make(Halved, ray=True, n_workers=2, slip=0.3, chunk_size=5) as env,
        Halved(slip=0.3) as own,
    ):
        assert isinstance(env, RayEnv)
        state, _, _ = env.reset(seed=3)
        actions, states = [LEFT, STAY, RIGHT] * 9, [state] * 27
        assert_same(own.step_batch(actions, states, 2), env.step_batch(actions, states, 2))
        assert len(env.workers) == env.n_workers == 2
        env.sync_states(state)
        assert_same([state] * 2, ray.get([actor.get_state.remote() for actor in env.workers]))
        step = ray.get(env.workers[0].step.remote(RIGHT, state, 2))
        assert_same(own.step(RIGHT, state, 2), step)
        batch = ray.get(env.workers[1].step_batch.remote(actions, states, dt=2))
        assert_same(own.step_batch(actions, states, 2), batch)
        with env.clone() as twin:
            assert_same(own.step_batch(actions, states), twin.step_batch(actions, states))


def test_as_many_workers_as_the_cluster_has_cores():
    env = make("CartPole-v1", ray=True, delay_setup=True)
    with cloudpickle.loads(cloudpickle.dumps(env)) as copy:
        assert copy.step_batch([0]).rewards == [1.0]
        assert copy.n_workers == len(copy.workers) == 4


@pytest.mark.parametrize("wrong", [{"n_workers": 0}, {"chunk_size": 0}, {"chunk_size": 1.5}])
def test_numbers_that_do_not_fit(wrong):
    with pytest.raises(ValueError, match="at least 1"):
        make(ToyEnv, ray=True, **{"n_workers": 1, **wrong})


def test_command_line(capsys, monkeypatch):
    made = []
    monkeypatch.setattr(RayEnv, "build_engine", _noting(made, RayEnv.build_engine))
    options = ["--simulations", "20", "--steps", "3", "--workers", "2"]
    assert main(["plan", "CartPole-v1", "--ray", *options]) == 0
    assert "3 steps of CartPole-v1" in capsys.readouterr().out
    assert [env.n_workers for env in made] == [2]
    assert main(["plan", "CartPole-v1", "--ray", "--workers", "none"]) == 2
    assert "--ray" in capsys.readouterr().err
    options = [
        "--workers",
        "2",
        "--rounds",
        "1",
        "--seconds",
        "0.01",
        "--only",
        "RayEnv, Atari ram",
    ]
    assert main(["bench", "--ray", *options]) == 0
    assert "RayEnv, Atari ram" in capsys.readouterr().out
    assert len(made) == 2


def _noting(made, build_engine):
    def build(env):
        made.append(env)
        build_engine(env)

    return build


# ---- what is sent --------------------------------------------------------------------------------


def test_chunks(monkeypatch):
    sizes, run_rows = [], RayWorker.run_rows

    def noting(worker, block, start, stop):
        sizes.append(stop - start)
        return run_rows(worker, block, start, stop)

    monkeypatch.setattr(RayWorker, "run_rows", noting)
    with RayEnv(ToyEnv, n_workers=2, chunk_size=10, slip=0.3) as env:
        arguments, expected = batch_of(env, 95)
        assert_same(expected, env.step_batch(*arguments))
        assert max(sizes) == 10
        assert sum(sizes) == 95
        del sizes[:]
        env.step_batch([STAY] * 4)
        assert sizes == [4]  # a few microseconds each


def test_constants_are_put_once():
    connection, large = Connection(), bytes(INLINE_BYTES + 1)
    try:
        assert connection.constant(b"small") == b"small"
        ref = connection.constant(large)
        assert ray.get(ref) == large
        assert connection.constant(bytearray(large)) is ref
        array = np.full((1, INLINE_BYTES), 0.5)
        assert connection.constant(array) is connection.constant(array.copy()) is not ref
        assert_same(array, ray.get(connection.constant(array)))
    finally:
        connection.close()


def test_rows_that_share_a_state_send_it_once():
    assert _all_the_same(np.array([[1.0, np.nan]] * 3))
    assert not _all_the_same(np.array([[1.0, 0.0], [1.0, -0.0]]))  # equal, but other bytes
    assert not _all_the_same(np.array([[1, 2], [3, 4], [1, 2]]))
    assert not _all_the_same(np.zeros((1, 4)))
    assert not _all_the_same(np.zeros((3, 0)))
    assert not _all_the_same([1, 1])


def test_states_too_large_for_a_message():
    class Heavy(ToyEnv):
        def state_layout(self):
            return (1 << 16,), np.dtype(float)

        def save_state(self, out=None):
            out = np.empty(1 << 16) if out is None else out
            out[4:] = 0
            super().save_state(out[:4])
            return out

        def load_state(self, state):
            super().load_state(state[:4])

    with RayEnv(Heavy, n_workers=2, slip=0.3) as env, Heavy(slip=0.3) as own:
        state = env.get_state()
        env.sync_states(state)
        expected = own.step_batch([RIGHT] * 20, [state] * 20, range(1, 21))
        for _ in range(3):
            assert_same(expected, env.step_batch([RIGHT] * 20, [state] * 20, range(1, 21)))
        assert_same(
            own.step_batch([STAY] * 20, expected.states),
            env.step_batch([STAY] * 20, expected.states),
        )


# ---- errors --------------------------------------------------------------------------------------


def test_errors_arrive_as_themselves_and_no_answer_is_stale():
    with RayEnv(ToyEnv, n_workers=2, fail_at=LEFT, chunk_size=6) as env, ToyEnv() as local:
        state, workers = env.get_state(), env.workers
        for _ in range(3):
            with pytest.raises(ToyError, match="fails at action 0") as caught:
                env.step_batch([RIGHT] * 11 + [LEFT] + [STAY] * 12, [state] * 24)
            assert type(caught.value) is ToyError
            assert "in _make_trouble" in str(caught.value.__cause__)
            if hasattr(caught.value, "__notes__"):
                assert "in row 11 of the batch" in caught.value.__notes__[0]
            actions = [STAY, RIGHT] * 12
            expected = local.step_batch(actions, [state] * 24, 2)
            assert_same(expected, env.step_batch(actions, [state] * 24, 2))
        assert env.workers == workers


def test_constructor_that_fails():
    with pytest.raises(ValueError, match="size must be at least 4"):
        RayEnv(ToyEnv, n_workers=1, size=1)


@pytest.fixture
def hears_interrupts():
    """Python ignores Ctrl-C where it is started in the background of a script."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("hears_interrupts")
@pytest.mark.parametrize("where", ["here", "on two nodes"])
def test_interrupted_batch(where):
    options = {"sleep_at": STAY, "sleep_for": 0.1, **place(where)}
    with RayEnv(ToyEnv, n_workers=2, **options) as env, ToyEnv() as local:
        state = env.get_state()
        timer = threading.Timer(0.3, signal.raise_signal, [signal.SIGINT])
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            env.step_batch([STAY] * 40, [state] * 40)
        actions = [RIGHT, LEFT] * 10
        assert_same(local.step_batch(actions, [state] * 20), env.step_batch(actions, [state] * 20))


# ---- deaths --------------------------------------------------------------------------------------


@pytest.fixture(scope="class", params=["here", "on two nodes"])
def env(cluster, request):
    options = {"slip": 0.3, "sleep_at": STAY, "sleep_for": 0.02, **place(request.param)}
    with RayEnv(ToyEnv, n_workers=2, chunk_size=1000, **options) as env:
        yield env


class TestDeaths:
    @pytest.fixture(autouse=True)
    def connected(self):
        """``env`` lives from test to test."""

    def test_between_batches(self, env):
        arguments, expected = batch_of(env)
        pids = {worker.pid for worker in env.batch_env}
        kill(env.batch_env[1])
        assert_same(expected, env.step_batch(*arguments))
        assert len(pids & {worker.pid for worker in env.batch_env}) == 1

    def test_in_a_batch(self, env):
        arguments, expected = batch_of(env, 30, STAY)
        pids = [worker.pid for worker in env.batch_env]
        killer = threading.Timer(0.1, lambda: [os.kill(pid, signal.SIGKILL) for pid in pids])
        killer.start()
        got = env.step_batch(*arguments)
        killer.join()
        assert_same(expected, got)
        assert not set(pids) & {worker.pid for worker in env.batch_env}

    def test_by_ray(self, env):
        arguments, expected = batch_of(env, 30, STAY)
        killer = threading.Timer(0.1, ray.kill, [env.workers[1]])
        killer.start()
        assert_same(expected, env.step_batch(*arguments))
        killer.join()

    def test_repeatable_calls_survive(self, env):
        state = env.step(RIGHT, return_state=True).state
        env.sync_states(state)
        kill(*env.batch_env)
        with ToyEnv(slip=0.3) as local:
            local.set_state(state)
            assert_same(local.step_batch([RIGHT] * 5), env.batch_env.make_transitions([RIGHT] * 5))

    def test_timeout_loses_no_worker(self, env):
        (actions, states, dts), expected = batch_of(env)
        rows = prepare_rows(env.batch_spec, [STAY] * 2000, [states[0]] * 2000, 1)
        before = [worker.pid for worker in env.batch_env]
        with pytest.raises(TimeoutError):
            env.batch_env.run(rows, STEPS, timeout=0.1)
        assert_same(expected, env.step_batch(actions, states, dts))
        replaced = set(before) - {worker.pid for worker in env.batch_env}
        assert replaced  # the batch would have taken them 15 seconds and more
        assert wait_until(lambda: not any(is_running(pid) for pid in replaced))


def test_row_that_ends_its_worker_once(tmp_path):
    once = str(tmp_path / "once")
    with RayEnv(ToyEnv, n_workers=2, slip=0.3, exit_at=LEFT, trouble_once=once) as env:
        arguments, expected = batch_of(env, 5, LEFT)
        assert_same(expected, env.step_batch(*arguments))
        assert os.path.exists(once)


def test_row_that_ends_its_worker_every_time():
    with RayEnv(ToyEnv, n_workers=1, slip=0.3, exit_at=LEFT) as env:
        (_, states, dts), expected = batch_of(env, 3)
        with pytest.raises(WorkerDiedError, match=r"row 1 .* 3 times.*step_batch"):
            env.step_batch([RIGHT, LEFT, RIGHT], states, dts)
        assert_same(expected, env.step_batch([RIGHT] * 3, states, dts))


def test_node_that_dies_in_a_batch(cluster):
    node = cluster.add_node(num_cpus=2, object_store_memory=STORE, resources={"doomed": 2})
    doomed = {"resources": {"doomed": 1}}
    options = {"slip": 0.3, "sleep_at": STAY, "sleep_for": 0.02}
    with RayEnv(ToyEnv, n_workers=2, worker_options=doomed, **options) as env:
        for worker in env.batch_env:
            worker.options = {}  # where their successors may live
        arguments, expected = batch_of(env, 60, STAY)
        pids = {worker.pid for worker in env.batch_env}
        killer = threading.Timer(0.2, cluster.remove_node, [node], {"allow_graceful": False})
        killer.start()
        while killer.is_alive():
            assert_same(expected, env.step_batch(*arguments))
        assert_same(expected, env.step_batch(*arguments))
        assert not pids & {worker.pid for worker in env.batch_env}


# ---- places --------------------------------------------------------------------------------------


def test_options_of_the_workers():
    with RayEnv(ToyEnv, n_workers=2, worker_options={"num_cpus": 0.5, "resources": {"second": 1}}):
        assert wait_until(lambda: unclaimed() == 3)
        assert wait_until(lambda: unclaimed("second") == 0)
    group = placement_group([{"CPU": 1}] * 2, strategy="STRICT_SPREAD")
    ray.get(group.ready(), timeout=20)
    strategy = PlacementGroupSchedulingStrategy(group)

    class Placed(ToyEnv):
        def node(self):
            return ray.get_runtime_context().get_node_id()

    with RayEnv(Placed, n_workers=2, worker_options={"scheduling_strategy": strategy}) as env:
        assert len(env.step_batch([RIGHT] * 4).rewards) == 4
        assert len({worker.call("node")() for worker in env.batch_env}) == 2
    remove_placement_group(group)


@pytest.mark.slow
def test_more_workers_than_cores_share_them():
    with RayEnv(ToyEnv, n_workers=5) as env:
        assert len(env.step_batch([RIGHT] * 5).rewards) == 5


def test_no_place_for_a_worker():
    with pytest.raises(TimeoutError, match=r"worker 0 of 1 did not start.*nowhere.*second"):
        RayEnv(ToyEnv, n_workers=1, worker_options={"resources": {"nowhere": 1}}, start_timeout=1)


# ---- ends ----------------------------------------------------------------------------------------


def test_close():
    env = RayEnv(ToyEnv, n_workers=2, sleep_at=STAY, sleep_for=30)
    actors, pids = env.workers, [worker.pid for worker in env.batch_env]
    env.batch_env[0].call("trouble", STAY)
    env.batch_env.close()
    env.close()
    env.close()
    for use in (lambda: env.step_batch([RIGHT]), lambda: env.batch_env[0].call("get_state")):
        with pytest.raises(ClosedError):
            use()
    assert wait_until(lambda: not any(is_running(pid) for pid in pids))
    with pytest.raises(ray.exceptions.RayActorError):
        ray.get(actors[0].get_state.remote())
    assert ray.is_initialized()


LOCAL = """
import contextlib, psutil, ray
from plangym_lite import make
assert not ray.is_initialized()
with make("CartPole-v1", ray=True, n_workers=2) as env:
    with make("Acrobot-v1", ray=True, n_workers=1) as other:
        assert len(other.step_batch([0] * 3).rewards) == 3
    assert len(env.step_batch([0] * 3).rewards) == 3
    started = psutil.Process().children(recursive=True)
    for process in [psutil.Process(), *started]:
        with contextlib.suppress(psutil.NoSuchProcess):
            for end in process.net_connections():
                assert end.status != "LISTEN" or "127.0.0.1" in end.laddr.ip, end
assert not ray.is_initialized()
psutil.wait_procs(started, 10)
print([process for process in started if process.is_running()])
"""


def test_script_starts_a_cluster_and_shuts_it_down():
    assert run_python("-W", "ignore", "-c", LOCAL) == "[]\n"


KILLED = """
import psutil, time
from plangym_lite import make
env = make("CartPole-v1", ray=True, n_workers=1)
for child in psutil.Process().children(recursive=True):
    print(child.pid, *child.cmdline(), flush=True)
print("that is all", flush=True)
time.sleep(60)
"""


@pytest.mark.slow
def test_script_that_is_killed_takes_its_cluster_with_it():
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "ignore", "-c", KILLED]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as program:
        lines = [line.split() for line in iter(program.stdout.readline, "that is all\n")]
        program.kill()
    started = {(int(pid), " ".join(name)) for pid, *name in lines}
    assert "ray::RemoteEnv" in dict(started).values()
    end_of(started)


VISITOR = """
import ray, sys
from plangym_lite import make
from plangym_lite.vectorization.ray.cluster import on_loopback
with on_loopback(), make("CartPole-v1", ray=True, n_workers=1) as env:
    assert len(ray.nodes()) > 1
    assert len(env.step_batch([0] * 3).rewards) == 3
print(ray.is_initialized())
"""


def test_visitor_leaves_a_running_cluster_alone(cluster, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    assert run_python("-W", "ignore", "-c", VISITOR) == "False\n"
    assert sum(node["Alive"] for node in ray.nodes()) == 2


def test_objects_of_a_script(cluster, monkeypatch):
    """What ``__main__`` defines is known in an actor by its name; so is an id of the program."""
    script = {"__name__": "__main__"}
    exec(GAME, script)
    for name, value in script.items():
        if getattr(value, "__module__", None) == "__main__":
            monkeypatch.setattr(sys.modules["__main__"], name, value, raising=False)
    gym.register("OfAScript-v0", entry_point=script["Game"])
    try:
        with make("OfAScript-v0", n_workers=1, ray=True) as env:
            state = env.reset(seed=0)[0]
            batch = env.step_batch([1, 2], [state] * 2)
            assert env.step_batch([1, 1], batch.states).observs[:, 0].tolist() == [4, 6]
            assert [type(info["piece"]) for info in batch.infos] == [script["Piece"]] * 2
            assert batch.infos[1]["kind"] is script["Kind"].ROOK
            with pytest.raises(script["WrongMove"]):
                env.step_batch([4], [state])
    finally:
        del gym.registry["OfAScript-v0"]
