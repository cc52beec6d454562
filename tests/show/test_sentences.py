"""Sentences that state results, from fabricated comparisons."""

import msgspec
import pytest

from flowernoise.show import sentences
from flowernoise.store.records import Rate, RateInterval
from tests.fabricated import a_setup
from tests.show.small_comparisons import (
    CLEAN,
    NOISY,
    a_row,
    against,
    compared,
    rated,
)

# Which is best


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([("ce", 0.8, {"best": True}), ("mae", 0.7, {})], "ce has the highest accuracy, 80.0 %; the differences from"),
        (
            [("ce", 0.8, {"best": True}), ("mae", 0.7, {"difference": against(-0.1, 0.01, "worse")})],
            "; every other loss is significantly worse, or collapsed or failed.",
        ),
        ([("ce", 0.8, {"best": True}), ("mae", 0.7, {"tied": True})], "; its lead over mae may be chance."),
        (
            [("ce", 0.8, {"best": True}), *((loss, 0.7, {"tied": True}) for loss in ("elr", "gce", "mae"))],
            "; its lead over elr, gce and mae may be chance.",
        ),
        (
            [("ce", 0.8, {"best": True}), ("x", 0.1, {}), *((f"l{k}", 0.7, {"tied": True}) for k in range(5))],
            "; its lead over 5 of the 6 others may be chance.",
        ),
        ([("ce", 0.8, {"best": True}), ("mae", 0.8, {"best": True})], "ce and mae share the highest accuracy, 80.0 %"),
        ([("ce", 0.8, {})], "ce is the only loss: its accuracy is 80.0 %."),
        ([("ce", 0.5, {"collapsed": 1}), ("mae", 0.5, {"collapsed": 5})], "every loss collapsed or failed"),
        ([("ce", None, {"failed": 5, "seeds": 0})], "every run failed."),
    ],
)
def test_best_says_who_leads_who_is_tied_and_that_nobody_does(rows, expected):
    [sentence] = sentences.best(compared(*(a_row(NOISY, loss, mean, **known) for loss, mean, known in rows)))
    assert sentence.startswith("Under symmetric 0.4 (40.0 % added wrong labels), ")
    assert expected in sentence


def test_lower_is_better_is_said_of_metrics_like_that():
    rows = a_row(CLEAN, "ce", 0.4, best=True), a_row(CLEAN, "mae", 0.6)
    [sentence] = sentences.best(compared(*rows, metric="nll", unit="plain", better="lower"))
    assert sentence == (
        "With labels as given, ce has the lowest NLL, 0.400; the differences from the others were not tested."
    )


# Against the baseline


def test_a_missing_baseline_is_said():
    [sentence] = sentences.against_baseline(compared(a_row(NOISY, "mae", 0.7)))
    assert sentence.startswith("No run here uses the baseline ce")


def test_an_untested_metric_is_not_called_without_difference():
    rows = a_row(NOISY, "ce", 0.7, best=True), a_row(NOISY, "mae", 0.71)
    result = compared(*rows, metric="memorised", better="lower")
    assert sentences.against_baseline(result) == [
        "The differences from ce in share of added wrong labels memorised were not tested; compare the intervals."
    ]
    assert sentences.question(result).startswith("What do added wrong training labels do to")


def test_conditions_under_which_a_metric_means_nothing_are_passed_over():
    rows = a_row(CLEAN, "ce", None), a_row(NOISY, "ce", 0.2, best=True)
    [sentence] = sentences.best(compared(*rows, metric="memorised", better="lower"))
    assert sentence.startswith("Under symmetric")


@pytest.mark.parametrize(
    ("metric", "written"),
    [("balanced_accuracy", "balanced accuracy"), ("recall:roses", "recall of roses"), ("ece", "ECE")],
)
def test_metrics_are_called_as_people_write_them(metric, written):
    assert sentences.metric_name(compared(a_row(CLEAN, "ce", 0.9), metric=metric)) == written


def test_nothing_to_compare_with_is_said():
    [sentence] = sentences.against_baseline(compared(a_row(NOISY, "ce", 0.7)))
    assert sentence == "ce is the only loss here, so there is nothing to compare it with."


