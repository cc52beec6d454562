"""``list``: what a user can choose, from the registries."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from types import MappingProxyType

from flowernoise.analysis.results.listed import Listed
from flowernoise.catalogue.backbones import backbones
from flowernoise.catalogue.losses import losses
from flowernoise.catalogue.metrics import metrics
from flowernoise.catalogue.noise import noise_models
from flowernoise.catalogue.sources import sources
from flowernoise.errors import BadRequestError
from flowernoise.registry import Entry, Registry, did_you_mean, format_value
from flowernoise.show.plot.kinds import pictures

REGISTRIES: Mapping[str, Registry] = MappingProxyType(
    {
        "sources": sources,
        "noise": noise_models,
        "backbones": backbones,
        "losses": losses,
        "metrics": metrics,
        "pictures": pictures,
    }
)


def list_things(kind: str | None = None, name: str | None = None) -> tuple[Listed, ...]:
    """All entries, those of one kind, or a single one.

    Raises:
        BadRequestError: the kind or name does not exist; the message lists those that do.

    >>> [listed.name for listed in list_things("backbones")]
    ['resnet50', 'efficientnet_lite0', 'keras', 'onnx', 'features']
    """
    if kind is not None and kind not in REGISTRIES:
        raise BadRequestError(
            f"unknown kind {kind!r}{did_you_mean(kind, REGISTRIES)}; there are: {', '.join(REGISTRIES)}"
        )
    kinds = [kind] if kind is not None else list(REGISTRIES)
    if name is not None:
        return (_listed(kinds[0], REGISTRIES[kinds[0]][name]),)
    return tuple(_listed(each, entry) for each in kinds for entry in REGISTRIES[each])


def _listed(kind: str, entry: Entry) -> Listed:
    parameters = tuple(
        f"{key}=…" if parameter.default is inspect.Parameter.empty else f"{key}={format_value(parameter.default)}"
        for key, parameter in entry.parameters.items()
    )
    details = (inspect.getdoc(entry.function) or "").replace("``", "`")
    return Listed(kind, entry.name, parameters, entry.summary.replace("``", "`"), details)
