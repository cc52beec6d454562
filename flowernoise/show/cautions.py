"""Sentences on what a reader must not conclude; each is left out where the numbers give no reason for it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from flowernoise.catalogue.label_words import Known, LabelWords, label_words
from flowernoise.catalogue.metrics import facts_of
from flowernoise.show import compared
from flowernoise.show.sentences import condition_name, few, joined, loss_name
from flowernoise.store.records import Comparison, DatasetRequest, Row

FEW_SEEDS = 5
WRONG, RIGHT = 0.05, 0.9  # of test labels and of predictions, in an example
_UNEVEN = 1.5  # times its even share that the most frequent class takes


def cautions(result: Comparison, request: DatasetRequest, photos: Mapping[str, int]) -> list[str]:
    """What a reader must not conclude; only what the numbers give reason for.

    Args:
        request: where the photos are from, and how they were split.
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
        *_of_splits(request, photos),
        *(
            ["Synthetic photos: a program drew them, so they say nothing about photographs."]
            if request.source.partition(":")[0] == "synthetic"
            else []
        ),
    ]


def _of_splits(request: DatasetRequest, photos: Mapping[str, int]) -> Iterator[str]:
    if request.splits == 1:
        yield (
            f"One split (seed {request.seed}): every number comes from the same {photos['train']:,} training and "
            f"{photos['test']:,} test photos. Another split would change the numbers; the intervals leave that out."
        )
    else:
        yield (
            f"{request.splits} splits of the same photos (seed {request.seed}), each with {photos['train']:,} for "
            f"training and {photos['test']:,} for testing. The intervals cover another split of these photos, but not "
            "other photos to train on."
        )


def _of_labels(result: Comparison) -> Iterator[str]:
    """What wrong test labels do to the numbers where nobody has checked them."""
    words = compared.words(result)
    if words.are_clean:
        return
    as_given = (
        "Labels as given: nobody has checked them, not even those of the test photos. Added wrong labels are the ones "
        "that the noise made; any that were wrong before come on top."
    )
    yield _of_doubts(words) if words.training_is_doubted else as_given
    if words.test is Known.CHECKED:
        return
    facts = facts_of(result.metric)
    if facts.counts_right:
        yield from map(_of_wrong_test_labels, sorted({len(photos.classes) for photos in result.datasets}))
    elif facts.of == "test":
        yield "Wrong test labels distort every number measured against them, and mostly make differences look smaller."


def _of_doubts(words: LabelWords) -> str:
    """What may be wrong where ``prepare --trust`` said that labels were not checked."""
    changed = "the share of labels that noise changed is known, but not how many are wrong, with noise or without"
    if words.test_is_doubted:
        return (
            f"Labels that may be wrong: none were checked, so every accuracy is against labels that may be wrong, and "
            f"{changed}."
        )
    return f"Training labels as given: only the labels of the test {words.things} were checked, so {changed}."


def _of_wrong_test_labels(classes: int) -> str:
    """What they do to accuracy, in an example."""
    slope = 1 - WRONG * classes / (classes - 1)
    measured = WRONG / (classes - 1) + RIGHT * slope
    by = "" if classes == 2 else f"/{classes - 1}"
    return (
        f"Wrong test labels: if a share e of them is wrong, a classifier that is always right scores 1 − e, so "
        f"{100 * (1 - WRONG):g} % where {100 * WRONG:g} % are wrong. If they are wrong at random, an accuracy of a is "
        f"measured as e{by} + a (1 − {classes}e{by}): {100 * RIGHT:g} % becomes {100 * measured:.1f} %, and a "
        f"difference of 2 points becomes {2 * slope:.2f}. If they follow a pattern, a model that has learned the "
        "pattern even scores higher."
    )


def _of_seeds(result: Comparison) -> Iterator[str]:
    counts = [row.seeds for row in result.rows if row.seeds]
    if not counts or min(counts) >= FEW_SEEDS:
        return
    least = min(counts)
    if max(counts) == 1:
        yield (
            "One seed: the intervals cover only the choice of test photos. Another draw of the noise, or another "
            "training, may rank the losses differently."
        )
    else:
        yield f"Few seeds: only {least} in some cells. How much draws and trainings vary is known only roughly."


def _of_test_photos(result: Comparison) -> Iterator[str]:
    for photos in result.datasets:
        count, things = sum(photos.test_counts), label_words(photos).things
        width = 196 * math.sqrt(0.25 / count)
        if width > 2:
            yield (
                f"Small test split: {count:,} {things}. That alone makes a share uncertain by up to ± {width:.1f} "
                "points. Do not read anything into smaller differences unless they are marked as significant."
            )
        fewest = min(number for number in photos.test_counts if number)
        if fewest < 30 and len(photos.test_counts) > 1:
            yield (
                f"Few {things} of some classes: the rarest has {fewest} in the test split. Its recall says very little."
            )


def _of_imbalance(result: Comparison) -> Iterator[str]:
    for number, photos in enumerate(result.datasets):
        classes = sum(count > 0 for count in photos.test_counts)
        if photos.majority * classes >= _UNEVEN:
            yield (
                f"Uneven classes: always answering the most frequent one is right for {100 * photos.majority:.1f} % of "
                "the test photos. An accuracy near that shows no skill; look at balanced accuracy instead."
            )
        chance = facts_of(result.metric).chance
        if chance is None:
            continue
        score = chance.of(photos.test_counts)
        low = [row for row in result.rows if row.dataset == number and row.ci_low is not None and row.ci_low <= score]
        if low:
            names = joined(few(list(dict.fromkeys(_cell(result, row) for row in low))))
            of = f"{compared.number(score, result.unit)}{' %' if result.unit == 'share' else ''}"
            yield f"Possibly no better than the {chance.score} of {of}: {names}. Their intervals include it."


def _of_collapse(result: Comparison) -> Iterator[str]:
    rows = [row for row in result.rows if row.collapsed]
    if rows:
        names = joined(few([f"{_cell(result, row)} ({row.collapsed} of {row.seeds})" for row in rows]))
        yield (
            f"Collapsed runs: {names}. They never predict some class. If their score does not fall as noise grows, "
            "that is not robustness."
        )


def _of_failures(result: Comparison) -> Iterator[str]:
    rows = [row for row in result.rows if row.failed]
    if rows:
        names = joined(few([f"{_cell(result, row)} ({row.failed})" for row in rows]))
        yield f"Failed runs: {names}. The means cover only the runs that remain, which may be the lucky ones."


def _of_equality(result: Comparison) -> Iterator[str]:
    if any(row.difference and row.difference.verdict is None for row in result.rows):
        yield "“Not significant” does not mean “equal”: more photos or seeds may reveal a difference."


def _of_selection(result: Comparison, photos: Mapping[str, int]) -> Iterator[str]:
    if any(each.select == "oracle" for each in result.datasets):
        yield (
            "Oracle: epoch and hyper-parameters were picked on the test photos. That is an upper bound: nobody can "
            "reach it without knowing the answers."
        )
    if not photos["val"]:
        yield "No validation split: nothing was tuned, so settings that suit one loss may hurt another."


def _of_frozen_features(result: Comparison) -> Iterator[str]:
    if any(row.setup.mode == "features" for row in result.rows):
        yield (
            "Frozen features: only the last layer is trained. A fully trained network can memorise more wrong labels "
            "and lose more."
        )


def _cell(result: Comparison, row: Row) -> str:
    return f"{loss_name(result, row)} under {condition_name(row.condition)}"
