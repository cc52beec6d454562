"""Hostile artifacts directories: refused in one line, within time and memory limits; nothing outside is touched.

Everything is signed as the program itself would: records carry a digest that fits, and name blobs by theirs.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from flowernoise.store import files
from tests.reliability.command_server import CommandServer
from tests.reliability.fakes import swept
from tests.reliability.tampering import TamperedDirectory
from tests.timing import assert_in_time, may_be_late

SECONDS, MEGABYTES = 2.0, 200
SWEEP = (
    *("--image-size", 16, "--backbone", "tiny", "--rates", 0.4, "--seeds", 1, "--epochs", 2),
    *("--learning-rate", 0.001, "--l2", 0, "--loss", "ce"),
)


@pytest.fixture(scope="module")
def sweep(commands: CommandServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return swept(commands, tmp_path_factory.mktemp("sweep"), *SWEEP) / "artifacts"


@pytest.fixture(scope="module")
def seconds() -> list[float]:
    """Return how long each refusal took."""
    return []


class Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.write_text, (self.path, "owned")


def replace_by(make: Callable[[Path], object]) -> Callable[[Path], None]:
    def replace(path: Path) -> None:
        path.unlink()
        make(path)

    return replace


def a_socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # names of sockets are short
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(path.name)
    os.chdir(here)


def npy(path: Path) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([Payload(path)], dtype=object), allow_pickle=True)
    return buffer.getvalue()


def virtual(tampered: TamperedDirectory) -> Callable[[h5py.File], object]:
    def make(file: h5py.File) -> None:
        layout = h5py.VirtualLayout((1, 28), "u1")
        layout[:] = h5py.VirtualSource(str(tampered.outside / "secret.h5"), "x", (1, 28))
        file.create_virtual_dataset("train_labels", layout)

    return make


def swelling(file: h5py.File) -> None:
    file.create_dataset("train_labels", shape=(1, 2**33), dtype="u1", chunks=(1, 2**20), compression="gzip")


def vast(file: h5py.File) -> None:
    file.create_dataset("train_labels", (1, 2**35), dtype="u1")


def outside_file(tampered: TamperedDirectory) -> Callable[[h5py.File], object]:
    storage = [(str(tampered.outside / "secret.bin"), 0, 28)]
    return lambda file: file.create_dataset("train_labels", (1, 28), "u1", external=storage)


def array_of(values: Any) -> Callable[[h5py.File], object]:
    return lambda file: file.create_dataset("train_labels", data=values)


def reordered(body: dict[str, Any]) -> bytes:
    return json.dumps(dict(reversed(body.items()))).encode()


Spoil = Callable[[TamperedDirectory], object]
NPY_BOMB = b"\x93NUMPY\x01\x00v\x00{'descr': '|u1', 'fortran_order': False, 'shape': (34359738368,)}"
DRAWS, RUNS = "draws/*.json", "runs/*.json"
SECRET = {"name": "", "sha256": "0" * 64, "size": 28}

KINDS: dict[str, tuple[str, Spoil]] = {
    # Blobs
    "pickled array (.npy) as arrays": ("train", lambda v: v.put(DRAWS, npy(v.outside / "owned"))),
    "pickle as arrays": ("train", lambda v: v.put(DRAWS, pickle.dumps(Payload(v.outside / "owned")))),
    "npy that claims 32 GiB": (
        "train",
        lambda v: v.put(
            DRAWS, b"\x93NUMPY\x01\x00v\x00{'descr': '|u1', 'fortran_order': False, 'shape': (34359738368,)}"
        ),
    ),
    "HDF5 array that claims 32 GiB": ("train", lambda v: v.arrays(DRAWS, train_labels=vast)),
    "HDF5 array that swells": ("train", lambda v: v.arrays(DRAWS, train_labels=swelling)),
    "HDF5 external link": (
        "train",
        lambda v: v.arrays(
            DRAWS,
            train_labels=lambda f: f.__setitem__("train_labels", h5py.ExternalLink(str(v.outside / "secret.h5"), "/x")),
        ),
    ),
    "HDF5 soft link": (
        "train",
        lambda v: v.arrays(DRAWS, train_labels=lambda f: f.__setitem__("train_labels", h5py.SoftLink("/val_labels"))),
    ),
    "HDF5 virtual data set": ("train", lambda v: v.arrays(DRAWS, train_labels=virtual(v))),
    "HDF5 external storage": ("train", lambda v: v.arrays(DRAWS, train_labels=outside_file(v))),
    "HDF5 objects": (
        "train",
        lambda v: v.arrays(
            DRAWS,
            train_labels=lambda f: f.create_dataset("train_labels", data=["x"], dtype=h5py.string_dtype()),
        ),
    ),
    "HDF5 further array": ("train", lambda v: v.arrays(DRAWS, more=lambda f: f.create_dataset("more", data=[1]))),
    "HDF5 other shape": ("train", lambda v: v.arrays(DRAWS, train_labels=array_of(np.zeros((1, 7), dtype=np.uint8)))),
    "HDF5 other type": ("train", lambda v: v.arrays(DRAWS, train_labels=array_of(np.zeros((1, 28)) * np.nan))),
    "labels of no class": ("train", lambda v: v.arrays(DRAWS, train_labels=array_of(np.full((2, 28), 200, "u1")))),
    "NaN among features": (
        "train --loss mae --backbone tiny",
        lambda v: _nan_features(v),
    ),
    "NaN among probabilities": ("evaluate", lambda v: _nan_probabilities(v)),
    "shares beyond 1 in an evaluation": (
        "compare --metric memorised",
        lambda v: v.arrays(
            "evaluation.json", memorised=lambda f: f.create_dataset("memorised", data=np.full((2, 3), 9.0))
        ),
    ),
    "10 TB file of zeros as arrays": (
        "train",
        lambda v: os.truncate(v.root / "draws" / v.body(v.only(DRAWS))["arrays"]["name"], 10 * 2**40),
    ),
    # Names
    "../ in a name": ("train", lambda v: v.change(DRAWS, arrays=SECRET | {"name": "../../outside/secret.bin"})),
    "absolute name": ("train", lambda v: v.change(DRAWS, arrays=SECRET | {"name": str(v.outside / "secret.bin")})),
    "NUL in a name": (
        "train",
        lambda v: v.sign(v.only(DRAWS), _with_name(v, "a\\u0000b")),
    ),
    "blob that is a link out": (
        "train",
        lambda v: replace_by(lambda path: path.symlink_to(v.outside / "secret.bin"))(v.only("draws/*.h5")),
    ),
    "record that is a link out": (
        "train",
        lambda v: replace_by(lambda path: path.symlink_to(v.outside / "secret.json"))(v.only(DRAWS)),
    ),
    "folder that is a link out": ("corrupt --rates 0.1", lambda v: _link_folder(v)),
    "record that is a pipe": ("train", lambda v: replace_by(os.mkfifo)(v.only(DRAWS))),
    "record that is a device": (
        "train",
        lambda v: replace_by(lambda path: os.mknod(path, 0o020666, os.makedev(1, 5)))(v.only(DRAWS)),
    ),
    "record that is a socket": ("train", lambda v: replace_by(a_socket)(v.only(DRAWS))),
    "blob that is a pipe": ("train", lambda v: replace_by(os.mkfifo)(v.only("draws/*.h5"))),
    # Records
    "keys twice": ("train", lambda v: v.sign(v.only(DRAWS), _twice(v))),
    "keys in another order": ("train", lambda v: v.sign(v.only(DRAWS), reordered(v.body(v.only(DRAWS))))),
    "NaN in a record": (
        "train",
        lambda v: v.sign(v.only(DRAWS), _with(v, b'"realised_rate": 0', b'"realised_rate": NaN')),
    ),
    "infinite number": (
        "train",
        lambda v: v.sign(v.only(DRAWS), _with(v, b'"realised_rate": 0', b'"realised_rate": 1e999')),
    ),
    "JSON 100,000 deep": ("train", lambda v: v.sign(v.only(DRAWS), b"[" * 100_000 + b"]" * 100_000)),
    "escape sequences for a terminal": (
        "compare",
        lambda v: v.sign(v.only("dataset.json"), _with(v, b'"daisy"', b'"\\u001b]0;owned\\u0007"', "dataset.json")),
    ),
    "unknown schema": ("train", lambda v: v.sign(v.only(DRAWS), _body(v), schema=99)),
    "another kind": ("train", lambda v: v.sign(v.only(DRAWS), _body(v), kind="runs")),
    "record of 10 TB": ("train", lambda v: os.truncate(v.only(DRAWS), 10 * 2**40)),
    "negative counts": ("train", lambda v: v.change("dataset.json", counts=[[-5, 0, 0], [0, 0, 0], [10**15, 0, 0]])),
    "index that points outside the archive": ("preview", lambda v: _index(v, offset=10**15)),
    "index with a class of 10^15": ("train", lambda v: _index(v, label=10**15)),
    "archive of zeros": (
        "preview",
        lambda v: v.put("dataset.json", b"\0" * 10**6, field="archive"),
    ),
}


def _body(tampered: TamperedDirectory, pattern: str = DRAWS) -> bytes:
    data = tampered.only(pattern).read_bytes()
    return data[data.index(b'"body": ') + 8 : -2]


def _with(tampered: TamperedDirectory, old: bytes, new: bytes, pattern: str = DRAWS) -> bytes:
    body = _body(tampered, pattern)
    assert old in body
    at = body.index(old)
    end = at + len(old)
    while old[-1:].isdigit() and body[end : end + 1] not in b",\n}":
        end += 1
    return body[:at] + new + body[end:]


def _with_name(tampered: TamperedDirectory, name: str) -> bytes:
    old = tampered.body(tampered.only(DRAWS))["arrays"]["name"]
    return _with(tampered, f'"{old}"'.encode(), f'"{name}"'.encode())


def _twice(tampered: TamperedDirectory) -> bytes:
    return b'{"dataset": "another", ' + _body(tampered).lstrip()[1:]


def _nan_features(tampered: TamperedDirectory) -> None:
    record = tampered.only("features/*.json")
    ref = tampered.body(record)["array"]
    with h5py.File(record.parent / ref["name"]) as file:
        features = file["features"][()]
    features[3] = np.nan
    new = files.write_arrays(record.parent, ref["name"].rpartition("-")[0], {"features": features})
    tampered.change("features/*.json", array={"name": new.name, "sha256": new.sha256, "size": new.size})
    (record.parent / ref["name"]).unlink()


def _nan_probabilities(tampered: TamperedDirectory) -> None:
    def spoil(file: h5py.File) -> None:
        with h5py.File(next(iter(tampered.root.glob("runs/*.h5")))) as before:
            values = before["test_probabilities"][()]
        file["test_probabilities"] = values * np.nan

    (tampered.root / "evaluation.json").unlink()
    tampered.arrays(RUNS, test_probabilities=spoil)


def _link_folder(tampered: TamperedDirectory) -> None:
    shutil.move(tampered.root / "draws", tampered.outside / "draws")
    (tampered.root / "draws").symlink_to(tampered.outside / "draws")


def _index(tampered: TamperedDirectory, **changed: int) -> None:
    dataset = tampered.body(tampered.only("dataset.json"))
    path = tampered.root / "photos" / dataset["index"]["name"]
    head, first, *rest = path.read_text().splitlines()
    cells = dict(zip(head.split(","), first.split(","), strict=True)) | {k: str(v) for k, v in changed.items()}
    tampered.put("dataset.json", "\n".join([head, ",".join(cells.values()), *rest, ""]).encode(), field="index")


REBUILDS = ("NaN among features",)  # what is only a cache is named and made again


@may_be_late
@pytest.mark.parametrize("kind", KINDS)
def test_hostile_artifacts_are_refused(
    kind: str, sweep: Path, commands: CommandServer, tmp_path: Path, seconds: list[float]
) -> None:
    command, spoil = KINDS[kind]
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.bin").write_bytes(bytes(28))
    (outside / "secret.json").write_bytes(next(iter(sweep.glob(DRAWS))).read_bytes())
    with h5py.File(outside / "secret.h5", "w") as file:
        file["x"] = np.zeros((1, 28), dtype=np.uint8)
    shutil.copytree(sweep, tmp_path / "artifacts")
    spoil(TamperedDirectory(tmp_path / "artifacts", outside))
    before = {path: path.stat().st_mtime_ns for path in [outside, *outside.rglob("*")]}
    watch = ("fault_injection", "little_memory", {"megabytes": MEGABYTES, "outside": str(outside)})
    words = command.split() + (["--backbone", "tiny", "--epochs", "2"] if command == "train" else [])
    ended = commands.run(*words, "-a", "artifacts", cwd=tmp_path, before=watch)
    assert {path: path.stat().st_mtime_ns for path in [outside, *outside.rglob("*")]} == before
    lines = ended.stderr.splitlines()
    if kind in REBUILDS:
        assert ended.returncode == 0, ended
        assert "extracting the damaged part again" in lines[0]
    else:
        assert ended.returncode == 1, ended
        assert len(lines) == 1, ended
        assert lines[0].startswith("error: artifacts/"), ended
        assert "unexpected" not in lines[0]
        assert lines[0].isprintable()
    assert_in_time(ended.seconds, SECONDS + 1)  # the start of the child included
    seconds.append(ended.seconds)


def test_enough_kinds_were_tried(seconds: list[float], measured: Callable[[str], None]) -> None:
    measured(f"{len(seconds)} kinds refused, the slowest in {max(seconds):.2f} s, with {MEGABYTES} MB more at most")
    assert len(seconds) == len(KINDS) >= 25


@may_be_late
@pytest.mark.parametrize("kind", KINDS)
def test_verify_names_hostile_artifacts(kind: str, sweep: Path, commands: CommandServer, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.bin").write_bytes(bytes(28))
    (outside / "secret.json").write_bytes(b"{}")
    (outside / "secret.h5").write_bytes(b"")
    shutil.copytree(sweep, tmp_path / "artifacts")
    KINDS[kind][1](TamperedDirectory(tmp_path / "artifacts", outside))
    watch = ("fault_injection", "little_memory", {"megabytes": MEGABYTES, "outside": str(outside)})
    ended = commands.run("verify", "-a", "artifacts", cwd=tmp_path, before=watch)
    assert ended.returncode == 1, ended
    assert ended.stderr.splitlines()[-1].startswith("error: "), ended
    assert "unexpected" not in ended.stderr
    assert_in_time(ended.seconds, SECONDS + 1)
