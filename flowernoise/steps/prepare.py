"""``prepare``: takes photos from a source, sets duplicates apart, splits the photos and stores them."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import itertools
import os
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

import msgspec
import numpy as np

from flowernoise.analysis.results.stages import PrepareResult
from flowernoise.catalogue import label_tables
from flowernoise.catalogue.feature_files import FeatureRows
from flowernoise.catalogue.label_tables import LabelFile, LabelRequest
from flowernoise.catalogue.sources import Photo, Source, SourceContext, fingerprint, parse_source, passed_over
from flowernoise.errors import BadRequestError, DamagedFileError, FlowernoiseError
from flowernoise.progress import Progress
from flowernoise.registry import Spec, did_you_mean
from flowernoise.safe import atomic, images
from flowernoise.safe.paths import as_utf8, name_of
from flowernoise.steps import prepare_features
from flowernoise.steps.settings import PrepareSettings
from flowernoise.store import artifacts, claims, datasets, feature_rows, files, photos, table_columns
from flowernoise.store.layout import Layout
from flowernoise.store.photos import IndexedPhoto
from flowernoise.store.records import SPLITS, Dataset, DatasetRequest, LabelTable, Unreadable, versions_of

DEFAULT_SHARES = (0.70, 0.15, 0.15)
MAX_IMAGE_SIZE = 4096
MAX_PHOTOS = 100_000_000  # in a split
_CHUNK = 32
_RANKS: dict[str | None, int] = {"test": 0, "val": 1}  # which split keeps a photo that several have


@dataclasses.dataclass(frozen=True)
class _Spooled:
    """A readable photo, its bytes waiting in a temporary file."""

    id: str
    pixels: str  # their digest
    path: str
    label: int
    split: str | None
    columns: Mapping[str, str]
    offset: int
    size: int


def prepare(artifacts_directory: Path, settings: PrepareSettings, progress: Progress) -> PrepareResult:
    """Prepares photos and splits in an artifacts directory; changes nothing if that is already done.

    Raises:
        BadRequestError: an unknown source or class, or a request for more photos than there are.
        FlowernoiseError: the source cannot be reached or read.
    """
    spec = parse_source(settings.source)
    labels = _label_request(spec, settings)
    result = _prepared(artifacts.opened(artifacts_directory), spec, labels, settings, progress)
    return dataclasses.replace(result, passed_over=passed_over(spec, labels))


def _label_request(spec: Spec, settings: PrepareSettings) -> LabelRequest | None:
    """The table that was asked for."""
    if settings.labels is None:
        return None
    if spec.name != "folder":
        raise BadRequestError(f"--labels {name_of(settings.labels)}: only a directory of photos takes it, not {spec}")
    return LabelRequest((LabelFile(settings.labels),), settings.label_column or label_tables.LABEL)


def _prepared(
    layout: Layout, spec: Spec, labels: LabelRequest | None, settings: PrepareSettings, progress: Progress
) -> PrepareResult:
    request = _request(spec, settings)
    mark = fingerprint(spec, labels)
    source_fingerprint = None if mark is None else files.digest(mark.encode())
    done, _ = _find_before(layout, request, source_fingerprint)
    if done is not None and (trusted := _as_trusted(layout, done, request, source_fingerprint, progress)):
        return trusted
    source: Source = spec(SourceContext(settings.data_dir, progress.visible, labels))
    _task(source.classes, request.positive)

    def choose(_others: claims.Others) -> claims.Claim | None:
        """Claims the work unless another process has done it by now."""
        done, _ = _find_before(layout, request, source_fingerprint)
        return (
            None
            if done and done.request == request
            else claims.Claim("prepare", files.digest_of([request, source_fingerprint]))
        )

    with artifacts.kept_empty_on_failure(layout), claims.claimed(layout, progress, choose):
        return _prepare(layout, source, request, source_fingerprint, progress)


def _prepare(
    layout: Layout, source: Source, request: DatasetRequest, source_fingerprint: str | None, progress: Progress
) -> PrepareResult:
    done, before = _find_before(layout, request, source_fingerprint, progress)
    if done is not None:
        return _recorded(layout, done, request)
    with files.together():
        if source.rows is None:
            dataset = _take(layout, source, request, source_fingerprint, progress)
        else:
            dataset = _take_rows(layout, source.rows, request, source_fingerprint)
        stale = datasets.made_from_another(layout) if before and before.id != dataset.id else ()
        datasets.write(layout, dataset)
    if before:
        datasets.remove_replaced(layout, before, dataset)
    return PrepareResult(dataset, done_before=False, stale=stale)


def _as_trusted(
    layout: Layout, done: Dataset, request: DatasetRequest, source_fingerprint: str | None, progress: Progress
) -> PrepareResult | None:
    """A data set that is there, as trusted now: words change, photos and labels do not, so nothing goes stale.

    None if another process has replaced it meanwhile.
    """
    if done.request == request:
        return PrepareResult(done, done_before=True)

    def choose(_others: claims.Others) -> claims.Claim:
        return claims.Claim("prepare", files.digest_of([request, source_fingerprint]))

    with claims.claimed(layout, progress, choose):
        found, _ = _find_before(layout, request, source_fingerprint)
        return None if found is None else _recorded(layout, found, request)


def _recorded(layout: Layout, done: Dataset, request: DatasetRequest) -> PrepareResult:
    if done.request == request:
        return PrepareResult(done, done_before=True)
    trusted = msgspec.structs.replace(done, request=request)
    datasets.write(layout, trusted)
    return PrepareResult(trusted, done_before=False)


def _find_before(
    layout: Layout, request: DatasetRequest, source_fingerprint: str | None, progress: Progress | None = None
) -> tuple[Dataset | None, Dataset | None]:
    """The requested data set, however trusted, if it exists and is intact; and the present data set, whatever it is.

    With ``progress``, damage is reported, and a damaged record is set aside.
    """
    try:
        before = datasets.find(layout)
    except DamagedFileError as error:
        if progress is not None:
            progress.note(f"{error}; set aside as {layout.dataset.name}.damaged, preparing again")
            files.quarantine(layout.dataset)
        return None, None
    if before is None or before.source_fingerprint != source_fingerprint:
        return None, before
    if msgspec.structs.replace(before.request, trust=request.trust) != request:
        return None, before
    damage = datasets.damage(layout, before)
    if damage is None:
        return before, before
    if progress is not None:
        progress.note(f"{damage}; preparing again")
    return None, before


def _request(spec: Spec, settings: PrepareSettings) -> DatasetRequest:
    settings.check()
    asked = (settings.train, settings.val, settings.test)
    sizes = None
    if any(size is not None for size in asked):
        train, val, test = (size or 0 for size in asked)
        sizes = (train, val, test)
    data_dir = None if settings.data_dir is None else name_of(settings.data_dir)
    positive = None if settings.positive is None else as_utf8(settings.positive)
    return DatasetRequest(
        source=name_of(str(spec)),
        data_dir=data_dir,
        positive=positive,
        sizes=sizes,
        image_size=settings.image_size,
        seed=settings.seed,
        resplit=settings.resplit,
        labels=None if settings.labels is None else name_of(settings.labels),
        label_column=None if settings.label_column is None else as_utf8(settings.label_column),
        splits=settings.splits,
        trust=settings.trust,
    )


def _take(
    layout: Layout, source: Source, request: DatasetRequest, source_fingerprint: str | None, progress: Progress
) -> Dataset:
    classes, relabel = _task(source.classes, request.positive)
    atomic.ensure_directory(layout.photos)
    with _spooling(layout.photos) as spool:
        readable, unreadable = _spool(source, request, spool, progress)
        given = _given_splits(readable)
        in_splits = [photo for photo in readable if photo.split] if given else readable
        kept, identical, contradictory = set_duplicates_apart(in_splits)
        _refuse_empty_classes(source, in_splits, kept, unreadable)
        labels = {photo.id: source.classes[photo.label] for photo in kept}
        of_photos = {photo.id: str(photo.split) for photo in kept} if given else {}

        def draw(seed: int) -> dict[str, str]:
            if given:
                return split_as_given(labels, of_photos, request.sizes, seed)
            return split(labels, request.sizes, seed)

        splits = splits_of(draw, request)
        by_id = {photo.id: photo for photo in kept}
        ordered = photos.in_order(
            IndexedPhoto(id, first, relabel[by_id[id].label], by_id[id].path, further=tuple(further))
            for id, (first, *further) in splits.items()
        )

        def encoded(photo: IndexedPhoto) -> bytes:
            spool.seek(by_id[photo.id].offset)
            return spool.read(by_id[photo.id].size)

        _refuse_missing_classes({relabel[photo.label] for photo in kept}, ordered, classes, given)
        archive, placed = photos.write_archive(layout.photos, ordered, encoded)
    train, val, test = (_class_counts(placed, name, len(classes)) for name in SPLITS)
    return Dataset(
        id=datasets.identity(request.image_size, classes, placed),
        request=request,
        source_fingerprint=source_fingerprint,
        classes=classes,
        counts=(train, val, test),
        found=len(readable) + len(unreadable),
        archive=archive,
        index=photos.write_index(layout.photos, placed, classes),
        identical=identical,
        contradictory=contradictory,
        unreadable=tuple(problem for _, problem in unreadable),
        versions=versions_of("numpy", "pillow"),
        given_splits=given,
        across_splits=_across_splits(identical, in_splits, kept) if given else (),
        without_split=len(readable) - len(in_splits),
        table=_table(layout, source, [classes[label] for label in relabel], [by_id[photo.id] for photo in placed]),
    )


def _table(layout: Layout, source: Source, tasks: Sequence[str], placed: Sequence[_Spooled]) -> LabelTable | None:
    """What a table holds beside the labels; its cells name the task's classes, ``tasks`` for those of the source."""
    found = source.labelled
    if found is None:
        return None
    named = dict(zip(source.classes, tasks, strict=True))
    cells_of = [[photo.columns.get(column, "") for column in found.columns] for photo in placed]
    rows = [[named.get(cell, cell) for cell in cells] for cells in cells_of]
    columns, cells = table_columns.write(layout, found.columns, rows)
    return LabelTable(found.without_label, found.without_photo, found.classes_without_photo, columns, cells)


