"""A worker: a place where one environment lives, and how one talks with it."""
