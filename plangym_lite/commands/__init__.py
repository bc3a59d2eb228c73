"""What the console script can do, one file for each command."""
