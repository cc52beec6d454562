"""Results are never written onto what is recorded or read."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flowernoise.errors import BadRequestError
from flowernoise.progress import Silent
from flowernoise.steps.corrupt import corrupt
from flowernoise.steps.outputs import Inputs
from flowernoise.steps.plot import plot
from flowernoise.steps.prepare import prepare
from flowernoise.steps.settings import CorruptSettings, PlotSettings, PrepareSettings
from flowernoise.store.layout import Layout


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder of photos, labels of one's own, and an artifacts directory that both went into."""
    root = tmp_path_factory.mktemp("place")
    stream = np.random.default_rng(0)
    lines = ["path,label"]
    for name in ("rose", "tulip"):
        (root / "photos" / name).mkdir(parents=True)
        for number in range(10):
            pixels = stream.integers(0, 256, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / "photos" / name / f"{number}.png")
            lines.append(f"{name}/{number}.png,rose")
    (root / "mine.csv").write_text("\n".join(lines) + "\n")
    prepare(root / "artifacts", PrepareSettings(source=str(root / "photos"), image_size=16), Silent())
    corrupt(root / "artifacts", CorruptSettings(noise=(), import_=root / "mine.csv", seeds=1), Silent())
    return root


@pytest.mark.parametrize(
    ("output", "why"),
    [
        ("artifacts/dataset.json", "records"),
        ("artifacts/photos/table.csv", "records"),
        ("artifacts/evaluation-0123.h5", "records"),
        ("mine.csv", "photos or labels were taken from"),
        ("photos/rose/3.png", "one of the photos"),
        ("photos/../photos/tulip/0.png", "one of the photos"),
    ],
)
def test_what_is_needed_is_never_written_onto(place: Path, output: str, why: str) -> None:
    with pytest.raises(BadRequestError, match=why):
        Inputs([place / "artifacts"]).refuse(place / output)


@pytest.mark.parametrize(
    "output",
    ["table.csv", "photos/table.csv", "artifacts/table.csv", "artifacts/plots/mine.svg", "artifacts/report.html"],
)
def test_everything_else_may_be_written(place: Path, output: str) -> None:
    Inputs([place / "artifacts"]).refuse(place / output)


def test_records_are_kept_from_commands_that_work_elsewhere(place: Path, tmp_path: Path) -> None:
    with pytest.raises(BadRequestError, match="among the records of the artifacts directory"):
        Inputs([tmp_path]).refuse(place / "artifacts" / "dataset.json")


def test_a_link_leads_to_what_it_links(place: Path, tmp_path: Path) -> None:
    (tmp_path / "table.csv").symlink_to(place / "mine.csv")
    with pytest.raises(BadRequestError, match="photos or labels were taken from"):
        Inputs([place / "artifacts"]).refuse(tmp_path / "table.csv")


def test_labels_are_not_exported_onto_those_imported(place: Path) -> None:
    before = (place / "mine.csv").read_bytes()
    settings = CorruptSettings(noise=(), import_=place / "mine.csv", seeds=1, export=place / "mine.csv")
    with pytest.raises(BadRequestError, match=r"mine\.csv is read by this command"):
        corrupt(place / "artifacts", settings, Silent())
    assert (place / "mine.csv").read_bytes() == before


def test_exported_labels_that_are_there_already_are_left_alone(place: Path, tmp_path: Path) -> None:
    settings = CorruptSettings(noise=(), import_=place / "mine.csv", seeds=1, export=tmp_path / "labels.csv")
    corrupt(place / "artifacts", settings, Silent())
    before = (tmp_path / "labels.csv").stat().st_mtime_ns
    corrupt(place / "artifacts", settings, Silent())
    assert (tmp_path / "labels.csv").stat().st_mtime_ns == before


@pytest.mark.parametrize("name", ["fig.gif", "figures.v2"])
def test_pictures_are_not_written_into_a_directory_called_like_a_file(place: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(BadRequestError, match="pictures are png, svg, pdf"):
        plot(place / "artifacts", PlotSettings("transition", output=tmp_path / name), Silent())
    assert not (tmp_path / name).exists()


def test_a_directory_that_is_there_may_have_any_name(place: Path, tmp_path: Path) -> None:
    (tmp_path / "figures.v2").mkdir()
    settings = PlotSettings("transition", output=tmp_path / "figures.v2")
    [drawn] = plot(place / "artifacts", settings, Silent()).files
    assert drawn.path.parent == tmp_path / "figures.v2"


def test_the_suffix_makes_a_pdf_and_the_same_one_twice(place: Path, tmp_path: Path) -> None:
    settings = PlotSettings("transition", output=tmp_path / "fig.pdf")
    plot(place / "artifacts", settings, Silent())
    first = (tmp_path / "fig.pdf").read_bytes()
    assert first.startswith(b"%PDF")
    (tmp_path / "fig.pdf").unlink()
    plot(place / "artifacts", settings, Silent())
    assert (tmp_path / "fig.pdf").read_bytes() == first


def test_pictures_are_not_drawn_among_records(place: Path) -> None:
    photos = Layout(place / "artifacts").photos
    before = sorted(photos.iterdir())
    with pytest.raises(BadRequestError, match="among the records"):
        plot(place / "artifacts", PlotSettings("transition", output=photos), Silent())
    assert sorted(photos.iterdir()) == before
