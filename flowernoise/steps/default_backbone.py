"""Which backbone is used where nobody asks for one."""

from __future__ import annotations

from flowernoise.catalogue import backbones as catalogue
from flowernoise.catalogue.backbones import backbones
from flowernoise.catalogue.noise import needs_of, noise_models, on_backbone
from flowernoise.errors import BadRequestError
from flowernoise.progress import Progress
from flowernoise.store import datasets, draws, runs
from flowernoise.store.layout import Layout

PREFERRED, ALWAYS_AT_HAND = "resnet50", "efficientnet_lite0"


def chosen(asked: str | None, layout: Layout, progress: Progress) -> str:
    """The spec of the backbone to use, in its canonical form.

    That is the one asked for; else the one that the directory's runs were trained on last, or that its draws were made
    with; else resnet50, or efficientnet_lite0 where the weights of resnet50 are not at hand and cannot be downloaded.

    Args:
        asked: a spec; None if nobody asked for one.
        layout: a directory with a data set.

    Raises:
        BadRequestError: the spec is not valid, or nothing is prepared.
    """
    spec = asked or _used_there(layout)
    if spec is None:
        problem = catalogue.why_no_resnet50()
        spec = ALWAYS_AT_HAND if problem else PREFERRED
        if problem:
            progress.note(f"{problem}; using {spec} instead of {PREFERRED} (--backbone chooses another)")
    return str(backbones.parse(spec))


def filled_in(noise: tuple[str, ...], asked: str | None, layout: Layout, progress: Progress) -> tuple[str, ...]:
    """Specs of noise models, with a backbone for those that use one and do not name it.

    Args:
        asked: as for :func:`chosen`.
    """
    if all(on_backbone(text, ALWAYS_AT_HAND) == on_backbone(text, PREFERRED) for text in noise):
        return noise
    backbone = chosen(asked, layout, progress)
    return tuple(on_backbone(text, backbone) for text in noise)


def _used_there(layout: Layout) -> str | None:
    """The features that a data set came with; else the backbone of the latest runs, else one of its draws."""
    prepared = datasets.need(layout)
    if prepared.given is not None:
        return catalogue.GIVEN
    dataset = prepared.id
    blocks = runs.blocks(layout, dataset, on_damage=lambda _path, _error: None).values()
    if blocks:
        return max(blocks, key=lambda block: block.recency).setup.backbone
    for key in draws.index(layout, dataset, on_damage=lambda _path, _error: None):
        if backbone := _of_noise(key.noise):
            return backbone
    return None


def _of_noise(text: str) -> str | None:
    """The backbone that a noise model uses; None if it uses none, or is no longer known."""
    try:
        spec = noise_models.parse(text)
    except BadRequestError:  # among them the control
        return None
    return str(spec.values["backbone"]) if "backbone" in spec.values and needs_of(spec) else None
