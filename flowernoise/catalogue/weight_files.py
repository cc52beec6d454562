"""Weights of networks: found on this machine, downloaded, checked, and put into Keras models; or random.

A weight file is only read for its arrays. See ``safe.hdf5`` for what is refused.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import math
import os
import stat
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flowernoise.errors import BadRequestError, DamagedFileError, FlowernoiseError
from flowernoise.randomness import generator
from flowernoise.safe import downloads
from flowernoise.safe.hdf5 import is_ordered, refuse_foreign, stored_layers
from flowernoise.safe.keras_file import leaves

if TYPE_CHECKING:
    import keras

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
# Random weights come from one fixed seed; otherwise cached features could never be reused.
RANDOM_SEED = 0
RANDOM_DIGEST = f"none:seed={RANDOM_SEED}"
Fixed = Mapping[str, Sequence[Sequence[float]]]


@dataclass(frozen=True)
class PublishedFile:
    """A weight file that Keras publishes.

    Attributes:
        url: where it can be downloaded.
        digest: its MD5 or SHA-256, in hexadecimal digits; empty if Keras gives none.
        name: what Keras calls its copy; by default, the last part of the URL.
        folder: where Keras keeps its copy, in Keras' home.
    """

    url: str
    digest: str
    name: str = ""
    folder: str = "models"

    @property
    def file(self) -> str:
        """The name of the copy."""
        return self.name or self.url.rpartition("/")[2]


# Finding ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def found(published: PublishedFile) -> Path | None:
    """An intact copy of a published file on this machine; None if there is none."""
    algorithm = "sha256" if len(published.digest) == 64 else "md5"
    for folder in keras_folders():
        path = folder / published.folder / published.file
        if path.is_file() and published.digest in ("", digest(path, algorithm)):
            return path
    return None


def why_not(published: PublishedFile, network: str) -> str | None:
    """Why a published file cannot be had; None if it is on this machine or its host has it. Takes at most 2 seconds.

    Args:
        network: what the weights are for, in the answer.
    """
    if found(published) is not None:
        return None
    problem = _problem(published, seconds=1.5)
    return problem and f"the ImageNet weights of {network} are not on this machine, and {problem}"


def _problem(published: PublishedFile, seconds: float) -> str | None:
    """Why a file cannot be downloaded; None if its host seems to have it."""
    answer, host = downloads.status(published.url, seconds), published.url.split("/")[2]
    if answer is None:
        return f"{host} does not answer"
    return f"{host} returns status {answer} for them" if answer >= 400 else None


def fetched(published: PublishedFile, network: str) -> Path:
    """A published file, from this machine or else downloaded to where Keras keeps its own.

    Args:
        network: spec of the backbone, for messages.

    Raises:
        FlowernoiseError: it is not on this machine and cannot be downloaded.
    """
    path = found(published)
    if path is not None:
        return path
    ways = (
        "use --backbone efficientnet_lite0 (its weights come with the installation) "
        f"or --backbone {network}{',' if ':' in network else ':'}weights=PATH (a local weight file)"
    )
    failed = f"cannot download the ImageNet weights of {network}"
    if problem := _problem(published, seconds=5.0):
        raise FlowernoiseError(f"{failed}: {problem}; {ways}")
    import keras

    try:
        # Keras shows its progress on stdout, which is for data.
        progress = sys.stderr if sys.stderr.isatty() else io.StringIO()
        with contextlib.redirect_stdout(progress), downloads.download_timeouts():
            return Path(
                keras.utils.get_file(
                    published.file,
                    published.url,
                    cache_dir=str(keras_folders()[0]),
                    cache_subdir=published.folder,
                    file_hash=published.digest or None,
                )
            )
    # Keras raises a bare Exception when a download fails.
    except Exception as error:
        raise FlowernoiseError(f"{failed}: {downloads.reason(error)}; {ways}") from error


def keras_folders() -> tuple[Path, Path]:
    """Where Keras keeps downloads: its home, and its fallback if that is not writable."""
    return Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser(), Path("/tmp/.keras")


def given(text: str, network: str, most_bytes: int) -> Path:
    """The weight file that a spec names.

    Args:
        text: its path.
        network: spec of the backbone, for messages.
        most_bytes: most that it may take.

    Raises:
        BadRequestError: it does not exist, is too large, or is not HDF5.
    """
    path = Path(text).expanduser()
    problem = f"backbone {network}: weights={text}"
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe or a device could be endless
            raise BadRequestError(f"{problem} cannot be read: it is not a regular file")
        if path.stat().st_size > most_bytes:
            raise BadRequestError(f"{problem} is larger than {most_bytes:,} bytes, so it cannot be for this network")
        with path.open("rb") as file:
            signature = file.read(len(HDF5_SIGNATURE))
    except FileNotFoundError:
        raise BadRequestError(f"{problem} is neither imagenet nor none nor a file that exists") from None
    except (OSError, ValueError) as error:
        if isinstance(error, BadRequestError):
            raise
        reason = getattr(error, "strerror", None) or str(error)  # ValueError: the name contains NUL
        raise BadRequestError(f"{problem} cannot be read: {reason}") from None
    if signature != HDF5_SIGNATURE:
        raise BadRequestError(f"{problem} is not an HDF5 file; save one with model.save_weights('….weights.h5')")
    return path


def digest(path: Path, algorithm: str = "sha256") -> str:
    """The digest of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