def _given_splits(found: Sequence[_Spooled]) -> tuple[str, ...]:
    """The splits that a source comes with; a single one is no split."""
    given = tuple(name for name in SPLITS if any(photo.split == name for photo in found))
    if len(given) < 2:
        return ()
    if "train" not in given:
        raise BadRequestError(f"the source has {' and '.join(given)} photos but no train; --resplit splits them anew")
    return given


def _across_splits(
    identical: Iterable[tuple[str, ...]], found: Sequence[_Spooled], kept: Sequence[_Spooled]
) -> tuple[tuple[str, ...], ...]:
    """The groups of identical photos that were given in several splits, the path of the photo kept first."""
    splits, stay = {photo.path: photo.split for photo in found}, {photo.path for photo in kept}
    across = (paths for paths in identical if len({splits[path] for path in paths}) > 1)
    return tuple(tuple(sorted(paths, key=lambda path: path not in stay)) for paths in across)


def _take_rows(layout: Layout, rows: FeatureRows, request: DatasetRequest, source_fingerprint: str | None) -> Dataset:
    classes, relabel = _task(rows.classes, request.positive)
    atomic.ensure_directory(layout.photos)
    made = prepare_features.placed(rows, request, relabel, split, lambda draw: splits_of(draw, request))
    given = tuple(name for name in SPLITS if name in (rows.splits or ()))
    _refuse_missing_classes({relabel[label] for label in rows.labels}, made.index, classes, given)
    train, val, test = (_class_counts(made.index, name, len(classes)) for name in SPLITS)
    return Dataset(
        id=datasets.identity(request.image_size, classes, made.index, made.given),
        request=request,
        source_fingerprint=source_fingerprint,
        classes=classes,
        counts=(train, val, test),
        found=len(rows.ids),
        archive=feature_rows.write(layout.photos, made.features),
        index=photos.write_index(layout.photos, made.index, classes),
        identical=(),
        contradictory=(),
        unreadable=(),
        versions=versions_of("numpy"),
        given=made.given,
    )


