"""Seconds on a shared machine, which may stop for some of them: who was late is tried again; who is slow stays late."""

import pytest


class LateError(AssertionError):
    """Raised where something took longer than it may; nothing else is tried again."""


may_be_late = pytest.mark.flaky(reruns=2, only_rerun="LateError")


def assert_in_time(seconds: float, limit: float) -> None:
    """Fails unless the seconds stay below the limit; for tests marked `may_be_late`."""
    if not seconds < limit:
        raise LateError(f"took {seconds:.2f} s, less than {limit} s was wanted")
