"""Which labels are wrong, and how many, from features or probabilities, without any clean label."""
