"""The state of fabricated artifacts directories: records are real, what they point to is not opened."""

import json
import os
import shlex
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import msgspec
import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from flowernoise import cli, options
from flowernoise.errors import BadRequestError, FlowernoiseError
from flowernoise.steps.settings import CorruptSettings, PrepareSettings, TrainSettings
from flowernoise.steps.status import Status, status
from flowernoise.store import datasets, draws, evaluations, files, photos, runs
from flowernoise.store.layout import Layout
from flowernoise.store.photos import IndexedPhoto
from flowernoise.store.records import (
    Choice,
    Dataset,
    DatasetRequest,
    Draw,
    DrawBatch,
    DrawKey,
    Evaluation,
    FeatureShard,
    FeaturesKey,
    RunKey,
)
from tests.fabricated import a_block, a_key, a_run, a_setup, evaluated

CLASSES = ("roses", "tulips")
REQUEST = DatasetRequest("folder:my photos", None, "roses", (4, 2, 2), 32, 7)
SETTINGS = {"epochs": 7, "batch_size": 16, "optimizer": "sgd", "learning_rates": (0.0003, 0.001), "l2": (0.0, 1e-05)}
DRAWS = [DrawKey("none", 0.0, seed) for seed in (0, 1)] + [
    DrawKey("symmetric", rate, seed) for rate in (0.2, 0.4) for seed in (0, 1)
]
TEMPORARY = ".0123.json.89abcdef-4711-0123456789ab.tmp"


def blob(folder: Path, stem: str, suffix: str = ".h5") -> files.FileRef:
    return files.write_blob(folder, stem, suffix, lambda stream: stream.write(stem.encode()))


def prepare(root: Path, name: str = "photos") -> Layout:
    layout = Layout(root)
    index = [
        IndexedPhoto(f"{name}{split}{k}", split, k % 2, "x.jpg")
        for split, count in (("train", 4), ("val", 2), ("test", 2))
        for k in range(count)
    ]
    archive, table = blob(layout.photos, name, ".tar"), photos.write_index(layout.photos, index, CLASSES)
    counts = ((2, 2), (1, 1), (1, 1))
    datasets.write(layout, Dataset(name, REQUEST, None, CLASSES, counts, 8, archive, table, (), (), ()))
    return layout


def corrupt(layout: Layout, keys: list[DrawKey] = DRAWS, name: str = "draws") -> None:
    drawn = tuple(Draw(key, f"labels of {key}", key.rate, key.rate, (key.rate, key.rate)) for key in keys)
    batch = DrawBatch(datasets.need(layout).id, drawn, blob(layout.draws, name))
    files.write_record(layout.draws / f"{name}.json", draws.KIND, batch)


def extract(layout: Layout, name: str = "0123456789abcdef", image_size: int = 32, most: int | None = None) -> None:
    index = photos.read_index(layout.photos, datasets.need(layout).index)
    key = FeaturesKey(image_size, "d", "resnet50", "w", "e", "cpu", "float32")
    ids = tuple(photo.id for photo in index)[:most]
    record = FeatureShard(key, ids, 3, blob(layout.features, f"{name}.00000000"))
    files.write_record(layout.features / f"{name}.json", "features", record)


def train(layout: Layout, keys: list[RunKey], name: str = "block", **changed) -> None:
    made = [a_run(key, f"labels of {key.draw}", (Choice(0.001, 0.0, 1),)) for key in keys]
    block = a_block(datasets.need(layout).id, made, keys[0].setup, arrays=blob(layout.runs, name))
    files.write_record(layout.runs / f"{name}.json", runs.KIND, msgspec.structs.replace(block, **changed))


def evaluate(layout: Layout) -> None:
    dataset = datasets.need(layout)
    blocks = runs.blocks(layout, dataset.id)
    live = runs.live(blocks)
    made = Evaluation(
        dataset=dataset.id,
        source="s",
        classes=CLASSES,
        counts=dataset.counts,
        inputs=evaluations.inputs_of(blocks),
        selections=("last",),
        arrays=blob(layout.root, "evaluation"),
        **evaluated(list(live), failures=[stored.run.failure for stored in live.values()]),
    )
    files.write_record(layout.evaluation, evaluations.KIND, made)


