"""Contact sheets: what is written and marked, apart from the drawing; and what the drawing must keep."""

import dataclasses
import io
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from flowernoise.analysis.views.sheets import ContactSheet, SheetPhoto
from flowernoise.show import contact_sheet

CLASSES = ("daisy", "roses", "tulips")
SIDE = 40


def a_sheet(photos: tuple[SheetPhoto, ...], **known) -> ContactSheet:
    """A sheet of a draw of training photos, unless something else is known of it."""
    facts = {
        "kind": "draw",
        "source": "tf_flowers",
        "split": "train",
        "population": 2489,
        "classes": CLASSES,
        "inputs": "digest",
        "noise": "symmetric",
        "rate": 0.4,
        "seed": 3,
        "realised_rate": 0.3997,
    }
    return ContactSheet(photos=photos, **(facts | known))


def photos(labels: list[tuple[int, int]], **answers) -> tuple[SheetPhoto, ...]:
    """Grey photos with these true and given labels."""
    grey = np.full((SIDE, SIDE, 3), 128, np.uint8)
    return tuple(SheetPhoto(f"photo {k}", grey, true, label, **answers) for k, (true, label) in enumerate(labels))


def mistakes(count: int, shown: int) -> ContactSheet:
    run = {"loss": "gce:q=0.5", "backbone": "resnet50", "mode": "features", "selection": "last"}
    answered = photos([(0, 0)] * shown, predicted=2, probability=0.876)
    return a_sheet(answered, kind="mistakes", split="test", population=534, mistakes=count, **run)


def picture(sheet: ContactSheet, **options) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(contact_sheet.png(sheet, **options))))


# What is written


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), max_size=12),
    st.sampled_from([("synthetic", "truly"), ("tf_flowers", "was")]),
)
def test_exactly_the_wrong_labels_are_marked_and_name_the_class_before(labels, source_and_word):
    source, word = source_and_word
    captions = contact_sheet.captions(a_sheet(photos(labels), source=source))
    for (true, label), caption in zip(labels, captions, strict=True):
        if true == label:
            assert caption == contact_sheet.Caption((CLASSES[label],), marked=False)
        else:
            assert caption == contact_sheet.Caption((f"labelled {CLASSES[label]}", f"{word} {CLASSES[true]}"), True)


def test_a_mistake_has_the_label_the_answer_and_its_probability():
    sheet = mistakes(9, 1)
    [caption] = contact_sheet.captions(sheet)
    assert caption == contact_sheet.Caption(("labelled daisy", "predicted tulips", "probability 87.6 %"), False)
    named = dataclasses.replace(sheet.photos[0], path="daisy/a photo.jpg")
    [caption] = contact_sheet.captions(dataclasses.replace(sheet, photos=(named,)))
    assert caption.lines == ("a photo.jpg", "labelled daisy", "predicted tulips", "probability 87.6 %")


def test_the_title_of_a_draw_tells_all_that_was_drawn():
    shown = photos([(0, 1)] * 9 + [(0, 0)] * 15)
    title = str(contact_sheet.title(a_sheet(shown)))
    for fact in ("symmetric, rate 0.4, seed 3", "tf_flowers", "2,489 training photos", "40.0 % added wrong"):
        assert fact in title
    assert title.endswith("24 shown, 9 with added wrong labels")
    made_by_program = str(contact_sheet.title(a_sheet(shown, source="synthetic")))
    assert made_by_program.endswith("40.0 % wrong training labels · 24 shown, 9 with wrong labels")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("tf_flowers", "labels as given · tf_flowers · 2,489 training photos · 1 shown"),
        ("synthetic", "clean labels · synthetic · 2,489 training photos · 1 shown, all labelled correctly"),
    ],
)
def test_the_title_of_the_source_s_labels_names_no_noise(source, expected):
    assert str(contact_sheet.title(a_sheet(photos([(0, 0)]), kind="clean", source=source, noise=None))) == expected


@pytest.mark.parametrize(
    ("count", "shown", "end"),
    [
        (66, 24, "66 misclassified by labels as given, 24 most confident shown"),
        (4, 4, "4 misclassified by labels as given, all shown"),
        (0, 0, "no mistakes by labels as given"),
    ],
)
def test_the_title_of_mistakes_names_the_run_and_how_many_there_are(count, shown, end):
    title = contact_sheet.title(mistakes(count, shown))
    assert title.head == "mistakes of gce:q=0.5, trained on symmetric, rate 0.4, seed 3"
    assert title.facts[0] == "resnet50 features, last epoch"
    assert "534 test photos" in title.facts
    assert title.facts[-1] == end


def test_the_title_of_a_control_says_so():
    title = contact_sheet.title(dataclasses.replace(mistakes(4, 4), noise="none", rate=0.0, realised_rate=0.0))
    assert title.head == "mistakes of gce:q=0.5, trained on labels as given (control), seed 3"


# Names in the letters that the font has


@given(st.lists(st.text(max_size=8), max_size=6, unique=True))
def test_names_of_classes_stay_apart_and_can_be_written(classes):
    names = contact_sheet.class_names(classes)
    assert len(set(names)) == len(classes)
    assert all(name.strip() for name in names)
    assert set("".join(names)) <= {*map(chr, range(32, 127)), *"©«°±´·»‘’“”…‹›⁄™"}


