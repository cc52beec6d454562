"""Exported models and their answers, as documents."""

from __future__ import annotations

import dataclasses

import msgspec

from flowernoise.analysis.results.models import ExportResult, PredictResult
from flowernoise.catalogue.noise import shown_names
from flowernoise.show.document import Bullets, Document, Records
from flowernoise.store.setups import settings


def exported(result: ExportResult) -> Document:
    """The paths of model and classes, what it is, and how it differs from the run."""
    key, agreement = result.key, result.agreement
    draw = msgspec.structs.replace(key.draw, noise=shown_names([key.noise])[key.noise])
    lines = [str(result.model), str(result.about), f"{key.method} on {draw}, {result.select} epoch"]
    if result.on_features is not None:
        lines.append(f"the head's probabilities on the run's features differ by at most {result.on_features:.1g}")
    if agreement is not None:
        lines.append(
            f"from photos on, where the run had features by {result.extractor}: {agreement.alike} of "
            f"{agreement.photos} test photos get the same class, probabilities differ by at most "
            f"{agreement.difference:.1g}"
        )
    data = {
        "schema": 1,
        "model": str(result.model),
        "classes_file": str(result.about),
        "done_before": result.done_before,
        "noise": key.noise,
        "rate": key.rate,
        "seed": key.seed,
        "loss": key.method,
        **settings(key.setup),
        "select": result.select,
        "classes": list(result.classes),
        "difference_on_features": result.on_features,
        "agreement": None if agreement is None else dataclasses.asdict(agreement),
    }
    return Document((Bullets(tuple(lines)),), data=data)


def predicted(result: PredictResult) -> Document:
    """A record per photo: its path, the predicted class and its probability, and those of all classes if wanted."""
    more = result.classes if result.all_probabilities else ()
    columns = ("path", "predicted", "probability", *(f"probability_{name}" for name in more))
    rows = tuple(
        (each.path, each.predicted, each.probability, *(each.probabilities if more else ())) for each in result.photos
    )
    photos = [
        {"path": each.path, "predicted": each.predicted, "probability": each.probability}
        | ({"probabilities": dict(zip(more, each.probabilities, strict=True))} if more else {})
        for each in result.photos
    ]
    unreadable = [{"path": path, "reason": reason} for path, reason in result.unreadable]
    return Document((), data={"schema": 1, "photos": photos, "unreadable": unreadable}, records=Records(columns, rows))
