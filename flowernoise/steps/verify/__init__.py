"""``verify``: check every file of an artifacts directory, from the table back to the photos, and mend what can be."""

from flowernoise.steps.verify.step import verify

__all__ = ["verify"]
