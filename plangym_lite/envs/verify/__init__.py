"""Whether states of an environment are exact: verified when it is made."""