def test_no_significant_difference_is_said_with_the_number_of_tests():
    rows = a_row(NOISY, "ce", 0.7), a_row(NOISY, "mae", 0.71, difference=against(0.01, 0.4, None))
    assert sentences.against_baseline(compared(*rows)) == [
        "No loss differs significantly from ce: the difference may be chance (1 test, Holm's correction, 5 % level)."
    ]


def test_differences_are_counted_and_then_told_better_ones_first():
    rows = (
        a_row(NOISY, "ce", 0.7),
        a_row(NOISY, "mae", 0.6, difference=against(-0.1, 0.0004, "worse")),
        a_row(NOISY, "gce", 0.753, difference=against(0.053, 0.012, "better")),
    )
    assert sentences.against_baseline(compared(*rows)) == [
        "Compared with ce, gce is significantly better in 1 test, and mae is significantly worse in 1 test "
        "(2 tests, Holm's correction, 5 % level).",
        "Under symmetric 0.4 (40.0 % added wrong labels), gce is better than ce: +5.3 points (95 % interval +4.3 to "
        "+6.3, p = 0.012).",
        "Under symmetric 0.4 (40.0 % added wrong labels), mae is worse than ce: −10.0 points (95 % interval −11.0 to "
        "−9.0, p < 0.001).",
    ]


# Tolerated rates


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (
            [rated("ce", Rate("below", 0.2)), rated("mae", Rate("exact", 0.231))],
            "Under symmetric noise, accuracy with mae stays within 2 points of ce's control up to an estimated 23.1 % "
            "added wrong labels (95 % interval: less than 20.0 % to 39.0 %). That is the highest estimate, but ce may "
            "tolerate as much: the intervals overlap.",
        ),
        (
            [rated("ce", Rate("at_least", 0.6)), rated("mae", Rate("at_least", 0.6))],
            "Under symmetric noise, accuracy with ce and mae stays within 2 points of ce's control at every rate "
            "tried, up to 60.0 % added wrong labels (95 % interval: less than 20.0 % to 39.0 %).",
        ),
        (
            [rated("ce", Rate("below", 0.2)), rated("mae", Rate("none", None))],
            "Under symmetric noise, no loss stays within 2 points of ce's control at any rate that was tried.",
        ),
        (
            [rated("mae", Rate("at_least", 0.6), collapsed=True)],
            "Under symmetric noise, every loss collapsed at a rate that it seemed to tolerate, so none is called "
            "tolerant.",
        ),
        (
            [rated("mae", Rate("at_least", 0.6), collapsed=True), rated("ce", Rate("exact", 0.3))],
            "Under symmetric noise, accuracy with ce stays within 2 points of ce's control up to an estimated 30.0 % "
            "added wrong labels (95 % interval: less than 20.0 % to 39.0 %).",
        ),
    ],
)
def test_tolerance_names_the_most_tolerant_loss_that_did_not_collapse(lines, expected):
    rows = a_row(CLEAN, "ce", 0.9), a_row(CLEAN, "mae", 0.9)
    assert sentences.tolerances(compared(*rows, tolerated=tuple(lines))) == [expected]


def test_a_loss_whose_interval_lies_above_the_others_is_said_to_tolerate_more():
    clear = RateInterval(Rate("exact", 0.5), Rate("exact", 0.45), Rate("at_least", 0.6))
    lines = rated("ce", Rate("below", 0.2)), msgspec.structs.replace(rated("mae", Rate("exact", 0.5)), tolerance=clear)
    [sentence] = sentences.tolerances(compared(a_row(CLEAN, "ce", 0.9), tolerated=lines))
    assert "(95 % interval: 45.0 % to more than 60.0 %). Its interval lies above those of all other" in sentence


def test_a_loss_that_may_tolerate_nothing_is_said_to_tolerate_0_percent_at_least():
    wide = RateInterval(Rate("exact", 0.266), Rate("none", None), Rate("exact", 0.452))
    lines = rated("ce", Rate("none", None)), msgspec.structs.replace(rated("mae", Rate("exact", 0.5)), tolerance=wide)
    [sentence] = sentences.tolerances(compared(a_row(CLEAN, "ce", 0.9), tolerated=lines))
    assert "an estimated 26.6 % added wrong labels (95 % interval: 0 % to 45.2 %)." in sentence
    assert "but ce may tolerate as much" in sentence


