"""Numbers from runs and labels: what is known of them, and how sure it is."""
