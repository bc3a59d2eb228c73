"""Reference planners. They know :class:`~plangym_lite.core.PlanEnv` and nothing else."""
