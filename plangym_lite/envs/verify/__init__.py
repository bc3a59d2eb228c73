"""Whether states of an environment are exact: a short examination when it is made."""
