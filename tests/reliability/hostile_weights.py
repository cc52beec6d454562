"""Hostile weight files; run as a program, this loads each one and prints the result as a JSON line."""

import ctypes
import gc
import hashlib
import io
import json
import os
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np

from flowernoise.catalogue import backbones, weight_files
from flowernoise.errors import FlowernoiseError
from tests.reliability.decode_hostile_photos import RESET, megabytes
from tests.reliability.hostile_photos import zeros

GIB = 1 << 30


def h5(fill: Callable[[h5py.File], object], **options: Any) -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", **options) as file:
        fill(file)
    return buffer.getvalue()


def payload(marker: Path) -> bytes:
    """A pickle that leaves a mark where it is loaded."""
    return b"cposix\nsystem\n(S'touch " + str(marker).encode() + b"'\ntR."


def lambda_config(marker: Path) -> str:
    code = f"open({str(marker)!r}, 'w')"
    layer = {"class_name": "Lambda", "config": {"name": "run", "function": [code, None, None]}}
    return json.dumps({"class_name": "Sequential", "config": {"layers": [layer]}})


def keras_archive(marker: Path) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("config.json", lambda_config(marker))
        archive.writestr("metadata.json", "{}")
        archive.writestr("model.weights.h5", h5(lambda file: file.create_group("layers")))
    return buffer.getvalue()


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((1 << 33,), "f4")
    layout[:16] = h5py.VirtualSource("/etc/passwd", "x", (16,))
    file.create_virtual_dataset("conv1_conv", layout)


def bomb_of_pieces(file: h5py.File) -> None:
    """A piece of 4 megabytes that inflates to a gigabyte."""
    data = file.create_dataset("conv1_conv", (1 << 20,), "f4", chunks=(1 << 20,), compression="gzip")
    data.id.write_direct_chunk((0,), zeros(GIB))


def large_pieces(file: h5py.File) -> None:
    data = file.create_dataset("conv1_conv", (4,), "f4", maxshape=(None,), chunks=(1 << 28,), compression="gzip")
    data[0] = 1


def late(name: str, shape: tuple[int, ...]) -> Callable[[h5py.File], object]:
    """An array without stored data."""

    def fill(file: h5py.File) -> None:
        space = h5py.h5s.create_simple(shape)
        plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plan.set_alloc_time(h5py.h5d.ALLOC_TIME_LATE)
        h5py.h5d.create(file.id, name.encode(), h5py.h5t.NATIVE_FLOAT, space, plan)

    return fill


def circle(file: h5py.File) -> None:
    file["a/b/c"] = file["/"]
    for k in range(200):
        file[f"a/{k}"] = file["a"]


def legacy(file: h5py.File, names: Any, weights: Any = ("kernel:0",)) -> None:
    file.attrs["layer_names"] = names
    for name in dict.fromkeys(np.ravel(names).tolist()):
        group = file.require_group(name if isinstance(name, str) else name.decode())
        group.attrs["weight_names"] = weights
        group.create_dataset("kernel:0", data=np.zeros(3, np.float32))


def shared_text(file: h5py.File) -> None:
    """Thousands of names, each of which could be the same megabytes."""
    legacy(file, ["conv1_conv"] * 900)
    file.attrs["other"] = "x" * (8 << 20)


