"""The backbone of a data set: a network for photos, or the features that came without any."""

from __future__ import annotations

from flowernoise.catalogue.backbones import GIVEN, Backbone, backbones, given
from flowernoise.errors import BadRequestError
from flowernoise.progress import Progress
from flowernoise.registry import Spec
from flowernoise.steps import default_backbone
from flowernoise.store import own_features
from flowernoise.store.layout import Layout
from flowernoise.store.records import Dataset


def of(layout: Layout, dataset: Dataset, asked: str | None, progress: Progress) -> tuple[Spec, Backbone]:
    """The backbone that a data set's features are from.

    Args:
        layout: the artifacts directory.
        dataset: photos, or features without photos.
        asked: a backbone's spec; None for what is usual.

    Raises:
        BadRequestError: it is unknown, or the data set has no photos that it could look at, or nothing was imported
            under its name.
        DamagedFileError: what was imported is damaged.
        FlowernoiseError: its weights cannot be reached.
    """
    spec = backbones.parse(default_backbone.chosen(asked, layout, progress))
    if dataset.given is None:
        if own := is_own(spec):
            imported = own_features.need(layout, own)
            return spec, given(imported.dimension, imported.digest)
        return spec, spec()
    if spec.name != GIVEN or is_own(spec):
        raise BadRequestError(
            f"backbone {spec}: there are no photos for it in {dataset.request.source}, only features; leave it out, or "
            f"name {GIVEN}"
        )
    return spec, given(dataset.given.dimension, dataset.given.digest)


def is_own(spec: Spec) -> str:
    """The name of features that a user imported; empty for anything else."""
    return str(spec.values["name"]) if spec.name == GIVEN else ""


def refuse_given(text: str, what: str) -> None:
    """Refuses what needs a network; ``what`` begins the message.

    Raises:
        BadRequestError: the backbone is features that a user imported.
    """
    if is_own(backbones.parse(text)):
        raise BadRequestError(f"{what} needs a network, but {text} is features that were imported; name a network")


def refuse_without_photos(dataset: Dataset, what: str) -> None:
    """Refuses what needs photos; ``what`` begins the message.

    Raises:
        BadRequestError: the data set holds features without photos.
    """
    if dataset.given is not None:
        raise BadRequestError(f"{what} needs photos, but {dataset.request.source} holds features without photos")