@contextlib.contextmanager
def _spooling(directory: Path) -> Iterator[IO[bytes]]:
    """A temporary file that holds photos until their splits are known."""
    try:
        with tempfile.TemporaryFile(dir=directory) as spool:
            yield spool
    except OSError as error:
        raise FlowernoiseError(
            f"cannot write {directory}: {atomic.reason(error)}; earlier files are unchanged"
        ) from error


def _spool(
    source: Source, request: DatasetRequest, spool: IO[bytes], progress: Progress
) -> tuple[list[_Spooled], list[tuple[int, Unreadable]]]:
    """The readable photos, and the unreadable files with their labels."""
    readable: list[_Spooled] = []
    unreadable: list[tuple[int, Unreadable]] = []
    with (
        progress.task("reading photos", source.total, "photos") as advance,
        concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool,
    ):
        for chunk in _chunks(source.photos(), _CHUNK):
            for photo, outcome in zip(
                chunk, pool.map(lambda photo: _read(photo, request.image_size), chunk), strict=True
            ):
                if isinstance(outcome, str):
                    unreadable.append((photo.label, Unreadable(photo.path, outcome)))
                    continue
                encoded, pixels = outcome
                offset, size = spool.tell(), len(encoded)
                spool.write(encoded)
                given = None if request.resplit else photo.split
                id = files.digest(encoded)
                readable.append(_Spooled(id, pixels, photo.path, photo.label, given, photo.columns, offset, size))
            advance(len(chunk))
    return readable, unreadable


