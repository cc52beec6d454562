"""What people read about labels that nobody has checked, by the real command over a folder with wrong ones in it."""

import dataclasses
import json
import re
import shutil
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


@pytest.fixture(scope="module", params=["test", "none"])
def doubted(
    request: pytest.FixtureRequest,
    real_commands: CommandServer,
    folder: Finished,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[str, Finished]:
    """The folder's directory, whose training labels are doubted from now on; and how far test labels are trusted."""
    root = tmp_path_factory.mktemp(request.param) / "artifacts"
    shutil.copytree(folder.root, root)
    source = folder.root.parent / "synthetic"
    words: dict[str, tuple[str | Path, ...]] = {
        "prepare": ("prepare", source, *SIZES, "--trust", request.param),
        "again": ("prepare", source, *SIZES, "--trust", request.param),
        "status": ("status", "--check"),
        "corrupt": ("corrupt", *NOISE),
        "evaluate": ("evaluate",),
        "evaluate.json": ("evaluate", "--json"),
        "compare": ("compare",),
        "compare.json": ("compare", "--json"),
        "markdown": ("compare", "--format", "markdown"),
        "preview": ("preview", "--photos", "12"),
        "plot": ("plot", "--format", "svg"),
        "report": ("report",),
    }
    said = {name: printed(real_commands, *command, "-a", root) for name, command in words.items()}
    said |= {path.name: path.read_text() for path in (root / "plots").iterdir() if "memorisation" not in path.name}
    said |= {name: IMAGES.sub("", (root / name).read_text()) for name in ("report.md", "report.html")}
    return request.param, Finished(root, said)


def test_trusting_fewer_labels_changes_words_and_makes_nothing_stale(
    folder: Finished, doubted: tuple[str, Finished]
) -> None:
    trust, of = doubted
    before, after = (json.loads((root / "dataset.json").read_text())["body"] for root in (folder.root, of.root))
    assert after == before | {"request": before["request"] | {"trust": trust}}
    assert "stale" not in of.said["prepare"] + of.said["status"]
    assert "done already" in of.said["again"]
    assert "done already" in of.said["corrupt"]
    assert "done already" in of.said["evaluate"]


def test_what_noise_does_to_doubted_labels_is_called_changed(doubted: tuple[str, Finished]) -> None:
    _, of = doubted
    assert {name for name, said in of.said.items() if re.search(r"added|% wrong|clean", said, re.IGNORECASE)} == set()
    assert re.search(r"control +0 +as given +as given", of.said["corrupt"])
    assert re.search(r"control +as given", of.said["compare"])
    assert "noise, changed labels" in of.said["markdown"]
    assert "changed training labels, %" in of.said["accuracy.svg"]
    [control] = [row for row in json.loads(of.said["compare.json"])["rows"] if row["noise"] == "none"]
    assert (control["rate"], control["realised_rate"]) == (0.0, 0.0)


def test_test_labels_are_called_what_they_are(doubted: tuple[str, Finished]) -> None:
    trust, of = doubted
    checked, doubt = "60 test photos with checked labels", "against labels that may be wrong"
    scores = {name: of.said[name] for name in ("compare", "markdown", "report.md", "report.html", "accuracy.svg")}
    assert all((checked in said) == (trust == "test") for said in scores.values())
    assert all((doubt in " ".join(said.split())) == (trust == "none") for said in scores.values())
    true_class = "true class" if trust == "test" else "class as given"
    assert f"Test photos by {true_class}" in of.said["report.md"]
    assert "from class as given to observed class" in of.said["report.md"]


def test_what_needs_checked_labels_is_left_out_or_refused(
    real_commands: CommandServer, doubted: tuple[str, Finished]
) -> None:
    _, of = doubted
    assert "the share memorised is left out" in of.said["evaluate"]
    metrics = [
        run["metrics"][0]
        for run in json.loads(of.said["evaluate.json"][: of.said["evaluate.json"].rindex("}") + 1])["runs"]
    ]
    assert {(each["memorised"], each["recovered"]) for each in metrics} == {(None, None)}
    assert "No picture of memorisation: nobody knows which training labels are wrong" in of.said["report.md"]
    for command in (("compare", "--metric", "memorised"), ("plot", "memorisation")):
        refused = real_commands.run(*command, "-a", of.root, cwd=Path.cwd(), env={})
        assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
        assert "not checked (prepared with --trust test or none)" in refused.stderr
