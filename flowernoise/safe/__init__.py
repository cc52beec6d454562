"""What hardens input and output, and knows nothing of label noise."""
