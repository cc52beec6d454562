"""Where photos and their labels come from."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import importlib
import io
import os
import re
import sys
import tempfile
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from flowernoise.catalogue import (
    array_files,
    arrow_directories,
    feature_files,
    given_splits,
    label_tables,
    photo_folders,
)
from flowernoise.catalogue.feature_files import FeatureRows
from flowernoise.catalogue.label_tables import LabelFile, LabelledPhotos, LabelRequest
from flowernoise.catalogue.photo_folders import PassedOver
from flowernoise.errors import BadRequestError, FlowernoiseError
from flowernoise.registry import Between, Registry, Spec
from flowernoise.safe import downloads
from flowernoise.safe.paths import name_of

DOWNLOAD_RETRIES = 0  # TFDS would retry for minutes, even after it was told to stop
TF_FLOWERS_URL = "http://download.tensorflow.org/example_images/flower_photos.tgz"
TF_FLOWERS_CLASSES = {"dandelion", "daisy", "tulips", "sunflowers", "roses"}
_PLACES = ("folder", "npz", "features")  # sources that are paths
_NEEDED = {
    "folder": "a directory, as in folder:photos",
    "npz": "a file, as in npz:photos.npz",
    "features": "a file, as in features:rows.npz",
}
TFDS_INFO_URL = "https://storage.googleapis.com"


@dataclasses.dataclass(frozen=True)
class Photo:
    """One labelled photo: its path in the source, its class, and a function that reads its encoded bytes.

    ``split`` is train, val or test where the source says so, and ``columns`` what else it says of the photo.
    """

    path: str
    label: int
    read: Callable[[], bytes]
    split: str | None = None
    columns: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Source:
    """Labelled photos.

    Args:
        classes: names of the classes; a photo's label is an index into them.
        total: number of photos.
        photos: iterates over the photos; each call starts again.
        labelled: what a table of labels names, where the labels come from one.
        rows: features with labels, if the source has those instead of photos.
    """

    classes: tuple[str, ...]
    total: int
    photos: Callable[[], Iterator[Photo]]
    labelled: LabelledPhotos | None = None
    rows: FeatureRows | None = None


@dataclasses.dataclass(frozen=True)
class SourceContext:
    """What a source may need in addition to its spec.

    Args:
        data_dir: where TensorFlow Datasets keeps prepared data sets; None means its default.
        show_download: whether a download may show its own progress display.
        labels: the tables that give the photos of a directory their labels.
    """

    data_dir: Path | None = None
    show_download: bool = False
    labels: LabelRequest | None = None


sources = Registry("source")


def path_of(source: str) -> Path | None:
    """The folder or file that a recorded source is, if it is one.

    >>> path_of("folder:path=/home/ada/a=b").name, path_of("tfds:cifar10")
    ('a=b', None)
    """
    kind, _, path = source.partition(":")
    return Path(path.removeprefix("path=")) if kind in _PLACES else None


def without_path(source: str) -> str:
    """A recorded source without the path to its folder or file, for pages and pictures that are passed on.

    >>> without_path("folder:/home/ada/tulips"), without_path("tfds:cifar10")
    ('folder:tulips', 'tfds:cifar10')
    """
    path = path_of(source)
    return source if path is None else f"{source.partition(':')[0]}:{path.name or 'photos'}"


def parse_source(text: str) -> Spec:
    """Reads a SOURCE as on the command line: a registered name, ``tfds:NAME``, a directory, or an NPZ file.

    >>> str(parse_source("tfds:cifar10")), str(parse_source("./photos")), str(parse_source("photos.npz"))
    ('tfds:cifar10', 'folder:photos', 'npz:photos.npz')

    Raises:
        BadRequestError: it is none of these.
    """
    name = text.partition(":")[0]
    is_file = text.lower().endswith(".npz") and not _is_directory(Path(text))
    is_path = (
        is_file or text.startswith((".", "~", "/")) or os.sep in name or (text != "" and _is_directory(Path(text)))
    )
    if name in sources.names() and name not in _PLACES and not text.startswith("."):
        return sources.parse(text)
    if name in _PLACES and ":" in text:
        kind, text = name, text.partition(":")[2].removeprefix("path=")
    elif is_path:
        kind = _kind_of_file(Path(text)) if is_file else "folder"
    else:
        names = ", ".join(entry.name for entry in sources if entry.name not in (*_PLACES, "tfds"))
        raise BadRequestError(
            f"unknown source {text!r}: it is not a directory here, nor FILE.npz, nor one of {names}, tfds:NAME"
        )
    if not text:
        raise BadRequestError(f"{kind}: needs {_NEEDED[kind]}")
    try:
        path = str(Path(text).expanduser())
    except RuntimeError as error:
        raise BadRequestError(f"{text}: {error}".rstrip(".")) from error
    return Spec(sources[kind], types.MappingProxyType({"path": path}))


def _kind_of_file(path: Path) -> str:
    """Whether an NPZ file holds features; else it should hold photos, and reading it says what is wrong."""
    try:
        return "features" if feature_files.FEATURES in array_files.headers(path.expanduser()) else "npz"
    except (FlowernoiseError, RuntimeError):
        return "npz"


@sources.register()
def tf_flowers(context: SourceContext) -> Source:
    """Flower photos of five classes (3,670, CC-BY) through TensorFlow Datasets.

    The TensorFlow Team, "Flowers", 2019. Downloads 218 MiB unless the data directory has a prepared copy.

    Example: ``flowernoise prepare tf_flowers --data-dir ~/tensorflow_datasets``
    """
    source = _from_tfds("tf_flowers", context, TF_FLOWERS_URL, is_file=True)
    if set(source.classes) != TF_FLOWERS_CLASSES:  # the names are in a separate file, without a checksum
        found = ValueError(f"its classes are called {', '.join(source.classes) or 'nothing'}")
        raise _cannot_provide("tf_flowers", context.data_dir, found)
    return source


@sources.register(unkeyed="name")
def tfds(context: SourceContext, *, name: str) -> Source:
    """Any image classification set from TensorFlow Datasets, with its own splits where several are labelled.

    Example: ``flowernoise prepare tfds:cifar10``
    """
    if not re.fullmatch(r"\w+(/[\w.-]+)?(:\d+\.\d+\.\d+)?", name):
        raise BadRequestError(f"tfds:{name} is not the name of a TensorFlow dataset, such as tfds:cifar10")
    return _from_tfds(name, context, TFDS_INFO_URL, is_file=False)


@sources.register(unkeyed="path")
def folder(context: SourceContext, *, path: str) -> Source:
    """Your own directory with one folder per class (JPEG, PNG, WebP, BMP; folders may be nested).

    Where all of its folders are called train, val (or validation, valid, dev) or test, in any case, and hold class
    folders, they are splits, and these are kept. With ``--labels FILE``, or where there is a ``metadata.csv`` (or
    ``.jsonl``, ``.parquet``) with ``file_name`` and ``label``, labels come from the table alone, whatever the folders.
    A directory that Hugging Face's ``datasets`` wrote with ``save_to_disk`` brings photos, labels and splits of its
    own; it needs ``flowernoise[parquet]``.

    Photos are recognised by their content. HEIC needs ``flowernoise[heic]``. Everything else is left out and listed:
    hidden files, links out of the directory, artifacts directories, and files that are not photos.

    Example: ``flowernoise prepare ./photos``
    """
    root = Path(path)
    if not _is_directory(root):
        raise BadRequestError(f"{path} is not a directory; give a directory with one folder of photos per class")
    try:
        if arrow_directories.is_one(root):
            return _from_arrow(root, context.labels)
        request = context.labels or label_tables.in_folder(root)
        found = label_tables.labelled(root, request) if request else photo_folders.scan(root)
    except OSError as error:
        raise FlowernoiseError(f"cannot read {path}: {error.strerror}") from error
    if len(found.classes) < 2 and request is None:
        there = f"only {found.classes[0]!r}" if found.classes else "none"
        raise BadRequestError(
            f"{path} needs at least two folders with photos; it has {there}{_left_out(found.passed_over)}"
        )

    def photos() -> Iterator[Photo]:
        for photo in found.photos:
            yield Photo(
                photo.path,
                photo.label,
                functools.partial(photo_folders.read_photo, photo.file),
                photo.split,
                photo.columns,
            )

    labelled = found if isinstance(found, LabelledPhotos) else None
    return Source(found.classes, len(found.photos), photos, labelled)


def _from_arrow(root: Path, labels: LabelRequest | None) -> Source:
    if labels is not None:
        raise BadRequestError(f"{root} is a data set of Hugging Face, which has its own labels; leave --labels out")
    found = arrow_directories.opened(root)

    def photos() -> Iterator[Photo]:
        for photo in found.photos():
            yield Photo(photo.path, photo.label, photo.read, given_splits.named(photo.split))

    return Source(found.classes, found.total, photos)


@sources.register(unkeyed="path")
def npz(context: SourceContext, *, path: str) -> Source:  # noqa: ARG001 (every source takes the context)
    """Photos in an NPZ file of NumPy: ``images`` [n, height, width, 3] as uint8, and ``labels`` [n].

    Labels are numbers or names; ``class_names`` names numbers, in their order. ``split`` [n] says train, val or test.

    Example: ``flowernoise prepare photos.npz``
    """
    file = Path(path)
    there = array_files.headers(file)
    if "images" not in there:
        raise BadRequestError(f"{path} has neither images nor features; it has {', '.join(there) or 'nothing'}")
    header = there["images"]
    if header.dtype != "uint8" or len(header.shape) != 4 or header.shape[3] != 3 or not all(header.shape):
        raise BadRequestError(f"{path}: images must be n × height × width × 3 of type uint8, not {header}")
    count = header.shape[0]
    given = array_files.labelling(file, count)
    splits = given.splits or (None,) * count

    def photos() -> Iterator[Photo]:
        rows = array_files.rows(file, "images", photo_folders.MAX_BYTES)
        for index, (image, label, split) in enumerate(zip(rows, given.labels.tolist(), splits, strict=True)):
            yield Photo(f"{index:06}", label, functools.partial(_bitmap, image), split)

    return Source(given.classes, count, photos)


def _bitmap(image: Any) -> bytes:
    """A photo as BMP: unlike those of compressed forms, its bytes are the same with every version of every library."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "BMP")
    return buffer.getvalue()


