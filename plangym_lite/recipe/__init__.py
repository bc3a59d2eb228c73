"""How an environment is made, and what another process needs to make it too."""
