"""Things a user picks: sources, noise models, backbones, losses, metrics."""
