"""Tree searches of other libraries beside ours: CPU time of a simulation, in microseconds.

::

    python -m venv peers; peers/bin/pip install -e . open_spiel mctx gymcts
    peers/bin/python -m tests.tools.searches --rounds 5

Each line is measured in turn, once a round; its figure is the least of the rounds. Lines whose
package is missing are left out. CPU time is that of all threads of the process.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from plangym_lite import make, planners
from tests.planners.games import TicTacToe
from tests.tools.planners import nothing

__all__ = ["LINES", "Line", "main", "measure"]

ROOTS = 64
WRAPPERS = {
    "deepcopy": "DeepCopyMCTSGymEnvWrapper",
    "action_history": "ActionHistoryMCTSGymEnvWrapper",
}
DISCOUNT = 0.99


class Line(NamedTuple):
    """A line of the table."""

    label: str
    prepare: Callable[[int], Callable[[], Any]]  # of a number of simulations: what runs them
    simulations: int
    needs: str | None = None  # a package
    roots: int = 1


# ---- tic-tac-toe, from the empty board ----------------------------------------------------------


def open_spiel_python(simulations: int, plays: bool = True) -> Callable[[], Any]:
    """OpenSpiel's search in Python, with a random game for each simulation, or without."""
    import pyspiel
    from open_spiel.python.algorithms import mcts

    class Nothing(mcts.Evaluator):
        def evaluate(self, state):
            return np.zeros(2)

        def prior(self, state):
            legal = state.legal_actions()
            return [(action, 1 / len(legal)) for action in legal]

    game, rng = pyspiel.load_game("tic_tac_toe"), np.random.RandomState(0)
    judge = mcts.RandomRolloutEvaluator(1, rng) if plays else Nothing()
    bot = mcts.MCTSBot(game, 2.0, simulations, judge, solve=True, random_state=rng)
    return partial(bot.mcts_search, game.new_initial_state())


def open_spiel_cpp(simulations: int) -> Callable[[], Any]:
    """OpenSpiel's search in C++, with a random game for each simulation."""
    import pyspiel

    game = pyspiel.load_game("tic_tac_toe")
    judge = pyspiel.RandomRolloutEvaluator(1, 0)
    bot = pyspiel.MCTSBot(game, judge, 2.0, simulations, 1000, True, 0, False)
    return partial(bot.mcts_search, game.new_initial_state())


def ours_in_tic_tac_toe(simulations: int, name: Any, plays: bool = True) -> Callable[[], Any]:
    """Our search for two players; the game is a Gymnasium environment in Python."""
    env = make(name)
    state, _, info = env.reset(seed=0)
    options: dict[str, Any] = {} if plays else {"value_fn": nothing}

    def run() -> Any:
        return planners.mcts(
            env,
            state,
            num_simulations=simulations,
            discount=-1.0,
            legal_actions="action_mask",
            info=info,
            rng=np.random.default_rng(0),
            **options,
        )

    return run


# ---- CartPole -----------------------------------------------------------------------------------


def ours_in_cartpole(simulations: int, roots: int = 1, **options: Any) -> Callable[[], Any]:
    """Our search; with several roots from as many states of random play."""
    env, rng = make("CartPole-v1"), np.random.default_rng(0)
    states = [env.reset(seed=0)[0]]
    while len(states) < roots:
        step = env.step(int(rng.integers(2)), states[-1])
        states.append(states[0] if step.terminated else step.state)
    start = states[0] if roots == 1 else np.array(states)

    def run() -> Any:
        rng = np.random.default_rng(0)
        return planners.mcts(env, start, num_simulations=simulations, rng=rng, **options)

    return run


def mctx_in_cartpole(simulations: int, policy: str) -> Callable[[], Any]:
    """mctx with CartPole in Jax, compiled; 64 roots, all values 0."""
    import jax
    import jax.numpy as jnp
    import mctx

    def model(params: Any, key: Any, actions: Any, states: Any) -> Any:
        alive = jnp.abs(states[:, 0]) <= 2.4
        alive &= jnp.abs(states[:, 2]) <= 12 * np.pi / 180
        after = states + 0.02 * _changes(jnp, states, actions)
        zeros = jnp.zeros(len(states))
        out = mctx.RecurrentFnOutput(
            reward=alive.astype(float),
            discount=DISCOUNT * alive,
            prior_logits=jnp.zeros((len(states), 2)),
            value=zeros,
        )
        return out, after

    states = np.random.default_rng(0).uniform(-0.05, 0.05, (ROOTS, 4)).astype(np.float32)
    root = mctx.RootFnOutput(
        prior_logits=jnp.zeros((ROOTS, 2)), value=jnp.zeros(ROOTS), embedding=jnp.array(states)
    )
    search = getattr(mctx, policy)
    run = jax.jit(
        lambda key: search((), key, root, model, num_simulations=simulations, max_depth=20)
    )
    return lambda: jax.block_until_ready(run(jax.random.PRNGKey(0)))


