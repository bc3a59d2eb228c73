"""Verification, when an environment is made, that its states are exact."""
