"""Versions that are kept with every result."""

import importlib.metadata

import pytest

import flowernoise
from flowernoise import versions


def test_versions_are_those_that_are_installed() -> None:
    assert versions.of("numpy", "pillow") == {
        "flowernoise": flowernoise.__version__,
        "numpy": importlib.metadata.version("numpy"),
        "pillow": importlib.metadata.version("pillow"),
    }


def test_flowernoise_is_always_among_them_and_first() -> None:
    assert versions.of() == {"flowernoise": flowernoise.__version__}
    assert list(versions.of("pillow", "numpy")) == ["flowernoise", "pillow", "numpy"]


def test_a_package_that_is_not_installed_is_no_version() -> None:
    with pytest.raises(importlib.metadata.PackageNotFoundError):
        versions.of("no-such-package-at-all")
