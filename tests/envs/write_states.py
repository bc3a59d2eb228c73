"""States kept from an earlier day: ``python -m tests.envs.write_states`` writes them anew.

Do so when a ``LAYOUT`` went up, or a state's form was meant to change; never because a file moved.
"""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np

from plangym_lite import make
from plangym_lite.states.files import load_states, save_states

FOLDER = Path(__file__).parent / "states"
KINDS = {
    "cartpole": ("CartPole-v1", {}),
    "taxi": ("Taxi-v4", {}),
    "atari": ("ALE/Pong-v5", {"obs_type": "ram"}),
    "snapshot": ("MiniGrid-Empty-5x5-v0", {}),
    "replay": ("BipedalWalker-v3", {}),
}
"""By name of the file: what is made; one for each way in which states are held."""


def actions_of(env, size=5):
    env.action_space.seed(3)
    return [env.sample_action() for _ in range(size)]


def play(env, state):
    """What comes after a state: a digest of all observations, and the rewards."""
    digest, rewards = hashlib.sha256(), []
    env.set_state(state)
    for action in actions_of(env):
        step = env.step(action)
        obs = step.obs if isinstance(step.obs, dict) else {"obs": step.obs}
        for key in sorted(obs):
            digest.update(np.asarray(obs[key]).tobytes() if key != "mission" else b"")
        rewards.append(step.reward)
    return digest.hexdigest(), rewards


def write(kind):
    """Write the file of a kind; return what it must lead to."""
    name, options = KINDS[kind]
    with make(name, **options) as env:
        env.reset(seed=5)
        for action in actions_of(env):
            env.step(action)
        state = env.get_state()
        save_states(FOLDER / f"{kind}.npz", env, [state])
        digest, rewards = play(env, state)
        return {"fingerprint": env.fingerprint, "digest": digest, "rewards": rewards}


def without_versions(fingerprint):
    """A fingerprint but for the versions of others' packages and what hangs on them."""
    ours = ("layout", "states", "options", "played")
    return [
        word for word in fingerprint.split(" ") if "=" not in word or word.split("=")[0] in ours
    ]


def read(kind, folder=FOLDER):
    """Restore the file of a kind and play on; return in words how that went."""
    name, options = KINDS[kind]
    want = json.loads((folder / "expected.json").read_text())[kind]
    with make(name, **options) as env:
        if env.fingerprint != want["fingerprint"]:
            if without_versions(env.fingerprint) == without_versions(want["fingerprint"]):
                return "other versions"
            return f"another fingerprint: {env.fingerprint}"
        (state,) = load_states(folder / f"{kind}.npz", env, trusted=True)
        digest, rewards = play(env, state)
    return "exact" if (digest, rewards) == (want["digest"], want["rewards"]) else "wrong"


def main(arguments):
    if arguments[:1] == ["--read"]:
        for kind in arguments[2:]:
            print(kind, read(kind, Path(arguments[1])))
        return
    FOLDER.mkdir(exist_ok=True)
    expected = {kind: write(kind) for kind in KINDS}
    (FOLDER / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