def _changes(jnp: Any, states: Any, actions: Any) -> Any:
    """The derivatives of CartPole's four numbers."""
    _, speed, angle, turning = states.T
    force = jnp.where(actions == 1, 10.0, -10.0)
    sine, cosine = jnp.sin(angle), jnp.cos(angle)
    push = (force + 0.05 * turning**2 * sine) / 1.1
    turn = (9.8 * sine - cosine * push) / (0.5 * (4 / 3 - 0.1 * cosine**2 / 1.1))
    return jnp.stack([speed, push - 0.05 * turn * cosine / 1.1, turning, turn], axis=1)


def gymcts_in_cartpole(simulations: int, wrapper: str) -> Callable[[], Any]:
    """gymcts, with a random game to its end for each simulation."""
    import gymnasium as gym
    from gymcts.gymcts_agent import GymctsAgent

    wrap = getattr(importlib.import_module(f"gymcts.gymcts_{wrapper}_wrapper"), WRAPPERS[wrapper])

    def run() -> Any:
        env = wrap(gym.make("CartPole-v1"))
        env.reset(seed=0)
        agent = GymctsAgent(env=env)
        root = agent.search_root_node
        return agent.vanilla_mcts_search(search_start_node=root, num_simulations=simulations)

    return run


AGAIN = "action_history"
GUMBEL, MUZERO = "gumbel_muzero_policy", "muzero_policy"
SPIEL, GYMCTS, MCTX = open_spiel_python, gymcts_in_cartpole, mctx_in_cartpole
OURS = partial(ours_in_tic_tac_toe, name=TicTacToe)
ZOO = partial(ours_in_tic_tac_toe, name="pettingzoo/tictactoe_v3")
MANY = partial(ours_in_cartpole, roots=ROOTS, value_fn=nothing)
TIC, CART = "tic-tac-toe, ", "CartPole, "
LINES = [
    Line(TIC + "OpenSpiel in C++, random games", open_spiel_cpp, 20_000, "pyspiel"),
    Line(TIC + "OpenSpiel in Python, random games", SPIEL, 1000, "pyspiel"),
    Line(TIC + "OpenSpiel in Python, value 0", partial(SPIEL, plays=False), 1000, "pyspiel"),
    Line(TIC + "plangym_lite, random games", OURS, 1000),
    Line(TIC + "plangym_lite, value_fn", partial(OURS, plays=False), 1000),
    Line(TIC + "plangym_lite, PettingZoo's", ZOO, 300, "pettingzoo"),
    Line(CART + "gymcts, deep copies", partial(GYMCTS, wrapper="deepcopy"), 200, "gymcts"),
    Line(CART + "gymcts, actions repeated", partial(GYMCTS, wrapper=AGAIN), 200, "gymcts"),
    Line(CART + "plangym_lite, random play", ours_in_cartpole, 2000),
    Line(CART + "plangym_lite, value_fn", partial(ours_in_cartpole, value_fn=nothing), 2000),
    Line(CART + "64 roots, plangym_lite, value_fn", MANY, 200, None, ROOTS),
    Line(CART + "64 roots, mctx, Gumbel", partial(MCTX, policy=GUMBEL), 200, "mctx", ROOTS),
    Line(CART + "64 roots, mctx, MuZero", partial(MCTX, policy=MUZERO), 200, "mctx", ROOTS),
]


def measure(lines: list[Line], rounds: int) -> dict[str, float]:
    """By label the least CPU time of a simulation, in microseconds."""
    runs = [line.prepare(line.simulations) for line in lines]
    for run in runs:
        run()  # compile, and load what is needed
    least = np.full(len(lines), np.inf)
    for _ in range(rounds):
        for number, (line, run) in enumerate(zip(lines, runs, strict=True)):
            start = time.process_time()
            run()
            spent = (time.process_time() - start) / line.simulations / line.roots
            least[number] = min(least[number], spent * 1e6)
    return {line.label: float(figure) for line, figure in zip(lines, least, strict=True)}


def main() -> None:
    """Measure the lines whose packages are installed."""
    parser = argparse.ArgumentParser(prog="python -m tests.tools.searches", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    lines = [line for line in LINES if not line.needs or importlib.util.find_spec(line.needs)]
    for label, figure in measure(lines, rounds).items():
        print(f"{label:44s} {figure:8.1f}")
    print(f"{rounds} rounds; load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
