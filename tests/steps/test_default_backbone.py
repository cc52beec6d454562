"""The backbone of who asks for none."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from flowernoise.catalogue import backbones as catalogue
from flowernoise.catalogue import weight_files
from flowernoise.errors import FlowernoiseError
from flowernoise.safe import downloads
from flowernoise.steps import default_backbone
from flowernoise.steps.corrupt import corrupt
from flowernoise.steps.prepare import prepare
from flowernoise.steps.run import RunSettings, run
from flowernoise.steps.settings import CompareSettings, CorruptSettings, PrepareSettings, TrainSettings
from flowernoise.steps.train import train
from flowernoise.store import artifacts
from flowernoise.store.artifacts import Artifacts

PHOTOS = PrepareSettings("synthetic:photos=40,size=32", image_size=32)


class Notes:
    """Keeps what a step tells."""

    visible = False

    def __init__(self) -> None:
        from flowernoise.progress import Silent

        self.notes: list[str] = []
        self.task = Silent().task

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """No weights on this machine and no network; the list fills with the addresses that were asked for."""
    asked: list[str] = []
    monkeypatch.setattr(weight_files, "keras_folders", lambda: (tmp_path / "keras",))
    monkeypatch.setattr(downloads, "status", lambda url, *_: asked.append(url))
    return asked


@pytest.fixture
def root(tmp_path: Path) -> Path:
    prepare(tmp_path / "artifacts", PHOTOS, Notes())
    return tmp_path / "artifacts"


def test_without_a_network_efficientnet_lite0_is_used_and_said_in_one_line(root: Path, asked: list[str]) -> None:
    notes = Notes()
    assert default_backbone.chosen(None, artifacts.opened(root), notes) == "efficientnet_lite0"
    assert notes.notes == [
        "the ImageNet weights of resnet50 are not on this machine, and storage.googleapis.com does not answer; "
        "using efficientnet_lite0 instead of resnet50 (--backbone chooses another)"
    ]
    assert len(asked) == 1


def test_with_a_network_or_the_weights_it_is_resnet50(
    root: Path, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = Notes()
    monkeypatch.setattr(downloads, "status", lambda *_: 200)
    assert default_backbone.chosen(None, artifacts.opened(root), notes) == "resnet50"
    monkeypatch.setattr(downloads, "status", lambda *_: pytest.fail("asked the network"))
    monkeypatch.setattr(weight_files, "found", lambda _: root)
    assert default_backbone.chosen(None, artifacts.opened(root), notes) == "resnet50"
    assert (notes.notes, asked) == ([], [])


def test_a_host_that_is_silent_costs_less_than_two_seconds(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weight_files, "keras_folders", lambda: (tmp_path / "keras",))
    monkeypatch.setattr(downloads, "_status", lambda *_: time.sleep(30))
    started = time.monotonic()
    assert default_backbone.chosen(None, artifacts.opened(root), Notes()) == "efficientnet_lite0"
    assert time.monotonic() - started < 2


@pytest.mark.usefixtures("tiny_backbone")
def test_a_directory_stays_with_its_backbone(root: Path, asked: list[str]) -> None:
    own = "tiny"
    corrupt(root, CorruptSettings((f"instance:backbone={own}",), rates=(0.4,), seeds=1), Notes())
    layout, notes = artifacts.opened(root), Notes()
    assert default_backbone.chosen(None, layout, notes) == own
    training = TrainSettings(("ce",), learning_rates=(1e-3,), l2=(0.0,), epochs=1)
    assert train(root, training, notes).setup.backbone == own
    # runs count before draws, and what is asked for before both
    train(
        root,
        TrainSettings(("ce",), "keras:MobileNetV3Small,weights=none", learning_rates=(1e-3,), l2=(0.0,), epochs=1),
        notes,
    )
    assert default_backbone.chosen(None, layout, notes) == "keras:MobileNetV3Small,weights=none"
    assert default_backbone.chosen(own, layout, notes) == own
    assert default_backbone.filled_in(("symmetric",), None, layout, notes) == ("symmetric",)
    assert default_backbone.filled_in(("instance", "symmetric"), None, layout, notes) == (
        "instance:backbone=keras:MobileNetV3Small,weights=none",
        "symmetric",
    )
    assert (asked, [note for note in notes.notes if "using" in note]) == ([], [])


@pytest.mark.usefixtures("tiny_backbone")
def test_corrupt_writes_the_backbone_into_the_draws_and_asks_once(
    root: Path, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(default_backbone, "ALWAYS_AT_HAND", "tiny")
    corrupt(root, CorruptSettings(("instance", "boundary"), rates=(0.4,), seeds=1), Notes())
    noises = {draw.noise for draw in Artifacts(root).draws()}
    filled = "backbone=tiny"
    assert noises == {"none", f"instance:{filled}", f"boundary:{filled}"}
    assert len(asked) == 1


@pytest.mark.usefixtures("tiny_backbone")
def test_run_uses_one_backbone_for_noise_and_training_and_asks_once(
    tmp_path: Path, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(default_backbone, "ALWAYS_AT_HAND", "tiny")
    settings = RunSettings(
        PHOTOS,
        CorruptSettings(("instance",), rates=(0.4,), seeds=1),
        TrainSettings(("ce",), learning_rates=(1e-3,), l2=(0.0,), epochs=1),
        CompareSettings(),
    )
    notes = Notes()
    done = run(tmp_path / "artifacts", settings, notes)
    assert done.train.setup.backbone == "tiny"
    assert {draw.noise for draw in Artifacts(tmp_path / "artifacts").draws()} == {
        "none",
        "instance:backbone=tiny",
    }
    assert len(asked) == sum("instead of resnet50" in note for note in notes.notes) == 1


@pytest.mark.parametrize("settings", [{"preset": "seed"}, {"train": TrainSettings(("ce",), "resnet50")}])
def test_who_asks_for_resnet50_still_gets_its_error(
    settings: dict[str, object], tmp_path: Path, asked: list[str]
) -> None:
    usual = {"prepare": PHOTOS, "corrupt": CorruptSettings(seeds=1), "train": TrainSettings(("ce",))}
    sweep: Callable[..., RunSettings] = RunSettings
    with pytest.raises(FlowernoiseError, match="cannot download the ImageNet weights of resnet50"):
        run(tmp_path / "artifacts", sweep(**(usual | {"compare": CompareSettings()} | settings)), Notes())
    assert catalogue.RESNET50_FOLDER + catalogue.RESNET50_FILE in asked