@pytest.mark.parametrize(
    ("classes", "names"),
    [
        (("Gänseblümchen", "straße"), ("Ganseblumchen", "strasse")),
        (("smørblomst", "Łubin", "pâquerette"), ("smorblomst", "Lubin", "paquerette")),
        (("向日葵", "ромашка"), ("class 0", "class 1")),
        (("向日葵 sunflower",), ("??? sunflower",)),
        (
            ("rosé", "rose", "rose (class 0)"),
            ("rose (class 0) (class 0)", "rose (class 1)", "rose (class 0) (class 2)"),
        ),
        (CLASSES, CLASSES),
    ],
)
def test_names_stay_readable(classes, names):
    assert contact_sheet.class_names(classes) == names


@given(st.text("ab c:_+", max_size=40), st.integers(1, 12))
def test_wrapping_loses_no_letter_and_keeps_the_width(text, width):
    lines = contact_sheet.wrapped(text, width, len)
    assert "".join("".join(lines).split()) == "".join(text.split())
    assert all(0 < len(line) <= width for line in lines)


# What is drawn


def around(drawn: np.ndarray, number: int) -> np.ndarray:
    """The pixels of a photo of the first row with 8 pixels around; photos stand 22 apart, 24 from the left."""
    x = 24 + number * (SIDE + 22)
    y = int(np.flatnonzero((drawn[:, x + SIDE - 2] == 128).all(axis=-1))[0])
    return drawn[y - 8 : y + SIDE + 8, x - 8 : x + SIDE + 8].astype(int)


def luminance(colour: np.ndarray) -> float:
    """Relative luminance as WCAG 2 defines it."""
    share = colour / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


def test_a_wrong_label_has_a_frame_and_a_cross_that_need_no_colour():
    drawn = picture(a_sheet(photos([(0, 0), (0, 1)])))
    right, wrong = around(drawn, 0), around(drawn, 1)
    frame = wrong[-4, -20]
    assert (right[-4, -20] == 255).all()
    assert 1.05 / (luminance(frame) + 0.05) > 4.5  # contrast with paper, and with the cross on the badge
    badge = wrong[2:34, 2:34].reshape(-1, 3)
    assert {(255, 255, 255), tuple(frame)} <= set(map(tuple, badge))
    white = (badge == 255).all(axis=1).mean()
    assert 0.1 < white < 0.5
    assert not (right[10:34, 10:34] == 255).any()


def test_the_photo_itself_is_on_the_sheet_uncut():
    pixels = np.random.default_rng(0).integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8)
    drawn = picture(a_sheet((SheetPhoto("photo", pixels, 0, 0),)))
    windows = np.lib.stride_tricks.sliding_window_view(drawn, (SIDE, SIDE, 3))[:, 24, 0]
    assert (windows == pixels).all(axis=(1, 2, 3)).any()


@pytest.mark.parametrize("shown", [0, 1, 7])
def test_nothing_reaches_the_edge_however_long_names_are(shown):
    classes = ("american_staffordshire_terrier " * 3, "x" * 90, "ü" * 70)
    noise = "asymmetric:pairs=" + "+".join(f"{a}/{b}" for a in CLASSES for b in CLASSES for _ in range(5))
    drawn = picture(a_sheet(photos([(0, 1)] * shown), classes=classes, noise=noise, source="folder:/" + "long/" * 60))
    for edge in (drawn[:14], drawn[-14:], drawn[:, :14], drawn[:, -14:]):
        assert (edge == 255).all()


def test_columns_are_as_asked_for():
    wide, narrow = (picture(a_sheet(photos([(0, 0)] * 30)), columns=columns) for columns in (15, 12))
    assert wide.shape[1] - narrow.shape[1] == 3 * (SIDE + 22)
    assert wide.shape[0] < narrow.shape[0]


def test_a_png_tells_its_title_and_what_its_labels_were_read_from():
    image = Image.open(io.BytesIO(contact_sheet.png(a_sheet(photos([(0, 0)]), source="folder:Blümchen/向"))))
    assert image.text["Inputs"] == "digest"
    assert image.text["Title"].startswith("symmetric, rate 0.4, seed 3 · folder:Blümchen/? · ")


def test_a_jpeg_is_the_same_picture():
    sheet = a_sheet(photos([(0, 0), (0, 1)]))
    encoded = contact_sheet.jpeg(sheet)
    lossy = np.asarray(Image.open(io.BytesIO(encoded)))
    assert encoded[:2] == b"\xff\xd8"
    assert np.abs(lossy.astype(int) - picture(sheet)).mean() < 2


def test_equal_sheets_are_equal_bytes_in_every_process():
    code = (
        "import hashlib, importlib.util, sys\n"
        f"spec = importlib.util.spec_from_file_location('made', {__file__!r})\n"
        "made = importlib.util.module_from_spec(spec)\n"
        "sys.modules['made'] = made\n"
        "spec.loader.exec_module(made)\n"
        "sheet = made.a_sheet(made.photos([(0, 0), (1, 2)]))\n"
        "print(hashlib.sha256(made.contact_sheet.png(sheet)).hexdigest())\n"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)}, text=True,
            capture_output=True, check=True,
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(digests) == 1
