"""Machinery that trains: features, heads, fine-tuning."""
