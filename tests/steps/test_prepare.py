import contextlib
import dataclasses
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image

from flowernoise.analysis.results.stages import PrepareResult
from flowernoise.catalogue import photo_folders
from flowernoise.errors import BadRequestError, ExitCode, FlowernoiseError
from flowernoise.progress import Advance
from flowernoise.steps.prepare import PrepareSettings, apportion, prepare, set_duplicates_apart, split
from flowernoise.store import datasets, files, photos
from flowernoise.store.layout import Layout
from flowernoise.store.photos import IndexedPhoto

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
REAL_PHOTOS = Path(os.environ.get("FLOWERNOISE_TEST_PHOTOS", SHARED / "flowers"))


class Recorder:
    """A progress that keeps what it is told."""

    visible = False

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.advanced = 0

    @contextlib.contextmanager
    def task(self, description: str, total: int | None, unit: str) -> Iterator[Advance]:  # noqa: ARG002
        yield self._advance

    def _advance(self, count: int) -> None:
        self.advanced += count

    def note(self, text: str) -> None:
        self.notes.append(text)


class Workplace:
    """A folder of photos, and an artifacts directory to prepare it in."""

    def __init__(self, folder: Path, artifacts: Path) -> None:
        self.folder, self.artifacts, self.progress = folder, artifacts, Recorder()

    def prepare(self, **options: object) -> PrepareResult:
        """Prepares the folder, its photos at 8 pixels so that it takes no time."""
        given = {"source": str(self.folder), "image_size": 8, **options}
        return prepare(self.artifacts, PrepareSettings(**given), self.progress)  # type: ignore[arg-type]

    @property
    def layout(self) -> Layout:
        return Layout(self.artifacts)

    def index(self) -> tuple[IndexedPhoto, ...]:
        return photos.read_index(self.layout.photos, datasets.need(self.layout).index)

    def state(self) -> dict[str, tuple[int, bytes]]:
        """Modification time and content of every file, and the times of the directories."""
        paths = [self.artifacts, *self.artifacts.rglob("*")]
        return {str(p): (p.stat().st_mtime_ns, p.read_bytes() if p.is_file() else b"") for p in paths}


@pytest.fixture
def place(photo_folder: Path, tmp_path: Path) -> Workplace:
    return Workplace(photo_folder, tmp_path / "artifacts")


def refusal(place: Workplace, **options: object) -> str:
    """The message with which a request is refused; checks that it is one line with exit code 2."""
    with pytest.raises(BadRequestError) as caught:
        place.prepare(**options)
    assert caught.value.exit_code is ExitCode.BAD_REQUEST
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


# Splitting

LABELS = st.dictionaries(st.text("abcdef0123456789", min_size=1, max_size=6), st.sampled_from("pqrst"), min_size=2)
SEEDS = st.integers(0, 5)


@st.composite
def labels_and_sizes(draw: st.DrawFn) -> tuple[dict[str, str], tuple[int, int, int]]:
    labels = draw(LABELS)
    train = draw(st.integers(1, len(labels) - 1))
    test = draw(st.integers(1, len(labels) - train))
    return labels, (train, draw(st.integers(0, len(labels) - train - test)), test)


@given(labels_and_sizes(), SEEDS)
def test_each_split_has_exactly_the_size_asked_for(
    asked: tuple[dict[str, str], tuple[int, int, int]], seed: int
) -> None:
    labels, sizes = asked
    assigned = split(labels, sizes, seed)
    assert assigned.keys() <= labels.keys()
    counts = Counter(assigned.values())
    assert tuple(counts[name] for name in ("train", "val", "test")) == sizes


@given(labels_and_sizes(), SEEDS)
def test_test_is_stratified_within_one_photo_and_the_others_within_two(
    asked: tuple[dict[str, str], tuple[int, int, int]], seed: int
) -> None:
    """Where nearly all photos are asked for, train and sometimes val are what there is left of a class."""
    labels, sizes = asked
    assigned = split(labels, sizes, seed)
    totals = Counter(labels.values())
    for name, size, most in zip(("train", "val", "test"), sizes, (2, 2, 1), strict=True):
        counts = Counter(labels[id] for id, where in assigned.items() if where == name)
        for label, total in totals.items():
            assert abs(counts[label] - size * total / len(labels)) < most


