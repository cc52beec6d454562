"""``preview``: the photos as a person checks them: their labels, the labels of draws, and what runs get wrong."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from flowernoise.analysis import where
from flowernoise.analysis.results.written import PreviewResult, SheetFile
from flowernoise.analysis.views.arrays import Floats, Pixels
from flowernoise.analysis.views.sheets import (
    ContactSheet,
    SheetKind,
    SheetPhoto,
    most_confident,
    sample,
)
from flowernoise.catalogue.losses import losses
from flowernoise.catalogue.noise import noise_models
from flowernoise.errors import BadRequestError, DamagedFileError
from flowernoise.progress import Progress
from flowernoise.registry import Registry
from flowernoise.safe import images
from flowernoise.show import contact_sheet
from flowernoise.steps.settings import CompareSettings, PreviewSettings
from flowernoise.store import artifacts, datasets, draws, files, runs
from flowernoise.store.draws import StoredDraw
from flowernoise.store.layout import Layout
from flowernoise.store.photos import Archive, IndexedPhoto
from flowernoise.store.records import CONTROL, Dataset, DrawKey, Identity, RunKey, Selection
from flowernoise.store.runs import StoredRun
from flowernoise.store.setups import differing, named

BASELINE = CompareSettings.baseline
SIDE = 160  # pixels of a photo on a sheet


def preview(artifacts_directory: Path, settings: PreviewSettings, progress: Progress) -> PreviewResult:
    """Draws contact sheets and writes those that are new or changed.

    Raises:
        BadRequestError: nothing prepared, or no draws or runs as asked for.
        DamagedFileError: photos, draws or runs that are not what was written.
        FlowernoiseError: a sheet cannot be written.
    """
    layout = artifacts.opened(artifacts_directory)
    work = _Work(layout, settings, progress)
    directory = settings.output or layout.preview
    drawn = []
    with progress.task("drawing contact sheets", work.count, "sheets") as advance:
        for sheet in work.sheets():
            file = directory / f"{sheet.name}.png"
            drawn.append(_on_disk(sheet, file, files.write_plain(file, contact_sheet.png(sheet))))
            advance(1)
    return PreviewResult(directory, work.dataset.request.source, work.dataset.classes, tuple(drawn))


def sheets(artifacts_directory: Path, settings: PreviewSettings, progress: Progress) -> Iterator[ContactSheet]:
    """The sheets as plain data, one after another.

    Raises:
        BadRequestError: nothing prepared, or no draws or runs as asked for.
        DamagedFileError: photos, draws or runs that are not what was written.
    """
    return _Work(artifacts.opened(artifacts_directory), settings, progress).sheets()


class _Work:
    """What is to be shown, found before anything is drawn."""

    def __init__(self, layout: Layout, settings: PreviewSettings, progress: Progress) -> None:
        settings.check()
        self.dataset = datasets.need(layout)
        self._layout, self._settings = layout, settings
        self._archive = Archive(layout.photos, self.dataset.archive)
        index = datasets.index(layout, self.dataset)
        self._train, self._test = ([photo for photo in index if photo.split == name] for name in ("train", "test"))
        drawn = draws.index(layout, self.dataset.id)
        self._controls, self._draws = _picked(drawn, settings, layout)
        if not drawn:
            progress.note("no draws yet, so only the labels without noise are shown; `flowernoise corrupt` comes next")
        self._runs = _Runs(layout, self.dataset, [*self._controls, *self._draws], settings, progress)

    @property
    def count(self) -> int:
        """How many sheets there are to draw."""
        return 1 + len(self._draws) + len(self._runs.picked)

    def sheets(self) -> Iterator[ContactSheet]:
        """The sheets: clean, a draw after another, the mistakes of a run after another."""
        chosen = sample(self._train, self._settings.photos, self._settings.seed)
        pixels = dict(zip((photo.id for photo in chosen), self._decoded(chosen), strict=True))
        clean = tuple(SheetPhoto(photo.id, pixels[photo.id], photo.label, photo.label) for photo in chosen)
        yield self._sheet("clean", "train", clean, self.dataset.id)
        rows = {photo.id: row for row, photo in enumerate(self._train)}
        labels = draws.read(self._layout, self.dataset, self._draws.values())
        for key, stored in self._draws.items():
            given = labels[key].train_labels
            shown = tuple(dataclasses.replace(photo, given=int(given[rows[photo.id]])) for photo in clean)
            yield _of_draw(self._sheet("draw", "train", shown, stored.draw.labels), stored)
        for run in self._runs.picked:
            yield self._mistakes(run)

    def _mistakes(self, stored: StoredRun) -> ContactSheet:
        probabilities, selection = self._runs.answers(stored)
        true = np.array([photo.label for photo in self._test])
        rows = most_confident(probabilities, true, self._settings.photos)
        chosen = [self._test[row] for row in rows]
        shown = tuple(
            SheetPhoto(photo.id, pixels, photo.label, photo.label, int(answer.argmax()), float(answer.max()))
            for photo, pixels, answer in zip(chosen, self._decoded(chosen), probabilities[rows], strict=True)
        )
        sheet = self._sheet("mistakes", "test", shown, stored.block.arrays.sha256)
        key = stored.key
        return dataclasses.replace(
            _of_draw(sheet, (self._controls | self._draws)[key.draw]),
            loss=key.method,
            backbone=key.setup.backbone,
            mode=key.setup.mode,
            settings=tuple(named(name, key.setup) for name in self._runs.differing),
            selection=selection,
            mistakes=int((probabilities.argmax(axis=1) != true).sum()),
        )

    def _sheet(self, kind: SheetKind, split: str, shown: tuple[SheetPhoto, ...], inputs: str) -> ContactSheet:
        population = len(self._train if split == "train" else self._test)
        return ContactSheet(kind, self.dataset.request.source, split, population, self.dataset.classes, shown, inputs)

    def _decoded(self, chosen: Sequence[IndexedPhoto]) -> Iterator[Pixels]:
        for photo, encoded in zip(chosen, self._archive.read(chosen), strict=True):
            try:
                yield images.decode(encoded, SIDE)
            except images.UnreadablePhotoError as error:
                raise DamagedFileError(f"photo {photo.path} can no longer be decoded: {error}") from error


class _Runs:
    """The runs whose mistakes are shown, and their answers to the test photos."""

    def __init__(
        self,
        layout: Layout,
        dataset: Dataset,
        keys: Sequence[DrawKey],
        settings: PreviewSettings,
        progress: Progress,
    ) -> None:
        self._layout, self._dataset = layout, dataset
        self._wanted: Selection = "selected" if dataset.sizes[1] else "last"
        self._arrays: tuple[str, runs.Arrays] | None = None
        live = _shown(runs.live(runs.blocks(layout, dataset.id)), settings.where)
        loss_order = {loss: place for place, loss in enumerate(_losses(live, settings, layout))}
        draw_order = {key: place for place, key in enumerate(keys)}
        there = [stored for key, stored in live.items() if key.draw in draw_order and key.method in loss_order]
        there.sort(key=lambda stored: (draw_order[stored.run.draw], loss_order[stored.run.method]))
        self.differing = differing({stored.block.setup for stored in there})
        self.picked: list[StoredRun] = []
        passed_over: dict[str, list[RunKey]] = {}
        for stored in there:
            if reason := self._why_not(stored):
                passed_over.setdefault(reason, []).append(stored.key)
            else:
                self.picked.append(stored)
        for reason, members in passed_over.items():
            which = f"{len(members)} {'run' if len(members) == 1 else 'runs'}"
            progress.note(f"no mistakes of {which}, such as {members[0].method} on {members[0].draw}: {reason}")
        if not live:
            progress.note("no runs yet, so no mistakes are shown; `flowernoise train` makes them")

    def answers(self, stored: StoredRun) -> tuple[Floats, Selection]:
        """Probabilities [test photo, class] of a run, and which selection they are of."""
        selections = stored.block.selections
        selection = self._wanted if self._wanted in selections else selections[0]
        probabilities = self._of_block(stored)["test_probabilities"]
        return probabilities[stored.row, selections.index(selection)], selection

    def _why_not(self, stored: StoredRun) -> str:
        """Why a run's mistakes cannot be shown; nothing where they can."""
        if stored.run.failure:
            return "training failed"
        if stored.block.mode == "finetune" and not self._of_block(stored):
            return "`flowernoise evaluate` comes first, it keeps what a fine-tuned network answers"
        return ""

    def _of_block(self, stored: StoredRun) -> runs.Arrays:
        """Arrays of a run's block, the last ones kept; none for a fine-tuned run that was not evaluated."""
        if self._arrays is None or self._arrays[0] != stored.name:
            if stored.block.mode == "features":
                found = runs.read_answers(self._layout, self._dataset, stored.block)
            else:
                found = runs.find_predictions(self._layout, self._dataset, stored.name, stored.block) or {}
            self._arrays = stored.name, found
        return self._arrays[1]


