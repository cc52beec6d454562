"""The results of steps, which the command line shows."""