@given(st.lists(st.integers(8, 30), min_size=1, max_size=5), SEEDS, st.data())
def test_splits_are_stratified_within_one_photo_where_enough_is_left(
    totals: list[int], seed: int, data: st.DataObject
) -> None:
    labels = {f"{label}-{number}": str(label) for label, total in enumerate(totals) for number in range(total)}
    train, val, test = (data.draw(st.integers(1, len(labels) // 5)) for _ in range(3))
    counts = Counter((where, labels[id]) for id, where in split(labels, (train, val, test), seed).items())
    for name, size in (("train", train), ("val", val), ("test", test)):
        for label, total in enumerate(totals):
            assert abs(counts[name, str(label)] - size * total / len(labels)) < 1


@given(labels_and_sizes(), SEEDS)
def test_the_test_photos_do_not_depend_on_how_many_others_are_asked_for(
    asked: tuple[dict[str, str], tuple[int, int, int]], seed: int
) -> None:
    labels, (train, val, test) = asked
    assigned, alone = (split(labels, sizes, seed) for sizes in ((train, val, test), (1, 0, test)))
    assert {id for id in labels if assigned.get(id) == "test"} == {id for id in labels if alone.get(id) == "test"}


@given(LABELS, SEEDS)
def test_the_default_takes_every_photo_in_shares_of_70_15_15(labels: dict[str, str], seed: int) -> None:
    assigned = split(labels, None, seed)
    assert assigned.keys() == labels.keys()
    counts = Counter(assigned.values())
    assert counts["val"] == round(0.15 * len(labels))
    assert counts["test"] == max(1, round(0.15 * len(labels)))


@given(labels_and_sizes(), SEEDS, st.randoms())
def test_the_split_is_a_function_of_ids_and_seed_and_not_of_order(
    asked: tuple[dict[str, str], tuple[int, int, int]], seed: int, random: Random
) -> None:
    labels, sizes = asked
    shuffled = list(labels.items())
    random.shuffle(shuffled)
    assert split(dict(shuffled), sizes, seed) == split(labels, sizes, seed)


def test_another_seed_gives_another_split() -> None:
    labels = {str(number): "ab"[number % 2] for number in range(60)}
    splits = [split(labels, None, seed) for seed in range(5)]
    assert all(a != b for a in splits for b in splits if a is not b)


@given(LABELS, st.integers(1, 1000))
def test_more_photos_than_there_are_cannot_be_asked_for(labels: dict[str, str], more: int) -> None:
    with pytest.raises(BadRequestError, match=f"more than the {len(labels)} there are; ask for fewer"):
        split(labels, (len(labels), more - 1, 1), 0)


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_photos_to_split_are_refused(count: int) -> None:
    with pytest.raises(BadRequestError, match=f"{count} photos are too few to split"):
        split(dict.fromkeys("ab"[:count], "rose"), None, 0)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=8), st.data())
def test_seats_are_apportioned_within_one_of_proportion(sizes: list[int], data: st.DataObject) -> None:
    assume(sum(sizes))
    seats = data.draw(st.integers(0, sum(sizes)))
    counts = apportion(seats, sizes, sizes)
    assert sum(counts) == seats
    for count, size in zip(counts, sizes, strict=True):
        assert 0 <= count <= size
        assert abs(count - seats * size / sum(sizes)) < 1


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(0, 50)), min_size=1, max_size=8), st.data())
def test_seats_never_exceed_what_is_available(classes: list[tuple[int, int]], data: st.DataObject) -> None:
    sizes, available = [size for size, _ in classes], [most for _, most in classes]
    seats = data.draw(st.integers(0, sum(available)))
    counts = apportion(seats, sizes, available)
    assert sum(counts) == seats
    assert all(0 <= count <= most for count, most in zip(counts, available, strict=True))


