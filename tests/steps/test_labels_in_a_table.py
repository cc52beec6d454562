"""Labels in a table: taken from it alone, in every form and by every name of a photo, with further columns as noise."""

import csv
import hashlib
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from flowernoise.analysis.results.stages import PrepareResult
from flowernoise.errors import BadRequestError, FlowernoiseError
from flowernoise.progress import Silent
from flowernoise.show import summaries
from flowernoise.steps import commands
from flowernoise.steps.corrupt import corrupt
from flowernoise.steps.prepare import prepare
from flowernoise.steps.settings import CorruptSettings, PrepareSettings
from flowernoise.store import artifacts as stored
from flowernoise.store import datasets
from flowernoise.store.layout import Layout
from flowernoise.store.photos import IndexedPhoto

Row = Mapping[str, str]


@pytest.fixture
def rows(photo_folder: Path) -> list[dict[str, str]]:
    """Rows for 36 photos whose labels are not those of the folders, and whose third is mistaken in ``worse``."""
    photos = sorted(photo_folder.rglob("*.jpg"))
    for number, photo in enumerate(photos):
        photo.rename(photo_folder / photo.parent.name / f"{number}.jpg")
    names = [f"{photo.parent.name}/{number}.jpg" for number, photo in enumerate(photos)]
    return [
        {"path": name, "label": "ab"[k % 2], "worse": "ab"[(k + (k % 3 == 0)) % 2], "minutes": str(k)}
        for k, name in enumerate(names)
    ]


def separated(rows: Sequence[Row], delimiter: str = ",") -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def written(path: Path, rows: Sequence[Row]) -> Path:
    """A table in the form of the path's suffix."""
    if path.suffix == ".parquet":
        parquet = pytest.importorskip("pyarrow.parquet")
        import pyarrow

        parquet.write_table(pyarrow.Table.from_pylist([dict(row) for row in rows]), path)
    elif path.suffix == ".jsonl":
        path.write_text("\n".join(map(json.dumps, rows)))
    else:
        path.write_text(separated(rows, "\t" if path.suffix == ".tsv" else ","))
    return path


def prepared(folder: Path, labels: Path | None, artifacts: Path, **options: object) -> PrepareResult:
    given = {"source": str(folder), "labels": labels, "image_size": 8, **options}
    return prepare(artifacts, PrepareSettings(**given), Silent())  # type: ignore[arg-type]


def index_of(artifacts: Path) -> dict[str, IndexedPhoto]:
    layout = Layout(artifacts)
    return {photo.path: photo for photo in datasets.index(layout, datasets.need(layout))}


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_labels_come_from_the_table_in_every_form(
    photo_folder: Path, rows: list[dict[str, str]], tmp_path: Path, suffix: str
) -> None:
    table = written(tmp_path / f"labels{suffix}", rows)
    dataset = prepared(photo_folder, table, tmp_path / "a").dataset
    assert dataset.classes == ("a", "b")
    assert {path: dataset.classes[photo.label] for path, photo in index_of(tmp_path / "a").items()} == {
        row["path"]: row["label"] for row in rows
    }
    assert dataset.table is not None
    assert list(dataset.table.columns) == ["worse", "minutes"]
    assert commands.prepare_again(dataset.request)[-2:] == ["--labels", str(table)]


def by_id(folder: Path, row: Row) -> dict[str, str]:
    return {"id": hashlib.sha256((folder / row["path"]).read_bytes()).hexdigest()}


@pytest.mark.parametrize(
    "named",
    [
        by_id,
        lambda folder, row: {"file_name": f"./{row['path']}"},
        lambda folder, row: {"file": str(folder / row["path"])},
        lambda folder, row: {"filename": Path(row["path"]).name},
    ],
)
def test_photos_go_by_id_path_or_file_name(
    photo_folder: Path, rows: list[dict[str, str]], tmp_path: Path, named: Callable[[Path, Row], Row]
) -> None:
    table = written(tmp_path / "labels.csv", [{**named(photo_folder, row), "label": row["label"]} for row in rows])
    assert sum(prepared(photo_folder, table, tmp_path / "a").dataset.sizes) == 36
    assert {path: "ab"[photo.label] for path, photo in index_of(tmp_path / "a").items()} == {
        row["path"]: row["label"] for row in rows
    }


def test_what_only_one_of_table_and_source_has_is_left_out_and_told(
    photo_folder: Path, rows: list[dict[str, str]], tmp_path: Path
) -> None:
    lost = [{**rows[0], "path": "gone/1.jpg", "label": "lily"}, {**rows[0], "path": "gone/2.jpg"}]
    dataset = prepared(photo_folder, written(tmp_path / "labels.csv", rows[:30] + lost), tmp_path / "a").dataset
    assert (sum(dataset.sizes), dataset.classes) == (30, ("a", "b"))
    assert list(summaries.from_table(dataset)) == [
        "further labels, for corrupt --noise observed:column=NAME: worse, minutes",
        "photos left out, as the table of labels does not name them: 6",
        "rows of the table without a photo in the source: 2 (gone/1.jpg, gone/2.jpg)",
        "labels that only such rows have, so no classes: 1 (lily)",
    ]