# Into models ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def randomise(model: keras.Model) -> None:
    """LeCun-normal kernels, the same on every backend and machine; a new Keras model's other weights are constant.

    Among the usual schemes, only this one keeps features from vanishing or leaving float16's range.
    """
    import keras

    for _, layer in leaves(model):
        for weight in layer.weights:
            shape = tuple(weight.shape)
            if len(shape) < 2:
                continue
            by_channel = weight.name == "depthwise_kernel" or isinstance(layer, keras.layers.DepthwiseConv2D)
            inputs = math.prod(shape[:2] if by_channel else shape[:-1])
            further = () if weight.name == "kernel" else (weight.name,)  # a separable convolution has two kernels
            stream = generator(RANDOM_SEED, "backbone", model.name, layer.name, *further)
            weight.assign(stream.standard_normal(shape, dtype=np.float32) / math.sqrt(inputs))


def load(model: keras.Model, *, path: Path, sha256: str, fixed: Fixed | None = None) -> None:
    """Sets the model's weights from a Keras weight file of either layout; reads only arrays.

    Args:
        model: a network made by our own code.
        path: the file.
        sha256: its digest.
        fixed: arrays that a layer of the file must begin with, by the layer's name without its number; the model has
            them as constants.

    Raises:
        BadRequestError: the file belongs to another network.
        DamagedFileError: it refers to other files, holds objects, or cannot be read.
    """
    import h5py

    try:
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != sha256:
            raise DamagedFileError(f"{path} changed while it was in use; run the command again")
        with h5py.File(io.BytesIO(content), "r") as file:
            refuse_foreign(file, len(content))
            layers, stored = _matched(model, file, content)
            problem = f"{path} does not hold weights for {model.name}"
            _refuse_other_constants(stored, fixed or {}, problem)
            _set_weights(layers, stored, problem)
    except FlowernoiseError:
        raise
    # HDF5 can raise almost anything on a damaged file: OSError, RuntimeError, KeyError, ValueError, …
    except Exception as error:
        reason = str(error).partition("\n")[0]
        raise DamagedFileError(f"{path} cannot be read ({reason}); fetch or save the weight file again") from error


def _matched(model: keras.Model, file: Any, content: bytes) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """The model's layers that have weights by their names in the file, and what the file stores under names.

    Layers without a name of their own have a number that depends on what was built before. They are matched by place,
    or in files that list layers in order, by that order, as Keras does.
    """
    leaf_at = {place: leaf for place, leaf in leaves(model) if leaf.weights}
    are_numbered = any(place == leaf.name for place, leaf in leaf_at.items())
    ordered = is_ordered(file)
    layers = [layer for layer in model.layers if layer.weights] if ordered else list(leaf_at.values())
    stored = stored_layers(file, content)
    if not are_numbered and any(layer.name in stored for layer in layers):
        return {layer.name: layer for layer in layers}, stored
    if not ordered:
        return leaf_at, stored_layers(file, content, by_place=True)
    own = [layer.name for layer in layers]
    names = [*stored, *own[len(stored) :]][: len(layers)]
    return dict(zip(names, layers, strict=True)), stored


def _refuse_other_constants(stored: Mapping[str, list[Any]], fixed: Fixed, problem: str) -> None:
    for name, arrays in stored.items():
        wanted = fixed.get(name.rstrip("_0123456789"), ())
        for array, constant in zip(arrays, wanted, strict=False):
            if array.size != len(constant) or not np.allclose(np.ravel(array[()]), constant, rtol=1e-3):
                raise BadRequestError(f"{problem}: its layer {name} does not hold the means and variances of ImageNet")


def _set_weights(layers: Mapping[str, Any], stored: Mapping[str, list[Any]], problem: str) -> None:
    for name, layer in layers.items():
        if name not in stored:
            raise BadRequestError(f"{problem}: it has no layer {layer.name}")
        arrays, weights = stored[name], layer.weights
        shapes = [getattr(array, "shape", None) for array in arrays]
        wanted = [tuple(weight.shape) for weight in weights]
        if shapes != wanted:
            raise BadRequestError(f"{problem}: layer {layer.name} has the shapes {shapes}, not {wanted}")
        values = [array[()] for array in arrays]
        if not all(np.isfinite(value).all() for value in values):
            raise DamagedFileError(f"{problem}: layer {layer.name} holds weights that are not finite")
        layer.set_weights(values)
