"""Analysis of runs and labels: results, how certain they are, and how they are shown."""
