"""Measure what mislabelling does to an image classifier, and which loss to train with."""

__version__ = "0.1.0"
