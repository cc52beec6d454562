"""The artifacts directory as a whole: access to its contents for steps, tests and notebooks."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Never, TypeVar

import numpy as np

from flowernoise.errors import BadRequestError, FlowernoiseError
from flowernoise.registry import did_you_mean, format_value
from flowernoise.safe import atomic
from flowernoise.store import datasets, draws, evaluations, feature_cache, files, runs
from flowernoise.store.handles import DrawHandle, FeaturesHandle, Labels, Reader, RunHandle, true_labels
from flowernoise.store.layout import Layout
from flowernoise.store.photos import IndexedPhoto
from flowernoise.store.records import CONTROL, Dataset
from flowernoise.store.setups import SETTINGS, setting, settings

Handle = TypeVar("Handle", DrawHandle, RunHandle, FeaturesHandle)
_DRAW_KEYS = ("noise", "rate", "seed")
_RUN_KEYS = (*_DRAW_KEYS, "loss", "backbone", "mode", *SETTINGS)


class Artifacts:
    """What an artifacts directory holds; reading it does not load TensorFlow and writes nothing.

    Every call reads the records anew. Arrays are read on first use and checked against their digests. Filters work as
    in ``--where``: a name alone means all specs of that name; grids are lists.

    Args:
        directory: the path; it need not exist yet.

    Raises:
        BadRequestError: (a ValueError) the path is not a directory. Methods raise it if nothing is prepared there, or
            if nothing matches a filter.
        DamagedFileError: raised by methods if a file has changed since it was written.

    >>> import flowernoise
    >>> held = flowernoise.Artifacts("artifacts")
    >>> held.dataset.classes, held.dataset.sizes
    (('dandelion', 'daisy', 'tulips', 'sunflowers', 'roses'), (40, 10, 10))
    >>> for draw in held.draws(noise="symmetric", rate=0.4):
    ...     print(draw.seed, draw.realised_rate, draw.train_labels.shape, draw.train_flipped.sum())
    0 0.4 (40,) 16
    1 0.4 (40,) 16
    >>> run = held.runs(noise="symmetric", rate=0.4, seed=1, loss="ce", epochs=1)[0]
    >>> run.probabilities("test").shape, run.predicted("train").shape
    ((10, 5), (40,))
    >>> sorted({row["loss"] for row in held.results()})
    ['ce', 'mae']
    """

    def __init__(self, directory: str | os.PathLike[str] = "artifacts") -> None:
        self.layout = opened(Path(directory))
        self._kept: Reader | None = None

    def __repr__(self) -> str:
        return f"Artifacts({str(self.layout.root)!r})"

    @property
    def dataset(self) -> Dataset:
        """The classes, the sizes of train, val and test, and the source of the photos."""
        return datasets.need(self.layout)

    @property
    def photos(self) -> tuple[IndexedPhoto, ...]:
        """The photos of train, val and test, in the order of all arrays: ``id``, ``split``, ``label``, ``path``.

        With several splits (``dataset.splits``), ``split`` is that of the first, and photos that are only in others
        come last, as in arrays of features. Draws and runs have the order of :meth:`photos_of` their seed.
        """
        return datasets.index(self.layout, self.dataset)

    def photos_of(self, seed: int) -> tuple[IndexedPhoto, ...]:
        """The photos of the split that a seed uses, in the order of its draws' and runs' arrays."""
        return datasets.splits(self.layout, self.dataset).of(seed)

    def labels(self, split: str, *, seed: int = 0) -> Labels:
        """The source's labels for the photos of a split [n], as positions in ``dataset.classes``.

        Args:
            split: ``train``, ``val`` or ``test``.
            seed: whose photos, if there are several splits.
        """
        return true_labels(datasets.splits(self.layout, self.dataset), split, seed)

    def draws(
        self, *, noise: str | None = None, rate: float | None = None, seed: int | None = None, **unknown: Never
    ) -> tuple[DrawHandle, ...]:
        """The draws of noisy labels, filtered by noise, rate and seed; a control has the noise ``none``."""
        _refuse(unknown, "draws", _DRAW_KEYS)
        reader = self._reader()
        stored = draws.index(self.layout, reader.dataset.id).values()
        there = [DrawHandle(each.draw, each.batch, each.row, reader) for each in stored]
        asked = {"noise": noise, "rate": rate, "seed": seed}
        return _picked(there, "draw", asked, lambda draw, key: _text(getattr(draw, key)))

    def runs(
        self,
        *,
        noise: str | None = None,
        rate: float | None = None,
        seed: int | None = None,
        loss: str | None = None,
        **settings: object,
    ) -> tuple[RunHandle, ...]:
        """The trained models, filtered by noise, rate, seed, loss and settings.

        Args:
            settings: ``backbone``, ``mode``, ``epochs``, ``batch_size``, ``optimizer``, ``learning_rate``, ``l2``,
                ``image_size``, ``extractor`` or ``precision``.
        """
        _refuse({key: value for key, value in settings.items() if key not in _RUN_KEYS}, "runs", _RUN_KEYS)
        reader = self._reader()
        stored = runs.live(runs.blocks(self.layout, reader.dataset.id)).values()
        there = [RunHandle(each.run, each.block, each.name, each.row, reader) for each in stored]
        return _picked(there, "run", {"noise": noise, "rate": rate, "seed": seed, "loss": loss, **settings}, _of_run)

    def features(self, *, backbone: str | None = None, **unknown: Never) -> tuple[FeaturesHandle, ...]:
        """The complete cached features of the photos, filtered by backbone."""
        _refuse(unknown, "features", ("backbone",))
        dataset = self.dataset
        splits = datasets.splits(self.layout, dataset)
        ids = [photo.id for photo in splits.photos]
        found = feature_cache.of_photos(self.layout, ids, dataset.request.image_size)
        there = [FeaturesHandle(shards, self.layout, splits) for shards in found]
        return _picked(there, "features", {"backbone": backbone}, lambda features, _: features.backbone)

    def results(self, *, select: str | None = None) -> list[dict[str, Any]]:
        """The evaluation as one row per run, for example for ``pandas.DataFrame``.

        A row has ``noise``, ``rate``, ``realised_rate``, ``seed``, ``loss``, backbone, mode and settings, ``select``,
        ``accuracy``, ``memorised`` and ``recovered`` (shares, 0 … 1; NaN where training failed), ``collapsed`` and
        ``failure``.

        Args:
            select: ``selected``, ``last`` or ``oracle``; a run without that selection falls back to ``last``. The
                default is ``selected`` if there are validation photos, else ``last``.

        Raises:
            BadRequestError: nothing is evaluated, the evaluation is of other photos than those prepared last, or the
                selection is unknown.
        """
        dataset, found = self.dataset, evaluations.find(self.layout)
        if found is None or found.dataset != dataset.id:
            raise BadRequestError(
                f"{self.layout.root} has no evaluation of the photos prepared last; run `flowernoise evaluate`"
            )
        chosen = ("selected" if dataset.sizes[1] else "last") if select is None else select
        if chosen not in found.selections:
            raise BadRequestError(f"select={chosen!r} is not one of: {', '.join(found.selections)}")
        arrays, last = evaluations.read(self.layout, found), found.selections.index("last")
        right = (arrays["predicted"] == evaluations.labels_of_runs(found, arrays)[:, None]).mean(axis=2)
        rows = []
        for place, (key, run) in enumerate(zip(found.keys, found.runs, strict=True)):
            column = found.selections.index(chosen)
            column = column if arrays["available"][place, column] else last
            rows.append(
                {
                    "noise": key.noise,
                    "rate": key.rate,
                    "realised_rate": run.realised_rate,
                    "seed": key.seed,
                    "loss": key.method,
                    **settings(key.setup),
                    "select": found.selections[column],
                    "accuracy": np.nan if run.failure else float(right[place, column]),
                    "memorised": float(arrays["memorised"][place, column]),
                    "recovered": float(arrays["recovered"][place, column]),
                    "collapsed": bool(arrays["collapsed"][place, column]),
                    "failure": run.failure,
                }
            )
        return rows

    def _reader(self) -> Reader:
        dataset = self.dataset
        if self._kept is None or self._kept.dataset != dataset:
            self._kept = Reader(self.layout, dataset)
        return self._kept


def _picked(
    there: Sequence[Handle], what: str, asked: Mapping[str, object], value_of: Callable[[Handle, str], str]
) -> tuple[Handle, ...]:
    """The handles that have every requested value.

    Raises:
        BadRequestError: a value that none of them has.
    """
    picked = list(there)
    for key, value in asked.items():
        if value is None:
            continue
        wanted, values = _text(value), {value_of(each, key) for each in there}
        meant = CONTROL if (key, wanted) == ("noise", "control") else wanted
        fitting = {meant} & values or {each for each in values if each.partition(":")[0] == meant}
        if not fitting:
            nearest = did_you_mean(wanted, values) if isinstance(value, str) else ""
            listed = ", ".join(sorted(values)) or "none"
            raise BadRequestError(f"no {what} with {key}={wanted}{nearest}; there are: {listed}")
        picked = [each for each in picked if value_of(each, key) in fitting]
    return tuple(picked)


def _of_run(run: RunHandle, key: str) -> str:
    return _text(getattr(run, key)) if key in ("noise", "rate", "seed", "loss") else setting(key, run.block.setup)


def _text(value: object) -> str:
    """A value as written in ``--where``.

    >>> _text(0.4), _text([0.001, 0.0003])
    ('0.4', '0.0003+0.001')
    """
    return "+".join(map(format_value, sorted(value))) if isinstance(value, (list, tuple)) else format_value(value)


def _refuse(unknown: Mapping[str, object], method: str, keys: Sequence[str]) -> None:
    for key in unknown:
        raise BadRequestError(f"{method}() takes no {key}=…{did_you_mean(key, keys)}; it takes: {', '.join(keys)}")


def opened(root: Path) -> Layout:
    """The layout of an artifacts directory, which need not exist yet.

    Raises:
        BadRequestError: the path exists but is not a directory.
        FlowernoiseError: it cannot be read, or one of its folders is a link: in a directory from someone else, a link
            could lead anywhere.
    """
    layout = Layout(root)
    try:
        if root.exists() and not root.is_dir():
            raise BadRequestError(f"{root} is not a directory; give another with --artifacts")
        linked = [folder for folder in layout.folders if folder.is_symlink()]
    except OSError as error:
        raise FlowernoiseError(f"cannot read {root}: {atomic.reason(error)}") from error
    if linked:
        raise FlowernoiseError(
            f"{linked[0]} is a symbolic link, but folders of an artifacts directory must not be links; move the "
            "whole directory and link to that, or remove the link"
        )
    return layout


@contextlib.contextmanager
def kept_empty_on_failure(layout: Layout) -> Iterator[None]:
    """Removes the empty folders that a block made if it fails before anything is kept."""
    had = {folder for folder in (layout.root, *layout.folders) if folder.exists()}
    try:
        yield
    except BaseException:
        if layout.locks not in had and not layout.dataset.exists():
            for path in layout.locks.glob("*.lock"):
                files.remove(path)
        for folder in (*layout.folders, layout.root):
            if folder not in had:
                with contextlib.suppress(OSError):  # missing or not empty
                    folder.rmdir()
        raise