def _picked(
    drawn: Mapping[DrawKey, StoredDraw], settings: PreviewSettings, layout: Layout
) -> tuple[dict[DrawKey, StoredDraw], dict[DrawKey, StoredDraw]]:
    """The controls and the noisy draws that are asked for: the first seeds of each noise and rate.

    Raises:
        BadRequestError: none is there of a noise or rate.
    """
    by_condition: dict[tuple[str, float], list[DrawKey]] = {}
    wanted: set[str] = set()
    for key in drawn:
        by_condition.setdefault((key.noise, key.rate), []).append(key)
    noisy = [condition for condition in by_condition if condition[0] != CONTROL]
    there = "; there are: " + ", ".join(f"{noise} {rate:g}" for noise, rate in noisy) if noisy else ""
    models = {noise for noise, _ in noisy}
    for text in settings.noise:
        if not (found := _matching(text, models, noise_models)):
            raise BadRequestError(f"--noise {text}: {layout.root} holds no such draw{there}")
        wanted |= found
    asked = [condition for condition in noisy if not settings.noise or condition[0] in wanted]
    for rate in settings.rates:
        if not any(rate == has for _, has in asked):
            raise BadRequestError(f"--rates {rate:g}: {layout.root} holds no such draw{there}")
    asked = [condition for condition in asked if not settings.rates or condition[1] in settings.rates]
    controls = by_condition.get((CONTROL, 0.0), [])[: settings.seeds]
    keys = [key for condition in asked for key in by_condition[condition][: settings.seeds]]
    return {key: drawn[key] for key in controls}, {key: drawn[key] for key in keys}


