"""Missing or bad network, broken downloads, damaged data sets and weights, and commands that need no network."""

import gc
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from flowernoise.catalogue import backbones, lite0, sources, weight_files
from flowernoise.catalogue.backbones import RESNET50_FILE
from flowernoise.catalogue.sources import SourceContext, parse_source
from flowernoise.errors import DamagedFileError, ExitCode, FlowernoiseError
from flowernoise.safe import downloads
from flowernoise.safe.torch_pickle import read_state
from tests.reliability.hostile_photos import saved, small
from tests.reliability.http_server import Server, serving
from tests.reliability.privileges import drop_privileges, heeds_permissions
from tests.reliability.real_command import flowernoise, short_and_full, state

CLASSES = ("dandelion", "daisy", "tulips", "sunflowers", "roses")
A_CLASS = 20
PHOTOS = A_CLASS * len(CLASSES)
THIRDS = ("--train", 34, "--val", 33, "--test", 33)
SHARED = Path(__file__).resolve().parents[2].parent / "shared"
REAL_TFDS = Path(os.environ.get("FLOWERNOISE_TEST_TFDS", SHARED / "tfds"))
NOWHERE = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}  # a port of nobody

# What a server does wrong, and what is told of it.
WRONGS = {
    "404": "returns status 404",
    "500": "returns status 500",
    "silent": "reached|does not answer",
    "slow start": "no byte came for",
    "stalls": "no byte came for",
    "breaks off": "the connection broke off",
    "shorter": "checksum is not the published one",
    "wrong bytes": "checksum is not the published one",
    "redirects": "redirect",
    "fails later": "500",
}


# Keras and TFDS leave connections that were refused or cut to the garbage collector, which complains of them.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(autouse=True)
def by_ourselves(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No proxy of this machine; time limits of a test; what libraries leave behind is gone before the next test."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setattr(downloads, "STALL", 0.5)
    plain = downloads.status
    monkeypatch.setattr(downloads, "status", lambda url, *_: plain(url, 1))
    yield
    gc.collect()


def one_line(error: FlowernoiseError) -> str:
    assert error.exit_code is ExitCode.COULD_NOT
    assert len(str(error).splitlines()) == 1
    return str(error)


# The archive of tf_flowers, through TensorFlow Datasets


@pytest.fixture(scope="module")
def archive() -> bytes:
    """As the real one, with few photos, so many of each class that each third of them holds all classes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name in CLASSES:
            for k in range(A_CLASS):
                photo = saved(small().rotate(10 * k), "JPEG", comment=name.encode())
                header = tarfile.TarInfo(f"flower_photos/{name}/{k}.jpg")
                header.size = len(photo)
                tar.addfile(header, io.BytesIO(photo))
    return buffer.getvalue()


@pytest.fixture(scope="module")
def tfds_points_here(archive: bytes) -> Iterator[Server]:
    """TFDS downloads from here."""
    tfds = pytest.importorskip("tensorflow_datasets")
    from tensorflow_datasets.datasets.tf_flowers import tf_flowers_dataset_builder as builder

    with serving(archive) as server, pytest.MonkeyPatch.context() as monkeypatch:
        url = f"{server.url}flower_photos.tgz"
        info = tfds.core.download.checksums.UrlInfo(
            size=tfds.core.utils.Size(len(archive)),
            checksum=hashlib.sha256(archive).hexdigest(),
            filename="flower_photos.tgz",
        )
        monkeypatch.setattr(sources, "TF_FLOWERS_URL", url)
        monkeypatch.setattr(builder, "_URL", url)
        monkeypatch.setattr(builder.Builder, "url_infos", {url: info})
        yield server


@pytest.fixture
def flowers_server(tfds_points_here: Server) -> Server:
    """As above, good again and with nothing asked of it yet."""
    tfds_points_here.kind = "good"
    tfds_points_here.requests.clear()
    tfds_points_here.halfway.clear()
    return tfds_points_here


def photos_of(data_dir: Path) -> list[tuple[str, str, str]]:
    """Path, class and digest of each photo."""
    source = parse_source("tf_flowers")(SourceContext(data_dir))
    photos = [(photo.path, source.classes[photo.label], photo.read()) for photo in source.photos()]
    return [(path, name, hashlib.sha256(encoded).hexdigest()) for path, name, encoded in photos]


@pytest.mark.parametrize("wrong", WRONGS)
def test_a_download_of_photos_that_goes_wrong_is_one_line_and_the_next_one_succeeds(
    wrong: str, flowers_server: Server, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    flowers_server.kind = wrong
    start = time.monotonic()
    with pytest.raises(FlowernoiseError, match=WRONGS[wrong]) as caught:
        photos_of(tmp_path)
    assert time.monotonic() - start < 20
    assert "tf_flowers" in one_line(caught.value)
    assert "a folder of photos" in str(caught.value)
    assert state(tmp_path) == {}
    flowers_server.kind = "good"
    assert len(photos_of(tmp_path)) == PHOTOS
    assert {path.partition("/")[0] for path in state(tmp_path)} == {"tf_flowers"}
    flowers_server.kind = "404"
    flowers_server.requests.clear()
    assert len(photos_of(tmp_path)) == PHOTOS
    assert flowers_server.requests == []
    assert capfd.readouterr().out == ""


def settings_of(server: Server, stall: float = 20) -> str:
    digest = hashlib.sha256(server.content).hexdigest()
    flowers = {"url": f"{server.url}flower_photos.tgz", "sha256": digest, "size": len(server.content)}
    weights = {"folder": server.url, "md5": hashlib.md5(server.content).hexdigest()}
    return json.dumps({"flowers": flowers, "resnet50": weights, "stall": stall})


def started(server: Server, *arguments: object, **settings: object) -> "subprocess.Popen[str]":
    """The real command, its downloads pointed to the server."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.reliability.redirected_downloads", settings_of(server, 2), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **settings,
    )


