"""``plangym-lite bench``: how fast it is, as ratios against references measured in the same run."""
