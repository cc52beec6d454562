"""Fixtures of the tests of reliability."""

from collections.abc import Callable

import pytest


@pytest.fixture
def measured(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Return a function that keeps a line of measured figures; all of them stand at the end of pytest's report."""
    return lambda line: record_property("measured", f"{request.node.name}: {line}")
