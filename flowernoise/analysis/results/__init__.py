"""Results of steps, for the command line to show."""
