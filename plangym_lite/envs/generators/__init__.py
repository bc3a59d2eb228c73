"""Random generators as data: numpy's, ``RandomState``, and those that all of Python shares."""
