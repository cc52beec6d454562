from pathlib import Path

import msgspec
import numpy as np
import pytest

from flowernoise.errors import DamagedFileError
from flowernoise.store import evaluations, files
from flowernoise.store.layout import Layout
from flowernoise.store.records import (
    Evaluation,
    RunBlock,
)
from tests.fabricated import a_block, a_key, evaluated


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


def evaluation(count: int = 2) -> Evaluation:
    keys = [a_key("symmetric", 0.2, seed) for seed in range(count)]
    said = evaluated(keys, failures=["diverged" if key.seed else None for key in keys])
    counts = ((2, 2), (0, 0), (2, 2))
    selections = ("selected", "last", "oracle")
    return Evaluation(
        dataset="data",
        source="folder:x",
        classes=("a", "b"),
        counts=counts,
        inputs="inputs",
        selections=selections,
        arrays=files.NOT_WRITTEN,
        **said,
    )


def arrays(runs: int = 2, fill: int = 0) -> dict[str, np.ndarray]:
    return {
        "predicted": np.full((runs, 3, 4), fill, dtype=np.uint8),
        "memorised": np.full((runs, 3), np.nan),
        "recovered": np.full((runs, 3), np.nan),
        "collapsed": np.zeros((runs, 3), dtype=bool),
        "available": np.ones((runs, 3), dtype=bool),
        "test_labels": np.array([0, 0, 1, 1]),
    }


def block(name: str = "x", generation: int = 1) -> RunBlock:
    return a_block("data", (), arrays=files.FileRef(name, files.digest(name.encode()), 1), generation=generation)


def test_an_evaluation_reads_back_as_it_was_written(layout: Layout) -> None:
    written = evaluations.write(layout, evaluation(), arrays())
    assert msgspec.structs.replace(written, arrays=files.NOT_WRITTEN) == evaluation()
    assert evaluations.find(layout) == written
    read = evaluations.read(layout, written)
    for name, array in arrays().items():
        np.testing.assert_array_equal(read[name], array)


def test_without_an_evaluation_none_is_found(layout: Layout) -> None:
    assert evaluations.find(layout) is None


def test_a_new_evaluation_leaves_no_arrays_of_the_one_before(layout: Layout) -> None:
    evaluations.write(layout, evaluation(), arrays(fill=0))
    (layout.root / "evaluation-notes.txt").write_text("mine")
    now = evaluations.write(layout, evaluation(), arrays(fill=1))
    assert {path.name for path in layout.root.iterdir()} == {
        "evaluation.json",
        "evaluation-notes.txt",
        now.arrays.name,
    }
    assert evaluations.read(layout, now)["predicted"].all()


def test_a_damaged_record_is_refused(layout: Layout) -> None:
    evaluations.write(layout, evaluation(), arrays())
    layout.evaluation.write_bytes(layout.evaluation.read_bytes().replace(b"0.2", b"0.3", 1))
    with pytest.raises(DamagedFileError, match=r"evaluation\.json is damaged"):
        evaluations.find(layout)


def test_damaged_arrays_are_refused(layout: Layout) -> None:
    written = evaluations.write(layout, evaluation(), arrays())
    path = layout.root / written.arrays.name
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DamagedFileError, match=f"{path.name} is damaged"):
        evaluations.read(layout, written)