# What is kept


def test_photos_are_kept_with_their_classes_splits_and_bytes(place: Workplace) -> None:
    result = place.prepare()
    assert not result.done_before
    dataset = result.dataset
    assert (dataset.classes, dataset.found) == (("daisy", "roses", "tulips"), 36)
    assert dataset.sizes == (26, 5, 5)
    index = place.index()
    archive = photos.Archive(place.layout.photos, dataset.archive)
    for photo, encoded in zip(index, archive.read(index), strict=True):
        assert encoded == (place.folder / photo.path).read_bytes()
        assert dataset.classes[photo.label] == photo.path.partition("/")[0]
    for row, name in enumerate(("train", "val", "test")):
        counts = Counter(photo.label for photo in index if photo.split == name)
        assert dataset.counts[row] == tuple(counts[label] for label in range(3))
    assert place.progress.advanced == 36


def test_the_index_is_in_the_one_order_of_everything_downstream(place: Workplace) -> None:
    place.prepare()
    assert list(place.index()) == photos.in_order(place.index())


def test_sizes_are_those_asked_for_and_val_is_none_unless_asked_for(place: Workplace) -> None:
    assert place.prepare(train=12, test=6).dataset.counts == ((4, 4, 4), (0, 0, 0), (2, 2, 2))
    assert place.prepare(train=12, val=3, test=6).dataset.counts == ((4, 4, 4), (1, 1, 1), (2, 2, 2))


def test_only_photos_in_a_split_are_kept(place: Workplace) -> None:
    place.prepare(train=3, test=3)
    assert len(place.index()) == 6
    assert datasets.need(place.layout).found == 36


def test_the_same_photos_under_other_names_give_the_same_data_set(place: Workplace, tmp_path: Path) -> None:
    renamed = Workplace(tmp_path / "renamed", tmp_path / "other")
    for file in place.folder.rglob("*.jpg"):
        target = renamed.folder / file.parent.name / "deeper" / f"{99 - int(file.stem)}.JPEG"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target)
    here, there = place.prepare().dataset, renamed.prepare().dataset
    assert (here.id, here.counts, here.archive) == (there.id, there.counts, there.archive)


def test_image_size_and_seed_and_classes_make_another_data_set(place: Workplace) -> None:
    ids = [
        place.prepare(**options).dataset.id
        for options in ({}, {"image_size": 9}, {"seed": 1}, {"positive": "roses"}, {"train": 20, "test": 5})
    ]
    assert len(set(ids)) == 5


def test_positive_makes_the_task_binary_and_stays_stratified_by_the_five(place: Workplace) -> None:
    dataset = place.prepare(positive="roses", train=18, test=9).dataset
    assert dataset.classes == ("not roses", "roses")
    assert dataset.counts == ((12, 6), (0, 0), (6, 3))
    folders = Counter(photo.path.partition("/")[0] for photo in place.index() if photo.split == "test")
    assert folders == {"daisy": 3, "roses": 3, "tulips": 3}
    assert all((photo.label == 1) == photo.path.startswith("roses/") for photo in place.index())


# Duplicates


def test_identical_photos_are_kept_once_and_listed(place: Workplace) -> None:
    daisies = place.folder / "daisy"
    shutil.copy(daisies / "03.jpg", daisies / "copy.jpg")
    shutil.copy(daisies / "03.jpg", daisies / "a.jpg")
    dataset = place.prepare().dataset
    assert dataset.identical == (("daisy/03.jpg", "daisy/a.jpg", "daisy/copy.jpg"),)
    assert (dataset.found, sum(dataset.sizes)) == (38, 36)
    assert [photo.path for photo in place.index() if photo.path in dataset.identical[0]] == ["daisy/03.jpg"]


