"""``plangym-lite plan`` and ``compare``: play with planners."""
