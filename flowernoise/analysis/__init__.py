"""Numbers from runs and labels, and the plain data that pictures, pages and summaries are made from."""
