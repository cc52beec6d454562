"""What steps answer: typed, so that the command line shows it without asking what it is."""
