"""Random generators as data: numpy's ``Generator`` and ``RandomState``, and the global ones."""