def test_a_split_column_is_kept(photo_folder: Path, rows: list[dict[str, str]], tmp_path: Path) -> None:
    splits = ("train", "Validation", "test")
    table = written(tmp_path / "labels.csv", [{**row, "split": splits[k // 2 % 3]} for k, row in enumerate(rows)])
    dataset = prepared(photo_folder, table, tmp_path / "a").dataset
    assert (dataset.given_splits, dataset.sizes) == (("train", "val", "test"), (12, 12, 12))
    found = index_of(tmp_path / "a")
    assert [found[row["path"]].split for row in rows[:6]] == ["train", "train", "val", "val", "test", "test"]


def test_a_column_becomes_noise_of_train_and_val_without_the_source(
    photo_folder: Path, rows: list[dict[str, str]], tmp_path: Path
) -> None:
    table = written(tmp_path / "labels.csv", rows)
    prepared(photo_folder, table, tmp_path / "a")
    photo_folder.rename(tmp_path / "gone")
    table.unlink()
    asked = CorruptSettings(noise=("observed:column=worse",), seeds=1)
    [_, noisy] = corrupt(tmp_path / "a", asked, Silent()).draws
    assert noisy.key.noise.startswith("observed:column=worse,sha256=")
    held = stored.Artifacts(tmp_path / "a")
    worse = {row["path"]: "ab".index(row["worse"]) for row in rows}
    noisy_photos = [photo for photo in held.photos if photo.split in ("train", "val")]
    [drawn] = [draw.labels for draw in held.draws() if draw.key == noisy.key]
    assert [*drawn.train_labels, *drawn.val_labels] == [worse[photo.path] for photo in noisy_photos]
    for column, message in (
        ("minutes", r"^column minutes, photo \S+: '\d+' is not a class; there are: a, b$"),
        ("worst", r"no column 'worst' was prepared \(did you mean worse\?\); there are: worse, minutes$"),
        ("worse,sha256=00", "column worse is not the one with the SHA-256 00"),
    ):
        with pytest.raises(BadRequestError, match=message):
            corrupt(tmp_path / "a", CorruptSettings(noise=(f"observed:column={column}",), seeds=1), Silent())


def test_a_changed_column_is_another_draw_and_a_binary_task_reads_it(
    photo_folder: Path, rows: list[dict[str, str]], tmp_path: Path
) -> None:
    asked, keys = CorruptSettings(noise=("observed:column=worse",), seeds=1), set()
    for worse in ("ab", "ba"):
        table = written(tmp_path / "labels.csv", [{**row, "worse": worse[k % 2]} for k, row in enumerate(rows)])
        assert not prepared(photo_folder, table, tmp_path / "a", positive="b").done_before
        draw = corrupt(tmp_path / "a", asked, Silent()).draws[-1]
        keys.add(draw.key)
        assert draw.realised_rate == (worse == "ba")
    assert len(keys) == 2


def test_a_damaged_file_of_columns_is_made_again_and_goes_with_its_data_set(
    photo_folder: Path, rows: list[dict[str, str]], tmp_path: Path
) -> None:
    table = written(tmp_path / "labels.csv", rows)
    prepared(photo_folder, table, tmp_path / "a")
    [file] = (tmp_path / "a" / "photos").glob("columns-*.csv")
    sound = file.read_bytes()
    file.write_bytes(sound.replace(b"a", b"b"))
    with pytest.raises(FlowernoiseError, match="columns-"):
        corrupt(tmp_path / "a", CorruptSettings(noise=("observed:column=worse",), seeds=1), Silent())
    assert not prepared(photo_folder, table, tmp_path / "a").done_before
    assert file.read_bytes() == sound
    prepared(photo_folder, None, tmp_path / "a")
    assert not file.exists()


def test_empty_cells_of_a_column_keep_the_label_only_if_asked(
    photo_folder: Path, rows: list[dict[str, str]], tmp_path: Path
) -> None:
    table = written(tmp_path / "labels.csv", [{**row, "worse": ""} for row in rows])
    prepared(photo_folder, table, tmp_path / "a")
    with pytest.raises(
        BadRequestError, match=r"has no label for 31 of the 31 photos .*observed:column=worse,partial=true"
    ):
        corrupt(tmp_path / "a", CorruptSettings(noise=("observed:column=worse",), seeds=1), Silent())
    kept = corrupt(tmp_path / "a", CorruptSettings(noise=("observed:column=worse,partial=true",), seeds=1), Silent())
    assert kept.draws[-1].realised_rate == 0


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("l.csv", "path,class\n1.jpg,a\n", "has no column 'label'; it has path, class; say which has the"),
        ("l.csv", "name,label\n1.jpg,a\n", r"has no column that names photos \(path, file, filename, file_name, id\)"),
        ("l.csv", "path,label\nx.jpg,a\n", "names none of the 36 photos in .*; it has 1 rows, such as x.jpg"),
        ("l.csv", "path,label\n1.jpg,a\n./daisy/1.jpg,b\n", "line 3: daisy/1.jpg already has a label, in .*line 2"),
        ("l.csv", "path,label\n1.jpg,\n", "line 2: the label of 1.jpg is empty"),
        ("l.csv", "path,label\n1.jpg,rose\n2.jpg,Rose\n", "the classes 'Rose' and 'rose' differ only in upper"),
        ("l.csv", "path,label,label\n1.jpg,a,b\n", "has two columns 'label'"),
        ("l.csv", "path,label\n1.jpg\n", "line 2: not 2 cells as in the header"),
        ("l.csv", "path,label,split\n1.jpg,a,\n", "line 2: '' is not a split; there are train, val"),
        ("l.csv", "path,label\n1.jpg,a\n2.jpg,a\n", "all photos are of one class, 'a'"),
        ("l.jsonl", '{"path": "1.jpg", "label": ["a"]}', "line 1, 'label' is neither text nor a number"),
        ("l.jsonl", '{"path": "1.jpg", "label": "a", "label": "b"}', "line 1 has two values for 'label'"),
        ("l.jsonl", '["1.jpg", "a"]', "line 1 is not an object"),
        ("l.jsonl", "[" * 100_000, "line 1 is not JSON"),
        ("l.parquet", "PAR1", "is not a Parquet file"),
    ],
)  # fmt: skip
def test_a_table_that_cannot_be_meant_is_refused_in_a_line(
    photo_folder: Path, rows: list[dict[str, str]], tmp_path: Path, name: str, text: str, message: str
) -> None:
    assert rows
    (tmp_path / name).write_text(text)
    with pytest.raises(BadRequestError, match=message) as caught:
        prepared(photo_folder, tmp_path / name, tmp_path / "a")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "a").exists()


def test_options_that_do_not_fit_are_refused(
    photo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BadRequestError, match=r"--labels l\.csv: only a directory of photos takes it, not synthetic"):
        prepare(tmp_path / "a", PrepareSettings(source="synthetic", labels=Path("l.csv")), Silent())
    with pytest.raises(BadRequestError, match=r"--labels: cannot read l\.csv: No such file"):
        prepared(photo_folder, Path("l.csv"), tmp_path / "a")
    with pytest.raises(BadRequestError, match="--label-column names a column of the --labels file"):
        prepared(photo_folder, None, tmp_path / "a", label_column="x")
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    (tmp_path / "l.parquet").write_bytes(b"PAR1")
    with pytest.raises(FlowernoiseError, match=r"Parquet needs pyarrow: pip install 'flowernoise\[parquet\]'"):
        prepared(photo_folder, tmp_path / "l.parquet", tmp_path / "a")


def test_metadata_csv_of_image_folder_is_such_a_table(
    photo_folder: Path, rows: list[dict[str, str]], tmp_path: Path
) -> None:
    for split, of_split in (("train", rows[:24]), ("test", rows[24:])):
        folder = photo_folder / split
        folder.mkdir()
        for row in of_split:
            (photo_folder / row["path"]).rename(folder / Path(row["path"]).name)
        metadata = [
            {"file_name": Path(row["path"]).name, "label": row["label"], "worse": row["worse"]} for row in of_split
        ]
        written(folder / "metadata.csv", metadata)
    result = prepared(photo_folder, None, tmp_path / "a")
    assert (result.dataset.classes, result.dataset.given_splits) == (("a", "b"), ("train", "test"))
    assert result.dataset.counts[2] == (6, 6)
    assert not any("metadata" in each.path for each in result.passed_over)
    assert prepared(photo_folder, None, tmp_path / "a").done_before
    (photo_folder / "test" / "metadata.csv").write_text("file_name,label\n30.jpg,b\n31.jpg,a\n")
    assert prepared(photo_folder, None, tmp_path / "a").dataset.counts[2] == (1, 1)
    for split in ("train", "test"):
        (photo_folder / split / "metadata.csv").write_bytes(b"camera,\xff\n")
    with pytest.raises(BadRequestError, match="have the names of splits, but no class folders"):
        prepared(photo_folder, None, tmp_path / "a")
