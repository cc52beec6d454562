"""What first stages hand on: written once, read back to the bit, refused where it is no matrix."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from flowernoise.errors import DamagedFileError
from flowernoise.store import first_stages
from flowernoise.store.first_stages import FirstStageRecord, Outcome, Rows
from flowernoise.store.layout import Layout
from flowernoise.store.records import Dataset, DrawKey, Provenance
from tests.fabricated import a_setup

DRAWS = [DrawKey("symmetric", rate, 0) for rate in (0.2, 0.4)]
THIRDS = np.array([[1 / 3, 2 / 3], [0.1, 0.9]])


class Prepared(msgspec.Struct):
    """What a watch asks of a data set."""

    id: str = "data"
    classes: tuple[str, ...] = ("daisy", "roses")


def a_stage(*matrices: Rows | None, dataset: str = "data") -> FirstStageRecord:
    outcomes = tuple(Outcome(draw, "labels", matrix) for draw, matrix in zip(DRAWS, matrices, strict=False))
    return FirstStageRecord(dataset, a_setup(), "estimated_matrix", outcomes, Provenance({}, "tensorflow", "cpu"))


def read(layout: Layout) -> tuple[list[FirstStageRecord], list[DamagedFileError]]:
    """The records that are there, and what is wrong with others."""
    errors: list[DamagedFileError] = []
    dataset: Dataset = Prepared()  # type: ignore[assignment]
    watch = first_stages.watch(layout, dataset, on_damage=lambda _, error: errors.append(error))
    return list(watch.look()[0].values()), errors


def test_a_matrix_comes_back_to_the_bit_and_one_that_diverged_as_no_number(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    written = a_stage(first_stages.rows(THIRDS), first_stages.rows(THIRDS * np.nan))
    first_stages.write(layout, written)
    [found], errors = read(layout)
    assert (found, errors) == (written, [])
    first, second = (first_stages.matrix_of(outcome, 2) for outcome in found.outcomes)
    assert np.array_equal(first, THIRDS)
    assert second.shape == (2, 2)
    assert np.isnan(second).all()


def test_other_labels_are_another_record_and_the_same_ones_are_not(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    stage = a_stage(first_stages.rows(THIRDS))
    redrawn = (msgspec.structs.replace(stage.outcomes[0], labels="others"),)
    for each in (stage, stage, msgspec.structs.replace(stage, outcomes=redrawn)):
        first_stages.write(layout, each)
    assert len(list(layout.first_stages.iterdir())) == 2


BAD = [((1.0,), (1.0,)), ((0.5, 0.5),), ((0.5, 0.4), (0.5, 0.5)), ((1.5, -0.5), (0.0, 1.0)), ()]


@pytest.mark.parametrize("rows", BAD, ids=str)
def test_what_is_no_transition_matrix_of_these_classes_is_damaged(tmp_path: Path, rows: Rows) -> None:
    first_stages.write(Layout(tmp_path), a_stage(rows))
    found, [error] = read(Layout(tmp_path))
    assert found == []
    assert "not a transition matrix of 2 classes" in str(error)
    assert read(Layout(tmp_path / "elsewhere")) == ([], [])


def test_a_stage_of_other_photos_may_have_other_classes(tmp_path: Path) -> None:
    stage = a_stage(((1.0,),), dataset="other")
    first_stages.write(Layout(tmp_path), stage)
    assert read(Layout(tmp_path)) == ([stage], [])
