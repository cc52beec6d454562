"""The artifacts directory."""
