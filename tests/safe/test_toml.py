"""A TOML file that cannot be read is one line that names it."""

from pathlib import Path

import pytest

from flowernoise.errors import BadRequestError
from flowernoise.safe import toml


def test_values_keep_their_types(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_bytes(b'\xef\xbb\xbfrates = [0.2, 1]\r\nloss = "ce"\r\n')  # as Windows editors write it
    assert toml.read(path) == {"rates": [0.2, 1], "loss": "ce"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"rates = ", "is not TOML: "),
        (b"rates = 1\nrates = 2\n", "is not TOML: "),
        (b'loss = "\xff"', "is not TOML: it is not UTF-8 text"),
        (b"seeds = " + b"9" * 5000, "is not TOML: "),
        (b"rates = " + b"[" * 100_000, "nested too deeply"),
        (b"#" * (toml.MAX_BYTES + 1), "too large"),
    ],
)
def test_what_is_not_toml_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.toml"
    path.write_bytes(content)
    with pytest.raises(BadRequestError) as caught:
        toml.read(path)
    assert str(path) in str(caught.value)
    assert message in str(caught.value)


@pytest.mark.parametrize("name", ["missing.toml", ".", "a\0b"])
def test_what_cannot_be_opened_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadRequestError, match="cannot read "):
        toml.read(tmp_path / name)