@sources.register(unkeyed="path")
def features(context: SourceContext, *, path: str) -> Source:  # noqa: ARG001 (every source takes the context)
    """Your own features without photos: an NPZ file with ``features`` [n, d] and ``labels`` [n].

    Labels are numbers or names. Optional: ``ids`` (else rows go by their positions), ``split`` (train, val or test),
    and ``class_names`` for labels that are numbers. Rows with equal features are kept and stay in one split. There is
    nothing to see in such a data set and no network to tune, but everything else works; its backbone is ``features``.

    Example: ``flowernoise prepare ./embeddings.npz``
    """
    rows = feature_files.read(Path(path))
    return Source(rows.classes, len(rows.ids), lambda: iter(()), rows=rows)


def _left_out(passed_over: tuple[PassedOver, ...]) -> str:
    """The first things that a directory without classes holds instead, as the end of an error."""
    if not passed_over:
        return ""
    shown = "; ".join(f"{each.path} is {each.reason} ({each.way_out})" for each in passed_over[:3])
    return f"; left out: {shown}{f'; and {len(passed_over) - 3} more' if len(passed_over) > 3 else ''}"


@sources.register(makes_labels=True)
def synthetic(
    context: SourceContext,  # noqa: ARG001 (every source takes the context)
    *,
    photos: Annotated[int, Between(10, 1_000_000)] = 2000,
    size: Annotated[int, Between(16, 1024)] = 224,
    seed: Annotated[int, Between(0)] = 0,
) -> Source:
    """Flowers drawn by the program itself, in the classes of tf_flowers, without a download.

    The same parameters always give the same photos, with equally many per class.

    Example: ``flowernoise prepare synthetic:photos=500``
    """
    from flowernoise.catalogue import flowers
    from flowernoise.randomness import generator

    def encoded(index: int, kind: str) -> bytes:
        image = flowers.paint(kind, generator(seed, "synthetic", kind, str(index)), size)
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=90)
        return buffer.getvalue()

    def drawn() -> Iterator[Photo]:
        for index in range(photos):
            label = index % len(flowers.KINDS)
            kind = flowers.KINDS[label]
            yield Photo(f"{kind}/{index:06}.jpg", label, functools.partial(encoded, index, kind))

    return Source(flowers.KINDS, photos, drawn)