# In short


def test_headlines_say_fall_significance_tolerance_and_collapse():
    rows = (
        a_row(CLEAN, "ce", 0.909),
        a_row(NOISY, "ce", 0.707),
        a_row(NOISY, "mae", 0.5, collapsed=1, difference=against(-0.2, 0.001, "worse")),
    )
    tolerated = (rated("ce", Rate("exact", 0.231)),)
    fall, significance, tolerance, collapse = sentences.headlines(compared(*rows, tolerated=tolerated))
    assert fall == (
        "With ce, accuracy falls from 90.9 % with labels as given to 70.7 % with 40.0 % added wrong labels "
        "(symmetric 0.4)."
    )
    assert "mae is significantly worse" in significance
    assert tolerance.startswith("Under symmetric noise, accuracy with ce stays")
    assert collapse == "1 run collapsed: some class is never predicted. Read “What not to conclude” first."


def test_the_answer_is_the_fall_of_the_baseline_and_whether_anything_differs_from_it():
    rows = (
        a_row(CLEAN, "ce", 0.909),
        a_row(NOISY, "ce", 0.707),
        a_row(NOISY, "mae", 0.71, difference=against(0.003, 0.4, None)),
    )
    assert sentences.answer(compared(*rows)) == (
        "With ce, accuracy falls from 90.9 % with labels as given to 70.7 % with 40.0 % added wrong labels "
        "(symmetric 0.4). No loss differs significantly from ce: the difference may be chance (1 test, Holm's "
        "correction, 5 % level)."
    )
    assert sentences.answer(compared(a_row(CLEAN, "ce", 0.9))).startswith("ce is the only loss here")


def test_what_noise_leaves_unchanged_is_not_said_to_fall():
    same = sentences.answer(compared(a_row(CLEAN, "ce", 0.9), a_row(NOISY, "ce", 0.9)))
    assert "accuracy is 90.0 % with labels as given and still 90.0 % with 40.0 % added wrong labels" in same
    more = sentences.answer(compared(a_row(CLEAN, "ce", 0.9), a_row(NOISY, "ce", 0.95)))
    assert "accuracy rises from 90.0 % with labels as given to 95.0 % with" in more


def test_losses_are_named_with_their_backbone_where_there_are_several():
    rows = a_row(CLEAN, "ce", 0.9, best=True), a_row(CLEAN, "ce", 0.8, setup=a_setup("efficientnet_lite0"))
    first, second = sentences.best(compared(a_row(CLEAN, "mae", 0.7), *rows))
    assert "ce · resnet50 has the highest accuracy" in first
    assert "ce · efficientnet_lite0 is the only loss: its accuracy is 80.0 %" in second


def test_losses_are_named_with_no_more_than_tells_them_apart():
    tuned = a_setup(mode="finetune", epochs=9, batch_size=64)
    rows = a_row(CLEAN, "ce", 0.9, best=True), a_row(CLEAN, "ce", 0.8, setup=tuned)
    first, second = sentences.best(compared(*rows))
    assert "ce · features is the only loss" in first
    assert "ce · finetune is the only loss" in second


def test_a_loss_that_is_given_the_true_matrix_is_never_called_best_or_most_tolerant():
    oracle = a_row(CLEAN, "forward:T=true", 0.95, oracle=True)
    [sentence] = sentences.best(compared(oracle, a_row(CLEAN, "ce", 0.9, best=True), a_row(CLEAN, "mae", 0.8)))
    assert "ce has the highest accuracy" in sentence
    [alone] = sentences.best(compared(oracle))
    assert "every loss is given the true transition matrix, so none is called best" in alone
    lines = (rated("forward:T=true", Rate("at_least", 0.6)), rated("ce", Rate("exact", 0.3)))
    [tolerant] = sentences.tolerances(compared(oracle, a_row(CLEAN, "ce", 0.9), tolerated=lines))
    assert "with ce stays" in tolerant
