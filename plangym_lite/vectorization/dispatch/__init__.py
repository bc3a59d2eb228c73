"""Sends the rows of a batch to workers and collects the results."""
