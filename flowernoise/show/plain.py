"""A comparison as plain data: the object of ``--json``, and the records of a CSV file."""

from __future__ import annotations

from flowernoise.show.document import Records
from flowernoise.store.records import Comparison, RateInterval, Row, Tolerated
from flowernoise.store.setups import SETTINGS, settings

SCHEMA = 1
FIELDS = (
    "noise",
    "rate",
    "realised_rate",
    "loss",
    "seeds",
    "values",
    "mean",
    "ci_low",
    "ci_high",
    "drop",
    "collapsed",
    "failed",
    "best",
    "tied",
    "oracle",
    "value_seeds",
)
TOLERATED = ("tolerated", "tolerated_low", "tolerated_high", "tolerated_censoring")
DIFFERENCE = ("difference", "difference_low", "difference_high", "p_value", "p_holm", "test", "common_seeds", "verdict")


def data(result: Comparison) -> dict[str, object]:
    """The object of ``compare --json``; shares are fractions, what is not there is null.

    It is the same for one directory and for several: rows and tolerated rates name their directory and data set, and
    ``majority`` and ``select`` are null where data sets have different ones.
    """
    return {
        "schema": SCHEMA,
        "metric": result.metric,
        "select": result.select,
        "majority": result.majority,
        "rows": [_row(result, row) for row in result.rows],
        "unit": result.unit,
        "better": result.better,
        "baseline": result.baseline,
        "delta": result.delta,
        "tolerated": [_tolerated(result, line) for line in result.tolerated],
        "datasets": [
            {
                "name": photos.name,
                "source": photos.source,
                "classes": photos.classes,
                "test_photos": photos.test_counts,
                "majority": photos.majority,
                "select": photos.select,
                "splits": photos.splits,
                "trust": photos.trust,
            }
            for photos in result.datasets
        ],
        "notes": result.notes,
    }


def records(result: Comparison) -> Records:
    """A record per cell.

    Beside the fields of a row: which directory, metric and epoch it is of, how it differs from the baseline, the
    majority score, balanced accuracy where the task is binary and the metric accuracy, and what the loss tolerates of
    the noise: a rate with its bounds, and how it is censored.
    """
    place = FIELDS.index("loss") + 1
    fields_of_rows = (*_IDENTITY, *FIELDS[place:])
    header = (*_PLACE, *fields_of_rows, *DIFFERENCE, "balanced_accuracy", "majority", "dataset", *TOLERATED)
    tolerated = {(line.dataset, line.noise, line.column): line.tolerance for line in result.tolerated}
    rows = []
    for row in result.rows:
        estimate = tolerated.get((row.dataset, row.noise, row.column))
        fields = _row(result, row) | _around(result, row) | _bounds(estimate)
        rows.append(tuple(fields.get(name) for name in header))
    return Records(header, tuple(rows))


def per_seed(result: Comparison) -> Records:
    """A record per run that did not fail: the cell it belongs to, its seed, and its value."""
    header = (*_PLACE, *_IDENTITY, "seed", "value", "dataset")
    rows = []
    for row in result.rows:
        fields = _row(result, row) | _around(result, row)
        for seed, value in zip(row.value_seeds, row.values, strict=True):
            own = fields | {"seed": seed, "value": value}
            rows.append(tuple(own.get(name) for name in header))
    return Records(header, tuple(rows))


_PLACE = ("directory", "metric", "select")
_IDENTITY = (*FIELDS[: FIELDS.index("loss") + 1], "backbone", "mode", *SETTINGS)


def _around(result: Comparison, row: Row) -> dict[str, object]:
    """What a record says of the comparison that it is from; grids as the numbers that they are."""
    photos = result.datasets[row.dataset]
    grids = {"learning_rate": row.setup.learning_rates, "l2": row.setup.l2}
    return {"metric": result.metric, "select": photos.select, "majority": photos.majority, **grids}


def _bounds(estimate: RateInterval | None) -> dict[str, object]:
    if estimate is None:
        return {}
    values = (estimate.point.rate, estimate.low.rate, estimate.high.rate, estimate.point.censoring)
    return dict(zip(TOLERATED, values, strict=True))


def _row(result: Comparison, row: Row) -> dict[str, object]:
    fields = _fields(row) | _difference(row)
    if row.balanced:
        fields["balanced_accuracy"] = row.balanced.mean
    return fields | {"directory": result.directories[row.directory], "dataset": result.datasets[row.dataset].name}


def _fields(row: Row) -> dict[str, object]:
    fields: dict[str, object] = {}
    for name in FIELDS:
        fields[name] = getattr(row, name)
        if name == "loss":
            fields |= settings(row.setup)
    fields |= {"values": list(row.values), "value_seeds": list(row.value_seeds)}
    return fields


def _difference(row: Row) -> dict[str, object]:
    """How a row differs from the baseline; null where it was not tested."""
    found = row.difference
    if found is None:
        return dict.fromkeys(DIFFERENCE)
    values = (found.mean, found.low, found.high, found.p, found.p_holm, found.test, found.seeds, found.verdict)
    return dict(zip(DIFFERENCE, values, strict=True))


def _tolerated(result: Comparison, line: Tolerated) -> dict[str, object]:
    return {
        "noise": line.noise,
        "loss": line.loss,
        **settings(line.setup),
        "tolerance": _rate(line.tolerance),
        "crossover": _rate(line.crossover),
        "collapsed": line.collapsed,
        "directory": result.directories[line.directory],
        "dataset": result.datasets[line.dataset].name,
    }


def _rate(estimate: RateInterval | None) -> dict[str, object] | None:
    if estimate is None:
        return None
    plain: dict[str, object] = {"rate": estimate.point.rate, "censoring": estimate.point.censoring}
    for name, bound in (("low", estimate.low), ("high", estimate.high)):
        plain[name] = {"rate": bound.rate, "censoring": bound.censoring}
    return plain