def test_one_photo_under_two_classes_is_dropped_and_listed(place: Workplace) -> None:
    shutil.copy(place.folder / "roses" / "05.jpg", place.folder / "tulips" / "x.jpg")
    shutil.copy(place.folder / "roses" / "05.jpg", place.folder / "roses" / "y.jpg")
    dataset = place.prepare().dataset
    assert dataset.contradictory == (("roses/05.jpg", "roses/y.jpg", "tulips/x.jpg"),)
    assert dataset.identical == ()
    assert sum(dataset.sizes) == 35
    assert not {photo.path for photo in place.index()} & set(dataset.contradictory[0])


def test_contradictions_are_dropped_even_where_both_classes_are_not_the_positive_one(place: Workplace) -> None:
    shutil.copy(place.folder / "roses" / "05.jpg", place.folder / "tulips" / "x.jpg")
    assert sum(place.prepare(positive="daisy").dataset.sizes) == 35


def test_a_class_all_of_whose_photos_lie_under_another_too_is_refused(place: Workplace) -> None:
    shutil.copytree(place.folder / "roses", place.folder / "rosen")
    with pytest.raises(FlowernoiseError, match="no photo of class 'rosen' is left: each of them is also under another"):
        place.prepare()
    assert not place.layout.dataset.exists()


# Photos of equal pixels in other bytes


def with_comment(file: Path, copy: Path, comment: bytes = b"copied") -> None:
    """Copies a JPEG and adds a comment, as editors and downloads do; its pixels stay as they are."""
    data = file.read_bytes()
    copy.write_bytes(data[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2) + comment + data[2:])


def as_png(file: Path, copy: Path) -> None:
    with Image.open(file) as image:
        image.save(copy)


def command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    called = [sys.executable, "-m", "flowernoise", *map(str, arguments)]
    return subprocess.run(called, capture_output=True, text=True, timeout=120, check=False)


