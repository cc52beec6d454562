"""Sentences on what a reader must not conclude; none stands where the numbers give no reason for it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from flowernoise.catalogue.metrics import facts_of
from flowernoise.show import compared
from flowernoise.show.sentences import condition_name, few, joined, loss_name
from flowernoise.store.records import Comparison, Row

FEW_SEEDS = 5
WRONG, RIGHT = 0.05, 0.9  # of test labels and of predictions, in an example
_UNEVEN = 1.5  # times its even share that the most frequent class takes


def cautions(result: Comparison, source: str, split_seed: int, photos: Mapping[str, int]) -> list[str]:
    """What a reader must not conclude; only what the numbers give reason for.

    Args:
        source: where the photos are from.
        split_seed: of the one split there is.
        photos: how many there are in train, val and test.
    """
    return [
        *_of_labels(result),
        *_of_seeds(result),
        *_of_test_photos(result),
        *_of_imbalance(result),
        *_of_collapse(result),
        *_of_failures(result),
        *_of_equality(result),
        *_of_selection(result, photos),
        *_of_frozen_features(result),
        f"One split (seed {split_seed}): every number is of the same {photos['train']:,} training and "
        f"{photos['test']:,} test photos; the intervals do not hold what another split would change.",
        *(
            ["Synthetic photos: they are drawn by a program, and say nothing of photographs."]
            if source.partition(":")[0] == "synthetic"
            else []
        ),
    ]


def _of_labels(result: Comparison) -> Iterator[str]:
    """What wrong test labels do to the numbers where nobody has checked them."""
    if compared.words(result).are_clean:
        return
    yield (
        "Labels as given: nobody has checked them here, in test either. Added wrong labels are those that noise has "
        "made; whatever was wrong before comes on top."
    )
    facts = facts_of(result.metric)
    if facts.counts_right:
        yield from map(_of_wrong_test_labels, sorted({len(photos.classes) for photos in result.datasets}))
    elif facts.of == "test":
        yield "Wrong test labels change every number measured against them, and mostly make differences smaller."


def _of_wrong_test_labels(classes: int) -> str:
    """What they do to accuracy, in an example."""
    slope = 1 - WRONG * classes / (classes - 1)
    measured = WRONG / (classes - 1) + RIGHT * slope
    by = "" if classes == 2 else f"/{classes - 1}"
    return (
        f"Wrong test labels: if a share e of them is wrong, a classifier that is always right scores 1 − e, so "
        f"{100 * (1 - WRONG):g} % where {100 * WRONG:g} % are wrong. If they are wrong at random, an accuracy of a is "
        f"measured as e{by} + a (1 − {classes}e{by}): {100 * RIGHT:g} % becomes {100 * measured:.1f} %, and a "
        f"difference of 2 points {2 * slope:.2f}. If they follow a pattern, a model that has learned it even gains."
    )


def _of_seeds(result: Comparison) -> Iterator[str]:
    counts = [row.seeds for row in result.rows if row.seeds]
    if not counts or min(counts) >= FEW_SEEDS:
        return
    least = min(counts)
    if max(counts) == 1:
        yield (
            "One seed: the intervals hold the sampling of test photos only. Another draw of the noise, or another "
            "start of training, may order the losses differently."
        )
    else:
        yield f"Few seeds: {least} in some cells. The spread over draws and trainings is known only roughly."


def _of_test_photos(result: Comparison) -> Iterator[str]:
    for photos in result.datasets:
        count = sum(photos.test_counts)
        width = 196 * math.sqrt(0.25 / count)
        if width > 2:
            yield (
                f"Small test split: {count:,} photos. By their sampling alone a share is uncertain by up to "
                f"± {width:.1f} points, so smaller differences between accuracies that are not marked significant mean "
                "nothing."
            )
        fewest = min(number for number in photos.test_counts if number)
        if fewest < 30 and len(photos.test_counts) > 1:
            yield f"Few photos of some classes: {fewest} in the test split of the rarest; read nothing from its recall."


def _of_imbalance(result: Comparison) -> Iterator[str]:
    for number, photos in enumerate(result.datasets):
        classes = sum(count > 0 for count in photos.test_counts)
        if photos.majority * classes >= _UNEVEN:
            yield (
                f"Uneven classes: always answering the most frequent one is right for {100 * photos.majority:.1f} % of "
                "the test photos. Accuracy near that is no skill; look at balanced accuracy."
            )
        chance = facts_of(result.metric).chance
        if chance is None:
            continue
        score = chance.of(photos.test_counts)
        low = [row for row in result.rows if row.dataset == number and row.ci_low is not None and row.ci_low <= score]
        if low:
            names = joined(few(list(dict.fromkeys(_cell(result, row) for row in low))))
            of = f"{compared.number(score, result.unit)}{' %' if result.unit == 'share' else ''}"
            yield f"Not above the {chance.score} of {of}, within their intervals: {names}."


def _of_collapse(result: Comparison) -> Iterator[str]:
    rows = [row for row in result.rows if row.collapsed]
    if rows:
        names = joined(few([f"{_cell(result, row)} ({row.collapsed} of {row.seeds})" for row in rows]))
        yield (
            f"Collapsed runs: {names}. They never predict some class, and a score that does not fall because of that "
            "is no robustness."
        )


def _of_failures(result: Comparison) -> Iterator[str]:
    rows = [row for row in result.rows if row.failed]
    if rows:
        names = joined(few([f"{_cell(result, row)} ({row.failed})" for row in rows]))
        yield f"Failed runs: {names}. The means are of the runs that remain, which may be the lucky ones."


def _of_equality(result: Comparison) -> Iterator[str]:
    if any(row.difference and row.difference.verdict is None for row in result.rows):
        yield "Not significant does not mean equal: with more photos or seeds a difference may show."


def _of_selection(result: Comparison, photos: Mapping[str, int]) -> Iterator[str]:
    if any(each.select == "oracle" for each in result.datasets):
        yield (
            "Oracle: epoch and hyper-parameters were picked on the test photos. That is an upper bound that nobody can "
            "reach who does not know the answers."
        )
    if not photos["val"]:
        yield "No validation split: nothing was tuned for any loss, so one may suffer from what another likes."


def _of_frozen_features(result: Comparison) -> Iterator[str]:
    if any(row.setup.mode == "features" for row in result.rows):
        yield (
            "Frozen features: only the last layer is trained. A network trained in full can memorise more wrong labels "
            "and fall deeper."
        )


def _cell(result: Comparison, row: Row) -> str:
    return f"{loss_name(result, row)} under {condition_name(row.condition)}"
