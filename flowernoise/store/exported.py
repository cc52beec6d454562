"""Exported models: a ``.keras`` file and, beside it, a JSON file that says what it predicts and where it comes from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from flowernoise.errors import BadRequestError, DamagedFileError
from flowernoise.store import files

SCHEMA = 1
MAX_SIZE = 4096  # pixels per side, as in `prepare --image-size`


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What a model predicts, and where it comes from.

    Args:
        schema: version of this file's form.
        classes: names of the classes, in the order of the model's outputs.
        image_size: side, in pixels, of the square to which all of a photo is resized, bilinearly.
        backbone: spec of its backbone.
        input: the model's input, in words.
        output: its output, in words.
        run: identity and settings of the run.
        versions: of the packages that wrote it.
    """

    schema: int = SCHEMA
    classes: tuple[str, ...]
    image_size: int
    backbone: str
    input: str
    output: str
    run: dict[str, Any]
    versions: dict[str, str]


def about_path(model: Path) -> Path:
    """Path of the file that describes a model."""
    return model.with_suffix(".json")


def as_json(about: About) -> bytes:
    """The file's content."""
    return msgspec.json.format(msgspec.json.encode(about), indent=1) + b"\n"


def read_about(model: Path) -> About:
    """Reads the description of a model.

    Raises:
        BadRequestError: the file beside the model is missing, or does not have this form.
    """
    path = about_path(model)
    try:
        about = msgspec.json.decode(files.read_plain(path), type=About)
    except DamagedFileError:
        raise BadRequestError(
            f"{model} has no {path.name} beside it, which names its classes; `flowernoise export` writes both"
        ) from None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequestError(f"{path} is not what `flowernoise export` wrote: {error}") from None
    if about.schema != SCHEMA:
        raise BadRequestError(f"{path} has schema {about.schema}, not {SCHEMA}; use the version that wrote it")
    if not 1 <= about.image_size <= MAX_SIZE or len(about.classes) < 2:
        raise BadRequestError(f"{path} is not what `flowernoise export` wrote: it lacks classes or an image size")
    return about