def prepared(place: Workplace, *arguments: str, **environment: str) -> tuple[dict[str, object], str]:
    """What the real command prints as JSON, and its notes."""
    called = [sys.executable, "-m", "flowernoise", "prepare", str(place.folder), "--image-size", "8", "--json"]
    done = subprocess.run(
        [*called, "--artifacts", str(place.artifacts), *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env=os.environ | environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), " ".join(done.stderr.split())  # lines as wide as they come


def test_an_artifacts_directory_among_the_photos_never_becomes_a_class(place: Workplace) -> None:
    place.artifacts = place.folder / "artifacts"
    prepared(place)
    place_in = place.artifacts / "preview" / "sheet.png"
    place_in.parent.mkdir()
    shutil.copy(place.folder / "roses" / "00.jpg", place_in)
    for arguments in ((), ("--seed", "1")):
        told, notes = prepared(place, *arguments)
        assert told["classes"] == ["daisy", "roses", "tulips"]
        assert [each["path"] for each in told["passed_over"]] == ["artifacts/"]  # type: ignore[attr-defined]
        assert "1 left out, an artifacts directory of flowernoise: artifacts/; keep it beside the photos" in notes


def test_what_is_left_out_is_said_and_listed_also_where_all_is_done(place: Workplace) -> None:
    (place.folder / "roses" / "00.jpg").rename(place.folder / "roses" / "00.jfif")
    (place.folder / "lilies").mkdir()
    for k in range(7):
        (place.folder / "daisy" / f"{k}.gif").write_bytes(b"GIF89a")
    for done_before in (False, True):
        told, notes = prepared(place)
        assert (told["done_before"], told["found"]) == (done_before, 36)
        assert len(told["passed_over"]) == 8  # type: ignore[arg-type]
        assert {"path": "lilies/", "reason": "an empty folder", "way_out": "put photos into it, or remove it"} in told[
            "passed_over"
        ]  # type: ignore[operator]
        assert "7 left out, a photo in GIF, which is not read: daisy/0.gif, daisy/1.gif" in notes
        assert "daisy/4.gif and 2 more; save it as JPEG or PNG" in notes


def test_the_locale_does_not_change_a_data_set(place: Workplace, tmp_path: Path) -> None:
    (place.folder / "tulips").rename(place.folder / "tülips")
    found = []
    for number, locale in enumerate(({"PYTHONUTF8": "1"}, {"PYTHONUTF8": "0", "LC_ALL": "C"})):
        place.artifacts = tmp_path / f"artifacts {number}"
        told, _ = prepared(place, "--positive", "tülips", PYTHONCOERCECLOCALE="0", PYTHONIOENCODING="utf-8", **locale)
        found.append({key: told[key] for key in ("id", "classes", "request", "index", "source_fingerprint")})
    assert found[0] == found[1]
    assert found[0]["classes"] == ["not tülips", "tülips"]


def test_class_folders_that_differ_in_case_alone_are_a_bad_request(place: Workplace) -> None:
    shutil.copytree(place.folder / "roses", place.folder / "Roses")
    assert "'Roses' and 'roses' differ only in upper and lower case; rename or merge them" in refusal(place)


@pytest.mark.skipif(not REAL_PHOTOS.is_dir(), reason=f"{REAL_PHOTOS} is not there: the flower photos are not shared")
def test_nothing_is_left_out_of_the_flower_photos() -> None:
    found = photo_folders.scan(REAL_PHOTOS)
    assert (len(found.photos), found.passed_over) == (len(list(REAL_PHOTOS.rglob("*.jpg"))), ())


def test_no_photo_is_in_train_and_test_in_other_bytes(place: Workplace) -> None:
    for file in list(place.folder.rglob("*.jpg")):
        with_comment(file, file.with_stem(f"{file.stem}-again"))
        as_png(file, file.with_suffix(".png"))
    done = command("prepare", place.folder, "--image-size", 8, "-a", place.artifacts, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["found"], len(found["identical"]), found["contradictory"]) == (108, 36, [])
    assert found["identical"][0] == ["daisy/00-again.jpg", "daisy/00.jpg", "daisy/00.png"]
    assert "36 photos with more than one copy (equal in pixels), kept once each: daisy/00-again.jpg = daisy/00.jpg" in (
        done.stderr
    )
    stems = [(photo.path.rpartition("/")[0], Path(photo.path).stem.removesuffix("-again")) for photo in place.index()]
    assert len(set(stems)) == len(stems) == 36
    for photo in place.index():
        (group,) = (group for group in found["identical"] if photo.path in group)
        assert photo.id == min(files.digest((place.folder / path).read_bytes()) for path in group)


def test_equal_pixels_under_two_classes_are_dropped_and_listed(place: Workplace) -> None:
    file = place.folder / "roses" / "05.jpg"
    with_comment(file, place.folder / "tulips" / "x.jpg")
    as_png(file, place.folder / "roses" / "y.png")
    done = command("prepare", place.folder, "--image-size", 8, "-a", place.artifacts)
    assert done.returncode == 0
    assert "1 photo in two classes (equal in pixels), dropped: roses/05.jpg = roses/y.png = tulips/x.jpg" in (
        done.stderr
    )
    assert not {photo.path for photo in place.index()} & {"roses/05.jpg", "roses/y.png", "tulips/x.jpg"}
    assert len(place.index()) == 35


def test_groups_of_equal_bytes_and_of_equal_pixels_become_one(place: Workplace) -> None:
    file = place.folder / "daisy" / "03.jpg"
    for name in ("b.jpg", "c.jpg"):
        with_comment(file, file.with_name(name))
    shutil.copy(file, file.with_name("a.jpg"))
    assert place.prepare().dataset.identical == (("daisy/03.jpg", "daisy/a.jpg", "daisy/b.jpg", "daisy/c.jpg"),)


def test_splits_do_not_depend_on_what_the_copies_are_called(place: Workplace) -> None:
    for file in list(place.folder.rglob("*.jpg")):
        with_comment(file, file.with_stem(f"{file.stem}-again"))
    before = place.prepare().dataset
    for file in list(place.folder.rglob("*-again.jpg")):
        file.rename(file.with_stem(f"0-{file.stem}"))
    assert place.prepare().dataset.id == before.id


@dataclasses.dataclass(frozen=True)
class Found:
    """A photo as ``set_duplicates_apart`` sees it."""

    id: str
    pixels: str
    path: str
    label: int
    split: str | None


# Bytes tell pixels; a photo's pixels lie there in up to three forms.
SPLIT = st.sampled_from(["test", "val", "train", None])
FOUND = st.lists(st.tuples(st.sampled_from("pqrs"), st.sampled_from("012"), st.integers(0, 2), SPLIT), max_size=12).map(
    lambda listed: [
        Found(form + pixels, pixels, f"{n:02}.jpg", label, split)
        for n, (pixels, form, label, split) in enumerate(listed)
    ]
)


@given(FOUND, st.randoms())
def test_what_is_kept_is_one_photo_of_each_pixels_and_a_function_of_ids_and_labels(
    found: list[Found], random: Random
) -> None:
    kept, identical, contradictory = set_duplicates_apart(found)
    labels: dict[str, set[int]] = {}
    for photo in found:
        labels.setdefault(photo.pixels, set()).add(photo.label)
    assert sorted(photo.pixels for photo in kept) == sorted(each for each, own in labels.items() if len(own) == 1)
    for photo in kept:
        group = [each for each in found if each.pixels == photo.pixels]
        first = next((split for split in ("test", "val") if any(each.split == split for each in group)), None)
        assert photo.id == min(each.id for each in group if first is None or each.split == first)
    alone = {photo.path for photo in kept} - {path for group in identical for path in group}
    listed = [*alone, *(path for group in (*identical, *contradictory) for path in group)]
    assert sorted(listed) == sorted(photo.path for photo in found)
    shuffled = random.sample(found, len(found))
    assert sorted(set_duplicates_apart(shuffled)[0], key=str) == sorted(kept, key=str)


# Unreadable files


def test_unreadable_files_are_listed_with_the_reason_and_left_out(place: Workplace) -> None:
    daisies = place.folder / "daisy"
    (daisies / "text.jpg").write_text("no photo")
    (daisies / "link.jpg").symlink_to("nowhere")
    whole = (daisies / "00.jpg").read_bytes()
    (daisies / "00.jpg").write_bytes(whole[: len(whole) // 2])
    dataset = place.prepare().dataset
    reasons = {problem.path: problem.reason for problem in dataset.unreadable}
    assert reasons.keys() == {"daisy/text.jpg", "daisy/link.jpg", "daisy/00.jpg"}
    assert reasons["daisy/text.jpg"] == "not a JPEG, PNG, WEBP or BMP image"
    assert reasons["daisy/link.jpg"] == "No such file or directory"
    assert "truncated" in reasons["daisy/00.jpg"].lower()
    assert (dataset.found, sum(dataset.sizes)) == (38, 35)
    assert place.prepare().done_before


def test_a_class_with_no_readable_photo_is_refused_by_name(place: Workplace) -> None:
    (place.folder / "daisy" / "00.jpg").write_bytes(b"also unreadable, but not the last of its class")
    for file in (place.folder / "roses").iterdir():
        file.write_bytes(b"")
    with pytest.raises(FlowernoiseError) as caught:
        place.prepare()
    assert str(caught.value).startswith(
        "no photo of class 'roses' can be read (12 unreadable, such as roses/00.jpg: not a JPEG, PNG, WEBP or BMP "
        "image)"
    )
    assert not place.layout.dataset.exists()


# Wrong requests


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"train": 5}, "--train and --test must both be given"),
        ({"test": 5}, "--train and --test must both be given"),
        ({"val": 5}, "--train and --test must both be given"),
        ({"train": 0, "test": 5}, "--train 0 must be at least 1"),
        ({"train": 5, "test": 0}, "--test 0 must be at least 1"),
        ({"train": -5, "test": 5}, "--train -5 must be at least 1"),
        ({"train": 5, "test": -1}, "--test -1 must be at least 1"),
        ({"train": 5, "val": -1, "test": 5}, "--val -1"),
        ({"train": 30, "val": 4, "test": 3}, "30 train + 4 val + 3 test photos are more than the 36 there are"),
        ({"image_size": 0}, "--image-size 0 must be at least 1 and at most 4096"),
        ({"image_size": 10**6}, "--image-size 1000000 must be at least 1 and"),
        (
            {"positive": "rose"},
            "--positive 'rose' is not a class of the source (did you mean roses?); there are: daisy,",
        ),
        ({"positive": "oak"}, "--positive 'oak' is not a class of the source; there are: daisy, roses, tulips"),
        ({"source": "no_such_source"}, "unknown source 'no_such_source'"),
    ],
)
def test_wrong_requests_name_the_option_and_write_no_data_set(
    place: Workplace, options: dict[str, object], part: str
) -> None:
    assert part in refusal(place, **options)
    assert not place.layout.dataset.exists()
    assert list(place.artifacts.rglob("*.tar")) == []