def _read(photo: Photo, image_size: int) -> tuple[bytes, str] | str:
    """The photo's encoded bytes and the digest of its pixels, or why it cannot be read."""
    try:
        encoded = photo.read()
        return encoded, images.digest_of_pixels(encoded, image_size)
    except OSError as error:
        return atomic.reason(error)
    except images.UnreadablePhotoError as error:
        return str(error)


def _chunks(items: Iterable[Photo], size: int) -> Iterator[list[Photo]]:
    iterator = iter(items)
    while chunk := list(itertools.islice(iterator, size)):
        yield chunk


def set_duplicates_apart(
    found: Sequence[_Spooled],
) -> tuple[list[_Spooled], tuple[tuple[str, ...], ...], tuple[tuple[str, ...], ...]]:
    """Keeps one photo of those with equal pixels, that with the smallest id; drops all if their classes differ.

    Of photos in several given splits, one of test is kept, else one of val: test photos stay those that others have
    measured with, and none of them is trained on.

    Returns:
        the photos kept, the paths of each group of identical photos, and the paths of each contradictory group.
    """
    groups: dict[str, list[_Spooled]] = {}
    for photo in found:  # equal bytes have equal pixels
        groups.setdefault(photo.pixels, []).append(photo)
    kept, identical, contradictory = [], [], []
    for group in groups.values():
        paths = tuple(sorted(photo.path for photo in group))
        if len({photo.label for photo in group}) > 1:
            contradictory.append(paths)
            continue
        kept.append(min(group, key=lambda photo: (_RANKS.get(photo.split, len(_RANKS)), photo.id, photo.path)))
        if len(group) > 1:
            identical.append(paths)
    return kept, tuple(sorted(identical)), tuple(sorted(contradictory))


def _refuse_empty_classes(
    source: Source,
    readable: Sequence[_Spooled],
    kept: Sequence[_Spooled],
    unreadable: Sequence[tuple[int, Unreadable]],
) -> None:
    found, left = {photo.label for photo in readable}, {photo.label for photo in kept}
    for label, name in enumerate(source.classes):
        problems = [problem for its_label, problem in unreadable if its_label == label]
        if label not in found and problems:
            raise FlowernoiseError(
                f"no photo of class {name!r} can be read ({len(problems)} unreadable, such as {problems[0].path}: "
                f"{problems[0].reason}); repair or remove them"
            )
        if label in found and label not in left:
            raise FlowernoiseError(
                f"no photo of class {name!r} is left: each of them is also under another class; remove one of the two"
            )