@pytest.mark.parametrize("name", ["predicted", "memorised", "recovered", "collapsed", "available"])
def test_arrays_of_fewer_runs_than_recorded_are_refused(layout: Layout, name: str) -> None:
    fewer = {**arrays(), name: arrays(runs=1)[name]}
    with pytest.raises(DamagedFileError, match="not what its record says"):
        evaluations.read(layout, evaluations.write(layout, evaluation(), fewer))


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("predicted", np.full((2, 3, 4), 2, dtype=np.uint8), "predictions of classes that do not exist"),
        ("test_labels", np.array([0, 0, 1, 2]), "predictions of classes that do not exist"),
        ("test_labels", np.array([0, 0, 1, -1]), "predictions of classes that do not exist"),
        ("memorised", np.full((2, 3), 1.5), "shares outside 0 … 1"),
        ("recovered", np.full((2, 3), -0.5), "shares outside 0 … 1"),
        ("recovered", np.full((2, 3), np.inf), "shares outside 0 … 1"),
        ("predicted", np.zeros((2, 3, 4)), "not what its record says"),
        ("collapsed", np.zeros((2, 3), dtype=np.uint8), "not what its record says"),
        ("test_labels", np.zeros(5, dtype=np.uint8), "not what its record says"),
    ],
)
def test_arrays_that_no_evaluation_holds_are_refused(
    layout: Layout, name: str, array: np.ndarray, message: str
) -> None:
    written = evaluations.write(layout, evaluation(), {**arrays(), name: array})
    with pytest.raises(DamagedFileError, match=f"{written.arrays.name}.*{message}"):
        evaluations.read(layout, written)


def test_arrays_of_another_process_stay(layout: Layout) -> None:
    """It may be about to write its record."""
    evaluations.write(layout, evaluation(), arrays(fill=0))
    other = files.write_arrays(layout.root, "evaluation", arrays(fill=1) | {"memorised": np.ones((2, 3))})
    evaluations.write(layout, evaluation(), arrays(fill=1))
    assert files.check_blob(layout.root, other).exists()
    assert len(list(layout.root.glob("evaluation-*.h5"))) == 2


def test_arrays_that_another_process_removes_meanwhile_are_written_again(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where locks do nothing: it found them named by the record before, and has just replaced that."""
    plain = files.write_record

    def removed_first(*arguments: object) -> None:
        for path in layout.root.glob("evaluation-*.h5"):
            path.unlink()
        plain(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(files, "write_record", removed_first)
    written = evaluations.write(layout, evaluation(), arrays())
    assert evaluations.read(layout, written)["predicted"].shape == (2, 3, 4)


def test_arrays_that_another_process_has_replaced_are_not_written_again(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = files.write_record
    theirs = evaluations.write(layout, evaluation(), arrays())
    record = layout.evaluation.read_bytes()

    def they_replace_it(*arguments: object) -> None:
        plain(*arguments)  # type: ignore[arg-type]
        for path in layout.root.glob("evaluation-*.h5"):
            if path.name != theirs.arrays.name:
                path.unlink()
        layout.evaluation.write_bytes(record)

    monkeypatch.setattr(files, "write_record", they_replace_it)
    evaluations.write(layout, evaluation(), arrays(fill=1))
    assert [path.name for path in layout.root.glob("evaluation-*.h5")] == [theirs.arrays.name]


def test_arrays_that_another_process_names_by_now_stay(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    before = evaluations.write(layout, evaluation(), arrays())
    theirs, plain = layout.evaluation.read_bytes(), files.write_record

    def they_write_too(*arguments: object) -> None:
        plain(*arguments)  # type: ignore[arg-type]
        layout.evaluation.write_bytes(theirs)

    monkeypatch.setattr(files, "write_record", they_write_too)
    evaluations.write(layout, evaluation(), arrays(fill=1))
    assert evaluations.read(layout, before)["predicted"].max() == 0


def test_what_an_evaluation_is_made_from_changes_with_any_block_but_not_with_their_order() -> None:
    inputs = evaluations.inputs_of({"a": block("x"), "b": block("y")})
    assert evaluations.inputs_of({"b": block("y"), "a": block("x")}) == inputs
    others = [
        {"a": block("x")},
        {"a": block("x"), "c": block("y")},
        {"a": block("x"), "b": block("z")},
        {"a": block("x"), "b": block("y", generation=2)},
        {},
    ]
    assert inputs not in {evaluations.inputs_of(other) for other in others}
