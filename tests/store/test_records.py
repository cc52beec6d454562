"""Versions that are kept with every result."""

import importlib.metadata

import pytest

import flowernoise
from flowernoise.store.records import versions_of


def test_versions_are_those_that_are_installed() -> None:
    assert versions_of("numpy", "pillow") == {
        "flowernoise": flowernoise.__version__,
        "numpy": importlib.metadata.version("numpy"),
        "pillow": importlib.metadata.version("pillow"),
    }


def test_flowernoise_is_always_among_them_and_first() -> None:
    assert versions_of() == {"flowernoise": flowernoise.__version__}
    assert list(versions_of("pillow", "numpy")) == ["flowernoise", "pillow", "numpy"]


def test_a_package_that_is_not_installed_is_no_version() -> None:
    with pytest.raises(importlib.metadata.PackageNotFoundError):
        versions_of("no-such-package-at-all")
