"""What not to conclude: said where the numbers give reason for it, and nowhere else."""

import re

import msgspec
import numpy as np
import pytest

from flowernoise.show import cautions
from flowernoise.store.records import (
    Comparison,
    DatasetRequest,
)
from tests.show.small_comparisons import (
    CLEAN,
    NOISY,
    PHOTOS,
    TUNED,
    a_row,
    against,
    compared,
)


def every_caution(result: Comparison, source: str = "tf_flowers", photos=PHOTOS) -> str:
    return "\n".join(cautions.cautions(result, DatasetRequest(source, None, None, None, 32, 0), photos))


def test_with_several_splits_their_luck_is_in_the_intervals():
    result, several = compared(a_row(CLEAN, "ce", 0.9)), DatasetRequest("tf_flowers", None, None, None, 32, 0, 5)
    said = "\n".join(cautions.cautions(result, several, PHOTOS))
    assert "5 splits of the same photos (seed 0)" in said
    assert "One split" not in said


def with_photos(**facts) -> dict:
    [photos] = compared(a_row(CLEAN, "ce", 0.9)).datasets
    return {"datasets": (msgspec.structs.replace(photos, **facts),)}


MANY = with_photos(test_counts=(4000, 4000, 4000))


@pytest.mark.parametrize(
    ("phrase", "applies", "does_not"),
    [
        ("One seed:", compared(a_row(CLEAN, "ce", 0.9, seeds=1)), compared(a_row(CLEAN, "ce", 0.9))),
        (
            "Few seeds: only 3",
            compared(a_row(CLEAN, "ce", 0.9, seeds=3), a_row(NOISY, "ce", 0.9)),
            compared(a_row(CLEAN, "ce", 0.9)),
        ),
        ("± 5.7 points", compared(a_row(CLEAN, "ce", 0.9)), compared(a_row(CLEAN, "ce", 0.9), **MANY)),
        (
            "Few photos of some classes: the rarest has 9",
            compared(a_row(CLEAN, "ce", 0.9), **with_photos(test_counts=(9, 100, 100))),
            compared(a_row(CLEAN, "ce", 0.9)),
        ),
        (
            "right for 83.0 %",
            compared(a_row(CLEAN, "ce", 0.9), **with_photos(test_counts=(83, 17), majority=0.83)),
            compared(a_row(CLEAN, "ce", 0.9)),
        ),
        (
            "Possibly no better than the majority score of 33.3 %: ce under symmetric 0.4.",
            compared(a_row(CLEAN, "ce", 0.9), a_row(NOISY, "ce", 0.34)),
            compared(a_row(NOISY, "ce", 0.4)),
        ),
        (
            "mae under symmetric 0.4 (2 of 5)",
            compared(a_row(NOISY, "mae", 0.6, collapsed=2)),
            compared(a_row(NOISY, "mae", 0.6)),
        ),
        (
            "Failed runs: mae under the control (1)",
            compared(a_row(CLEAN, "mae", 0.6, failed=1)),
            compared(a_row(CLEAN, "ce", 0.9)),
        ),
        (
            "does not mean “equal”",
            compared(a_row(NOISY, "mae", 0.6, difference=against(0.01, 0.5, None))),
            compared(a_row(NOISY, "mae", 0.6, difference=against(0.1, 0.01, "better"))),
        ),
        (
            "Oracle:",
            compared(a_row(CLEAN, "ce", 0.9), **with_photos(select="oracle")),
            compared(a_row(CLEAN, "ce", 0.9)),
        ),
        ("Frozen features:", compared(a_row(CLEAN, "ce", 0.9)), compared(a_row(CLEAN, "ce", 0.9, setup=TUNED))),
    ],
)  # fmt: skip
def test_cautions_stand_where_the_numbers_give_reason_and_nowhere_else(phrase, applies, does_not):
    assert phrase in every_caution(applies)
    assert phrase not in every_caution(does_not)


def test_cautions_on_split_photos_and_validation():
    result = compared(a_row(CLEAN, "ce", 0.9))
    assert "One split (seed 0)" in every_caution(result)
    assert "Synthetic photos" in every_caution(result, "synthetic:photos=700")
    assert "Synthetic photos" not in every_caution(result)
    assert "No validation split" in every_caution(result, photos={**PHOTOS, "val": 0})
    assert "No validation split" not in every_caution(result)


def test_cautions_say_what_wrong_test_labels_do_unless_the_program_made_the_labels():
    given = every_caution(compared(a_row(CLEAN, "ce", 0.9)))
    assert "Labels as given: nobody has checked them, not even those of the test photos." in given
    assert "always right scores 1 − e, so 95 % where 5 % are wrong" in given
    assert "e/2 + a (1 − 3e/2): 90 % becomes 85.8 %, and a difference of 2 points becomes 1.85." in given  # 3 classes
    binary = every_caution(compared(a_row(CLEAN, "ce", 0.9), **with_photos(classes=("a", "b"), test_counts=(50, 50))))
    assert "e + a (1 − 2e): 90 % becomes 86.0 %, and a difference of 2 points becomes 1.80." in binary
    made = every_caution(compared(a_row(CLEAN, "ce", 0.9), **with_photos(source="synthetic:photos=900")))
    assert "abels as given" not in made
    assert "rong test labels" not in made


@pytest.mark.parametrize("classes", [2, 3, 5, 100])
@pytest.mark.parametrize(("metric", "there"), [("accuracy", True), ("balanced_accuracy", False), ("memorised", False)])
def test_the_formula_for_wrong_test_labels_is_that_of_accuracy(classes, metric, there):
    photos = with_photos(classes=tuple(map(str, range(classes))), test_counts=(100,) * classes)
    text = every_caution(compared(a_row(CLEAN, "ce", 0.9), metric=metric, **photos))
    assert ("always right scores 1 − e" in text) is there
    assert ("Wrong test labels distort every number" in text) is (metric == "balanced_accuracy")
    if there:
        wrong = np.eye(classes) * 0.95 + (1 - np.eye(classes)) * 0.05 / (classes - 1)  # P(label | true class)
        answers = np.eye(classes) * 0.9 + (1 - np.eye(classes)) * 0.1 / (classes - 1)  # P(answer | true class)
        became = re.search(r"90 % becomes ([0-9.]+) %", text)
        assert float(became[1]) == pytest.approx(100 * (wrong * answers).sum(axis=1).mean(), abs=0.051)