def kinds(marker: Path) -> dict[str, bytes]:
    """Content by name; each must be refused."""
    plain = h5(lambda file: file.create_dataset("conv1_conv/kernel", data=np.zeros(3)))
    changed = bytearray(plain)
    changed[len(changed) // 3] ^= 0xFF
    return {
        ".keras with a Lambda": keras_archive(marker),
        "pickle": payload(marker),
        "npy of objects": b"\x93NUMPY\x01\x00v\x00{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n"
        + payload(marker),
        "model with a Lambda in its configuration": h5(
            lambda file: file.attrs.update(model_config=lambda_config(marker))
        ),
        "pickle in an opaque array": h5(lambda file: file.create_dataset("conv1_conv", data=np.void(payload(marker)))),
        "pickle in a text": h5(lambda file: file.create_dataset("conv1_conv", data=payload(marker).decode())),
        "soft link": h5(lambda file: file.update(conv1_conv=h5py.SoftLink("/x"))),
        "soft link to itself": h5(lambda file: file.update(x=h5py.SoftLink("/x"))),
        "external link": h5(lambda file: file.update(conv1_conv=h5py.ExternalLink("/etc/passwd", "/"))),
        "external storage": h5(
            lambda file: file.create_dataset("conv1_conv", (16,), "u1", external=[("/etc/passwd", 0, 16)])
        ),
        "virtual": h5(virtual),
        "ragged": h5(lambda file: file.create_dataset("x", (2,), h5py.vlen_dtype("f4"))),
        "compound": h5(lambda file: file.create_dataset("x", (2,), "f4,i4")),
        "references": h5(lambda file: file.create_dataset("x", (2,), h5py.ref_dtype)),
        "texts": h5(lambda file: file.create_dataset("x", data=["a", "b"])),
        "32 GiB in pieces, none stored": h5(lambda file: file.create_dataset("x", (1 << 33,), "f4", chunks=(1024,))),
        "32 GiB, none stored": h5(late("conv1_conv", (1 << 33,))),
        "10^18 numbers": h5(lambda file: file.create_dataset("x", (10**9, 10**9), "u1", chunks=(1000, 1000))),
        "1 GiB of zeros, compressed": h5(
            lambda file: file.create_dataset("x", (1 << 24,), "f4", chunks=(1 << 20,), compression="gzip", fillvalue=0)
        ),
        "a piece that inflates to 1 GiB": h5(bomb_of_pieces),
        "a piece of 1 GiB": h5(large_pieces),
        "plug-in filter": h5(lambda file: file.create_dataset("x", data=np.zeros(9), compression="lzf")),
        "unknown filter": h5(
            lambda file: file.create_dataset("x", (9,), "f4", chunks=(9,), compression=32001, allow_unknown_filter=True)
        ),
        "30,000 groups": h5(lambda file: [file.create_group(str(k)) for k in range(30_000)], libver="latest"),
        "groups 1,000 deep": h5(lambda file: file.create_group("/".join("a" * 1000))),
        "groups in circles": h5(circle),
        "names that are numbers": h5(
            lambda file: legacy(file, np.array([b"a"])) or file.attrs.update(layer_names=[1, 2])
        ),
        "5,000 names": h5(lambda file: legacy(file, np.array([b"a"] * 5000))),
        "names that share 8 MB": h5(shared_text),
        "names that lead out": h5(lambda file: file.attrs.update(layer_names=np.array([b"../../etc", b"/x"]))),
        "a group for an array": h5(lambda file: file.create_group("layers/conv2d/vars/0")),
        "another network": h5(lambda file: legacy(file, np.array([b"conv1_conv"]))),
        "empty": h5(lambda file: None),
        "user block": h5(lambda file: file.create_dataset("x", data=[1.0]), userblock_size=512),
        "cut off": plain[:-100],
        "damaged": bytes(changed),
        "signature alone": b"\x89HDF\r\n\x1a\n",
        "signature and noise": b"\x89HDF\r\n\x1a\n" + np.random.default_rng(0).bytes(100_000),
        "nothing": b"",
    }


class Conv2D:
    """Stands for a network's first layer, with which files are compared."""

    name = "conv1_conv"
    weights = (SimpleNamespace(shape=(7, 7, 3, 64)), SimpleNamespace(shape=(64,)))

    def set_weights(self, arrays: list[Any]) -> None:
        raise AssertionError(f"{len(arrays)} arrays of this file were taken")


def load(path: str) -> None:
    """What ``--backbone resnet50:weights=PATH`` does with the file."""
    located = backbones.resnet50(weights=path)
    model: Any = SimpleNamespace(name="resnet50", layers=[Conv2D()])
    weight_files.load(model, path=Path(path), sha256=located.weights_digest)


def main(folder: Path) -> None:
    """Loads every kind."""
    marker = folder / "ran"
    paths = {}
    for number, (name, content) in enumerate(kinds(marker).items()):
        paths[name] = folder / f"{number}.weights.h5"
        paths[name].write_bytes(content)
    os.mkfifo(folder / "pipe")
    with (folder / "sparse").open("wb") as file:
        file.write(b"\x89HDF\r\n\x1a\n")
        file.truncate(1 << 40)
    (folder / "link").symlink_to("link")
    special = {"pipe": folder / "pipe", "1 TiB": folder / "sparse", "link to itself": folder / "link", "folder": folder}
    paths |= special | {"/dev/zero": Path("/dev/zero"), "/dev/stdin": Path("/dev/stdin"), "missing": folder / "missing"}
    hashlib.sha256(h5(lambda file: file.create_dataset("x", data=[1.0])))  # what any file costs
    for name, path in paths.items():
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        RESET.write_text("5")
        before, start, outcome = megabytes("VmRSS"), time.monotonic(), "loaded"
        try:
            load(str(path))
        except FlowernoiseError as error:
            outcome = str(error)
        seconds = time.monotonic() - start
        line = [name, seconds, megabytes("VmHWM") - before, outcome, marker.exists()]
        print(json.dumps(line), flush=True)  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]))
