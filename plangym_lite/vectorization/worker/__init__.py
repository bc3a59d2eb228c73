"""A worker, which holds one environment, and the messages to it."""