def test_a_wrong_request_leaves_the_data_set_that_is_there(place: Workplace) -> None:
    place.prepare()
    before = {path: path.read_bytes() for path in place.artifacts.rglob("*") if path.is_file()}
    refusal(place, train=1000, test=1)
    refusal(place, positive="oak")
    assert {path: path.read_bytes() for path in place.artifacts.rglob("*") if path.is_file()} == before


# Again


def test_asking_again_touches_nothing(place: Workplace) -> None:
    first = place.prepare(positive="roses", train=12, test=6)
    before = place.state()
    again = place.prepare(positive="roses", train=12, test=6)
    assert again.done_before
    assert again.dataset == first.dataset
    assert place.state() == before
    assert place.progress.notes == []


@pytest.mark.parametrize("options", [{"seed": 1}, {"image_size": 9}, {"positive": "roses"}, {"train": 9, "test": 3}])
def test_another_request_is_prepared_again_and_leaves_no_old_files(
    place: Workplace, options: dict[str, object]
) -> None:
    before = place.prepare().dataset
    now = place.prepare(**options)
    assert not now.done_before
    assert now.dataset.id != before.id
    assert {path.name for path in place.layout.photos.iterdir()} == {now.dataset.archive.name, now.dataset.index.name}
    assert {path.name for path in place.artifacts.iterdir()} == {"dataset.json", "photos", "locks"}
    assert {path.name for path in place.layout.locks.iterdir()} == {"directory.lock"}