def fingerprint(spec: Spec, labels: LabelRequest | None = None) -> str | None:
    """Text that changes when the photos in a directory or their labels change; None for sources that never change."""
    found = _scanned(spec, labels)
    if found is None:
        return None
    files, _, tables = found
    return "\n".join([*map(_state, files), *(hashlib.sha256(table.data).hexdigest() for table in tables)])


def passed_over(spec: Spec, labels: LabelRequest | None = None) -> tuple[PassedOver, ...]:
    """What is left out of a directory of photos, by path; empty for other sources."""
    found = _scanned(spec, labels)
    return () if found is None else found[1]


def _scanned(
    spec: Spec, labels: LabelRequest | None
) -> tuple[Sequence[Path], tuple[PassedOver, ...], Sequence[LabelFile]] | None:
    """The photos of a directory, what is left out, and the tables of labels."""
    if spec.name not in _PLACES:
        return None
    root = Path(spec.values["path"])
    try:
        if spec.name in ("npz", "features"):
            return [root], (), ()
        if arrow_directories.is_one(root):
            return arrow_directories.files_of(root), (), ()
        request = labels or label_tables.in_folder(root)
        if request is None:
            found = photo_folders.scan(root)
            return [photo.file for photo in found.photos], found.passed_over, ()
        photos, left_out = photo_folders.all_photos(root, [file.path for file in request.files])
        return list(photos.values()), left_out, request.files
    except OSError:
        return None


