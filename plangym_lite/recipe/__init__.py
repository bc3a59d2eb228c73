"""How an environment is made, and all that must travel with that to another process."""