@pytest.mark.parametrize("change", ["added", "removed", "moved", "replaced"])
def test_a_folder_that_changed_is_prepared_again(place: Workplace, change: str) -> None:
    before = place.prepare().dataset
    file = place.folder / "daisy" / "00.jpg"
    if change == "added":
        shutil.copy(place.folder / "daisy" / "01.jpg", place.folder / "roses" / "new.jpg")
    elif change == "removed":
        file.unlink()
    elif change == "moved":
        file.rename(place.folder / "roses" / "moved.jpg")
    else:
        file.write_bytes(file.read_bytes() + b"\0")
    now = place.prepare()
    assert not now.done_before
    assert now.dataset.id != before.id


def test_a_folder_whose_files_were_only_touched_gives_the_same_data_set(place: Workplace) -> None:
    before = place.prepare().dataset
    for file in place.folder.rglob("*.jpg"):
        os.utime(file, ns=(1, 1))
    now = place.prepare()
    assert not now.done_before
    assert (now.dataset.id, now.dataset.archive, now.dataset.index, now.stale) == (
        before.id,
        before.archive,
        before.index,
        (),
    )
    assert {path.name for path in place.layout.photos.iterdir()} == {before.archive.name, before.index.name}


def test_what_becomes_stale_is_told(place: Workplace) -> None:
    place.prepare()
    place.layout.draws.mkdir()
    (place.layout.draws / "x.json").write_text("{}")
    assert place.prepare(seed=1).stale == ("draws",)
    assert place.prepare(seed=1).stale == ()


# Damage


