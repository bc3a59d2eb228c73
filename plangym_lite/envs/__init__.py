"""One file per engine: how that engine's state is saved and restored."""