def _refuse_missing_classes(
    there: Collection[int], placed: Sequence[IndexedPhoto], classes: tuple[str, ...], given: tuple[str, ...]
) -> None:
    """Refuses a task that cannot be learned or measured: a single class, or a split that lacks a class.

    Args:
        there: labels of all photos; a class without any photo in the source is not required.
        placed: the photos in the splits.
        classes: names of the classes.
        given: the splits that the source came with.
    """
    if len(there) < 2:
        raise BadRequestError(f"all photos are of one class, {classes[min(there)]!r}; at least two classes are needed")
    for name in SPLITS:
        counts = _class_counts(placed, name, len(classes))
        missing = [classes[label] for label in sorted(there) if any(counts) and not counts[label]]
        if missing:
            raise BadRequestError(
                f"{name} would have no photo of class {missing[0]!r} among its {sum(counts)}, but each split needs "
                "all classes: add photos, leave the class out, or give other numbers with --train, --val and --test"
                + ("; --resplit splits the photos anew" if given else "")
            )


def split(labels: Mapping[str, str], sizes: tuple[int, int, int] | None, seed: int) -> dict[str, str]:
    """Assigns photos to train, val and test, stratified by class; depends on ids and seed, not on the order.

    Args:
        labels: name of each photo's class, by id.
        sizes: number of photos in train, val and test; None for 70 / 15 / 15 %.
        seed: another seed gives another split.

    Returns:
        the split of each assigned photo, by id.

    Raises:
        BadRequestError: the sizes add up to more photos than there are.

    >>> sorted(split({"a": "rose", "b": "rose", "c": "tulip", "d": "tulip"}, (2, 0, 2), seed=0).values())
    ['test', 'test', 'train', 'train']
    """
    total = len(labels)
    if sizes is None:
        if total < 2:
            raise BadRequestError(f"{total} photos are too few to split; at least 2 are needed")
        test = max(1, round(DEFAULT_SHARES[2] * total))
        val = round(DEFAULT_SHARES[1] * total)
        sizes = (total - val - test, val, test)
    if sum(sizes) > total or sizes[0] < 1:
        asked = " + ".join(f"{size} {name}" for size, name in zip(sizes, SPLITS, strict=True))
        raise BadRequestError(f"{asked} photos are more than the {total} there are; ask for fewer")
    return _drawn(labels, dict(zip(SPLITS, sizes, strict=True)), seed)


def split_as_given(
    labels: Mapping[str, str], given: Mapping[str, str], sizes: tuple[int, int, int] | None, seed: int
) -> dict[str, str]:
    """Keeps photos in the splits that they were given in; a missing val or test is drawn from train.

    Args:
        labels: name of each photo's class, by id.
        given: the split of each photo, by id; some are in train.
        sizes: number of photos in train, val and test, drawn within each split, stratified by class; None for all of
            them, where a missing val or test is 15 % of train.
        seed: another seed draws others where something is drawn.

    Returns:
        the split of each assigned photo, by id.

    Raises:
        BadRequestError: a split has fewer photos than it should.

    >>> labels = {"a": "rose", "b": "tulip", "c": "rose", "d": "tulip"}
    >>> split_as_given(labels, {"a": "train", "b": "train", "c": "test", "d": "test"}, (2, 0, 1), seed=0)
    {'a': 'train', 'b': 'train', 'c': 'test'}
    """
    pools: dict[str, dict[str, str]] = {name: {} for name in SPLITS}
    for id, label in labels.items():
        pools[given[id]][id] = label
    missing = [name for name in SPLITS if not pools[name]]
    if sizes is None:
        of_train = {
            name: round(share * len(pools["train"])) for name, share in zip(SPLITS, DEFAULT_SHARES, strict=True)
        }
        wanted = {name: len(pool) or of_train[name] for name, pool in pools.items()}
        wanted["train"] -= sum(wanted[name] for name in missing)
    else:
        wanted = dict(zip(SPLITS, sizes, strict=True))
    assigned: dict[str, str] = {}
    for name, pool in pools.items():
        to_draw = {each: wanted[each] for each in SPLITS if each == name or (name == "train" and each in missing)}
        if pool and sum(to_draw.values()) > len(pool):
            asked = " + ".join(f"{size} {each}" for each, size in to_draw.items())
            raise BadRequestError(
                f"{asked} photos are more than the {len(pool)} in the given {name} split; ask for fewer, or split anew "
                "with --resplit"
            )
        assigned |= _drawn(pool, to_draw, seed) if pool else {}
    return assigned


