"""A directory of photos: what is taken, what is left out and named, and which class folders are refused."""

import os
import unicodedata
from pathlib import Path

import pytest
from PIL import Image

from flowernoise.catalogue import photo_folders
from flowernoise.catalogue.photo_folders import PhotoFolder, scan
from flowernoise.errors import BadRequestError
from flowernoise.safe import images
from flowernoise.store import files

HEIC = b"\0\0\0\x18ftypheic" + bytes(16)
IN_BYTES = {
    "JPEG": b"\xff\xd8\xff\xe0",
    "GIF": b"GIF89a",
    "TIFF": b"II*\0",
    "AVIF": b"\0\0\0\x1cftypavif",
    "JPEG XL": b"\xff\x0a",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes with a photo each."""
    put(tmp_path / "photos" / "daisy" / "1.jpg")
    put(tmp_path / "photos" / "roses" / "2.jpg")
    return tmp_path / "photos"


def put(path: Path, data: bytes = IN_BYTES["JPEG"]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def reasons(found: PhotoFolder) -> dict[str, str]:
    return {each.path: each.reason for each in found.passed_over}


def paths(found: PhotoFolder) -> list[str]:
    return [photo.path for photo in found.photos]


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "BMP"])
@pytest.mark.parametrize("name", ["x.jfif", "x.dat", "x"])
def test_photos_are_known_by_their_content_whatever_their_name(folder: Path, form: str, name: str) -> None:
    Image.new("RGB", (8, 8)).save(folder / "daisy" / name, form)
    found = scan(folder)
    assert paths(found) == ["daisy/1.jpg", f"daisy/{name}", "roses/2.jpg"]
    assert found.passed_over == ()


@pytest.mark.parametrize("form", ["GIF", "TIFF", "AVIF", "JPEG XL"])
def test_photos_in_other_formats_are_left_out_and_named(folder: Path, form: str) -> None:
    put(folder / "daisy" / "x.photo", IN_BYTES[form])
    [left] = scan(folder).passed_over
    assert left == photo_folders.PassedOver(
        "daisy/x.photo", f"a photo in {form}, which is not read", "save it as JPEG or PNG"
    )


@pytest.mark.parametrize("installed", [False, True])
def test_heic_is_taken_where_the_extra_is_installed_and_named_with_it_where_not(
    folder: Path, installed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    formats = (*images.FORMATS, "HEIC") if installed else images.FORMATS
    monkeypatch.setattr(images, "readable_formats", lambda: formats)
    put(folder / "tulips" / "IMG_1.HEIC", HEIC)
    found = scan(folder)
    if installed:
        assert (found.classes, found.passed_over) == (("daisy", "roses", "tulips"), ())
    else:
        assert found.classes == ("daisy", "roses")
        assert reasons(found) == {
            "tulips/": "a folder without photos, so not a class",
            "tulips/IMG_1.HEIC": "a photo in HEIC, which is not read",
        }
        assert found.passed_over[1].way_out == "pip install 'flowernoise[heic]', or save it as JPEG or PNG"


def test_a_sound_or_a_text_that_begins_like_a_photo_is_not_one(folder: Path) -> None:
    put(folder / "daisy" / "x.wav", b"RIFF\0\0\0\0WAVEfmt ")
    put(folder / "daisy" / "x.txt", b"BMW is a maker of cars, and this is a text about it")
    assert reasons(scan(folder)) == {"daisy/x.txt": "not a photo", "daisy/x.wav": "not a photo"}


def test_everything_that_is_passed_over_is_named(folder: Path) -> None:
    for name in (".git/x.jpg", "daisy/.DS_Store", "daisy/.thumbs/1.jpg", "labels.csv", "3.jpg", "daisy/notes.txt"):
        put(folder / name)
    put(folder / "daisy" / "notes.txt", b"notes")
    for name in ("empty", "daisy/inner", "texts"):
        (folder / name).mkdir()
    put(folder / "texts" / "a.txt", b"text")
    os.mkfifo(folder / "daisy" / "pipe")
    assert reasons(scan(folder)) == {
        ".git/": "hidden",
        "3.jpg": "beside the class folders",
        "daisy/.DS_Store": "hidden",
        "daisy/.thumbs/": "hidden",
        "daisy/inner/": "an empty folder",
        "daisy/notes.txt": "not a photo",
        "daisy/pipe": "not a photo",
        "empty/": "an empty folder",
        "labels.csv": "beside the class folders",
        "texts/": "a folder without photos, so not a class",
        "texts/a.txt": "not a photo",
    }


def test_links_out_of_the_source_are_not_followed_and_named(folder: Path, tmp_path: Path) -> None:
    outside = put(tmp_path / "elsewhere" / "3.jpg")
    (folder / "tulips").symlink_to(outside.parent)
    (folder / "daisy" / "more").symlink_to(outside.parent)
    (folder / "daisy" / "4.jpg").symlink_to(outside)
    (folder / "daisy" / "5.jpg").symlink_to("1.jpg")
    (folder / "daisy" / "6").symlink_to("nowhere")
    (folder / "daisy" / "7").symlink_to("7")
    (folder / "again").symlink_to("daisy")
    (folder / "daisy" / "round").symlink_to("..")
    found = scan(folder)
    assert paths(found) == ["daisy/1.jpg", "daisy/5.jpg", "roses/2.jpg"]
    linked = "a link to a folder of the source, whose photos are taken where they are"
    assert reasons(found) == {
        "again": linked,
        "daisy/4.jpg": "a link out of the source",
        "daisy/6": "a link that leads nowhere",
        "daisy/7": "a link that leads nowhere",
        "daisy/more": "a link out of the source",
        "daisy/round": linked,
        "tulips": "a link out of the source",
    }


def test_a_source_that_is_a_link_itself_is_followed(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folder)
    assert paths(scan(tmp_path / "link")) == ["daisy/1.jpg", "roses/2.jpg"]


def test_an_artifacts_directory_is_recognised_wherever_it_lies(folder: Path) -> None:
    for inside in (folder / "artifacts", folder / "daisy" / "results"):
        put(inside / "preview" / "sheet.png")
        files.write_record(inside / "dataset.json", "dataset", {"classes": ["daisy"]})
    found = scan(folder)
    assert found.classes == ("daisy", "roses")
    assert reasons(found) == dict.fromkeys(("artifacts/", "daisy/results/"), "an artifacts directory of flowernoise")
    with pytest.raises(BadRequestError, match="is an artifacts directory of flowernoise; give the folder with your"):
        scan(folder / "artifacts")


def test_a_folder_with_another_dataset_json_is_a_class(folder: Path) -> None:
    put(folder / "daisy" / "dataset.json", b'{"kind": "dataset"}')
    assert scan(folder).classes == ("daisy", "roses")


@pytest.mark.parametrize(
    ("one", "other", "how"),
    [
        ("Tulips", "tulips", "differ only in upper and lower case"),
        ("STRASSE", "straße", "differ only in upper and lower case"),
        (unicodedata.normalize("NFC", "café"), unicodedata.normalize("NFD", "café"), "in different Unicode forms"),
        (
            os.fsdecode(b"caf\xe9"),
            r"caf\udce9",
            "look alike when written, as one of them is not UTF-8 or not printable",
        ),
        ("a\tb", r"a\tb", "look alike when written"),
    ],
)
def test_classes_whose_names_can_be_taken_for_the_same_are_refused(
    folder: Path, one: str, other: str, how: str
) -> None:
    put(folder / one / "1.jpg")
    put(folder / other / "1.jpg")
    with pytest.raises(BadRequestError, match=how) as caught:
        scan(folder)
    assert ascii(one) in str(caught.value)
    assert ascii(other) in str(caught.value)


def test_folders_without_photos_do_not_clash(folder: Path) -> None:
    (folder / "Roses").mkdir()
    assert scan(folder).classes == ("daisy", "roses")
