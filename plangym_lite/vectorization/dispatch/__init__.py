"""How the rows of a batch get to workers and back."""
