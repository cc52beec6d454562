"""``verify``: checks every file of an artifacts directory, from the table back to the photos, and repairs it."""

from flowernoise.steps.verify.step import verify

__all__ = ["verify"]
