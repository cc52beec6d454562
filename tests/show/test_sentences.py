"""Sentences that state results, from fabricated comparisons."""

import pytest

from flowernoise.show import sentences
from flowernoise.store.records import (
    Rate,
)
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
        ([("ce", 0.8, {"best": True}), ("mae", 0.7, {})], "ce has the highest accuracy, 80.0 %; whether others are"),
        (
            [("ce", 0.8, {"best": True}), ("mae", 0.7, {"difference": against(-0.1, 0.01, "worse")})],
            "; all others are significantly worse, or collapsed or failed.",
        ),
        ([("ce", 0.8, {"best": True}), ("mae", 0.7, {"tied": True})], "; mae is not significantly worse."),
        (
            [("ce", 0.8, {"best": True}), *((loss, 0.7, {"tied": True}) for loss in ("elr", "gce", "mae"))],
            "; elr, gce and mae are not significantly worse.",
        ),
        (
            [("ce", 0.8, {"best": True}), ("x", 0.1, {}), *((f"l{k}", 0.7, {"tied": True}) for k in range(5))],
            "; 5 of 6 others are not significantly worse.",
        ),
        ([("ce", 0.8, {"best": True}), ("mae", 0.8, {"best": True})], "ce and mae share the highest accuracy, 80.0 %"),
        ([("ce", 0.8, {})], "ce, the only loss, has 80.0 % accuracy."),
        ([("ce", 0.5, {"collapsed": 1}), ("mae", 0.5, {"collapsed": 5})], "every loss collapsed or failed"),
        ([("ce", None, {"failed": 5, "seeds": 0})], "all runs failed."),
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
        "On labels as given, ce has the lowest NLL, 0.400; whether others are worse by more than chance was not tested."
    )


# Against the baseline


def test_a_missing_baseline_is_said():
    [sentence] = sentences.against_baseline(compared(a_row(NOISY, "mae", 0.7)))
    assert sentence.startswith("There are no runs with the baseline ce")


def test_an_untested_metric_is_not_called_without_difference():
    rows = a_row(NOISY, "ce", 0.7, best=True), a_row(NOISY, "mae", 0.71)
    result = compared(*rows, metric="memorised", better="lower")
    assert sentences.against_baseline(result) == [
        "No difference from ce in share of added wrong labels memorised was tested: read the intervals."
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
    assert sentence.startswith("Nothing was compared with ce")


def test_no_significant_difference_is_said_with_the_number_of_tests():
    rows = a_row(NOISY, "ce", 0.7), a_row(NOISY, "mae", 0.71, difference=against(0.01, 0.4, None))
    assert sentences.against_baseline(compared(*rows)) == [
        "No loss differs significantly from ce under any noise (1 test, Holm's correction, 5 %)."
    ]


def test_differences_are_counted_and_then_told_better_ones_first():
    rows = (
        a_row(NOISY, "ce", 0.7),
        a_row(NOISY, "mae", 0.6, difference=against(-0.1, 0.0004, "worse")),
        a_row(NOISY, "gce", 0.753, difference=against(0.053, 0.012, "better")),
    )
    assert sentences.against_baseline(compared(*rows)) == [
        "Against ce, gce is significantly better in 1 comparison; mae is significantly worse in 1 comparison "
        "(2 tests, Holm's correction, 5 %).",
        "Under symmetric 0.4 (40.0 % added wrong labels), gce differs from ce by +5.3 points [+4.3 to +6.3]: better, "
        "p = 0.012.",
        "Under symmetric 0.4 (40.0 % added wrong labels), mae differs from ce by −10.0 points [−11.0 to −9.0]: worse, "
        "p < 0.001.",
    ]


# Tolerated rates


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (
            [rated("ce", Rate("below", 0.2)), rated("mae", Rate("exact", 0.231))],
            "symmetric: mae stands the most added wrong labels within 2 points of ce's control, 23.1 % "
            "(95 % interval <20.0 % to 39.0 %).",
        ),
        (
            [rated("ce", Rate("at_least", 0.6)), rated("mae", Rate("at_least", 0.6))],
            "symmetric: ce and mae stay within 2 points of ce's control up to the highest rate tried, at least 60.0 % "
            "(95 % interval <20.0 % to 39.0 %).",
        ),
        (
            [rated("ce", Rate("below", 0.2)), rated("mae", Rate("none", None))],
            "symmetric: no loss stays within 2 points of ce's control at any rate that was tried.",
        ),
        (
            [rated("mae", Rate("at_least", 0.6), collapsed=True)],
            "symmetric: every loss collapsed at some tolerated rate, so none is called tolerant.",
        ),
        (
            [rated("mae", Rate("at_least", 0.6), collapsed=True), rated("ce", Rate("exact", 0.3))],
            "symmetric: ce stands the most added wrong labels within 2 points of ce's control, 30.0 % "
            "(95 % interval <20.0 % to 39.0 %).",
        ),
    ],
)
def test_tolerance_names_the_most_tolerant_loss_that_did_not_collapse(lines, expected):
    rows = a_row(CLEAN, "ce", 0.9), a_row(CLEAN, "mae", 0.9)
    assert sentences.tolerances(compared(*rows, tolerated=tuple(lines))) == [expected]


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
        "With ce, accuracy goes from 90.9 % on labels as given to 70.7 % with 40.0 % added wrong ones (symmetric 0.4)."
    )
    assert "mae is significantly worse" in significance
    assert tolerance.startswith("symmetric: ce stands")
    assert collapse == "1 run has collapsed; see what not to conclude."


def test_losses_are_named_with_their_backbone_where_there_are_several():
    rows = a_row(CLEAN, "ce", 0.9, best=True), a_row(CLEAN, "ce", 0.8, setup=a_setup("efficientnet_lite0"))
    first, second = sentences.best(compared(a_row(CLEAN, "mae", 0.7), *rows))
    assert "ce · resnet50 has the highest accuracy" in first
    assert "ce · efficientnet_lite0, the only loss, has 80.0 % accuracy" in second


def test_a_loss_that_is_given_the_true_matrix_is_never_called_best_or_most_tolerant():
    oracle = a_row(CLEAN, "forward:T=true", 0.95, oracle=True)
    [sentence] = sentences.best(compared(oracle, a_row(CLEAN, "ce", 0.9, best=True), a_row(CLEAN, "mae", 0.8)))
    assert "ce has the highest accuracy" in sentence
    [alone] = sentences.best(compared(oracle))
    assert "every loss is given the true transition matrix, so none is called best" in alone
    lines = (rated("forward:T=true", Rate("at_least", 0.6)), rated("ce", Rate("exact", 0.3)))
    [tolerant] = sentences.tolerances(compared(oracle, a_row(CLEAN, "ce", 0.9), tolerated=lines))
    assert "ce stands" in tolerant