def keys_of(*losses: str, draws: list[DrawKey] = DRAWS, backbone: str = "resnet50", mode="features") -> list[RunKey]:
    setup = a_setup(backbone, mode, **SETTINGS)
    return [RunKey(draw.noise, draw.rate, draw.seed, loss, setup) for loss in losses for draw in draws]


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A directory in which everything is done."""
    layout = prepare(tmp_path / "a")
    corrupt(layout)
    extract(layout)
    train(layout, keys_of("ce", "mae"))
    evaluate(layout)
    return layout


def states(found: Status) -> dict[str, str]:
    return {stage.name: stage.state for stage in found.stages if stage.state != "missing"}


def command(found: Status) -> str:
    """What comes next, without the directory."""
    return " ".join(shlex.split(found.next)[1:-2])


def contents(root: Path) -> dict[str, tuple[bytes, int]]:
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in root.rglob("*") if path.is_file()}


# Stages


@pytest.mark.parametrize("made", [True, False])
def test_an_empty_or_missing_directory_starts_with_prepare_and_stays_as_it_is(tmp_path, made):
    root = tmp_path / "new one"
    if made:
        root.mkdir()
    found = status(root)
    assert states(found) == {}
    assert found.next == f"flowernoise prepare --artifacts '{root}'"
    assert root.exists() == made
    assert list(tmp_path.rglob("*")) == ([root] if made else [])


def test_the_default_directory_needs_no_option(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert status(Path("artifacts")).next == "flowernoise prepare"


def test_each_stage_is_followed_by_the_next(tmp_path):
    layout = prepare(tmp_path / "a")
    seen = [command(status(layout.root))]
    for stage in (corrupt, lambda layout: train(layout, keys_of("ce")), evaluate):
        stage(layout)
        seen.append(command(status(layout.root)))
    assert seen == ["corrupt", "train", "evaluate", "compare"]


def test_everything_done_is_counted(layout):
    found = status(layout.root)
    assert states(found) == dict.fromkeys(("prepare", "corrupt", "features", "train", "evaluate"), "done")
    assert (found.source, found.photos, found.evaluated) == ("folder:my photos", (4, 2, 2), 12)
    assert [(each.noise, each.rate, each.draws) for each in found.draws] == [
        ("none", 0.0, 2),
        ("symmetric", 0.2, 2),
        ("symmetric", 0.4, 2),
    ]
    assert [(each.backbone, each.photos, each.state) for each in found.features] == [("resnet50", 8, "done")]
    assert (found.litter, found.problems, found.inside) == ((), (), ())


def test_sizes_are_those_on_disk(layout):
    (layout.root / "notes").mkdir()
    (layout.root / "notes" / "a.txt").write_text("mine")
    found = status(layout.root)
    on_disk = [path for path in layout.root.rglob("*") if path.is_file()]
    assert found.bytes == sum(path.stat().st_size for path in on_disk)
    assert sum(stage.files for stage in found.stages) == len(on_disk)
    by_name = {stage.name: stage for stage in found.stages}
    assert by_name["train"].bytes == sum(path.stat().st_size for path in layout.runs.iterdir())
    assert (by_name["other"].files, by_name["other"].bytes) == (1, 4)


def test_another_data_set_makes_what_follows_stale(layout):
    prepare(layout.root, "others")
    found = status(layout.root)
    assert states(found) == {"prepare": "done", **dict.fromkeys(("corrupt", "features", "train", "evaluate"), "stale")}
    assert (found.stale_draws, found.stale_runs, found.runs, found.draws) == (6, 12, (), ())
    assert command(found) == "corrupt"
    corrupt(layout, name="newer")
    found = status(layout.root)
    assert (states(found)["corrupt"], found.stale_draws, command(found)) == ("done", 6, "train")


def test_features_of_another_size_are_stale(layout):
    extract(layout, "fedcba9876543210", image_size=64)
    assert [each.state for each in status(layout.root).features] == ["done", "stale"]


def test_features_of_some_photos_are_counted(layout):
    for path in layout.features.glob("*"):
        path.unlink()
    extract(layout, most=3)
    found = status(layout.root)
    assert (states(found)["features"], found.litter) == ("partly", ())
    assert [(each.photos, each.state) for each in found.features] == [(3, "partly")]
    extract(layout, "00112233445566ff", most=5)
    assert [(each.photos, each.state) for each in status(layout.root).features] == [(5, "partly")]


LOSSES = ("ce", "mae", "gce")


@settings(max_examples=25)
@given(
    st.lists(
        st.lists(st.tuples(st.sampled_from(DRAWS), st.sampled_from(LOSSES), st.booleans()), min_size=1, max_size=20),
        min_size=1,
        max_size=4,
    ),
    st.integers(0, 4),
)
def test_runs_are_counted_by_loss_backbone_and_mode(tmp_path_factory, made, evaluated):
    layout = prepare(tmp_path_factory.mktemp("counts"))
    corrupt(layout)
    latest: dict[RunKey, bool] = {}  # whether the newest version of a run has failed
    known: set[RunKey] = set()
    every: list[RunKey] = []
    for number, block in enumerate(made):
        if number == evaluated:
            evaluate(layout)
            known = set(latest)
        members = {a_key(*msgspec.structs.astuple(d), loss): bad for d, loss, bad in block}
        trained = tuple(a_run(k, f"labels of {k.draw}", (), "diverged" if bad else None) for k, bad in members.items())
        train(layout, list(members), f"block{number}", generation=number, runs=trained)
        latest |= members
        every += members
        if number == 0 and evaluated == 0:
            evaluate(layout)
            known = set(latest)
    found = {each.loss: each for each in status(layout.root).runs}
    assert set(found) == {key.method for key in latest}
    for loss, each in found.items():
        own = [key for key in latest if key.method == loss]
        assert (each.runs, each.setup) == (len(own), a_setup())
        assert each.failed == sum(latest[key] for key in own)
        assert each.superseded == sum(key.method == loss for key in every) - len(own)
        assert each.unevaluated == sum(key not in known for key in own)
        assert each.lacking == 4 - len({key.draw for key in own if key.noise != "none"})
        assert each.stale == 0


# What comes next


COMMANDS = {"prepare": PrepareSettings, "corrupt": CorruptSettings, "train": TrainSettings}


def settings_of(found: Status) -> tuple[str, dict]:
    """The command that comes next, and its options as the command line understands them."""
    name, *words = shlex.split(found.next)[1:]
    context = typer.main.get_command(cli.app).commands[name].make_context(name, words)
    return name, options.given((COMMANDS[name],), context.params)


def test_runs_that_are_missing_are_asked_for_with_the_settings_of_the_others(tmp_path):
    layout = prepare(tmp_path / "a")
    corrupt(layout)
    train(layout, keys_of("ce"), "a")
    train(layout, keys_of("gce:q=0.5", "mae", draws=DRAWS[:4]), "b")
    train(layout, keys_of("mae", draws=DRAWS[:4], backbone="efficientnet_lite0"), "c")
    found = status(layout.root)
    assert states(found)["train"] == "partly"
    assert [each.lacking for each in found.runs] == [2, 0, 2, 2]
    name, given = settings_of(found)
    assert (name, given["losses"], given["backbone"]) == ("train", ("mae",), "efficientnet_lite0")
    train(layout, keys_of("mae", draws=DRAWS[4:], backbone="efficientnet_lite0"), "d")
    name, given = settings_of(status(layout.root))
    assert (given["losses"], given["backbone"], given["mode"]) == (("gce:q=0.5", "mae"), "resnet50", "features")
    assert {name: given[name] for name in SETTINGS} == SETTINGS


def test_what_was_evaluated_as_it_is_asks_for_no_more_runs_unless_all_lack_some(tmp_path):
    layout = prepare(tmp_path / "a")
    corrupt(layout)
    train(layout, keys_of("ce"), "a")
    train(layout, keys_of("mae", draws=DRAWS[:3]), "b")
    assert command(status(layout.root)).startswith("train --loss mae ")
    evaluate(layout)
    found = status(layout.root)
    assert (states(found)["train"], command(found)) == ("partly", "compare")
    corrupt(layout, [DrawKey("pairflip", 0.4, 0)], "more")
    assert command(status(layout.root)).startswith("train --loss ce --loss mae ")


def test_controls_that_are_missing_are_nothing_to_do(tmp_path):
    layout = prepare(tmp_path / "a")
    corrupt(layout)
    train(layout, keys_of("ce"), "a")
    train(layout, keys_of("mae", draws=DRAWS[2:]), "b")
    assert (states(status(layout.root))["train"], command(status(layout.root))) == ("done", "evaluate")


def test_runs_added_since_make_the_evaluation_stale(layout):
    train(layout, keys_of("gce"), "more")
    found = status(layout.root)
    assert (states(found)["evaluate"], command(found)) == ("stale", "evaluate")
    assert [(each.loss, each.unevaluated) for each in found.runs] == [("ce", 0), ("gce", 6), ("mae", 0)]


def test_runs_of_labels_that_were_drawn_anew_are_stale(layout):
    train(layout, keys_of("ce"), "old", generation=2, runs=(a_run(keys_of("ce")[3], "other labels", ()),))
    ce, _ = status(layout.root).runs
    assert (ce.stale, ce.lacking, ce.superseded) == (1, 1, 1)


# What is not as it should be

DAMAGED = {
    "dataset.json": ("prepare", "prepare"),
    "draws/draws.json": ("corrupt", "corrupt"),
    "features/0123456789abcdef.json": ("features", "compare"),
    "runs/block.json": ("train", "train"),
    "evaluation.json": ("evaluate", "evaluate"),
    "preset.json": (None, "compare"),
}


@pytest.mark.parametrize("name", DAMAGED)
@pytest.mark.parametrize("how", ["cut", "changed", "empty"])
def test_a_damaged_record_is_named_and_the_rest_goes_on(layout, name, how):
    files.write_record(layout.preset, "preset", {"name": "seed", "dataset": "photos"})
    path = layout.root / name
    data = path.read_bytes()
    path.write_bytes({"cut": data[:-20], "changed": data.replace(b"e", b"f", 1), "empty": b""}[how])
    before = contents(layout.root)
    found = status(layout.root)
    stage, following = DAMAGED[name]
    assert contents(layout.root) == before
    assert len(found.problems) == 1
    assert found.problems[0].startswith(str(path))
    assert found.litter == ()
    assert stage is None or states(found)[stage] == "damaged"
    assert command(found) == following
    if name == "dataset.json":
        assert {states(found)[each] for each in ("corrupt", "features", "train", "evaluate")} == {"unknown"}


@pytest.mark.parametrize("change", ["missing", "shorter"])
@pytest.mark.parametrize(
    ("pattern", "stage", "following"),
    [
        ("photos/*.tar", "prepare", "prepare"),
        ("photos/*.csv", "prepare", "prepare"),
        ("draws/*.h5", "corrupt", "corrupt"),
        ("features/*.h5", "features", "compare"),
        ("runs/*.h5", "train", "train"),
        ("evaluation-*.h5", "evaluate", "evaluate"),
    ],
)
def test_a_file_that_is_gone_or_of_another_size_is_named(layout, pattern, stage, following, change):
    [path] = layout.root.glob(pattern)
    if change == "missing":
        path.unlink()
        says = f"{path} is missing; "
    else:
        says = f"{path} holds 1 bytes, not the recorded {path.stat().st_size:,}; "
        path.write_bytes(b"x")
    found = status(layout.root)
    assert found.problems[0].startswith(says)
    assert states(found)[stage] == "damaged"
    assert shlex.split(found.next)[1] == following


def test_damaged_photos_are_asked_for_as_they_were(layout):
    next(layout.photos.glob("*.tar")).unlink()
    name, given = settings_of(status(layout.root))
    wanted = {"source": "folder:my photos", "positive": "roses", "train": 4, "val": 2, "test": 2, "seed": 7}
    assert name == "prepare"
    assert given.items() >= {**wanted, "image_size": 32}.items()


def test_draws_that_are_lost_are_asked_for_again(layout):
    next(layout.draws.glob("*.h5")).unlink()
    name, given = settings_of(status(layout.root))
    assert (name, given["noise"], given["rates"], given["seeds"]) == ("corrupt", ("symmetric",), (0.2, 0.4), 2)


def test_files_of_replaced_photos_need_not_be_whole(layout):
    prepare(layout.root, "others")
    for pattern in ("draws/*.h5", "runs/*.h5", "features/*.h5"):
        next(layout.root.glob(pattern)).unlink()
    found = status(layout.root)
    assert found.problems == ()
    assert states(found)["train"] == "stale"


def test_litter_is_what_nothing_reads(layout):
    names = {
        f"draws/{TEMPORARY}": "temporary",
        ".evaluation.h5.89abcdef-4711-0123456789ab.tmp": "temporary",
        f"preview/{TEMPORARY}": "temporary",
        "runs/a.json.damaged": "set aside",
        "runs/a-0123456789abcdef.h5": "unreferenced",
        "evaluation-0123456789abcdef.h5": "unreferenced",
        "photos/photos-0123456789abcdef.tar": "unreferenced",
        "features/0123456789abcdef.00000256-0123456789abcdef.h5": "unreferenced",
        "plots/accuracy-0123456789abcdef.png": None,
        "mine/a-0123456789abcdef.h5": None,
        f"mine/{TEMPORARY}": None,
        "notes.txt": None,
        "locks/directory.lock": None,
        "locks/train-4711-0123abcd.lock": None,
        "locks/train-4711-0123abcd.json": None,
    }
    for name in names:
        (layout.root / name).parent.mkdir(exist_ok=True)
        (layout.root / name).write_bytes(b"123")
    found = status(layout.root)
    assert {each.path: each.kind for each in found.litter} == {name: kind for name, kind in names.items() if kind}
    assert {each.bytes for each in found.litter} == {3}


def test_a_link_into_a_circle_is_not_followed(layout):
    (layout.root / "mine").mkdir()
    (layout.root / "mine" / "again").symlink_to(layout.root)
    assert status(layout.root).stages[-1].files == 0


def test_folders_may_not_lie_elsewhere(layout, tmp_path):
    layout.photos.rename(tmp_path / "big disk")
    layout.photos.symlink_to(tmp_path / "big disk")
    with pytest.raises(FlowernoiseError, match=r"photos is a symbolic link, .*move the whole directory"):
        status(layout.root)


def test_the_directory_as_a_whole_may_lie_elsewhere(layout, tmp_path):
    found = status(layout.root)
    layout.root.rename(tmp_path / "big disk")
    layout.root.symlink_to(tmp_path / "big disk")
    assert status(layout.root) == found


def test_something_else_of_that_name_is_a_bad_request(tmp_path):
    (tmp_path / "a").write_text("")
    with pytest.raises(BadRequestError, match="/a is not a directory"):
        status(tmp_path / "a")


def test_directories_within_are_named(layout):
    found = status(layout.root.parent)
    assert found.inside == ("a",)
    assert found.next == f"flowernoise status --artifacts {layout.root}"


# Pictures


def sheet(layout: Layout, name: str, inputs: str | None) -> None:
    described = PngInfo()
    if inputs is not None:
        described.add_text("Inputs", inputs)
    layout.preview.mkdir(exist_ok=True)
    Image.new("RGB", (2, 2)).save(layout.preview / name, pnginfo=described)


@pytest.mark.parametrize("inputs", ["photos", f"labels of {DRAWS[3]}", "the block's arrays", None])
def test_contact_sheets_are_done_while_their_labels_are_those_of_today(layout, inputs):
    [block] = runs.blocks(layout, "photos").values()
    sheet(layout, "a.png", block.arrays.sha256 if inputs == "the block's arrays" else inputs)
    (layout.preview / "broken.png").write_bytes(b"")
    assert states(status(layout.root))["preview"] == "done"
    sheet(layout, "b.png", "labels of another time")
    assert states(status(layout.root))["preview"] == ("partly" if inputs else "stale")


@pytest.mark.parametrize(
    ("name", "stage"), [("plots/a.png", "plots"), ("comparisons/a.json", "compare"), ("report.html", "report")]
)
def test_what_is_made_from_the_evaluation_is_stale_with_it(layout, name, stage):
    (layout.root / name).parent.mkdir(exist_ok=True)
    (layout.root / name).write_bytes(b"")
    assert states(status(layout.root))[stage] == "there"
    train(layout, keys_of("gce"), "more")
    assert states(status(layout.root))[stage] == "stale"


# Size


def test_time_is_in_proportion_to_the_runs(tmp_path):
    layout = prepare(tmp_path / "a")
    keys = [DrawKey("symmetric", rate / 100, seed) for rate in range(1, 51) for seed in range(20)]
    corrupt(layout, keys)
    for number in range(20):
        train(layout, keys_of(f"gce:q=0.{number}", draws=keys), f"block{number}")
    started = time.process_time()  # of this process alone: a shared machine may stop for seconds
    found = status(layout.root)
    assert time.process_time() - started < 4  # 0.25 s where nothing else is going on
    assert Counter(each.runs for each in found.runs) == {1000: 20}


# The command


def flowernoise(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "flowernoise", "status", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ)


def test_the_command_shows_a_row_a_stage_and_what_comes_next(layout):
    before = contents(layout.root)
    shown = flowernoise("-a", str(layout.root))
    assert (shown.returncode, shown.stderr) == (0, "")
    lines = shown.stdout.splitlines()
    rows = [line.split()[:2] for line in lines]
    for stage in ("prepare", "corrupt", "features", "train", "evaluate"):
        assert [stage, "done"] in rows
    assert lines[-1] == f"next: flowernoise compare --artifacts {layout.root}"
    assert contents(layout.root) == before


def test_what_is_sound_and_done_passes_the_check_whatever_lies_beside_it(layout):
    assert status(layout.root).shortcomings == ()
    (layout.draws / TEMPORARY).write_bytes(b"12")
    earlier = [key._replace(setup=a_setup(epochs=3)) for key in keys_of("mae", draws=DRAWS[:3])]
    train(layout, earlier, name="earlier", recency=0)
    evaluate(layout)
    (layout.root / "report.html").write_bytes(b"of something else")
    assert status(layout.root).shortcomings == ()
    passed = flowernoise("-a", str(layout.root), "--check")
    assert (passed.returncode, passed.stderr) == (0, "")


def test_the_check_names_what_is_wrong_or_missing_and_exits_4(tmp_path, layout):
    empty = flowernoise("-a", str(tmp_path / "none"), "--check")
    assert empty.returncode == 4
    assert empty.stdout.startswith("nothing in ")
    assert empty.stderr == (
        f"error: {tmp_path / 'none'} is not sound and complete: prepare is missing; corrupt is missing; train is "
        "missing; and 1 more\n"
    )
    (layout.runs / "block.json").write_text("{}")
    broken = flowernoise("-a", str(layout.root), "--check", "--json")
    assert (broken.returncode, json.loads(broken.stdout)["schema"], broken.stderr.count("\n")) == (4, 1, 1)
    assert "block.json is damaged" in broken.stderr


def test_runs_that_the_table_lacks_are_a_shortcoming(layout):
    corrupt(layout, [DrawKey("pairflip", 0.4, 0)], name="more")
    assert status(layout.root).shortcomings == ("ce lacks 1 of its runs", "mae lacks 1 of its runs")
    train(layout, keys_of("ce", "mae", draws=[DrawKey("pairflip", 0.4, 0)]), name="more")
    assert status(layout.root).shortcomings == ("evaluate is stale",)


def test_what_is_done_is_recommended_no_more(layout):
    def touch(path: Path, seconds_later: int) -> None:
        path.parent.mkdir(exist_ok=True)
        path.touch()
        later = layout.evaluation.stat().st_mtime_ns + seconds_later * 10**9
        for each in (path, path.parent if path.parent != layout.root else path):
            os.utime(each, ns=(later, later))

    comparison, page = layout.comparisons / "0.json", layout.root / "report.html"
    assert command(status(layout.root)) == "compare"
    touch(comparison, 1)
    assert command(status(layout.root)) == "report"
    touch(page, 2)
    assert status(layout.root).next is None
    assert json.loads(flowernoise("-a", str(layout.root), "--json").stdout)["next"] is None
    assert flowernoise("-a", str(layout.root)).stdout.endswith("next: nothing is left to do\n")
    touch(page, -1)
    assert command(status(layout.root)) == "report", "it shows an evaluation that was replaced"
    touch(comparison, -1)
    assert command(status(layout.root)) == "compare"


def test_the_command_gives_one_json_object(layout):
    (layout.root / "draws" / TEMPORARY).write_bytes(b"12")
    shown = json.loads(flowernoise("-a", str(layout.root), "--json").stdout)
    assert (shown["schema"], shown["next"].split()[1]) == (1, "compare")
    assert {stage["name"]: stage["state"] for stage in shown["stages"]}["report"] == "missing"
    assert shown["photos"] == [4, 2, 2]
    assert [(each["loss"], each["runs"]) for each in shown["runs"]] == [("ce", 6), ("mae", 6)]
    assert shown["litter"] == [{"path": f"draws/{TEMPORARY}", "kind": "temporary", "bytes": 2}]
    assert shown["bytes"] == sum(stage["bytes"] for stage in shown["stages"])


def test_the_command_says_that_nothing_is_there(tmp_path):
    shown = flowernoise("-a", str(tmp_path / "none"))
    where = tmp_path / "none"
    said = f"nothing in {where}\nnext: flowernoise prepare --artifacts {where}\n"
    assert (shown.returncode, shown.stdout, shown.stderr) == (0, said, "")


def test_the_command_names_damage_and_goes_on(layout):
    (layout.runs / "block.json").write_text("{}")
    shown = flowernoise("-a", str(layout.root))
    assert (shown.returncode, shown.stderr) == (0, "")
    assert f"problem: {layout.runs / 'block.json'} is damaged" in shown.stdout


def test_the_command_refuses_a_file_in_one_line(layout):
    shown = flowernoise("-a", str(layout.dataset))
    assert (shown.returncode, shown.stdout) == (2, "")
    assert shown.stderr == f"error: {layout.dataset} is not a directory; give another with --artifacts\n"


def test_what_another_version_has_written_is_told_with_its_way_out_and_never_called_damaged(layout):
    for path in layout.root.rglob("*.json"):
        path.write_bytes(path.read_bytes().replace(b'"schema": 4', b'"schema": 2'))
    found = status(layout.root)
    assert {state for name, state in states(found).items() if name in ("prepare", "corrupt", "train")} == {"unknown"}
    assert len(found.problems) == 5
    assert all(
        text.endswith("use the version that wrote it, or another artifacts directory") for text in found.problems
    )
    assert found.next == f"flowernoise prepare --artifacts {layout.root}-new"