def test_a_damaged_record_is_named_set_aside_and_made_again(place: Workplace) -> None:
    before = place.prepare().dataset
    damaged = place.layout.dataset.read_bytes().replace(b"daisy", b"oaken")
    place.layout.dataset.write_bytes(damaged)
    result = place.prepare()
    assert not result.done_before
    assert result.dataset == before
    (note,) = place.progress.notes
    assert note.startswith(f"{place.layout.dataset} is damaged")
    assert "set aside as dataset.json.damaged" in note
    assert (place.artifacts / "dataset.json.damaged").read_bytes() == damaged
    assert place.prepare().done_before


@pytest.mark.parametrize("part", ["archive", "index"])
@pytest.mark.parametrize("damage", ["changed", "truncated", "missing"])
def test_damaged_photos_are_named_and_made_again(place: Workplace, part: str, damage: str) -> None:
    before = place.prepare().dataset
    path = place.layout.photos / getattr(before, part).name
    intact = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(intact[:-1] if damage == "truncated" else intact[:700] + b"\xff" + intact[701:])
    result = place.prepare()
    assert not result.done_before
    assert result.dataset == before
    assert path.read_bytes() == intact
    (note,) = place.progress.notes
    assert path.name in note


def test_an_interrupted_preparation_leaves_the_old_data_set_and_no_litter(
    place: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.prepare()
    before = {path: path.read_bytes() for path in place.artifacts.rglob("*") if path.is_file()}

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(photos, "write_index", interrupt)
    with pytest.raises(KeyboardInterrupt):
        place.prepare(seed=1)
    monkeypatch.undo()
    assert all(path.read_bytes() == data for path, data in before.items())
    assert place.prepare().done_before


def test_an_artifacts_directory_that_is_a_file_is_named(place: Workplace) -> None:
    place.artifacts.write_text("a file")
    with pytest.raises(BadRequestError, match="artifacts is not a directory; give another with --artifacts"):
        place.prepare()
    assert place.artifacts.read_text() == "a file"


def test_names_that_are_not_utf8_or_span_lines_are_kept_as_escapes(place: Workplace) -> None:
    strange = place.folder.with_name(os.fsdecode(b"ph\xf6tos"))
    place.folder.rename(strange)
    place.folder = strange
    (strange / "daisy" / "00.jpg").rename(strange / "daisy" / "a\r\nb.jpg")
    (strange / "roses").rename(strange / os.fsdecode(b"ros\xe9s"))
    dataset = place.prepare().dataset
    assert dataset.request.source.endswith(r"ph\udcf6tos")
    assert dataset.classes == ("daisy", r"ros\udce9s", "tulips")
    assert r"daisy/a\r\nb.jpg" in {photo.path for photo in place.index()}
    assert place.prepare().done_before


# Real photos


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    if not REAL_PHOTOS.is_dir():
        pytest.skip(f"no photos in {REAL_PHOTOS}; FLOWERNOISE_TEST_PHOTOS may name them")
    place = Workplace(REAL_PHOTOS, tmp_path_factory.mktemp("real") / "artifacts")
    place.prepare()
    return place


def test_of_3566_real_photos_3557_are_left(real: Workplace) -> None:
    dataset = datasets.need(real.layout)
    assert (dataset.found, sum(dataset.sizes), dataset.unreadable) == (3566, 3557, ())
    assert [len(group) for group in dataset.identical] == [2]
    assert len(dataset.contradictory) == 4
    for group in dataset.contradictory:
        assert {path.partition("/")[0] for path in group} == {"roses", "tulips"}


def test_the_split_of_the_real_photos_is_stratified(real: Workplace) -> None:
    dataset = datasets.need(real.layout)
    totals = [sum(counts) for counts in zip(*dataset.counts, strict=True)]
    for counts, size in zip(dataset.counts, dataset.sizes, strict=True):
        for count, total in zip(counts, totals, strict=True):
            assert abs(count - size * total / 3557) <= 1


def test_real_photos_are_not_prepared_again(real: Workplace) -> None:
    assert real.prepare().done_before
