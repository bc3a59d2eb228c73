"""What type checkers know of the arguments of ``make``.

An id that is given as a string takes those listed here: of plangym_lite, of Gymnasium, and of the
engines for which there is an extra. A test compares the lists with the signatures.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypedDict

__all__ = ["AdapterOptions", "KnownOptions"]


class AdapterOptions(TypedDict, total=False):
    """The options of plangym_lite itself: of adapters, workers and Ray."""

    frameskip: int | tuple[int, int] | None
    autoreset: bool
    wrappers: Iterable[Any] | None
    delay_setup: bool
    remove_time_limit: bool
    render_mode: str | None
    obs_type: str | None
    return_image: bool
    clone_seeds: bool
    state_capacity: int | None
    array_state: bool
    state_method: str | None
    certify: bool
    # Atari
    episodic_life: bool
    mode: int | None
    difficulty: int | None
    repeat_action_probability: float
    full_action_space: bool
    # Box2D
    n_live: int
    # workers
    blocking: bool
    shared_limit: int | None
    use_caller: bool | None
    threads: bool
    start_method: str | None
    start_serially: bool
    start_timeout: float | None
    flatten: bool
    # Ray
    ray_kwargs: dict[str, Any] | None
    worker_options: dict[str, Any] | None
    chunk_size: int


# fmt: off
_EngineOptions = TypedDict("_EngineOptions", {  # noqa: UP013
    "action_kinds": Any, "agent_pos": Any, "agent_pov": Any, "agent_room": Any,
    "agent_start_dir": Any, "agent_start_pos": Any, "agent_view_size": Any, "blocked": Any,
    "camera_id": Any, "camera_name": Any, "contact_cost_range": Any, "contact_cost_weight": Any,
    "contact_force_range": Any, "continuous": Any, "continuous_action_threshold": Any,
    "ctrl_cost_weight": Any, "debug": Any, "default_camera_config": Any, "desc": Any,
    "disable_env_checker": Any, "distractors": Any, "domain_name": Any, "domain_randomize": Any,
    "doors_open": Any, "enable_wind": Any, "environment_kwargs": Any,
    "exclude_current_positions_from_observation": Any, "fickle_passenger": Any,
    "fickle_probability": Any, "first_color": Any, "forward_reward_weight": Any, "frame_skip": Any,
    "g": Any, "goal_pos": Any, "goal_velocity": Any, "gravity": Any, "grid_size": Any,
    "hardcore": Any, "healthy_angle_range": Any, "healthy_reward": Any, "healthy_state_range": Any,
    "healthy_z_range": Any, "height": Any, "highlight": Any, "impact_cost_range": Any,
    "impact_cost_weight": Any, "implicit_unlock": Any, "include_cfrc_ext_in_observation": Any,
    "include_cinert_in_observation": Any, "include_cvel_in_observation": Any,
    "include_qfrc_actuator_in_observation": Any, "info": Any, "instr_kinds": Any, "inttype": Any,
    "is_rainy": Any, "is_slippery": Any, "key_in_box": Any, "lap_complete_percent": Any,
    "locations": Any, "locked_room_prob": Any, "main_body": Any, "map_name": Any,
    "maxNumRooms": Any, "maxRoomSize": Any, "max_episode_steps": Any, "max_geom": Any,
    "max_num_frames_per_episode": Any, "max_steps": Any, "minNumRooms": Any, "mission_space": Any,
    "model_path": Any, "n_obstacles": Any, "natural": Any, "numObjs": Any, "num_cols": Any,
    "num_crossings": Any, "num_dists": Any, "num_doors": Any, "num_objs": Any, "num_quarters": Any,
    "num_rooms_visited": Any, "num_rows": Any, "obj_type": Any, "objs_per_room": Any,
    "observation_space": Any, "obstacle_type": Any, "players": Any, "rainy_probability": Any,
    "random_length": Any, "record": Any, "render_kwargs": Any, "reset_noise_scale": Any,
    "reward_control_weight": Any, "reward_dist_weight": Any, "reward_near_weight": Any,
    "reward_schedule": Any, "room_size": Any, "sab": Any, "scenario": Any, "screen_size": Any,
    "second_color": Any, "see_through_walls": Any, "select_by": Any, "size": Any, "sound_obs": Any,
    "start_carrying": Any, "state": Any, "strict": Any, "strip2_row": Any, "success_rate": Any,
    "sutton_barto_reward": Any, "task_kwargs": Any, "task_name": Any,
    "terminate_when_unhealthy": Any, "tile_size": Any, "turbulence_power": Any, "unblocking": Any,
    "uph_cost_weight": Any, "use_contact_forces": Any, "use_restricted_actions": Any,
    "verbose": Any, "visual_options": Any, "visualize_reward": Any, "width": Any, "wind_power": Any,
    "xml_file": Any,
}, total=False)
# fmt: on


class KnownOptions(AdapterOptions, _EngineOptions):
    """All of them."""
