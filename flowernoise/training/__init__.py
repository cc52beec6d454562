"""Training: features, heads and fine-tuning."""