def _is_directory(path: Path) -> bool:
    """Whether a directory exists; False if its name is too long."""
    try:
        return path.is_dir()
    except OSError:
        return False


def _state(file: Path) -> str:
    try:
        status = file.stat()
        return f"{name_of(file)} {status.st_size} {status.st_mtime_ns}"
    except OSError as error:  # such as a broken link: it cannot be read, but the others still count
        return f"{name_of(file)} {error.strerror}"


def _from_tfds(name: str, context: SourceContext, url: str, *, is_file: bool) -> Source:
    """A set from TensorFlow Datasets; ``url`` is the file it is made from, or its host if ``is_file`` is False."""
    prepared = _prepared_directory(name, context.data_dir)
    if prepared is None:
        _refuse_without_network(name, context.data_dir, url, is_file)
    import tensorflow_datasets as tensorflow_datasets

    builder = _open_builder(tensorflow_datasets, name, prepared, context)
    image_key, label_key = _feature_keys(tensorflow_datasets, name, builder.info)
    decoders = {image_key: tensorflow_datasets.decode.SkipDecoding()}

    classes = tuple(builder.info.features[label_key].names)
    total = sum(split.num_examples for split in builder.info.splits.values())
    if not total:
        raise _cannot_provide(name, prepared, ValueError("it holds no photos"))

    def photos() -> Iterator[Photo]:
        for split in sorted(builder.info.splits):
            examples = builder.as_dataset(split=split, decoders=decoders, shuffle_files=False)
            for index, example in enumerate(_examples(tensorflow_datasets.as_numpy(examples), name, prepared)):
                label = int(example[label_key])
                if label >= len(classes):
                    raise _cannot_provide(
                        name, prepared, ValueError(f"a photo has class {label}, but there are only {len(classes)}")
                    )
                if label >= 0:  # unlabelled test splits have −1
                    read = functools.partial(bytes, example[image_key])
                    yield Photo(f"{split}/{index:06}", label, read, given_splits.named(split))

    return Source(classes, total, photos)