@pytest.mark.parametrize("signal_name", ["SIGKILL", "SIGTERM", "SIGINT"])
def test_a_download_cut_short_by_a_signal_is_never_taken_for_the_whole(
    signal_name: str, flowers_server: Server, tmp_path: Path
) -> None:
    import signal

    flowers_server.kind = "stalls"
    with started(
        flowers_server, "prepare", "tf_flowers", "--data-dir", tmp_path / "t", "-a", tmp_path / "a"
    ) as process:
        assert flowers_server.halfway.wait(60)
        time.sleep(0.2)
        process.send_signal(getattr(signal, signal_name))
        start = time.monotonic()
        stdout, stderr = process.communicate(timeout=60)
        seconds = time.monotonic() - start
    expected = {"SIGKILL": -signal.SIGKILL, "SIGTERM": 143, "SIGINT": 130}[signal_name]
    assert (process.returncode, stdout) == (expected, "")
    assert seconds < 10  # without a busy machine 0.1
    assert not [path for path in state(tmp_path) if "dataset_info.json" in path or path.startswith("a/")]
    if signal_name != "SIGKILL":
        assert len(stderr.splitlines()) == 1
        assert state(tmp_path) == {}
    flowers_server.kind = "good"
    assert len(photos_of(tmp_path / "t")) == PHOTOS


@pytest.mark.slow
@pytest.mark.parametrize("wrong", [*WRONGS, "good"])
def test_the_command_says_in_one_line_what_went_wrong_with_the_photos(
    wrong: str, flowers_server: Server, tmp_path: Path
) -> None:
    flowers_server.kind = wrong
    arguments = ("prepare", "tf_flowers", "--data-dir", tmp_path / "t", "-a", tmp_path / "a", *THIRDS, "--json")
    with started(flowers_server, *arguments) as process:
        stdout, stderr = process.communicate(timeout=120)
    if wrong == "good":
        assert (process.returncode, json.loads(stdout)["found"]) == (0, PHOTOS)
        return
    assert (process.returncode, stdout) == (1, "")
    assert stderr.startswith("error: ")
    assert len(stderr.splitlines()) == 1


# The weights of ResNet50, through Keras


