"""``plangym-lite check``: whether an environment keeps the contract."""
