"""Comparisons of a few rows of five seeds, and a report on one, for tests of what is said of them."""

from flowernoise.analysis.views.reports import DrawnCondition, Report
from flowernoise.store import files, records
from flowernoise.store.records import (
    CONTROL,
    Comparison,
    Condition,
    Dataset,
    DatasetRequest,
    Difference,
    Provenance,
    Rate,
    RateInterval,
    Row,
    Tolerated,
)
from tests.fabricated import a_setup

CLEAN, NOISY = Condition(CONTROL, 0.0), Condition("symmetric", 0.4)
PHOTOS = {"train": 1400, "val": 300, "test": 300}


TUNED = a_setup(mode="finetune")


def a_row(condition: Condition, loss: str, mean: float | None, **known) -> Row:
    facts = {
        "realised_rate": condition.rate,
        "setup": a_setup(),
        "seeds": 5,
        "values": () if mean is None else (mean,) * 5,
        "ci_low": None if mean is None else mean - 0.02,
        "ci_high": None if mean is None else mean + 0.02,
        "drop": None,
        "collapsed": 0,
        "failed": 0,
        "best": False,
    }
    facts |= known
    facts.setdefault("value_seeds", tuple(range(len(facts["values"]))))
    return Row(noise=condition.noise, rate=condition.rate, loss=loss, mean=mean, **facts)


def against(mean: float, p: float, verdict: str | None) -> Difference:
    return Difference(mean, mean - 0.01, mean + 0.01, p, p, "sign_flip", 5, verdict)


def rated(loss: str, point: Rate, *, collapsed: bool = False) -> Tolerated:
    interval = RateInterval(point, Rate("below", 0.2), Rate("exact", 0.39))
    return Tolerated("symmetric", loss, a_setup(), interval, None, collapsed)


def compared(*rows: Row, **known) -> Comparison:
    photos = records.TestPhotos(
        "tf_flowers", "tf_flowers", ("daisy", "roses", "tulips"), (100, 100, 100), 1 / 3, "selected"
    )
    facts = {
        "directories": (),
        "datasets": (photos,),
        "metric": "accuracy",
        "unit": "share",
        "better": "higher",
        "baseline": "ce",
        "delta": 0.02,
        "conditions": tuple(dict.fromkeys(row.condition for row in rows)),
        "columns": tuple(dict.fromkeys(row.column for row in rows)),
        "tolerated": (),
        "beside": (),
        "why": "",
        "notes": (),
    }
    return Comparison(rows=rows, **(facts | known))


EVIL = '<script>alert("1")</script> & [a](b) | *c* _d_ `e`'


def a_report(**known) -> Report:
    """A report without pictures on a data set with a class that is called like a script."""
    dataset = Dataset(
        id="0" * 64,
        request=DatasetRequest(f"folder:{EVIL}", None, None, None, 224, 0),
        source_fingerprint=None,
        classes=("daisy", EVIL),
        counts=((60, 40), (10, 10), (15, 15)),
        found=150,
        archive=files.NOT_WRITTEN,
        index=files.NOT_WRITTEN,
        identical=(("a", "b"),),
        contradictory=(),
        unreadable=(),
    )
    rows = a_row(CLEAN, "ce", 0.9, best=True), a_row(CLEAN, "mae", 0.8), a_row(NOISY, "ce", 0.7, best=True)
    facts = {
        "dataset": dataset,
        "comparison": compared(*rows, notes=(f"note on {EVIL}",)),
        "drawn": (DrawnCondition("symmetric", 0.4, 5, (0.39, 0.41)),),
        "pictures": (),
        "sheets": (),
        "passed_over": (f"no picture of {EVIL}",),
        "commands": (f"flowernoise prepare 'folder:{EVIL}'",),
        "provenance": (Provenance({"numpy": "2.0"}, "tensorflow", "cpu"),),
        "digests": (("data set", "0" * 64),),
    }
    return Report(**(facts | known))
