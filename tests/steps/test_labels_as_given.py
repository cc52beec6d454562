"""What people read about labels that nobody has checked, by the real command over a folder with wrong ones in it."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.reliability.command_server import CommandServer

CLASSES = ("daisy", "roses", "tulips")
EACH, ONE_WRONG_IN = 132, 6  # photos of a class, and of how many one lies in the folder of the next class
COLOURS = ((200, 60, 60), (60, 200, 60), (60, 60, 200))
SIZES = ("--train", "276", "--val", "60", "--test", "60", "--image-size", "32")
NOISE = ("--rates", "0.4", "--seeds", "1")
TRAINING = ("--backbone", "efficientnet_lite0:weights=none", "--epochs", "2")
IMAGES = re.compile(r'data:[^"]*')


@dataclasses.dataclass(frozen=True)
class Finished:
    """An artifacts directory in which all is done, and what commands and files say of it, by their names."""

    root: Path
    said: dict[str, str]


def printed(server: CommandServer, *words: str | Path) -> str:
    """All that a command prints."""
    done = server.run(*words, cwd=Path.cwd(), env={"FLOWERNOISE_ENGINE": "keras"})
    assert done.returncode == 0, done.stderr
    return done.stdout.decode() + done.stderr


def finished(server: CommandServer, source: str | Path, root: Path) -> Finished:
    words: dict[str, tuple[str | Path, ...]] = {
        "prepare": ("prepare", source, *SIZES),
        "corrupt": ("corrupt", *NOISE),
        "train": ("train", "--loss", "ce", *TRAINING),
        "evaluate": ("evaluate",),
        "compare": ("compare",),
        "memorised": ("compare", "--metric", "memorised"),
        "markdown": ("compare", "--format", "markdown"),
        "status": ("status",),
        "preview": ("preview", "--photos", "12"),
        "plot": ("plot", "--format", "svg"),
        "report": ("report",),
    }
    said = {name: printed(server, *command, "-a", root) for name, command in words.items()}
    said |= {path.name: path.read_text() for path in (root / "plots").iterdir()}
    said |= {name: IMAGES.sub("", (root / name).read_text()) for name in ("report.md", "report.html")}
    for path in (root / "preview").glob("*.png"):
        with Image.open(path) as image:
            said[path.name] = f"{path.name}: {image.info['Title']}"
    return Finished(root, said)


@pytest.fixture(scope="module")
def folder(real_commands: CommandServer, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A folder that is called like the source whose labels are clean, 16.7 % of whose photos are in a wrong place."""
    place = tmp_path_factory.mktemp("folder")
    for label, colour in enumerate(COLOURS):
        for number in range(EACH):
            name = CLASSES[(label + (number % ONE_WRONG_IN == 0)) % len(CLASSES)]
            (place / "synthetic" / name).mkdir(parents=True, exist_ok=True)
            grain = np.random.default_rng([label, number]).normal(0, 40, (32, 32, 3))
            photo = Image.fromarray(np.clip(colour + grain, 0, 255).astype(np.uint8))
            photo.save(place / "synthetic" / name / f"{label}-{number:03}.png")
    return finished(real_commands, place / "synthetic", place / "artifacts")


@pytest.fixture(scope="module")
def drawn(real_commands: CommandServer, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """The same of photos that the program draws and labels itself."""
    return finished(real_commands, "synthetic:photos=396,size=32", tmp_path_factory.mktemp("drawn") / "artifacts")


def test_nothing_calls_the_labels_of_a_folder_clean(folder: Finished) -> None:
    text = {name: said.replace(str(folder.root.parent), "") for name, said in folder.said.items()}
    assert {name for name, said in text.items() if "clean" in said.lower()} == set()
    assert {name for name, said in text.items() if re.search(r"% wrong\b|% of (the )?training labels", said)} == set()
    assert {name for name, said in text.items() if "true class" in said} == set()


@pytest.mark.parametrize("name", ["compare", "markdown", "report.md", "report.html", "accuracy.svg"])
def test_test_photos_are_said_to_have_their_labels_as_given(folder: Finished, name: str) -> None:
    assert "60 test photos with labels as given" in folder.said[name]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("prepare", "labels are taken as given, also those of the test photos; noise is added to them"),
        ("corrupt", "added wrong in train"),
        ("compare", "added"),
        ("markdown", "noise, added wrong labels"),
        ("accuracy.svg", "added wrong training labels, %"),
        ("report.md", "With labels as given, ce is the only loss"),
        ("report.md", "test labels stay as given"),
        ("report.md", "If they are wrong at random, an accuracy of a is measured as e/2 + a (1 − 3e/2)"),
        ("preview", "not as given"),
        ("given.png", "labels as given"),
    ],
)
def test_noise_is_counted_as_added(folder: Finished, name: str, words: str) -> None:
    assert words in folder.said[name]


@pytest.mark.parametrize("name", ["compare", "markdown", "report.md", "report.html", "accuracy.svg"])
def test_labels_that_the_program_made_are_clean(drawn: Finished, name: str) -> None:
    assert "60 clean test photos" in drawn.said[name]


def test_nothing_calls_the_labels_that_the_program_made_as_given(drawn: Finished) -> None:
    wrong = re.compile("as given|added|given.png", re.IGNORECASE)
    assert {name for name, said in drawn.said.items() if wrong.search(said)} == set()
    assert "clean.png" in drawn.said


def test_one_table_of_both_tells_them_apart(real_commands: CommandServer, folder: Finished, drawn: Finished) -> None:
    table = printed(real_commands, "compare", folder.root, drawn.root)
    assert "labels as given, except where test photos are called clean" in table
    assert table.count("60 clean test photos") == 1 + table.count("tolerated")
    assert "added" in table
