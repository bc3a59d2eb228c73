"""Shared memory: columns, blocks, chunks, results."""