def _refuse_without_network(name: str, data_dir: Path | None, url: str, is_file: bool) -> None:
    status, host = downloads.status(url), url.split("/")[2]
    if status is None:
        problem = f"{host} cannot be reached to download it"
    elif is_file and status >= 400:
        problem = f"{host} returns status {status} for it"
    else:
        return
    where = f"not in {data_dir}" if data_dir else "not on this machine"
    raise FlowernoiseError(
        f"{name} is {where} and {problem}; use --data-dir DIR with a prepared TFDS directory, or give a folder of "
        "photos (one folder per class) instead of the name"
    )


def _open_builder(library: Any, name: str, prepared: Path | None, context: SourceContext) -> Any:
    try:
        if prepared is not None:
            return library.builder_from_directory(prepared)
        builder = library.builder(name, data_dir=context.data_dir, try_gcs=False)
        _download(library, builder, context.show_download)
        return builder
    except library.core.registered.DatasetNotFoundError as error:
        raise BadRequestError(f"TensorFlow Datasets does not know {name!r}") from error
    except Exception as error:  # TFDS passes on any error from its readers and downloads
        raise _cannot_provide(name, prepared, error) from error


def _download(library: Any, builder: Any, show: bool) -> None:
    """Downloads and prepares a set. The archive has its own folder, so no other run can mistake it for its own."""
    if not show:
        library.disable_progress_bar()
    downloader = importlib.import_module("tensorflow_datasets.core.download.downloader")
    downloader.MAX_RETRIES = DOWNLOAD_RETRIES  # type: ignore[attr-defined]
    root = Path(builder.data_dir_root)
    root.mkdir(parents=True, exist_ok=True)
    config = library.download.DownloadConfig(manual_dir=root / "downloads" / "manual")
    with (
        tempfile.TemporaryDirectory(prefix=".download-", dir=root, ignore_cleanup_errors=True) as folder,
        contextlib.redirect_stdout(sys.stderr if show else io.StringIO()),  # TFDS prints to stdout, which is for data
        downloads.download_timeouts(),
    ):
        builder.download_and_prepare(download_dir=folder, download_config=config)


def _examples(examples: Iterable[Any], name: str, prepared: Path | None) -> Iterator[Any]:
    try:
        yield from examples
    except Exception as error:  # as above; records on disk may be damaged or gone
        raise _cannot_provide(name, prepared, error) from error


def _cannot_provide(name: str, prepared: Path | None, error: Exception) -> FlowernoiseError:
    text = downloads.reason(error)
    return FlowernoiseError(
        f"TensorFlow Datasets cannot provide {name} from {prepared or 'its download'}: {text}; try again, or give "
        "a folder of photos instead of the name"
    )


def _prepared_directory(name: str, data_dir: Path | None) -> Path | None:
    """The newest prepared version of a set, found without TensorFlow or a network."""
    directory, _, version = name.partition(":")
    root = data_dir or Path(os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")).expanduser()
    versions = sorted(
        (tuple(map(int, path.parent.name.split("."))), path.parent)
        for path in (root / directory).rglob("dataset_info.json")
        if re.fullmatch(r"\d+\.\d+\.\d+", path.parent.name) and version in ("", path.parent.name)
    )
    return versions[-1][1] if versions else None


def _feature_keys(library: Any, name: str, info: Any) -> tuple[str, str]:
    images = [key for key, feature in info.features.items() if isinstance(feature, library.features.Image)]
    labels = [key for key, feature in info.features.items() if isinstance(feature, library.features.ClassLabel)]
    supervised = info.supervised_keys or ()
    image = next((key for key in images if key in supervised), images[0] if images else None)
    label = next((key for key in (*supervised, "label") if key in labels), labels[0] if labels else None)
    if image is None or label is None:
        raise BadRequestError(f"tfds:{name} has no images with class labels, so there is nothing to classify")
    return image, label