@pytest.fixture
def weights_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Keras downloads from here, into an empty cache."""
    pytest.importorskip("keras")
    content = b"\x89HDF\r\n\x1a\n" + np.random.default_rng(0).bytes(200_000)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(weight_files, "keras_folders", lambda: (tmp_path,))
    with serving(content) as server:
        monkeypatch.setattr(backbones, "RESNET50_FOLDER", server.url)
        monkeypatch.setattr(backbones, "RESNET50_MD5", hashlib.md5(content).hexdigest())
        yield server


@pytest.mark.usefixtures("capfd")
@pytest.mark.parametrize("wrong", WRONGS)
def test_a_download_of_weights_that_goes_wrong_is_one_line_and_the_next_one_succeeds(
    wrong: str, weights_server: Server
) -> None:
    weights_server.kind = wrong
    start = time.monotonic()
    with pytest.raises(FlowernoiseError, match=WRONGS[wrong]) as caught:
        backbones.resnet50()
    assert time.monotonic() - start < 20
    assert "--backbone resnet50:weights=PATH" in one_line(caught.value)
    weights_server.kind = "good"
    digest = hashlib.sha256(weights_server.content).hexdigest()
    assert backbones.resnet50().weights_digest == digest
    weights_server.kind = "404"
    weights_server.requests.clear()
    assert backbones.resnet50().weights_digest == digest
    assert weights_server.requests == []


@pytest.mark.usefixtures("capfd")
@pytest.mark.parametrize("damage", ["removed", "emptied", "truncated", "flipped"])
def test_cached_weights_that_are_damaged_are_fetched_again_or_named(
    damage: str, weights_server: Server, tmp_path: Path
) -> None:
    cached = tmp_path / "models" / RESNET50_FILE
    cached.parent.mkdir()
    content = bytearray(weights_server.content)
    content[1000] ^= 1
    cached.write_bytes({"flipped": content, "truncated": content[:-1], "emptied": b"", "removed": b""}[damage])
    if damage == "removed":
        cached.unlink()
    weights_server.kind = "404"
    with pytest.raises(FlowernoiseError, match="returns status 404"):
        backbones.resnet50()
    weights_server.kind = "good"
    assert backbones.resnet50().weights_digest == hashlib.sha256(weights_server.content).hexdigest()


@pytest.mark.slow
def test_weights_cut_short_by_a_kill_are_never_taken_for_the_whole(
    weights_server: Server, tmp_path: Path, photo_folder: Path
) -> None:
    artifacts = tmp_path / "artifacts"
    assert flowernoise("prepare", photo_folder, "--image-size", 32, "-a", artifacts).returncode == 0
    assert flowernoise("corrupt", "-a", artifacts).returncode == 0
    weights_server.kind = "stalls"
    with started(weights_server, "train", "--backbone", "resnet50", "-a", artifacts) as process:
        assert weights_server.halfway.wait(60)
        time.sleep(0.2)
        process.kill()
        process.communicate()
    assert (tmp_path / "models" / RESNET50_FILE).is_file()  # half of it, under the name of the whole
    weights_server.kind = "404"
    with pytest.raises(FlowernoiseError, match="returns status 404"):
        backbones.resnet50()


# No network at all


def is_isolated() -> bool:
    try:
        return subprocess.run(["unshare", "-n", "true"], check=False, capture_output=True).returncode == 0
    except OSError:
        return False


@pytest.mark.parametrize("how", ["no network", "proxy that leads nowhere"])
def test_without_a_network_the_command_says_so_in_seconds(how: str, tmp_path: Path) -> None:
    if how == "no network" and not is_isolated():
        pytest.skip("a process may not be put into a network of its own here")
    prefix = ["unshare", "-n"] if how == "no network" else []
    for source in ("tf_flowers", "tfds:cifar10"):
        start = time.monotonic()
        finished = subprocess.run(
            [
                *prefix,
                sys.executable,
                "-m",
                "flowernoise",
                "prepare",
                source,
                "--data-dir",
                tmp_path,
                "-a",
                tmp_path / "a",
            ],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env={**os.environ, **NOWHERE} if not prefix else None,
        )
        assert (finished.returncode, finished.stdout) == (1, "")
        assert len(finished.stderr.splitlines()) == 1
        assert finished.stderr.startswith(f"error: {source.removeprefix('tfds:')} is not in {tmp_path} and ")
        assert "use --data-dir DIR" in finished.stderr
        assert time.monotonic() - start < 30  # without a busy machine 1
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_does_not_resolve_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    monkeypatch.setattr(weight_files, "keras_folders", lambda: (tmp_path,))
    for make in (lambda: parse_source("tf_flowers")(SourceContext(tmp_path)), backbones.resnet50):
        with pytest.raises(FlowernoiseError, match=r"cannot be reached|does not answer") as caught:
            make()
        one_line(caught.value)


# Prepared directories of TensorFlow Datasets


@pytest.fixture(scope="module")
def prepared_once(tfds_points_here: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    tfds_points_here.kind = "good"
    directory = tmp_path_factory.mktemp("tfds")
    assert len(photos_of(directory)) == PHOTOS
    return directory


@pytest.fixture
def prepared(prepared_once: Path, flowers_server: Server, tmp_path: Path) -> Path:
    """A data directory with tf_flowers in it; the server is gone."""
    flowers_server.kind = "404"
    return Path(shutil.copytree(prepared_once, tmp_path / "tfds"))


def version(prepared: Path) -> Path:
    return prepared / "tf_flowers" / "3.0.1"


def records(prepared: Path) -> Path:
    (file,) = version(prepared).glob("*.tfrecord*")
    return file


def change_json(path: Path, change: Callable[[dict], object]) -> None:
    body = json.loads(path.read_text())
    change(body)
    path.write_text(json.dumps(body))


DAMAGES: dict[str, Callable[[Path], object]] = {
    "empty directory": lambda p: shutil.rmtree(p / "tf_flowers"),
    "empty version": lambda p: [file.unlink() for file in version(p).iterdir()],
    "no records": lambda p: records(p).unlink(),
    "empty records": lambda p: records(p).write_bytes(b""),
    "records cut by a byte": lambda p: records(p).write_bytes(records(p).read_bytes()[:-1]),
    "half of the records": lambda p: records(p).write_bytes(records(p).read_bytes()[: records(p).stat().st_size // 2]),
    "records twice": lambda p: records(p).write_bytes(records(p).read_bytes() * 2),
    "records of noise": lambda p: records(p).write_bytes(np.random.default_rng(0).bytes(5000)),
    "records are a directory": lambda p: (records(p).rename(p / "x"), (version(p) / (p / "x").name).mkdir()),
    "records under another name": lambda p: records(p).rename(version(p) / "other.tfrecord-00000-of-00001"),
    "info is empty": lambda p: (version(p) / "dataset_info.json").write_text(""),
    "info is no JSON": lambda p: (version(p) / "dataset_info.json").write_text("{"),
    "info is not UTF-8": lambda p: (version(p) / "dataset_info.json").write_bytes(b'{"name": "\xff"}'),
    "info is nested": lambda p: (version(p) / "dataset_info.json").write_text("[" * 100_000),
    "info has unknown fields": lambda p: change_json(
        version(p) / "dataset_info.json", lambda d: d.update(colour="red")
    ),
    "info of another set": lambda p: change_json(version(p) / "dataset_info.json", lambda d: d.update(name="mnist")),
    "info without splits": lambda p: change_json(version(p) / "dataset_info.json", lambda d: d.pop("splits")),
    "info with more records": lambda p: change_json(
        version(p) / "dataset_info.json", lambda d: d["splits"][0].update(shardLengths=["11"])
    ),
    "info with fewer records": lambda p: change_json(
        version(p) / "dataset_info.json", lambda d: d["splits"][0].update(shardLengths=["9"])
    ),
    "info with more shards": lambda p: change_json(
        version(p) / "dataset_info.json", lambda d: d["splits"][0].update(shardLengths=["5", "5"])
    ),
    "info that leads elsewhere": lambda p: change_json(
        version(p) / "dataset_info.json", lambda d: d["splits"][0].update(filepathTemplate="../../../{DATASET}")
    ),
    "another format of records": lambda p: change_json(
        version(p) / "dataset_info.json", lambda d: d.update(fileFormat="parquet")
    ),
    "features are missing": lambda p: (version(p) / "features.json").unlink(),
    "features are no JSON": lambda p: (version(p) / "features.json").write_text("{"),
    "features of a later TFDS": lambda p: change_json(
        version(p) / "features.json", lambda d: d.update(pythonClassName="tensorflow_datasets.core.features.new.New")
    ),
    "features that name other code": lambda p: change_json(
        version(p) / "features.json", lambda d: d.update(pythonClassName="os.system")
    ),
    "labels are missing": lambda p: (version(p) / "label.labels.txt").unlink(),
    "labels are empty": lambda p: (version(p) / "label.labels.txt").write_text(""),
    "fewer labels": lambda p: (version(p) / "label.labels.txt").write_text("daisy\nroses\n"),
}
HARMLESS = {"info has unknown fields"}  # may be passed over


def outcome(prepared: Path) -> list[tuple[str, str, str]] | FlowernoiseError:
    try:
        return photos_of(prepared)
    except FlowernoiseError as error:
        return error


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_directory_is_one_line_and_never_other_photos(damage: str, prepared: Path) -> None:
    intact = photos_of(prepared)
    DAMAGES[damage](prepared)
    found = outcome(prepared)
    if isinstance(found, FlowernoiseError):
        assert "tf_flowers" in one_line(found)
        assert "a folder of photos" in str(found)
    else:
        assert found == intact
        assert damage in HARMLESS


def test_a_version_that_this_tfds_does_not_know_is_read_from_its_own_description(prepared: Path) -> None:
    intact = photos_of(prepared)
    version(prepared).rename(prepared / "tf_flowers" / "9.9.9")
    change_json(prepared / "tf_flowers" / "9.9.9" / "dataset_info.json", lambda d: d.update(version="9.9.9"))
    assert photos_of(prepared) == intact


@short_and_full(15, 2000)
def test_flipped_bytes_of_records_are_noticed(count: int, prepared: Path, measured: Callable[[str], None]) -> None:
    intact, file = photos_of(prepared), records(prepared)
    content = file.read_bytes()
    noticed = 0
    for position in np.linspace(0, len(content) - 1, count).astype(int):
        changed = bytearray(content)
        changed[position] ^= 1 << (position % 8)
        file.write_bytes(changed)
        found = outcome(prepared)
        assert isinstance(found, FlowernoiseError) or found == intact
        noticed += isinstance(found, FlowernoiseError) and bool(one_line(found))
    measured(f"{noticed} of {count} flipped bytes of TFDS records noticed, no other photos given")
    assert noticed == count


def test_a_data_directory_that_is_not_a_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for data_dir in (tmp_path / "missing", tmp_path / "file", tmp_path):
        finished = flowernoise("prepare", "tf_flowers", "--data-dir", data_dir, "-a", tmp_path / "a", env=NOWHERE)
        assert finished.returncode == 1
        assert len(finished.stderr.splitlines()) == 1
        assert f"tf_flowers is not in {data_dir} and " in finished.stderr


@heeds_permissions
@pytest.mark.parametrize("is_prepared", [pytest.param(True, marks=pytest.mark.slow), False])
def test_a_read_only_data_directory_can_be_read_but_not_downloaded_to(
    is_prepared: bool, flowers_server: Server, tmp_path: Path
) -> None:
    data_dir = tmp_path / "tfds"
    data_dir.mkdir()
    if is_prepared:
        photos_of(data_dir)
    directories = [data_dir, *(path for path in data_dir.rglob("*") if path.is_dir())]
    for directory in directories:
        directory.chmod(0o555)
    arguments = ("prepare", "tf_flowers", "--data-dir", data_dir, "-a", tmp_path / "a", *THIRDS)
    with started(flowers_server, *arguments, preexec_fn=drop_privileges) as process:
        stdout, stderr = process.communicate(timeout=120)
    for directory in directories:
        directory.chmod(0o755)
    if is_prepared:
        assert process.returncode == 0, stderr
    else:
        assert (process.returncode, stdout, len(stderr.splitlines())) == (1, "", 1)
        assert f"{data_dir}" in stderr
        assert "Permission denied" in stderr
        assert state(data_dir) == {}


@heeds_permissions
def test_a_data_directory_that_may_not_be_listed_is_one_line(prepared: Path, tmp_path: Path) -> None:
    (prepared / "tf_flowers").chmod(0)
    finished = flowernoise(
        "prepare", "tf_flowers", "--data-dir", prepared, "-a", tmp_path / "a", env=NOWHERE, preexec_fn=drop_privileges
    )
    (prepared / "tf_flowers").chmod(0o755)
    assert finished.returncode == 1
    assert len(finished.stderr.splitlines()) == 1


# Weights that come with the installation


@pytest.mark.parametrize("damage", ["removed", "emptied", "truncated", "flipped", "another file"])
def test_weights_of_the_installation_that_are_damaged_are_named_before_they_are_read(
    damage: str, tmp_path: Path
) -> None:
    try:
        content = bytearray(lite0.weight_file().read_bytes())
    except FlowernoiseError:
        pytest.skip("the package with EfficientNet-Lite0's weights is not installed")
    path = tmp_path / "weights.pth"
    content[len(content) // 2] ^= 1
    made = {"flipped": content, "truncated": content[:-1], "emptied": b"", "another file": b"\x80\x02cos\nsystem\n."}
    if damage != "removed":
        path.write_bytes(made[damage])
    with pytest.raises(DamagedFileError, match="reinstall the package it belongs to") as caught:
        read_state(path, lite0.SHA256)
    assert str(path) in one_line(caught.value)


# Offline


RECORDER = """
import os, sys
def note(event, arguments):
    if event.startswith("socket.") and event not in ("socket.gethostname", "socket.__new__"):
        with open(os.environ["SOCKETS_NOTED"], "a") as file:
            file.write(f"{event} {[each for each in arguments if not hasattr(each, 'fileno')]}\\n")
