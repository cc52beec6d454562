"""Fixtures for the reliability tests."""

from collections.abc import Callable

import pytest


@pytest.fixture
def measured(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Return a function that stores a line of measured figures; pytest's report ends with all of these lines."""
    return lambda line: record_property("measured", f"{request.node.name}: {line}")
