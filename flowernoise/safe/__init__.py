"""Safe input and output; nothing here knows about label noise."""