sys.addaudithook(note)
"""


def noted(folder: Path, *arguments: object, module: str = "flowernoise", env: dict[str, str] | None = None) -> str:
    """What a command does with sockets; it must succeed."""
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(RECORDER)
    notes = folder / "notes"
    notes.write_text("")
    finished = subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]),
            "SOCKETS_NOTED": str(notes),
            **(env or {}),
        },
    )
    assert finished.returncode == 0, finished.stderr
    return notes.read_text()


def test_the_recorder_sees_a_socket(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text("import socket\nsocket.create_server(('127.0.0.1', 0)).close()\n")
    assert "socket.bind" in noted(
        tmp_path / "hook", module="program", env={"PYTHONPATH": f"{tmp_path}:{tmp_path}/hook"}
    )


@pytest.mark.parametrize("name", ["folder", "synthetic", pytest.param("tf_flowers", marks=pytest.mark.slow)])
def test_photos_that_are_here_are_prepared_without_a_socket(
    name: str, prepared: Path, photo_folder: Path, tmp_path: Path
) -> None:
    ways = {"folder": (photo_folder,), "synthetic": ("synthetic:photos=40,size=32",)}
    source = ways.get(name, ("tf_flowers", "--data-dir", prepared, *THIRDS))
    arguments = ("prepare", *source, "--image-size", 32, "--artifacts", tmp_path / name)
    # urllib3, which TFDS imports, asks the system for a port of this machine, to see whether there is IPv6.
    assert noted(tmp_path / "hook", *arguments) in ("", "socket.bind [('::1', 0)]\n" * (name == "tf_flowers"))
    assert noted(tmp_path / "hook", *arguments) == ""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["synthetic", "folder", "tf_flowers", "resnet50"])
def test_a_second_run_opens_no_socket(
    kind: str, photo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, measured: Callable[[str], None]
) -> None:
    source = {"folder": (photo_folder,)}.get(kind, ("synthetic:photos=60,size=32",))
    backbone = ("efficientnet_lite0",)
    module, first = "flowernoise", ()
    if kind == "tf_flowers":
        if not (REAL_TFDS / "tf_flowers").is_dir():
            pytest.skip(f"no prepared tf_flowers in {REAL_TFDS}")
        source = ("tf_flowers", "--data-dir", REAL_TFDS, "--train", 40, "--val", 10, "--test", 10)
    if kind == "resnet50":
        monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
        (tmp_path / "keras" / "models").mkdir(parents=True)
        cached = tmp_path / "keras" / "models" / RESNET50_FILE
        backbones.resnet50(weights="none").build(32).save_weights(tmp_path / "x.weights.h5")
        shutil.move(tmp_path / "x.weights.h5", cached)
        md5 = hashlib.md5(cached.read_bytes()).hexdigest()
        module, first = (
            "tests.reliability.redirected_downloads",
            (json.dumps({"resnet50": {"folder": "http://127.0.0.1:9/", "md5": md5}}),),
        )
        backbone = ("resnet50",)
    arguments = (*first, "run", *source, "--image-size", 32, "--backbone", *backbone, "--seeds", 1, "--epochs", 1)
    before = noted(tmp_path / "hook", *arguments, "--artifacts", tmp_path / "a", module=module)
    again = noted(tmp_path / "hook", *arguments, "--artifacts", tmp_path / "a", module=module)
    measured(
        f"{kind}: {len(before.splitlines())} uses of sockets in the first run, {len(again.splitlines())} in the second"
    )
    assert set(before.splitlines()) <= {"socket.bind [('::1', 0)]"}
    assert again == ""
