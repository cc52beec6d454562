"""Numbers from runs and labels: what is known of them, how sure it is, and what is shown of it."""