def _drawn(labels: Mapping[str, str], sizes: Mapping[str, int], seed: int) -> dict[str, str]:
    """Assigns that many photos to each split, stratified by class; test is drawn first, and train last."""
    by_class: dict[str, list[str]] = {}
    for id, label in labels.items():
        by_class.setdefault(label, []).append(id)
    queues = [sorted(ids, key=lambda id: files.digest(f"{seed}:{id}".encode())) for _, ids in sorted(by_class.items())]
    class_sizes = [len(queue) for queue in queues]
    assigned: dict[str, str] = {}
    for name in reversed(SPLITS):
        counts = apportion(sizes.get(name, 0), class_sizes, [len(queue) for queue in queues])
        for queue, count in zip(queues, counts, strict=True):
            assigned.update(dict.fromkeys(queue[:count], name))
            del queue[:count]
    return assigned


def splits_of(draw: Callable[[int], Mapping[str, str]], request: DatasetRequest) -> dict[str, list[str]]:
    """The places of each photo in all requested splits, by id; empty where it is in none. The first is as for one.

    All splits have the same sizes, and the same number of photos of each class, as these do not depend on the seed.

    Args:
        draw: from a seed to a split of photos by id.
        request: how many splits, and the seed of the first.

    Raises:
        BadRequestError: all splits are the same.
    """
    drawn = [draw(_seed_of(request.seed, number)) for number in range(request.splits)]
    if len(drawn) > 1 and all(each == drawn[0] for each in drawn):
        raise BadRequestError(
            f"--splits {request.splits}: there is only one way to split these photos, so all splits would be the same; "
            "leave the option out"
        )
    assigned = dict.fromkeys(id for each in drawn for id in each)
    return {id: [each.get(id, "") for each in drawn] for id in assigned}


def _seed_of(seed: int, number: int) -> int:
    """The seed of a split; that of the first is the seed that was asked for."""
    return int(files.digest(f"{seed}, split {number}".encode())[:15], 16) if number else seed


def apportion(seats: int, sizes: Sequence[int], available: Sequence[int]) -> list[int]:
    """Divides ``seats`` in proportion to ``sizes``, by largest remainder; no share exceeds what is ``available``.

    Seats left over after rounding down go first to shares that would be empty.

    >>> apportion(10, [50, 30, 21], [50, 30, 21])
    [5, 3, 2]
    >>> apportion(10, [50, 30, 21], [50, 30, 1])
    [5, 4, 1]
    >>> apportion(4, [40, 40, 4], [40, 40, 4])
    [2, 1, 1]
    """
    if seats == 0:
        return [0] * len(sizes)
    total = sum(sizes)
    counts = [min(seats * size // total, most) for size, most in zip(sizes, available, strict=True)]
    while missing := seats - sum(counts):
        with_room = [index for index, most in enumerate(available) if counts[index] < most]
        with_room.sort(key=lambda index: (counts[index] > 0, counts[index] * total - seats * sizes[index]))
        for index in with_room[:missing]:
            counts[index] += 1
    return counts


def _task(classes: tuple[str, ...], positive: str | None) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Names of the task's classes, and the task's label for each class of the source."""
    if positive is None:
        return classes, tuple(range(len(classes)))
    if positive not in classes:
        raise BadRequestError(
            f"--positive {positive!r} is not a class of the source{did_you_mean(positive, classes)}; "
            f"there are: {', '.join(classes)}"
        )
    return (f"not {positive}", positive), tuple(int(name == positive) for name in classes)


def _class_counts(placed: Sequence[IndexedPhoto], split_name: str, num_classes: int) -> tuple[int, ...]:
    counts = np.bincount(photos.labels_of(placed, split_name), minlength=num_classes)
    return tuple(int(count) for count in counts)
