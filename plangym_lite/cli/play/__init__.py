"""``plangym-lite plan`` and ``compare``: planners that play."""