def _matching(text: str, there: Collection[str], registry: Registry) -> set[str]:
    """Which of the specs there are is asked for; a name alone means all of its specs unless one is just that.

    >>> sorted(_matching("instance", {"instance:backbone=efficientnet_lite0", "symmetric"}, noise_models))
    ['instance:backbone=efficientnet_lite0']
    >>> sorted(_matching("symmetric:count=exact", {"symmetric:count=bernoulli", "symmetric"}, noise_models))
    ['symmetric']
    """
    if text in there:
        return {text}
    if text in registry.names():
        return {spec for spec in there if spec.partition(":")[0] == text}
    return {str(registry.parse(text))}.intersection(there)


def _shown(live: Mapping[RunKey, StoredRun], texts: Sequence[str]) -> dict[RunKey, StoredRun]:
    """The runs that ``compare`` shows.

    Raises:
        BadRequestError: a ``--where`` that picks nothing.
    """
    recency: dict[Identity, int] = {}
    for key, stored in live.items():
        recency[key.identity] = max(stored.block.recency, recency.get(key.identity, 0))
    [picked] = where.shown(texts, [recency])
    shown = where.with_baseline(picked, recency, BASELINE)
    return {key: stored for key, stored in live.items() if key.identity in shown}


def _losses(live: Mapping[RunKey, StoredRun], settings: PreviewSettings, layout: Layout) -> list[str]:
    """Losses whose runs are shown.

    Raises:
        BadRequestError: no runs of a loss that is asked for.
    """
    there = sorted({key.method for key in live}, key=lambda loss: (loss != BASELINE, loss))
    asked: list[str] = []
    for text in settings.losses:
        if not (found := _matching(text, there, losses)):
            known = f"; there are: {', '.join(there)}" if there else ""
            raise BadRequestError(f"--loss {text}: {layout.root} holds no such run{known}")
        asked += sorted(found)
    return list(dict.fromkeys(asked)) or there[:1]


def _of_draw(sheet: ContactSheet, stored: StoredDraw) -> ContactSheet:
    """The sheet with the draw named that its labels, or the run's training labels, are of."""
    draw = stored.draw
    return dataclasses.replace(
        sheet, noise=draw.key.noise, rate=draw.key.rate, seed=draw.key.seed, realised_rate=draw.realised_rate
    )


def _on_disk(sheet: ContactSheet, file: Path, written: bool) -> SheetFile:
    return SheetFile(
        file=file,
        written=written,
        kind=sheet.kind,
        photos=len(sheet.photos),
        wrong=sheet.wrong,
        population=sheet.population,
        mistakes=sheet.mistakes,
        noise=sheet.noise,
        rate=sheet.rate,
        seed=sheet.seed,
        realised_rate=sheet.realised_rate,
        loss=sheet.loss,
        backbone=sheet.backbone,
        mode=sheet.mode,
        settings=sheet.settings,
        selection=sheet.selection,
    )
